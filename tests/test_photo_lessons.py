"""Chapters 00 and 07: aging, the check of the machine, the map, before and after, the photo panel and its kin."""

import ast
import base64
import copy
import datetime
import io
import json
import re

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

import colorlib
from colorlib import images
from colorlib.color import rgb_to_lab
from colorlib.lessons import aging, environment, series
from colorlib.lessons.widgets import first_photo, your_photos


@pytest.fixture(scope="module")
def photo():
    """A scene of 96×64 px, as a photo would come."""
    return colorlib.paint_scenes(1, 96, 3).rgb[0].permute(1, 2, 0).numpy()[:64].copy()


@pytest.fixture
def colorizer():
    torch.manual_seed(0)
    return colorlib.Colorizer(colorlib.UNet(base_channels=8, n_down=2), render_size=64, device="cpu")


def uploaded(name, content):
    """The value that a FileUpload takes when a file is chosen."""
    now = datetime.datetime.now(datetime.UTC)
    return ({"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": now},)


def jpeg(width, height, **options):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="JPEG", **options)
    return buffer.getvalue()


def definition(notebook, name, given):
    """Run the definition of `name` that a notebook shows, and nothing else of its cell; return what it defines."""
    for cell in nbformat.read(series.FOLDER / notebook, 4).cells:
        for node in ast.parse(cell.source).body if cell.cell_type == "code" else []:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                exec(compile(ast.Module([node], type_ignores=[]), notebook, "exec"), given)
                return given[name]
    raise AssertionError(f"{notebook} defines no {name}")


def mean_chroma(rgb):
    return rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1))[1:].norm(dim=0).mean().item()


# --- aging -----------------------------------------------------------------------------------------------------------


def test_luma_is_what_pillow_stores(photo):
    gray = aging.to_luma(photo)
    assert (gray[..., 0] == gray[..., 2]).all()
    assert np.abs(gray[..., 0].astype(int) - np.asarray(Image.fromarray(photo).convert("L"))).max() <= 1


def test_fading_moves_black_and_white_toward_each_other():
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    assert (aging.fade(ends, 0) == ends).all()
    assert aging.fade(ends, 1)[0, :, 0].tolist() == [round(255 * aging.INK), round(255 * aging.PAPER)]
    assert 0 < aging.fade(ends, 0.5)[0, 0, 0] < aging.fade(ends, 1)[0, 0, 0]


def test_grain_has_the_deviation_asked_for_and_no_color():
    gray = np.full((100, 100, 3), 128, dtype=np.uint8)
    grainy = aging.add_grain(gray, 0.1, seed=1)
    assert grainy.std() / 255 == pytest.approx(0.1, rel=0.05)
    assert (grainy[..., 0] == grainy[..., 1]).all()
    assert (grainy == aging.add_grain(gray, 0.1, seed=1)).all() and (grainy != aging.add_grain(gray, 0.1, seed=2)).any()


def test_sepia_is_brown_and_darkens_little():
    gray = np.full((4, 4, 3), 200, dtype=np.uint8)
    red, green, blue = aging.tone_sepia(gray, 1)[0, 0].tolist()
    assert red == 200 > green > blue
    assert mean_chroma(aging.tone_sepia(gray, 0.5)) < mean_chroma(aging.tone_sepia(gray, 1))


def test_age_does_its_steps_in_order(photo):
    by_hand = aging.tone_sepia(aging.add_grain(aging.fade(aging.to_luma(photo), 0.4), 0.1, seed=5), 0.6)
    assert (aging.age(photo, fading=0.4, grain=0.1, sepia=0.6, seed=5) == by_hand).all()
    assert (aging.age(photo, luma=False) == photo).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fading": 1.5}, "amount lies between 0 and 1, got 1.5"),
        ({"grain": -0.1}, "amount lies between 0 and 1, got -0.1"),
        ({"rgb": np.zeros((4, 4), dtype=np.uint8)}, r"shape \(H, W, 3\), got uint8 \(4, 4\)"),
        ({"rgb": torch.zeros(3, 4, 4)}, r"shape \(H, W, 3\), got torch.float32"),
    ],
)
def test_wrong_aging_is_told(photo, arguments, message):
    with pytest.raises(ValueError, match=message):
        aging.age(**({"rgb": photo} | arguments))


# --- the check of the machine -----------------------------------------------------------------------------------------


