"""The distance in features: its formula, and what it notices that the ab MAE does not."""

import numpy as np
import pytest
import torch

from colorlib import lab_to_rgb, rgb_to_lab, to_tensor
from colorlib.data import bundled_photo
from colorlib.images import fit_square
from colorlib.perceptual import FeatureDistance


def test_feature_distance_is_relative_and_notices_a_green_face_more_than_faded_colors():
    distance_of = FeatureDistance()
    lab = rgb_to_lab(to_tensor(fit_square(bundled_photo("astronaut"), 128)))[None]
    faded, green = lab.clone(), lab.clone()
    faded[:, 1:] *= 0.8
    green[:, 1:, 15:47, 44:68] = torch.tensor([-40.0, 40.0]).view(2, 1, 1)
    faded, green, photo = (lab_to_rgb(picture) for picture in (faded, green, lab))
    assert distance_of(photo, photo).item() == 0
    far = distance_of(green, photo).item()
    assert far > distance_of(faded, photo).item() > 0

    ratios, seen = [], [(rgb - distance_of.mean) / distance_of.std for rgb in (green, photo)]
    for level in distance_of.eyes:
        seen = [level(x) for x in seen]
        ours, theirs = (x.detach().numpy() for x in seen)
        ratios.append(np.abs(ours - theirs).mean() / np.abs(theirs).mean())
    assert far == pytest.approx(np.mean(ratios), rel=1e-5)
    with pytest.raises(ValueError, match="Both must be"):
        distance_of(photo, photo[..., :99])
