"""Coloring without a network, against dense solves, direct loops and scikit-image; strokes and their files."""

import json
import time

import numpy as np
import pytest
import skimage.exposure
import torch

import colorlib
from colorlib import classical
from colorlib.color import rgb_to_lab, to_tensor
from colorlib.strokes import Stroke, draw_strokes, read_strokes, save_strokes, strokes_from

RED, BLUE = (60.0, 40.0), (10.0, -40.0)


@pytest.fixture(scope="module")
def lab():
    """A painted scene in color, (3, 48, 40) in Lab units."""
    return rgb_to_lab(colorlib.paint_scenes(1, 48, 5).rgb[0, :, :, :40])


@pytest.fixture(scope="module")
def other():
    """Another scene of another size."""
    return rgb_to_lab(colorlib.paint_scenes(1, 64, 8).rgb[0, :, :, 10:50])


def flat(L) -> torch.Tensor:
    """A gray picture with the lightness L (H, W)."""
    L = torch.as_tensor(L, dtype=torch.float32)
    return torch.stack([L, torch.zeros_like(L), torch.zeros_like(L)])


# --- strokes ----------------------------------------------------------------------------------------------------------


def test_a_stroke_covers_the_pixels_within_its_radius_at_any_size():
    stroke = Stroke([(0.2, 0.5), (0.8, 0.5)], RED, radius=0.1)
    for height, width in ((20, 20), (40, 40), (30, 60)):
        picture = flat(torch.full((height, width), 50.0))
        drawn, covered = draw_strokes(picture, [stroke])
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        nearest = x.clamp(0.2 * width, 0.8 * width)
        by_definition = ((x - nearest) ** 2 + (y - height / 2) ** 2).sqrt() <= 0.1 * min(height, width) + 1e-5
        assert torch.equal(covered, by_definition)
        assert set(map(tuple, drawn[1:, covered].T.tolist())) == {RED}
        assert torch.equal(drawn[:, ~covered], picture[:, ~covered])
        assert torch.equal(drawn[0], picture[0])


def test_a_thin_stroke_has_no_gaps_and_a_dot_in_a_corner_is_a_pixel():
    picture = flat(torch.zeros(30, 30))
    covered = draw_strokes(picture, [Stroke([(0.0, 0.0), (1.0, 0.9)], RED, 1e-6)])[1]
    assert covered.any(dim=0).all() and covered.sum() < 80
    for corner in ((0, 0), (1, 1), (0, 1)):
        assert draw_strokes(picture, [Stroke([corner], RED, 1e-6)])[1].sum() >= 1
    assert not draw_strokes(picture, [])[1].any()


def test_later_strokes_cover_earlier_ones_and_none_keeps_the_pictures_colors(lab):
    line = [(0.1, 0.5), (0.9, 0.5)]
    drawn, covered = draw_strokes(lab, [Stroke(line, RED, 0.1), Stroke([(0.5, 0.5)], None, 0.05)])
    middle = draw_strokes(lab, [Stroke([(0.5, 0.5)], RED, 0.05)])[1]
    assert torch.equal(drawn[:, middle], lab[:, middle])
    assert (drawn[1, covered & ~middle] == RED[0]).all()


def test_strokes_survive_a_file(tmp_path):
    strokes = [Stroke([(0.25, 0.5), (1 / 3, 1)], RED, 0.02), Stroke([(0, 0)], None)]
    save_strokes(strokes, tmp_path / "photo.strokes.json")
    assert read_strokes(tmp_path / "photo.strokes.json") == strokes
    assert json.loads((tmp_path / "photo.strokes.json").read_text())["format"] == "colorlib strokes 1"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[]", "not a file of strokes"),
        ('{"format": "other", "strokes": []}', "not a file of strokes"),
        ('{"format": "colorlib strokes 1", "strokes": [3]}', "stroke 1 .* needs points"),
        ('{"format": "colorlib strokes 1", "strokes": [{"points": [[0, 0]]}]}', "stroke 1 .* needs points"),
        ('{"format": "colorlib strokes 1", "strokes": [{"points": [[0, 2]], "ab": null}]}', r"from 0 to 1, got \[0, 2"),
        ('{"format": "colorlib strokes 1", "strokes": [{"points": [], "ab": null}]}', "at least one point"),
        ('{"format": "colorlib strokes 1", "strokes": [{"points": 3, "ab": null}]}', "needs points"),
        ('{"format": "colorlib strokes 1", "strokes": [{"points": [[0, 0]], "ab": [NaN, 1]}]}', "from -128 to 128"),
        ('{"format": "colorlib strokes 1", "strokes": [{"points": [[0, 0]], "ab": [1]}]}', "from -128 to 128"),
        ('{"format": "colorlib strokes 1", "strokes": [{"points": [[0, 0]], "ab": null, "radius": 0}]}', "radius"),
    ],
)
def test_a_file_that_is_not_of_strokes_gives_one_sentence_with_its_name(tmp_path, content, says):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"(?s)bad.json.*{says}") as caught:
        read_strokes(path)
    assert "\n" not in str(caught.value)


