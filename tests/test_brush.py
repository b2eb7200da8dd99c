"""The correcting brush: what strokes change, what they leave alone, and how fast."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

import colorlib
from colorlib import brush
from colorlib.brush import TouchUp, touch_up
from colorlib.classical import affinity
from colorlib.color import rgb_to_lab, to_tensor
from colorlib.strokes import Stroke, draw_strokes

RED, BLUE = (40.0, 25.0), (5.0, -40.0)


def two_halves(height=60, width=80) -> np.ndarray:
    """Dark on the left, light on the right, both a little green."""
    rgb = np.full((height, width, 3), (70, 90, 70), np.uint8)
    rgb[:, width // 2 :] = (190, 210, 190)
    return rgb


def ab_of(image) -> torch.Tensor:
    return rgb_to_lab(to_tensor(image))[1:]


def test_a_stroke_colors_its_object_and_leaves_the_rest_alone():
    photo = two_halves()
    result = np.asarray(touch_up(photo, [Stroke([(0.1, 0.5), (0.4, 0.5)], RED, 0.05)]))
    ab = ab_of(result)
    assert (ab[:, 25:35, 8:32] - torch.tensor(RED).view(2, 1, 1)).abs().max() < 3
    assert (ab[:, :, :36] - torch.tensor(RED).view(2, 1, 1)).abs().mean() < 6
    assert (ab - ab_of(photo))[:, :, 44:].abs().max() < 4
    assert (rgb_to_lab(to_tensor(result))[0] - rgb_to_lab(to_tensor(photo))[0]).abs().max() < 1


def test_far_from_a_stroke_not_a_byte_changes():
    photo = np.asarray(Image.fromarray(colorlib.data.bundled_photo("coffee")).resize((600, 400)))
    result = np.asarray(touch_up(photo, [Stroke([(0.05, 0.05)], BLUE, 0.02)]))
    changed = (result != photo).any(axis=2)
    assert changed[:30, :40].any() and changed.mean() < 0.9
    assert not changed[300:, 450:].any()
    assert np.array_equal(np.asarray(touch_up(photo, [])), photo)


def test_the_difference_agrees_with_a_dense_solve():
    photo = colorlib.paint_scenes(1, 32, 4).rgb[0, :, :24].permute(1, 2, 0).numpy()
    strokes = [Stroke([(0.2, 0.2), (0.5, 0.3)], RED, 0.03), Stroke([(0.7, 0.8)], None, 0.05)]
    tool = TouchUp(photo)
    lab = rgb_to_lab(to_tensor(photo))
    drawn, covered = draw_strokes(lab, strokes)
    free = (~covered).flatten().double().numpy()
    dense = np.diag(np.where(free == 1, 1 + tool.pull, 1)) - free[:, None] * affinity(lab[0]).toarray()
    right = np.where(free == 1, 0, (drawn - lab)[1:].flatten(1).double().numpy())
    expected = np.linalg.solve(dense, right.T).T.reshape(2, 24, 32)
    assert np.abs(tool.difference(strokes).numpy() - expected).max() <= brush.STEP / 2 + 1e-4


def test_a_stroke_without_a_color_protects_what_it_covers():
    photo = np.full((60, 80, 3), 128, np.uint8)
    red = Stroke([(0.1, 0.5)], RED, 0.05)
    without, kept = (
        ab_of(touch_up(photo, [red])),
        ab_of(touch_up(photo, [red, Stroke([(0.9, 0), (0.9, 1)], None, 0.03)])),
    )
    assert kept[:, :, 71:74].abs().max() < 2 < without[:, :, 71:74].abs().mean()


def test_only_the_last_strokes_count_whatever_came_before():
    photo = np.asarray(Image.fromarray(colorlib.data.bundled_photo("chelsea")).resize((450, 300)))
    one, two = Stroke([(0.3, 0.4), (0.5, 0.5)], RED, 0.02), Stroke([(0.8, 0.2)], BLUE, 0.03)
    tool = TouchUp(photo)
    for strokes in ([one], [one, two], [two], [], [two, one]):
        assert np.array_equal(np.asarray(tool.apply(strokes)), np.asarray(touch_up(photo, strokes)))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (3, 2), (40, 700), (131, 127)])
def test_photos_of_any_size(height, width):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    result = touch_up(rgb, [Stroke([(0.5, 0.5)], RED, 0.5)])
    assert result.size == (width, height) and (np.asarray(result) != rgb).any()


def test_a_result_keeps_what_the_photo_carries(tmp_path):
    image = Image.fromarray(two_halves())
    exif = image.getexif()
    exif[0x010E] = "the harbor"
    image.save(tmp_path / "photo.jpg", exif=exif, dpi=(300, 300))
    result = touch_up(tmp_path / "photo.jpg", [])
    assert result.getexif()[0x010E] == "the harbor" and result.info["icc_profile"]
    with pytest.raises(ValueError, match="uint8"):
        touch_up(np.zeros((4, 4)), [])
    with pytest.raises(ValueError, match="pull"):
        TouchUp(image, pull=-1)


def test_only_what_a_stroke_reaches_is_painted_anew():
    """So a stroke on a large photo takes a fraction of the time that painting the whole photo takes."""
    photo = np.asarray(Image.fromarray(colorlib.data.bundled_photo("coffee")).resize((1500, 1000)))
    tool = TouchUp(photo)
    start = time.process_time()
    change = tool.difference([Stroke([(0.1, 0.1)], BLUE, 0.01)])
    assert time.process_time() - start < 1
    area = sum((bottom - top) * (right - left) for top, bottom, left, right in tool._windows(change)) / 1.5e6
    reached = (change != 0).any(dim=0).float().mean()
    assert 0 < reached <= area < reached + 0.3
    tool.apply([Stroke([(0.1, 0.1)], BLUE, 0.01)])
    assert not tool._windows(change), "the same strokes again change nothing"