def test_every_line_of_the_check_is_ok_or_says_what_to_do(tmp_path):
    lines = environment.check_environment(tmp_path).splitlines()
    assert len(lines) == 7
    assert all(re.match(r"\[ok\] \S|\[fix: \w[^\]]+\] \S", line) for line in lines)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (lambda: environment.check_python((3, 12)), "[ok] Python 3.12"),
        (lambda: environment.check_python((3, 10)), "[fix: take Python 3.11 to 3.13] Python 3.10"),
        (lambda: environment.check_python((3, 14)), "[fix: take Python 3.11 to 3.13] Python 3.14"),
        (lambda: environment.check_memory(1e9), "[fix: close other programs; 3 GB should be free] memory: 1.0 GB free"),
        (lambda: environment.check_memory(8e9), "[ok] memory: 8 GB free"),
        (lambda: environment.check_disk(free=2e8), "[fix: make room; 1 GB should be free] disk: 0.2 GB free"),
        (lambda: environment.check_packages(["torch>=2", "numpy"]), f"[ok] 2 packages, torch {torch.__version__}"),
    ],
)
def test_the_check_answers(answer, line):
    assert answer() == line


def test_wrong_packages_are_named():
    line = environment.check_packages(["numpy<1", "no-such-package", "pillow"])
    assert line.startswith("[fix: run make lab") and "numpy is " in line and "wanted <1" in line
    assert line.endswith("no-such-package is missing")