def test_too_many_points_are_refused():
    row = {"points": [(0.5, 0.5)] * 60_000, "ab": RED, "radius": 0.1}
    with pytest.raises(ValueError, match="120,000 points"):
        strokes_from([row, row])


# --- tint and palette -------------------------------------------------------------------------------------------------


def test_tint_interpolates_between_stops(lab):
    stops = [(20, 0, 0), (40, 10, -20), (80, 0, 40)]
    tinted = classical.tint(flat([[10.0, 20, 30, 40, 60, 80, 90]]), stops)
    assert tinted[1].tolist() == [[0, 0, 5, 10, 5, 0, 0]] and tinted[2].tolist() == [[0, 0, -10, -20, 10, 40, 40]]
    assert torch.equal(classical.tint(lab, stops)[0], lab[0])
    for bad in ([], [(1, 2)], [(20, 0, 0), (20, 1, 1)], [(30, 0, 0), (20, 1, 1)]):
        with pytest.raises(ValueError, match="increasing L"):
            classical.tint(lab, bad)
    with pytest.raises(ValueError, match=r"\(3, H, W\).*\(48, 40\)"):
        classical.tint(lab[0], stops)


def test_stops_from_a_picture_are_its_mean_colors(lab):
    stops = classical.stops_from(lab, n=10)
    for row in stops:
        low = 10 * int(row[0] / 10)
        here = (lab[0] >= low) & (lab[0] < low + 10)
        assert torch.allclose(row.float(), lab[:, here].mean(dim=1), atol=1e-3)
    by_lightness = classical.tint(lab, stops)
    assert (by_lightness - lab)[1:].abs().mean() < lab[1:].abs().mean()


def test_filling_segments_with_their_mean_color(lab):
    ids = classical.segments(lab, 12)
    assert ids.shape == lab.shape[1:] and 4 <= len(ids.unique()) <= 30
    palette = classical.mean_palette(lab, ids)
    filled = classical.fill_segments(lab, ids, palette)
    for number in ids.unique():
        assert torch.allclose(filled[1:, ids == number].mean(1), lab[1:, ids == number].mean(1), atol=1e-3)
        assert filled[1:, ids == number].std(dim=1, correction=0).max() < 1e-4
    assert (classical.fill_segments(lab, ids, {0: RED})[1:, ids != 0] == 0).all()
    with pytest.raises(ValueError, match=r"\(48, 40\)"):
        classical.fill_segments(lab, ids[:4], palette)


# --- by reference -----------------------------------------------------------------------------------------------------


def test_reinhard_gives_the_references_mean_and_spread(lab, other):
    moved = classical.reinhard(lab, other)
    for got, wanted in zip(
        torch.std_mean(moved[1:].flatten(1), 1, correction=0), torch.std_mean(other[1:].flatten(1), 1, correction=0)
    ):
        assert torch.allclose(got, wanted, atol=1e-3)
    assert torch.equal(moved[0], lab[0])
    tinted = classical.reinhard(flat(lab[0]), other)
    assert torch.allclose(tinted[1:], other[1:].mean(dim=(1, 2), keepdim=True).expand_as(tinted[1:]), atol=1e-4)


@pytest.mark.parametrize("levels", [None, 8])
def test_histogram_matching_agrees_with_scikit_image(lab, other, levels):
    one, two = (x if levels is None else (x / 100 * levels).round() for x in (lab[0], other[0]))
    ours = classical.match_histogram(one, two)
    theirs = skimage.exposure.match_histograms(one.numpy(), two.numpy())
    assert np.abs(ours.numpy() - theirs).max() < 1e-4


