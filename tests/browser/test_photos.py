"""Chapter 00, the app, and the photo panel that both use, in JupyterLab and under Voila: a photo in, a photo out."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = """
import torch
from colorlib import Colorizer, UNet
from colorlib.lessons.widgets import your_photos

torch.manual_seed(0)
colorizer = Colorizer(UNet(base_channels=8, n_down=2), render_size=64, device="cpu")
your_photos.photo_app(colorizer)
"""
SIZE = 2560, 1920  # of the large photo, pixels
SHOWS = """([selector, text]) => [...document.querySelectorAll(selector)].some(e => e.innerText.includes(text))"""
IS_DRAWN = "() => document.querySelector('img.t-after')?.naturalWidth > 100"
AFTER = "() => document.querySelector('img.t-after').src"
CHANGED = "before => { const i = document.querySelector('img.t-after'); return i.src !== before && i.complete }"


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A JPEG of more than 12 MB, above Jupyter's own limit for uploads: noise does not compress."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("photo") / "noise.jpg"
    Image.fromarray(pixels).save(path, quality=96, subsampling=0)
    assert 12_000_000 < os.path.getsize(path) < 25_000_000
    return path


def upload(page, path):
    """Choose a file in the page's panel."""
    with page.expect_file_chooser() as chooser:
        page.locator("button.t-upload, .t-upload button").first.click()
    chooser.value.set_files(path)


def wait_for_status(page, text):
    page.wait_for_function(SHOWS, arg=[".t-status", text])


def move(page, selector, key="ArrowRight", times=2):
    """Move a slider, and wait until the picture has followed."""
    before = page.evaluate(AFTER)
    handle = page.locator(f"{selector} .noUi-handle").first
    handle.focus()
    for _ in range(times):
        handle.press(key)
    page.wait_for_function(CHANGED, arg=before)


def download(page):
    """Press the download button; return the file's name and the picture in it."""
    with page.expect_download() as waiting:
        page.locator(".t-download").first.click()
    return waiting.value.suggested_filename, Image.open(io.BytesIO(Path(waiting.value.path()).read_bytes()))


def use_every_part(page, photo, tmp_path):
    """Do what a reader does with the panel, and what they do wrong."""
    corrupt = tmp_path / "corrupt.jpg"
    corrupt.write_bytes(photo.read_bytes()[:100_000])
    upload(page, corrupt)
    wait_for_status(page, "corrupt.jpg is damaged or incomplete")
    upload(page, photo)
    wait_for_status(page, f"noise.jpg: {SIZE[0]} × {SIZE[1]} pixels")
    page.wait_for_function(IS_DRAWN)
    for selector in (".t-saturation", ".t-render_size"):
        move(page, selector)
    cut = page.locator("input.t-cut")
    cut.focus()
    cut.press("Home")
    assert "0%" in page.locator(".colorlib-before-after").get_attribute("style")
    upload(page, corrupt)
    wait_for_status(page, "corrupt.jpg is damaged or incomplete")
    assert page.locator("img.t-after").is_visible(), "the picture before it stays"
    name, picture = download(page)
    assert (name, picture.size) == ("noise-colored.jpg", SIZE)
    assert np.ptp(np.asarray(picture.resize((64, 48)), dtype=int), axis=2).max() > 4, "the result is grey"


def test_the_panel_in_lab(lab, photo, tmp_path):
    page = lab.run_notebook(cells=[TINY])
    use_every_part(page, photo, tmp_path)
    assert lab.page_errors == []


def test_the_panel_under_voila(app, photo, tmp_path):
    page = app.visit(cells=[TINY])
    use_every_part(page, photo, tmp_path)
    assert app.page_errors == []
    # Nothing that a visitor uploads stays on disk: not in the server's folders, not in the kernels' temporary ones.
    piece = photo.read_bytes()[200_000:200_064]
    left = [path for path in app.server.folder.parent.rglob("*") if path.is_file() and piece in path.read_bytes()]
    assert left == []


def test_two_visitors_of_the_app_share_nothing(app, tmp_path):
    for name, color in (("ann", "red"), ("bob", "blue")):
        Image.new("RGB", (320, 240), color).save(tmp_path / f"{name}.png")
    pages = {name: app.visit(path=ROOT / "notebooks" / "app.ipynb") for name in ("ann", "bob")}
    for name, page in pages.items():
        upload(page, tmp_path / f"{name}.png")
    for name, page in pages.items():
        wait_for_status(page, f"{name}.png: 320 × 240 pixels")
        page.wait_for_function(IS_DRAWN)
    seen = {name: page.evaluate(AFTER) for name, page in pages.items()}
    move(pages["ann"], ".t-saturation")
    assert pages["bob"].evaluate(AFTER) == seen["bob"] != seen["ann"]
    text = {name: page.locator("body").inner_text() for name, page in pages.items()}
    assert "bob.png" in text["bob"] and "ann.png" not in text["bob"] and "bob.png" not in text["ann"]
    for name, page in pages.items():
        assert download(page)[0] == f"{name}-colored.jpg"
    assert app.page_errors == []


def test_chapter_00_from_the_first_cell_to_an_own_photo(lab, photo):
    page = lab.run_notebook(path=ROOT / "notebooks" / "00_first_photo.ipynb")
    page.wait_for_function(IS_DRAWN)
    panel = page.locator(".jp-OutputArea-output", has=page.locator(".t-upload")).last
    with page.expect_file_chooser() as chooser:
        panel.locator(".t-upload").first.click()
    chooser.value.set_files(photo)
    wait_for_status(page, f"noise.jpg: {SIZE[0]} × {SIZE[1]} pixels")
    panel.locator("img.t-after").wait_for()
    assert lab.page_errors == []
