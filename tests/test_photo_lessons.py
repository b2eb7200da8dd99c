"""Chapters 00 and 07: aging, the map of the series, the photo panel, contact sheets and the app."""

import base64
import io
import json
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import colorlib
from colorlib.color import rgb_to_lab, to_tensor
from colorlib.lessons import aging, experiments, series
from colorlib.lessons.widgets import file_buttons, first_photo, photo_panel, pictures, your_photos


@pytest.fixture(scope="module")
def photo():
    """A scene of 96×64 px, (H, W, 3) uint8, like a photo."""
    return colorlib.paint_scenes(1, 96, 3).rgb[0].permute(1, 2, 0).numpy()[:64].copy()


@pytest.fixture
def colorizer():
    torch.manual_seed(0)
    return colorlib.Colorizer(colorlib.UNet(base_channels=8, n_down=2), render_size=64, device="cpu")


def pieces(name, content, size=2**22, number=0.5):
    """Return the messages, and their buffers, in which the page sends a file."""
    message = {"upload": number, "name": name, "size": len(content)}
    starts = range(0, max(1, len(content)), size)
    return [(message | {"start": start}, [memoryview(content[start : start + size])]) for start in starts]


def send(panel, messages):
    for message, buffers in messages:
        panel.upload.receive(panel.upload, message, buffers)


def upload(panel, name, content):
    """Send a file to a panel as its page does."""
    send(panel, pieces(name, content))


def jpeg(width, height, **options):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="JPEG", **options)
    return buffer.getvalue()


def png(width, height, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "gray").save(buffer, format="PNG", **options)
    return buffer.getvalue()


def mean_chroma(rgb):
    return rgb_to_lab(to_tensor(rgb))[1:].norm(dim=0).mean().item()


# --- aging -----------------------------------------------------------------------------------------------------------


def test_luma_is_that_of_pillow(photo):
    gray = aging.to_luma(photo)
    assert (gray[..., 0] == gray[..., 2]).all()
    assert np.abs(gray[..., 0].astype(int) - np.asarray(Image.fromarray(photo).convert("L"))).max() <= 1


def test_fading_lifts_black_and_darkens_white():
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    assert (aging.fade(ends, 0) == ends).all()
    assert aging.fade(ends, 1)[0, :, 0].tolist() == [round(255 * aging.INK), round(255 * aging.PAPER)]
    assert 0 < aging.fade(ends, 0.5)[0, 0, 0] < aging.fade(ends, 1)[0, 0, 0]


def test_grain_has_the_given_deviation_and_no_color():
    gray = np.full((100, 100, 3), 128, dtype=np.uint8)
    grainy = aging.add_grain(gray, 0.1, seed=1)
    assert grainy.std() / 255 == pytest.approx(0.1, rel=0.05)
    assert (grainy[..., 0] == grainy[..., 1]).all()
    assert (grainy == aging.add_grain(gray, 0.1, seed=1)).all() and (grainy != aging.add_grain(gray, 0.1, seed=2)).any()


def test_sepia_is_brown():
    gray = np.full((4, 4, 3), 200, dtype=np.uint8)
    red, green, blue = aging.tone_sepia(gray, 1)[0, 0].tolist()
    assert red == 200 > green > blue
    assert (aging.tone_sepia(gray, 0) == gray).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fading": 1.5}, "amount must be between 0 and 1, got 1.5"),
        ({"grain": -0.1}, "amount must be between 0 and 1, got -0.1"),
        ({"rgb": np.zeros((4, 4), dtype=np.uint8)}, r"shape \(H, W, 3\), got uint8 \(4, 4\)"),
        ({"rgb": torch.zeros(3, 4, 4)}, r"shape \(H, W, 3\), got torch.float32"),
    ],
)
def test_wrong_arguments_of_aging_are_named(photo, arguments, message):
    with pytest.raises(ValueError, match=message):
        aging.age(**({"rgb": photo} | arguments))


# --- the map ----------------------------------------------------------------------------------------------------------