def lightness_and_texture_by_loop(L):
    padded = np.pad(L, 2, mode="edge")
    return [[(L[y, x], padded[y : y + 5, x : x + 5].std()) for x in range(L.shape[1])] for y in range(L.shape[0])]


def test_welsh_agrees_with_a_direct_loop(lab, other):
    target, source = lab[:, 8:20, 5:20].double(), other[:, 20:31, 10:24].double()
    L, L_source = target[0].numpy(), source[0].numpy()
    remapped = (L_source - L_source.mean()) * L.std() / L_source.std() + L.mean()
    wanted, features = lightness_and_texture_by_loop(L), lightness_and_texture_by_loop(remapped)
    colored = classical.welsh(target, source, samples=None)
    for y in range(L.shape[0]):
        for x in range(L.shape[1]):
            distances = [
                (features[j][i][0] - wanted[y][x][0]) ** 2 + (features[j][i][1] - wanted[y][x][1]) ** 2
                for j in range(L_source.shape[0])
                for i in range(L_source.shape[1])
            ]
            j, i = divmod(int(np.argmin(distances)), L_source.shape[1])
            assert torch.allclose(colored[1:, y, x], source[1:, j, i])
    assert torch.equal(colored[0], target[0])


def test_welsh_finds_a_pictures_own_colors(lab):
    assert torch.allclose(classical.welsh(lab, lab, samples=None), lab, atol=1e-4)
    sampled = (classical.welsh(lab, lab, samples=200) - lab)[1:].abs().mean()
    assert 0 < sampled < 0.5 * lab[1:].abs().mean()
    assert torch.equal(classical.welsh(lab, lab, seed=1), classical.welsh(lab, lab, seed=1))


