"""Widgets and figures of chapter 05: what they draw is what was stored, computed or trained."""

import numpy as np
import pytest
import torch

from colorlib.lessons import experiments
from colorlib.lessons.widgets import photo_races

PNG = b"\x89PNG"


# --- stored races -----------------------------------------------------------------------------------------------------


def scores(error, color):
    return {photo_races.ERROR: error, photo_races.COLOR: color, "correlation": 0.4}


@pytest.fixture
def races():
    """A record as `tools/race_photos.py` stores it, with two seeds of one run and rows that the figures leave out."""
    table, ab = {}, {}
    for start, errors in {
        "pretrained": {32: [0.9, 0.8], 1000: [0.7]},
        "random": {32: [1.0, 1.1], 1000: [0.95]},
    }.items():
        for n, by_seed in errors.items():
            for seed, error in enumerate(by_seed):
                name = f"{start}, {n} photos, 500 steps, seed {seed}"
                table[name] = {"n": n, "steps": 500, "seed": seed, "scores": scores(error, 0.5)}
                if seed == 0:
                    ab[name] = experiments.pack_ab(torch.full((7, 2, 64, 64), error / 4))
    table["random, two rates, 1000 photos, 500 steps, seed 0"] = {
        "n": 1000, "steps": 500, "seed": 0, "scores": scores(0.5, 0.5)
    }  # fmt: skip
    long = {"n": 1000, "steps": 1500, "seed": 0}
    multiplied = {"1.25": scores(0.75, 0.6), "2.0": scores(0.9, 1.0)}
    name = "1000 photos, 1500 steps, seed 0"
    table[f"pretrained, {name}"] = long | {"scores": scores(0.7, 0.5), "multiplied": multiplied}
    table[f"GAN, patch, {name}"] = long | {"scores": scores(0.85, 0.7), "multiplied": multiplied}
    table[f"GAN, features, {name}"] = long | {"scores": scores(0.8, 0.65), "multiplied": multiplied}
    return {"table": table}, ab


def test_curve_points_are_those_of_the_two_starts(races):
    record, _ = races
    assert photo_races.curve_points(record) == {
        "pretrained": {32: {0: 0.9, 1: 0.8}, 1000: {0: 0.7}},
        "random": {32: {0: 1.0, 1: 1.1}, 1000: {0: 0.95}},
    }
    with pytest.raises(ValueError, match="700 steps"):
        photo_races.curve_points(record, steps=700)


def test_race_curve_has_a_dot_per_seed_and_a_line_through_the_means(races):
    line, dots = photo_races.race_curve(races[0]).axes[0].lines[:2]
    assert np.allclose(line.get_xydata(), [(32, 0.85), (1000, 0.7)])
    assert np.allclose(dots.get_xydata(), [(32, 0.9), (32, 0.8), (1000, 0.7)])


def test_plane_draws_the_multiplied_net_of_the_same_seed(races):
    record, _ = races
    curve, patch, features = photo_races.plane(record).axes[0].lines[:3]
    assert np.allclose(curve.get_xydata(), [(0.5, 0.7), (0.6, 0.75), (1.0, 0.9)])
    assert np.allclose(patch.get_xydata(), [(0.7, 0.85)]) and "PatchGAN" in patch.get_label()
    assert np.allclose(features.get_xydata(), [(0.65, 0.8)])
    with pytest.raises(ValueError, match="GAN"):
        photo_races.plane({"table": {}})


def test_data_size_explorer_shows_the_stored_colors(races):
    record, ab = races
    figure = photo_races.data_size(record, ab, 32)
    assert "pretrained 0.85, random 1.05" in figure.axes[0].get_title()
    sheet = np.asarray(figure.axes[1].images[0].get_array())
    side = photo_races.SIZE
    assert sheet.shape == (3 * side + 12, 4 * side + 18, 3)
    coffee = photo_races.stored_rgb(ab, "random, 32 photos, 500 steps, seed 0")[2]
    assert np.allclose(sheet[side + 6 : 2 * side + 6, :side], coffee.permute(1, 2, 0))
    with pytest.raises(ValueError, match="on 5 photos, only on 32, 1000"):
        photo_races.data_size(record, ab, 5)
    panel = photo_races.data_size_explorer(record, ab)
    before = panel.picture.value
    panel.controls["n"].value = 32
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before


def test_the_figures_draw_the_races_that_are_stored():
    record, ab = experiments.stored_training("photo_races")
    points = photo_races.curve_points(record)
    assert points["pretrained"].keys() == points["random"].keys() and len(points["random"]) > 3
    for figure in (photo_races.race_curve(record), photo_races.plane(record), photo_races.data_size(record, ab, 100)):
        texts = [text for ax in figure.axes for text in ax.texts if text.get_text()]
        assert min(text.get_size() for text in texts) >= 7