def test_the_map_lists_the_numbered_notebooks(tmp_path):
    first = {"cell_type": "markdown", "source": ["# 09 · A title\n", "\n", "**You will** see a cat. And more."]}
    (tmp_path / "09_cat.ipynb").write_text(json.dumps({"cells": [first]}))
    (tmp_path / "app.ipynb").write_text("{}")
    assert series.series_map(tmp_path).splitlines()[2:] == ["| [09 · A title](09_cat.ipynb) | see a cat |"]
    with pytest.raises(FileNotFoundError, match="no chapters in .*: they come with"):
        series.chapters(tmp_path / "as in an installed wheel")


def test_every_chapter_has_a_title_and_a_promise():
    assert all(title.startswith(name[:2]) and promise for name, title, promise in series.chapters())


# --- the photo panel and its parts ------------------------------------------------------------------------------------


def test_before_and_after_shows_both_images():
    red, blue = (Image.new("RGB", (40, 30), color) for color in ("red", "blue"))
    page = pictures.before_after(red, blue, 'a "print"', "colored")
    found = re.findall(r'class="t-(\w+)" alt="([^"]*)" src="data:image/jpeg;base64,([^"]+)"', page)
    assert [(name, alt) for name, alt, _ in found] == [("after", "colored"), ("before", "a &quot;print&quot;")]
    pixels = [Image.open(io.BytesIO(base64.b64decode(data))).getpixel((20, 15)) for _, _, data in found]
    assert pixels[0][2] > 200 > 50 > pixels[0][0] and pixels[1][0] > 200 > 50 > pixels[1][2]


def test_shrink_keeps_the_aspect_ratio_and_drops_metadata():
    image = Image.new("RGB", (3000, 1500))
    image.info["exif"] = b"Exif\0\0"
    assert pictures.shrink(image, 720).size == (720, 360) and pictures.shrink(image, 720).info == {}
    assert pictures.shrink(image, 9000).size == image.size and image.info, "the image itself must not change"


def test_a_download_keeps_metadata_and_color():
    image = Image.new("RGB", (32, 32), "orange")
    image.info = {"exif": Image.Exif().tobytes(), "icc_profile": b"profile", "dpi": (300, 300)}
    suffix, file = pictures.to_file(image)
    back = Image.open(io.BytesIO(file))
    assert suffix == ".jpg" and back.format == "JPEG" and back.info["dpi"] == (300, 300)
    assert back.info["icc_profile"] == b"profile" and "exif" in back.info
    assert np.abs(np.asarray(back, dtype=int) - np.asarray(image)).max() <= 3


