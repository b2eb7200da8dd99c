"""The bundled weights: small, described, offline, and better than gray on photos they were not trained on."""

import json

import numpy as np
import pytest
import torch

import colorlib
from colorlib.colorizer import DEFAULT_WEIGHTS
from colorlib.data import bundled_photo
from colorlib.images import fit_square
from colorlib.lessons.experiments import LIBRARY_PHOTOS
from colorlib.zoo import bundled_names, load_generator, read_notes

FOLDER = colorlib.zoo._bundled_folder()


def test_two_points_are_bundled_and_small():
    assert bundled_names() == ["photos", "photos-l1"] and DEFAULT_WEIGHTS == "photos"
    for name in bundled_names():
        assert (FOLDER / f"{name}.safetensors").stat().st_size <= 16e6  # 8 million numbers in half precision
        assert sum(p.numel() for p in load_generator(name).parameters()) <= 8e6


def test_their_headers_say_how_they_were_made_and_name_no_place_on_disk():
    card = (FOLDER / "README.md").read_text()
    for name in bundled_names():
        notes = read_notes(name)
        assert {"data", "commands", "seconds", "seed", "held_out", "render_size"} <= notes.keys()
        assert "/var" not in json.dumps(notes) and "/home" not in json.dumps(notes)
        assert f"`{name}`" in card and f"{notes['render_size']} px" in card
        for value in notes["held_out"].values():
            assert f"{value:.2f}" in card


@pytest.fixture(scope="module")
def judged():
    """Name -> ab MAE over that of gray, and colorfulness over the truth's, on the photos that come with libraries."""
    truth = np.stack([fit_square(bundled_photo(name), 256) for name in LIBRARY_PHOTOS])
    ab_true = colorlib.rgb_to_lab(torch.from_numpy(truth).permute(0, 3, 1, 2))[:, 1:]
    color_true = colorlib.metrics.colorfulness(torch.from_numpy(truth).permute(0, 3, 1, 2) / 255).mean()
    scores = {}
    for name in bundled_names():
        colorizer = colorlib.Colorizer.from_pretrained(name, device="cpu")
        result = torch.from_numpy(np.stack([np.array(colorizer.colorize(rgb)) for rgb in truth])).permute(0, 3, 1, 2)
        error = (colorlib.rgb_to_lab(result)[:, 1:] - ab_true).abs().mean() / ab_true.abs().mean()
        scores[name] = error.item(), (colorlib.metrics.colorfulness(result / 255).mean() / color_true).item()
    return scores


def test_they_do_not_lose_against_gray_on_photos_of_another_source(judged):
    assert judged["photos-l1"][0] < 1


def test_the_game_made_bolder_what_l1_left_timid(judged):
    assert judged["photos-l1"][1] < judged["photos"][1] < 1.2