def test_a_device_that_fails_is_named(monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("no kernel image\nmore")

    monkeypatch.setattr(torch, "ones", fail)
    assert re.fullmatch(r"\[fix: set COLORLIB_DEVICE=cpu\] .* fails: no kernel image", environment.check_device())


@pytest.mark.parametrize(("value", "warned"), [(None, True), ("10485760", True), ("104857600", False), ("lots", True)])
def test_a_low_upload_limit_is_told_in_one_sentence(monkeypatch, value, warned):
    monkeypatch.delenv(environment.UPLOAD_LIMIT_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(environment.UPLOAD_LIMIT_VARIABLE, value)
    warning = environment.upload_warning()
    assert bool(warning) == warned
    assert not warned or (warning.count(". ") == 0 and "make lab" in warning)
    assert environment.check_uploads().startswith("[fix" if warned else "[ok]")


# --- the map ----------------------------------------------------------------------------------------------------------


def test_the_map_names_the_chapters_that_are_there(tmp_path):
    first = {"cell_type": "markdown", "source": ["# 09 · A title\n", "\n", "**You will** see a cat. And more."]}
    (tmp_path / "09_cat.ipynb").write_text(json.dumps({"cells": [first]}))
    (tmp_path / "app.ipynb").write_text("{}")
    assert series.series_map(tmp_path).splitlines()[2:] == ["| [09 · A title](09_cat.ipynb) | see a cat |"]


def test_the_map_of_this_series_is_whole():
    found = series.chapters()
    assert [name for name, _, _ in found] == sorted(p.name for p in series.FOLDER.glob("[0-9]*.ipynb"))
    assert all(title.startswith(name[:2]) and promise for name, title, promise in found)


# --- before and after -------------------------------------------------------------------------------------------------


def sources(page):
    """The pictures inside a before-and-after, in the order of the page."""
    return re.findall(r'class="t-(\w+)" alt="([^"]*)" src="data:image/jpeg;base64,([^"]+)"', page)


def test_before_and_after_holds_both_pictures(photo):
    red, blue = (Image.new("RGB", (40, 30), color) for color in ("red", "blue"))
    found = sources(first_photo.before_after(red, blue, 'a "print"', "colored"))
    assert [(name, alt) for name, alt, _ in found] == [("after", "colored"), ("before", "a &quot;print&quot;")]
    pixels = [Image.open(io.BytesIO(base64.b64decode(data))).getpixel((20, 15)) for _, _, data in found]
    assert pixels[0][2] > 200 > 50 > pixels[0][0] and pixels[1][0] > 200 > 50 > pixels[1][2]


def test_shrink_keeps_small_pictures_and_proportions():
    image = Image.new("RGB", (3000, 1500))
    image.info["exif"] = b"Exif\0\0"
    assert first_photo.shrink(image, 720).size == (720, 360) and first_photo.shrink(image, 720).info == {}
    assert first_photo.shrink(image, 9000).size == image.size and image.info


def test_to_jpeg_keeps_metadata_and_color():
    image = Image.new("RGB", (32, 32), "orange")
    image.info = {"exif": Image.Exif().tobytes(), "icc_profile": b"profile"}
    back = Image.open(io.BytesIO(first_photo.to_jpeg(image)))
    assert back.info["icc_profile"] == b"profile" and "exif" in back.info
    assert np.abs(np.asarray(back, dtype=int) - np.asarray(image)).max() <= 3


@pytest.mark.parametrize(
    ("name", "colored"),
    [("ann.png", "ann-colored.jpg"), ("a.b.jpeg", "a.b-colored.jpg"), ("ann", "ann-colored.jpg")]
    + [("", "photo-colored.jpg")],
)
def test_colored_name(name, colored):
    assert first_photo.colored_name(name) == colored


# --- the photo panel --------------------------------------------------------------------------------------------------


def test_the_panel_answers_each_of_its_controls(colorizer, photo):
    panel = first_photo.PhotoPanel(colorizer, {"one": photo, "two": photo[:, ::-1].copy()})
    assert panel.status.value == "one: 96 × 64 pixels" and panel.render_size.value == 64
    seen = [panel.picture.value]
    for control, value in [("choice", "two"), ("render_size", 32), ("saturation", 2.0), ("left", "original")]:
        getattr(panel, control).value = value
        assert panel.picture.value not in seen, control
        seen.append(panel.picture.value)
    assert panel.status.value == "two: 96 × 64 pixels"


def test_the_panel_takes_an_upload_and_gives_it_back_colored_in_full_size(colorizer):
    panel = first_photo.own_photo(colorizer)
    assert not panel.download.ready
    panel.upload.value = uploaded("ann.jpg", jpeg(900, 300))
    assert panel.status.value == "ann.jpg: 900 × 300 pixels" and panel.download.ready
    assert panel.upload.value == ()
    name, file = panel.make_file()
    assert name == "ann-colored.jpg" and Image.open(io.BytesIO(file)).size == (900, 300)


def test_an_upload_is_turned_upright(colorizer):
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned
    panel = first_photo.own_photo(colorizer)
    panel.upload.value = uploaded("tall.jpg", jpeg(300, 200, exif=exif))
    assert panel.status.value == "tall.jpg: 200 × 300 pixels"


@pytest.mark.parametrize("size", [(4000, 2), (1, 300), (3, 2)])
def test_odd_shapes_can_be_uploaded(colorizer, size):
    panel = first_photo.own_photo(colorizer)
    panel.upload.value = uploaded("odd.jpg", jpeg(*size))
    assert panel.status.value == f"odd.jpg: {size[0]} × {size[1]} pixels"
    assert Image.open(io.BytesIO(panel.make_file()[1])).size == size


def test_a_network_for_large_copies_fits_on_the_slider():
    large = colorlib.Colorizer(colorlib.UNet(base_channels=8, n_down=2), render_size=400, device="cpu")
    assert first_photo.own_photo(large).render_size.value == 400


@pytest.mark.parametrize("content", [b"<html>no photo</html>", b"", jpeg(400, 400)[:3000]])
def test_a_corrupt_upload_is_one_sentence_and_the_panel_lives_on(colorizer, content):
    panel = first_photo.own_photo(colorizer)
    panel.upload.value = uploaded("good.jpg", jpeg(60, 40))
    picture = panel.picture.value
    panel.upload.value = uploaded("<b>.jpg", content)
    assert panel.status.value.startswith("&lt;b&gt;.jpg is ") and panel.status.value.count(".") <= 3
    assert panel.picture.value == picture and panel.name == "good.jpg"
    panel.upload.value = uploaded("next.jpg", jpeg(50, 40))
    assert panel.status.value == "next.jpg: 50 × 40 pixels"


def test_a_coloring_that_fails_is_one_sentence_too(colorizer, photo, monkeypatch):
    panel = first_photo.PhotoPanel(colorizer, {"one": photo})

    def fail(*args, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(colorizer, "colorize", fail)
    panel.saturation.value = 2.0
    assert panel.status.value == "one can&#x27;t be colored: out of memory"
    assert panel.make_file() is None


def test_the_download_button_makes_its_file_only_when_it_is_pressed(monkeypatch):
    made, sent = [], []
    button = first_photo.DownloadButton(lambda: made.append(1) or ("x.jpg", b"bytes"))
    monkeypatch.setattr(button, "send", lambda message, buffers: sent.append((message, buffers)))
    button.answer(button, {}, [])
    assert not made, "nothing to download yet"
    button.ready = True
    button.answer(button, {}, [])
    assert sent == [({"name": "x.jpg", "type": "image/jpeg"}, [b"bytes"])] and not button.busy
    button.make = lambda: None
    button.answer(button, {}, [])
    assert len(sent) == 1
    button.make = lambda: ("album.zip", b"PK")
    button.answer(button, {}, [])
    assert sent[1][0] == {"name": "album.zip", "type": "application/zip"}


def test_mistakes_marks_what_is_off(photo):
    error = first_photo.color_error_map(photo, aging.to_luma(photo))
    labs = rgb_to_lab(torch.from_numpy(np.stack([photo, aging.to_luma(photo)]).transpose(0, 3, 1, 2))).numpy()
    by_hand = np.abs(labs[0, 1:] - labs[1, 1:])
    assert np.allclose(error, by_hand.mean(axis=0), atol=1e-4)
    titles = [ax.get_title() for ax in first_photo.mistakes(photo, Image.fromarray(photo), 5).axes]
    assert titles == ["colored", "off by more than 5: 0%", "truth"]
    panel = first_photo.mistake_explorer({"one": photo}, {"one": Image.fromarray(aging.to_luma(photo))})
    before = panel.picture.value
    panel.controls["tolerance"].value = 40
    assert panel.picture.value != before


# --- chapter 07 -------------------------------------------------------------------------------------------------------


def test_a_contact_sheet_has_a_picture_for_every_setting(colorizer, photo):
    figure = your_photos.contact_sheet(colorizer, photo, render_sizes=(32, 48, 64), saturations=(0.5, 1.5))
    assert len(figure.axes) == 6
    assert [ax.get_title() for ax in figure.axes[:3]] == [f"render size {size}" for size in (32, 48, 64)]
    gray, vivid = (np.array(figure.axes[i].images[0].get_array()) for i in (0, 3))
    assert mean_chroma(gray) < mean_chroma(vivid)


def test_there_is_something_to_see_in_the_aging_explorer(colorizer, photo):
    def aged_and_error(**damage):
        axes = your_photos.aged_and_colored(colorizer, photo, **damage).axes
        return np.array(axes[0].images[0].get_array()), float(re.search(r"[\d.]+", axes[1].get_title()).group())

    fresh, _ = aged_and_error(fading=0, grain=0, sepia=0)
    brown, error = aged_and_error(fading=0, grain=0, sepia=1)
    assert (fresh == aging.to_luma(photo)).all() and mean_chroma(brown) > 10 and error > 0


EXPLORERS = {  # a control of each, and a value for it
    "sheet": (lambda c, p: your_photos.sheet_explorer(c, {"one": p, "two": p[::-1].copy()}), "photo", "two"),
    "aging": (your_photos.aging_explorer, "grain", 0.3),
    "blend": (lambda c, p: your_photos.blend_explorer(lambda share: first_photo.mistakes(p, p, share)), "share", 1.0),
}


@pytest.mark.parametrize(("panel", "control", "value"), EXPLORERS.values(), ids=EXPLORERS)
def test_the_chapters_explorers_redraw(colorizer, photo, panel, control, value):
    explorer = panel(colorizer, photo)
    before = explorer.picture.value
    explorer.controls[control].value = value
    assert explorer.picture.value != before


def test_the_app_tells_a_low_limit(colorizer, monkeypatch):
    monkeypatch.setenv(environment.UPLOAD_LIMIT_VARIABLE, "104857600")
    assert your_photos.photo_app(colorizer).status.value == "Choose a photo of up to 100 MB to begin."
    monkeypatch.delenv(environment.UPLOAD_LIMIT_VARIABLE)
    assert "10 MB" in your_photos.photo_app(colorizer).status.value


# --- what the notebooks build in the open -----------------------------------------------------------------------------


def test_chapter_00_colors_by_hand_as_the_package_does(colorizer, photo):
    """The same network and the same steps: colors differ only where the package follows edges."""
    given = {"np": np, "torch": torch, "F": torch.nn.functional, "colorlib": colorlib, "color": colorlib.color}
    by_hand = definition("00_first_photo.ipynb", "colorize_by_hand", given)
    gray = aging.to_luma(photo)
    ours, packaged = by_hand(colorizer.generator, gray, 64), np.asarray(colorizer.colorize(gray))
    nothing = first_photo.color_error_map(gray, packaged).mean()
    assert first_photo.color_error_map(ours, packaged).mean() < 0.1 * nothing


def test_chapter_07_colors_a_folder_and_survives_a_broken_file(colorizer, photo, tmp_path):
    from tqdm import tqdm

    given = {"colorlib": colorlib, "images": images, "np": np, "tqdm": tqdm}
    color_folder = definition("07_your_photos.ipynb", "color_folder", given)
    for name in ("a.png", "inner/b.png"):
        images.save_image(photo, tmp_path / "in" / name)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    done, failed = color_folder(colorizer, tmp_path / "in", tmp_path / "out", saturation=0.0)
    assert done == 2 and failed == ["broken.jpg is not an image that Pillow can read."]
    assert [path.name for path in images.find_images(tmp_path / "out")] == ["a.jpg", "b.jpg"]
    assert mean_chroma(colorlib.read_image(tmp_path / "out" / "inner" / "b.jpg")) < 1


def test_chapter_07_blends_networks_and_leaves_them_alone():
    before, after = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    after.weight.data.fill_(3.0)
    blend = definition(
        "07_your_photos.ipynb", "blend", {"copy": copy, "torch": torch, "before": before, "after": after}
    )
    assert blend(0.25).weight.tolist() == [1.5, 1.5] and before.weight.tolist() == [1.0, 1.0]
