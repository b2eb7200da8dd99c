"""Chapter 00, the app and their photo panel, in JupyterLab and Voila: upload a photo, download it colored."""

import io
import json
import os
import time
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
APP = ROOT / "notebooks" / "app.ipynb"


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A JPEG of more than 12 MB, above Jupyter's limit for one message (noise does not compress)."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("photo") / "noise.jpg"
    Image.fromarray(pixels).save(path, quality=96, subsampling=0)
    assert 12_000_000 < os.path.getsize(path) < 25_000_000
    return path


class Panel:
    """Actions of a visitor on the panel for their own photo."""

    def __init__(self, page):
        self.page = page
        self.root = page.locator(".t-own").last
        self.after = self.root.locator("img.t-after")
        self.root.wait_for()

    def choose(self, path):
        """Press the upload button, and choose a file."""
        with self.page.expect_file_chooser() as chooser:
            self.root.locator(".t-upload").first.press("Enter")
        chooser.value.set_files(path)

    def upload(self, path, status):
        """Choose a file, and wait until the status of the panel contains `status`."""
        self.choose(path)
        self.root.locator(".t-status", has_text=status).wait_for()

    def move(self, selector):
        """Move a slider by one step, and wait until the image has changed.

        Only one step: a second one would be queued until the first is drawn, and could change the image after the next
        upload.
        """
        before = self.after.get_attribute("src")
        handle = self.root.locator(f"{selector} .noUi-handle").first
        handle.press("ArrowRight")
        self.page.wait_for_function(
            "([image, before]) => image.isConnected ? image.src !== before : true",
            arg=[self.after.element_handle(), before],
        )
        assert self.after.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100

    def download(self):
        """Press the download button; return name and image of the file."""
        with self.page.expect_download() as waiting:
            self.root.locator(".t-download").first.click()
        return waiting.value.suggested_filename, Image.open(io.BytesIO(Path(waiting.value.path()).read_bytes()))


def use_every_part(page, photo, tmp_path):
    """Use the panel as a reader would, with valid and corrupt files."""
    panel = Panel(page)
    corrupt, empty, large = (tmp_path / f"{name}.jpg" for name in ("corrupt", "empty", "large"))
    corrupt.write_bytes(photo.read_bytes()[:100_000])
    empty.touch()
    large.touch()
    os.truncate(large, 110 * 2**20)  # its bytes are never sent
    panel.upload(large, "large.jpg is larger than 100 MB")
    panel.upload(corrupt, "corrupt.jpg is damaged or incomplete")
    panel.upload(photo, f"noise.jpg: {SIZE[0]} × {SIZE[1]} pixels")
    for selector in (".t-saturation", ".t-render_size"):
        panel.move(selector)
    cut = panel.root.locator("input.t-cut")
    cut.focus()
    cut.press("Home")
    assert "0%" in panel.root.locator(".colorlib-before-after").get_attribute("style")
    panel.upload(corrupt, "corrupt.jpg is damaged or incomplete")
    assert panel.after.is_visible(), "the previous image stays"
    name, image = panel.download()
    assert (name, image.size) == ("noise-colored.jpg", SIZE)
    assert np.ptp(np.asarray(image.resize((64, 48)), dtype=int), axis=2).max() > 4, "the result is gray"
    panel.upload(empty, "empty.jpg is empty")


def test_the_photo_panel_in_lab(lab, photo, tmp_path):
    use_every_part(lab.run_notebook(cells=[TINY]), photo, tmp_path)
    assert lab.page_errors == []


def test_chapter_00_and_an_own_photo(lab, photo, tmp_path):
    page = lab.run_notebook(path=ROOT / "notebooks" / "00_first_photo.ipynb")
    use_every_part(page, photo, tmp_path)
    assert lab.page_errors == []


def test_the_app_writes_nothing_to_disk(app, photo, tmp_path):
    use_every_part(app.visit(path=APP), photo, tmp_path)
    assert app.page_errors == []
    piece = photo.read_bytes()[200_000:200_064]
    places = [path for path in app.server.folder.parent.rglob("*") if path.is_file()]
    assert any(path.name == "server.log" for path in places), "the servers write to this folder"
    assert [path for path in places if piece in path.read_bytes() or path.suffix == ".jpg"] == []


def test_visitors_of_the_app_do_not_see_each_other(app, tmp_path):
    for name, color in (("ann", "red"), ("bob", "blue")):
        Image.new("RGB", (320, 240), color).save(tmp_path / f"{name}.png")
    panels = {name: Panel(app.visit(path=APP)) for name in ("ann", "bob")}
    for name, panel in panels.items():
        panel.upload(tmp_path / f"{name}.png", f"{name}.png: 320 × 240 pixels")
    seen = {name: panel.after.get_attribute("src") for name, panel in panels.items()}
    panels["ann"].move(".t-saturation")
    assert panels["bob"].after.get_attribute("src") == seen["bob"] != seen["ann"]
    text = {name: panel.page.locator("body").inner_text() for name, panel in panels.items()}
    assert "bob.png" in text["bob"] and "ann.png" not in text["bob"] and "bob.png" not in text["ann"]
    for name, panel in panels.items():
        assert panel.download()[0] == f"{name}-colored.jpg"
    assert app.page_errors == []


def kernel_of(page):
    """Return the id of the kernel of a page of the app."""
    return json.loads(page.locator("#jupyter-config-data").text_content())["kernelId"]


def is_running(kernel, page):
    """Ask the server, from a page of the app, whether a kernel is running."""
    status = page.evaluate("kernel => fetch(`/api/kernels/${kernel}`).then(answer => answer.status)", kernel)
    assert status in (200, 404)
    return status == 200


@pytest.mark.parametrize("busy", [False, True])
def test_the_kernel_of_a_visitor_who_leaves_is_stopped_and_others_go_on(app, tmp_path, busy):
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.zeros((4000, 6000, 3), np.uint8)).save(photo)
    ann, bob = Panel(app.visit(path=APP)), Panel(app.visit(path=APP))
    tab = ann.page.context.new_page()  # of the same visitor, with the same cookies
    tab.goto(ann.page.url)
    Panel(tab)
    left, others = kernel_of(ann.page), [kernel_of(bob.page), kernel_of(tab)]
    ann.upload(photo, "photo.jpg: 6000 × 4000 pixels")
    if busy:
        ann.root.locator(".t-download").first.click()
        ann.root.locator(".t-status", has_text="coloring the photo at full size").wait_for()
    assert is_running(left, bob.page)
    ann.page.close(run_before_unload=True)
    deadline = time.monotonic() + 60
    while is_running(left, bob.page) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not is_running(left, bob.page)
    assert all(is_running(kernel, bob.page) for kernel in others)
    bob.upload(photo, "photo.jpg: 6000 × 4000 pixels")
    assert app.page_errors == []


def test_a_file_that_the_browser_cannot_read_is_no_end(app, tmp_path):
    photo, panel = tmp_path / "photo.png", Panel(app.visit(cells=[TINY]))
    Image.new("RGB", (320, 240), "red").save(photo)
    panel.page.evaluate("""() => {
        window.read = Blob.prototype.arrayBuffer;
        Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException("moved", "NotReadableError"));
    }""")
    panel.choose(photo)
    panel.root.locator(".t-upload", has_text="the upload failed, try again").wait_for()
    panel.page.evaluate("() => { Blob.prototype.arrayBuffer = window.read; }")
    panel.upload(photo, "photo.png: 320 × 240 pixels")
    panel.root.locator(".t-upload", has_text="Upload photos").wait_for()
    assert app.page_errors == []