def test_samples_are_jittered():
    """One in each cell of a grid, and not in its middle."""
    chosen = classical._jittered(40, 80, 200, np.random.default_rng(0))
    y, x = chosen // 80, chosen % 80
    assert len(chosen) == 200 and len(set(zip((y // 4).tolist(), (x // 4).tolist(), strict=True))) == 200
    assert len(set((x % 4).tolist())) == 4


def test_welsh_with_swatches_agrees_with_a_direct_loop(lab, other):
    """Texture decides outside of the boxes; what is in them takes its colors from their partners."""
    boxes = [((0.0, 0.0, 1.0, 0.2), (0.0, 0.0, 1.0, 0.3)), ((0.2, 0.8, 0.9, 1.0), (0.1, 0.7, 0.9, 1.0))]
    colored = classical.welsh(lab, other, samples=None, swatches=boxes)
    known = torch.zeros(48, 40, dtype=torch.bool)
    known[:10], known[38:, 8:36] = True, True
    assert torch.allclose(colored[1:, :10], classical.welsh(lab[:, :10], other[:, :19], samples=None)[1:])
    padded = np.pad(lab[0].numpy(), 2, mode="reflect")
    patch = {(y, x): padded[y : y + 5, x : x + 5] for y in range(48) for x in range(40)}
    inside = [(y, x) for y, x in patch if known[y, x]]
    for y, x in ((20, 3), (30, 30), (47, 0), (12, 39)):
        distance = [((patch[y, x] - patch[place]) ** 2).sum() for place in inside]
        best = [colored[1:, *inside[i]] for i in np.flatnonzero(np.array(distance) <= min(distance) + 1e-2)]
        assert any(torch.equal(colored[1:, y, x], color) for color in best)
    with pytest.raises(ValueError, match="has no pixel"):
        classical.welsh(lab, other, swatches=[((0.5, 0.5, 0.5, 0.9), (0, 0, 1, 1))])
    with pytest.raises(ValueError, match="at least 1"):
        classical.welsh(lab, other, samples=0)


# --- by strokes -------------------------------------------------------------------------------------------------------


def affinity_by_loop(L):
    """Equation 2 of Levin et al., pixel by pixel."""
    height, width = L.shape
    weights = np.zeros((height * width, height * width))
    for y in range(height):
        for x in range(width):
            near = [
                (j, i)
                for j in range(max(0, y - 1), min(height, y + 2))
                for i in range(max(0, x - 1), min(width, x + 2))
            ]
            values = np.array([L[place] for place in near])
            others = [place for place in near if place != (y, x)]
            squared = np.array([(L[y, x] - L[place]) ** 2 for place in others])
            spread = max(0.6 * values.var(), squared.min() / -np.log(0.01), 2e-6)
            row = np.exp(-squared / spread)
            for place, weight in zip(others, row / row.sum(), strict=True):
                weights[y * width + x, place[0] * width + place[1]] = weight
    return weights


def test_affinities_and_solution_agree_with_loops_and_a_dense_solve(lab):
    small = lab[:, 15:31, 4:23]
    L = small[0]
    weights = affinity_by_loop(L.double().numpy() / 100)
    assert np.abs(classical.affinity(L).toarray() - weights).max() < 1e-9
    fixed = torch.zeros(L.shape, dtype=torch.bool)
    fixed[2, 3:7] = fixed[12, 15] = fixed[14, 2] = True
    for pull in (0.0, 0.1):
        free = (~fixed).flatten().double().numpy()
        dense = np.diag(np.where(free == 1, 1 + pull, 1)) - free[:, None] * weights
        right = np.where(free == 1, 0, small[1:].flatten(1).double().numpy())
        expected = np.linalg.solve(dense, right.T).T.reshape(2, *L.shape)
        assert np.abs(classical.propagate(L, small[1:].double(), fixed, pull).numpy() - expected).max() < 1e-9


def test_levin_keeps_stroked_pixels_and_solves_the_equations(lab):
    strokes = [Stroke([(0.1, 0.1), (0.6, 0.1)], BLUE, 0.02), Stroke([(0.5, 0.9)], RED, 0.04)]
    colored = classical.levin(lab, strokes)
    drawn, covered = draw_strokes(lab, strokes)
    assert torch.allclose(colored[:, covered], drawn[:, covered]) and torch.equal(colored[0], lab[0])
    ab = colored[1:].flatten(1).double().numpy()
    residual = ab - (classical.affinity(lab[0]) @ ab.T).T
    assert np.abs(residual[:, ~covered.flatten().numpy()]).max() < 1e-4  # Lab units; float32
    for plane, drawn_colors in zip(colored[1:], zip(RED, BLUE, strict=True), strict=True):
        assert min(drawn_colors) - 1e-3 < plane.min() and plane.max() < max(drawn_colors) + 1e-3


def test_color_fills_a_region_of_constant_lightness_and_stops_at_its_edge():
    picture = flat(torch.full((20, 30), 50.0))
    colored = classical.levin(picture, [Stroke([(0.5, 0.5)], RED, 0.01)])
    assert torch.allclose(colored[1:], torch.tensor(RED).view(2, 1, 1).expand(2, 20, 30), atol=1e-3)
    picture[0, :, 15:] = 70.0
    strokes = [Stroke([(0.2, 0.5)], RED, 0.05), Stroke([(0.8, 0.5)], BLUE, 0.05)]
    colored = classical.levin(picture, strokes)
    for side, color in ((colored[1:, :, :14], RED), (colored[1:, :, 16:], BLUE)):
        assert (side - torch.tensor(color).view(2, 1, 1)).abs().max() < 3


def test_without_a_stroke_or_with_too_many_pixels_it_says_so(lab):
    with pytest.raises(ValueError, match="draw at least one"):
        classical.levin(lab, [])
    assert (classical.propagate(lab[0], lab[1:], torch.zeros(48, 40, dtype=torch.bool), pull=1e-3) == 0).all()
    with pytest.raises(ValueError, match="shrink"):
        classical.affinity(torch.zeros(1025, 1025))
    with pytest.raises(ValueError, match="don't fit"):
        classical.propagate(lab[0], lab[1:], torch.zeros(2, 2, dtype=torch.bool))


def test_levin_at_256_pixels_takes_at_most_two_seconds_of_one_core():
    lab = rgb_to_lab(to_tensor(colorlib.data.bundled_photo("coffee")[:256, :256]))
    strokes = [Stroke([(x, y), (x + 0.05, y)], RED, 0.01) for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)]
    start = time.process_time()
    classical.levin(lab, strokes)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(("height", "width"), [(1, 2), (2, 1), (3, 9), (40, 17)])
def test_every_pixel_is_eliminated_once(height, width):
    assert sorted(classical._dissection(height, width)) == list(range(height * width))
    L = torch.rand(height, width) * 100
    fixed = torch.zeros(height, width, dtype=torch.bool)
    fixed[0, 0] = True
    assert torch.allclose(
        classical.propagate(L, torch.full((1, height, width), 7.0), fixed), torch.tensor(7.0), atol=1e-3
    )