def long_exif():
    """A PNG whose EXIF has 70,000 bytes, more than a JPEG can hold."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    return png(30, 20, exif=exif), (30, 20)


def wide():
    """A panorama of more pixels per side than a JPEG can have."""
    return png(65_501, 1), (65_501, 1)


@pytest.mark.parametrize("made", [long_exif, wide])
def test_what_a_jpeg_cannot_hold_is_downloaded_as_png(colorizer, made, monkeypatch):
    content, size = made()
    panel, sent = photo_panel.own_photo(colorizer), []
    monkeypatch.setattr(panel.download, "send", lambda message, buffers: sent.append((message, *buffers)))
    upload(panel, "Oma 12.05.1932", content)
    assert panel.status.value == f"Oma 12.05.1932: {size[0]} × {size[1]} pixels"
    panel.download.send_file(panel.download, {}, [])
    [(message, file)] = sent
    assert message == {"name": "Oma 12.05.1932-colored.png", "type": "image/png"}
    image = Image.open(io.BytesIO(file))
    assert (image.format, image.size) == ("PNG", size)
    if made is long_exif:
        assert len(image.getexif()[ExifTags.Base.ImageDescription]) == 70_000


def test_the_panel_redraws_for_each_control(colorizer, photo):
    panel = photo_panel.PhotoPanel(colorizer, {"one": photo, "two": photo[:, ::-1].copy()})
    assert panel.status.value == "one: 96 × 64 pixels" and panel.render_size.value == 64
    seen = [panel.picture.value]
    for control, value in [("choice", 1), ("render_size", 32), ("saturation", 2.0), ("left", "original")]:
        getattr(panel, control).value = value
        assert panel.picture.value not in seen, control
        seen.append(panel.picture.value)
    assert panel.status.value == "two: 96 × 64 pixels"


def test_an_uploaded_photo_can_be_downloaded_colored_at_full_size(colorizer):
    panel = photo_panel.own_photo(colorizer)
    assert not panel.download.ready
    upload(panel, "ann.jpg", jpeg(900, 300))
    assert panel.status.value == "ann.jpg: 900 × 300 pixels" and panel.download.ready
    assert not panel.upload.file, "the memory is freed"
    name, file = panel.make_file()
    assert name == "ann-colored.jpg" and Image.open(io.BytesIO(file)).size == (900, 300)


def test_an_upload_is_rotated_upright(colorizer):
    exif = Image.Exif()
    exif[274] = 6  # the camera was rotated
    panel = photo_panel.own_photo(colorizer)
    upload(panel, "tall.jpg", jpeg(300, 200, exif=exif))
    assert panel.status.value == "tall.jpg: 200 × 300 pixels"


@pytest.mark.parametrize("size", [(4000, 2), (1, 300), (3, 2)])
def test_odd_shapes_can_be_uploaded(colorizer, size):
    panel = photo_panel.own_photo(colorizer)
    upload(panel, "odd", jpeg(*size))
    assert panel.status.value == f"odd: {size[0]} × {size[1]} pixels"
    name, file = panel.make_file()
    assert name == "odd-colored.jpg" and Image.open(io.BytesIO(file)).size == size


def test_the_slider_includes_the_render_size_of_the_colorizer():
    large = colorlib.Colorizer(colorlib.UNet(base_channels=8, n_down=2), render_size=400, device="cpu")
    assert photo_panel.own_photo(large).render_size.value == 400


@pytest.mark.parametrize("content", [b"<html>no photo</html>", b"", jpeg(400, 400)[:3000]])
def test_a_corrupt_upload_is_explained_and_the_panel_keeps_working(colorizer, content):
    panel = photo_panel.own_photo(colorizer)
    upload(panel, "good.jpg", jpeg(60, 40))
    picture = panel.picture.value
    upload(panel, "<b>.jpg", content)
    assert panel.status.value.startswith("&lt;b&gt;.jpg is ") and panel.status.value.count(".") <= 3
    assert panel.picture.value == picture and panel.name == "good.jpg"
    upload(panel, "next.jpg", jpeg(50, 40))
    assert panel.status.value == "next.jpg: 50 × 40 pixels"


def test_a_file_is_uploaded_in_pieces(colorizer):
    panel = photo_panel.own_photo(colorizer)
    messages = pieces("ann.jpg", jpeg(60, 40), size=100)
    send(panel, messages[:-1])
    assert len(messages) > 3 and panel.photo is None and panel.upload.file
    send(panel, messages[-1:])
    assert panel.status.value == "ann.jpg: 60 × 40 pixels" and not panel.upload.file


def test_an_upload_that_lost_pieces_is_explained_once(colorizer):
    panel, told = photo_panel.own_photo(colorizer), []
    panel.upload.tell = told.append
    messages = pieces("ann.jpg", jpeg(60, 40), size=100)
    send(panel, messages[:1] + messages[2:])
    assert told == ["ann.jpg arrived incomplete, because the connection was interrupted: upload it again."]
    assert panel.photo is None and not panel.upload.file
    upload(panel, "ann.jpg", jpeg(60, 40))
    assert panel.status.value == "ann.jpg: 60 × 40 pixels"


def test_an_upload_replaces_the_one_in_progress(colorizer):
    panel = photo_panel.own_photo(colorizer)
    ann, bob = (
        pieces(name, jpeg(*size), 100, number) for name, size, number in (("ann", (60, 40), 1), ("bob", (9, 5), 2))
    )
    send(panel, [*ann[:2], bob[0], ann[2], *bob[1:], *ann[3:]])
    assert panel.status.value == "bob: 9 × 5 pixels" and not panel.upload.file


def test_too_large_a_file_is_refused_and_the_panel_keeps_working(colorizer):
    panel = photo_panel.own_photo(colorizer)
    send(panel, [({"upload": 1, "name": "<b>.tif", "size": file_buttons.MAX_UPLOAD + 1, "start": 0}, [])])
    assert panel.status.value == "&lt;b&gt;.tif is larger than 100 MB."
    upload(panel, "ann.jpg", jpeg(60, 40))
    assert panel.status.value == "ann.jpg: 60 × 40 pixels"


def test_an_error_while_coloring_is_explained(colorizer, photo, monkeypatch):
    panel = photo_panel.PhotoPanel(colorizer, {"one": photo})

    def fail(*args, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(colorizer, "colorize", fail)
    panel.saturation.value = 2.0
    assert panel.status.value == "one can&#x27;t be colored: out of memory"
    assert panel.make_file() is None


def test_the_download_button_makes_its_file_when_it_is_pressed(monkeypatch):
    made, sent = [], []
    button = photo_panel.DownloadButton(lambda: made.append(1) or ("x.jpg", b"bytes"))
    monkeypatch.setattr(button, "send", lambda message, buffers: sent.append((message, buffers)))
    button.send_file(button, {}, [])
    assert not made, "nothing to download yet"
    button.ready = True
    button.send_file(button, {}, [])
    assert sent == [({"name": "x.jpg", "type": "image/jpeg"}, [b"bytes"])] and not button.busy
    button.make = lambda: None
    button.send_file(button, {}, [])
    assert len(sent) == 1


def test_the_color_error_does_not_count_brightness():
    black, gray, red = (
        np.full((2, 3, 3), color, dtype=np.uint8) for color in ((0, 0, 0), (128, 128, 128), (255, 0, 0))
    )
    assert pictures.color_error_map(black, gray).max() < 0.01
    error = pictures.color_error_map(red, Image.fromarray(black))
    assert error.shape == (2, 3) and error == pytest.approx((80.1 + 67.2) / 2, abs=0.1)


def test_mistakes_marks_wrong_pixels(photo):
    titles = [ax.get_title() for ax in first_photo.mistakes(photo, Image.fromarray(photo), 5).axes]
    assert titles == ["colored", "off by more than 5: 0%", "truth"]
    marked = first_photo.mistakes(photo, aging.to_luma(photo), 0).axes[1].images[0].get_array()
    assert (np.asarray(marked) == first_photo.WRONG).all(axis=2).mean() > 0.9


# --- chapter 07 -------------------------------------------------------------------------------------------------------


def test_a_contact_sheet_has_an_image_for_every_setting(colorizer, photo):
    figure = your_photos.contact_sheet(colorizer, photo, render_sizes=(32, 48, 64), saturations=(0.5, 1.5))
    assert len(figure.axes) == 6
    assert [ax.get_title() for ax in figure.axes[:3]] == [f"render size {size}" for size in (32, 48, 64)]
    gray, vivid = (np.array(figure.axes[i].images[0].get_array()) for i in (0, 3))
    assert mean_chroma(gray) < mean_chroma(vivid)


def test_an_aged_photo_is_drawn_with_its_color_error(colorizer, photo):
    def aged_and_error(**damage):
        axes = your_photos.aged_and_colored(colorizer, photo, **damage).axes
        return np.array(axes[0].images[0].get_array()), float(re.search(r"[\d.]+", axes[1].get_title()).group())

    fresh, _ = aged_and_error(fading=0, grain=0, sepia=0)
    brown, error = aged_and_error(fading=0, grain=0, sepia=1)
    assert (fresh == aging.to_luma(photo)).all() and mean_chroma(brown) > 10 and error > 0


def fill_with_photos(folder):
    """Put thirty files of an album into a folder: one broken, one gray, two of one stem, one too wide for a JPEG."""
    folder.mkdir()
    scenes = colorlib.paint_scenes(27, 48, seed=3).rgb.permute(0, 2, 3, 1).numpy()
    for i, scene in enumerate(scenes):
        colorlib.save_image(scene, folder / ("scan.tif" if i == 0 else "scan.jpg" if i == 1 else f"{i:02}.png"))
    colorlib.save_image(aging.to_luma(scenes[0]), folder / "gray.jpg")
    (folder / "panorama.jpg").write_bytes(png(65_501, 1))
    (folder / "broken.jpg").write_bytes(b"not a photo")


def contents(folder):
    """Return name, time of the last change and bytes of every file."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*")}


