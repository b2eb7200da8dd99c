"""The panel of chapter 07 and the app: the brush on a photo, its strokes as files, the strip of thumbnails."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_photo_lessons import jpeg, pieces, send, upload

import colorlib
from colorlib.color import rgb_to_lab, to_tensor
from colorlib.lessons.widgets import photo_panel, thumbnails
from colorlib.lessons.widgets.stroke_canvas import as_rows
from colorlib.strokes import strokes_from_json, strokes_to_json

RED = colorlib.Stroke([(0.2, 0.3), (0.8, 0.3)], (60, 40), 0.05)


@pytest.fixture
def colorizer():
    torch.manual_seed(0)
    return colorlib.Colorizer(colorlib.UNet(base_channels=8, n_down=2), render_size=64, device="cpu")


@pytest.fixture
def panel(colorizer):
    """A panel with two photos, in the view to paint."""
    scenes = colorlib.paint_scenes(2, 96, 3).rgb.permute(0, 2, 3, 1).numpy()
    panel = photo_panel.own_photo(colorizer, photos={"one": scenes[0], "two.png": scenes[1]})
    panel.view.value = "paint"
    return panel


def shown(panel):
    """Return the image on the drawing surface."""
    return Image.open(io.BytesIO(panel.brush.canvas.picture))


def redness(image):
    height, width = image.height, image.width
    lab = rgb_to_lab(to_tensor(image.convert("RGB")))
    return lab[1, int(0.28 * height) : int(0.32 * height) + 1, int(0.3 * width) : int(0.7 * width)].mean().item()


def test_a_stroke_changes_the_picture_and_the_download(panel):
    before = redness(shown(panel))
    panel.brush.canvas.strokes = as_rows([RED])
    assert panel.status.value == "one: 96 × 96 pixels, 1 stroke"
    assert redness(shown(panel)) > before + 20
    name, file = panel.make_file()
    expected = colorlib.touch_up(panel.color(panel.photo), [RED])
    assert name == "one-colored.jpg" and redness(Image.open(io.BytesIO(file))) == pytest.approx(
        redness(expected), abs=3
    )
    panel.brush.canvas.strokes = []  # undo
    assert redness(shown(panel)) == before and panel.status.value == "one: 96 × 96 pixels"


def test_the_strokes_stay_when_a_setting_or_the_view_changes(panel):
    panel.brush.canvas.strokes = as_rows([RED])
    panel.saturation.value = 0.0
    assert redness(shown(panel)) > 20
    panel.view.value = "compare"
    first = panel.picture.value
    assert panel.brush.layout.display == "none" != panel.picture.layout.display
    panel.brush.canvas.strokes = []
    assert panel.picture.value != first, "the view to compare shows the corrected photo, too"


def test_each_photo_has_its_own_strokes(panel):
    panel.brush.canvas.strokes = as_rows([RED])
    panel.choice.value = 1
    assert panel.brush.canvas.strokes == [] and panel.status.value == "two.png: 96 × 96 pixels"
    panel.choice.value = 0
    assert panel.brush.strokes() == [RED] and redness(shown(panel)) > 20


def test_strokes_can_be_saved_and_loaded(panel, tmp_path):
    assert not panel.brush.save.ready
    panel.brush.canvas.strokes = as_rows([RED])
    assert panel.brush.save.ready
    name, content = panel.brush.make_file()
    assert name == "one.strokes.json" and strokes_from_json(content, name) == [RED]
    (tmp_path / name).write_bytes(content)
    assert colorlib.read_strokes(tmp_path / name) == [RED]
    panel.choice.value = 1
    send_strokes(panel.brush.load, "one.strokes.json", content)
    assert panel.brush.strokes() == [RED] and panel.status.value == "two.png: 96 × 96 pixels, 1 stroke"
    assert panel.brush.make_file()[0] == "two.strokes.json"


def send_strokes(button, name, content):
    for message, buffers in pieces(name, content):
        button.receive(button, message, buffers)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "bad.json is not a JSON file"),
        (b"[]", "bad.json is not a file of strokes"),
        (strokes_to_json([RED]).replace(b"0.05", b"5"), "bad.json: stroke 1 is not valid: the radius"),
    ],
)
def test_a_wrong_file_of_strokes_is_one_sentence(panel, content, words):
    panel.brush.canvas.strokes = as_rows([RED])
    for button in (panel.brush.load, panel.upload):  # it can also be dropped on the panel
        send_strokes(button, "bad.json", content)
        assert panel.status.value.startswith(words) and panel.brush.strokes() == [RED]
    send_strokes(panel.upload, "good.json", strokes_to_json([]))
    assert panel.brush.strokes() == []


def test_what_is_no_stroke_is_one_sentence(panel):
    panel.brush.canvas.strokes = [{"points": [], "ab": None, "radius": 0.1}]
    assert panel.status.value == "one can&#x27;t be colored: stroke 1 is not valid: a stroke needs at least one point."
    assert panel.brush.make_file() is None and panel.make_file() is None
    panel.brush.canvas.strokes = as_rows([RED])
    assert panel.status.value == "one: 96 × 96 pixels, 1 stroke"


def test_of_several_uploads_the_first_is_shown_and_all_can_be_chosen(colorizer):
    panel = photo_panel.own_photo(colorizer)
    for number, (name, width) in enumerate((("ann.jpg", 60), ("bob.jpg", 50), ("ann.jpg", 40))):
        send(
            panel,
            [(message | {"number": number}, data) for message, data in pieces(name, jpeg(width, 30), 100, number)],
        )
    assert [item["name"] for item in panel.choice.items] == ["ann.jpg", "bob.jpg", "ann.jpg"]
    assert panel.choice.value == 0 and panel.photo.size == (60, 30)
    panel.choice.value = 2
    assert panel.photo.size == (40, 30) and panel.status.value == "ann.jpg: 40 × 30 pixels"


def test_a_broken_first_upload_does_not_hide_the_next(colorizer):
    panel = photo_panel.own_photo(colorizer)
    for number, content in enumerate((b"no photo", jpeg(50, 30))):
        send(panel, [(message | {"number": number}, data) for message, data in pieces(f"{number}.jpg", content)])
    assert panel.status.value == "1.jpg: 50 × 30 pixels" and len(panel.choice.items) == 1


def test_the_oldest_uploads_leave_the_strip_and_the_memory_is_bounded(colorizer, monkeypatch):
    photo = np.full((30, 40, 3), 90, np.uint8)
    panel = photo_panel.own_photo(colorizer, photos={"sample": photo})
    file = jpeg(60, 40)
    monkeypatch.setattr(thumbnails, "MAX_BYTES", 2 * len(file))
    for name in "abcd":
        upload(panel, name, file)
        panel.brush.canvas.strokes = as_rows([RED])
        assert sum(entry.size for entry in panel.entries) <= 2 * len(file)
    assert [item["name"] for item in panel.choice.items] == ["sample", "c", "d"] and panel.name == "d"
    assert panel.choice.value == 2 and panel.brush.strokes() == [RED]
    panel.choice.value = 1
    assert panel.status.value == "c: 60 × 40 pixels, 1 stroke"
    monkeypatch.setattr(thumbnails, "MAX_BYTES", 10)
    upload(panel, "e", file)
    assert panel.name == "e", "the photo that is shown stays, however large its file is"


def test_the_thumbnails_are_small(panel):
    assert all(len(json.dumps(item)) < 10_000 for item in panel.choice.items)


def test_a_photo_that_cannot_be_read_again_leaves_the_previous_one_chosen(colorizer):
    panel = photo_panel.own_photo(colorizer)
    for name in "ab":
        upload(panel, name, jpeg(50, 30))
    panel.entries[0].source = b"damaged"
    panel.choice.value = 0
    assert panel.status.value.startswith("a is ") and panel.choice.value == 1 and panel.name == "b"