@pytest.mark.slow
def test_chapter_07_runs_to_its_end_with_the_readers_own_folders_and_only_reads_them(tmp_path, monkeypatch, capsys):
    album, own = tmp_path / "album", tmp_path / "own"
    for folder in (album, own):
        fill_with_photos(folder)
    before = {folder: contents(folder) for folder in (album, own)}
    monkeypatch.setenv("COLORLIB_RUN", "quick")
    changes = {
        "own_album = None": f"own_album = {str(album)!r}",
        "own_folder = None": f"own_folder = {str(own)!r}",
        "epochs=8": "epochs=1",
    }
    cells = json.loads((series.FOLDER / "07_your_photos.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for old, new in changes.items():
        assert sum(old in source for source in code) == 1, old
        code = [source.replace(old, new) for source in code]
    variables = {}
    with warnings.catch_warnings(record=True, action="always") as caught:
        for source in code:
            exec(source, variables)  # a failed assertion of the chapter ends the test
    printed = capsys.readouterr().out
    assert "28 colored, 2 failed" in printed and "colored.zip holds 28 photos" in printed
    assert "broken.jpg: it is not an image that Pillow can read." in printed
    assert [warning for warning in caught if "left out" in str(warning.message)]
    assert "for training, 5 for validation, 5 for testing" in printed and "fine-tuned" in printed
    assert {folder: contents(folder) for folder in before} == before
    assert not variables["work"].exists()


def mistake_explorer(colorizer, photo):
    return first_photo.mistake_explorer({"one": photo}, {"one": aging.to_luma(photo)})


def test_the_stored_fine_tuning_began_with_the_weights_of_today():
    rows = experiments.stored("fine_tuning")[0]["table"]["seed 0"]
    views = experiments.your_photos.photo_and_crops("rocket", experiments.EXPERIMENTS["fine_tuning"].settings["size"])
    error = colorlib.evaluate(colorlib.load_generator("photos"), views)["ab_mae"]
    assert error == pytest.approx(rows["bundled"]["rocket"], abs=0.1), "run it again: make experiments ARGS=fine_tuning"


EXPLORERS = {  # a control of each, and a value for it
    "mistakes": (mistake_explorer, "tolerance", 40),
    "sheet": (lambda c, p: your_photos.sheet_explorer(c, {"one": p, "two": p[::-1].copy()}), "photo", "two"),
    "aging": (your_photos.aging_explorer, "grain", 0.3),
    "blend": (lambda c, p: your_photos.blend_explorer(lambda share: first_photo.mistakes(p, p, share)), "share", 1.0),
}


@pytest.mark.parametrize(("panel", "control", "value"), EXPLORERS.values(), ids=EXPLORERS)
def test_an_explorer_redraws(colorizer, photo, panel, control, value):
    explorer = panel(colorizer, photo)
    before = explorer.picture.value
    explorer.controls[control].value = value
    assert explorer.picture.value != before


def test_the_app_says_how_large_a_photo_may_be(colorizer):
    panel = your_photos.photo_app(colorizer)
    assert panel.status.value.startswith("Choose a photo of up to 100 MB")
    assert [item["name"] for item in panel.choice.items] == ["cat", "temple", "coffee"] and panel.photo is None
    panel.choice.value = 2
    assert panel.status.value == "coffee: 600 × 400 pixels" and panel.download.ready
