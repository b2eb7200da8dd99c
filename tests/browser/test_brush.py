"""Strokes and boxes drawn with mouse, finger and keyboard, dropped files and thumbnails, in JupyterLab and the app."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

PANEL = """
import torch
from colorlib import Colorizer, UNet
from colorlib.lessons.widgets import your_photos

torch.manual_seed(0)
colorizer = Colorizer(UNet(base_channels=8, n_down=2), render_size=64, device="cpu")
your_photos.photo_app(colorizer)
"""
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SIZE = 1500, 1000  # of the photo, pixels
DROP = """([files, kinds]) => {
    const data = new DataTransfer();
    for (const [name, content] of files) {
        data.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
    }
    const target = document.querySelector('.colorlib-drop');
    for (const kind of kinds) {
        const event = new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: data});
        target.dispatchEvent(event);
        if (!event.defaultPrevented) throw new Error(`${kind} was not taken: the browser would leave the page`);
    }
}"""


def photo(size=SIZE, left=70, right=190):
    """Return a JPEG, dark on the left and light on the right, with a little noise."""
    pixels = np.full((size[1], size[0], 3), left, np.uint8)
    pixels[:, size[0] // 2 :] = right
    pixels += np.random.default_rng(0).integers(0, 4, (size[1], size[0], 1), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


class Painter:
    """A visitor who drops files on the panel and paints."""

    def __init__(self, page):
        self.page = page
        self.root = page.locator(".t-own").last
        self.canvas = self.root.locator(".t-canvas")
        self.root.wait_for()
        self.root.locator(".t-upload").first.wait_for()

    def status(self, text):
        self.root.locator(".t-status", has_text=text).wait_for()

    def drop(self, *files, kinds=("dragover", "drop")):
        encoded = [[name, base64.b64encode(content).decode()] for name, content in files]
        self.page.evaluate(DROP, [encoded, list(kinds)])

    def paint(self):
        """Go to the view to paint on."""
        self.root.locator(".t-view button", has_text="paint").click()
        self.root.locator(".t-brush [data-ready=true]").wait_for()
        self.page.wait_for_function("() => document.querySelector('.t-brush .t-canvas').width > 100")
        self.canvas.scroll_into_view_if_needed()

    def place(self, x, y):
        """Return a place on the surface, given in shares, on the page."""
        box = self.canvas.bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def drag(self, start=(0.6, 0.3), end=(0.9, 0.4)):
        self.page.mouse.move(*self.place(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*end), steps=4)
        self.page.mouse.up()

    def touch(self, start=(0.6, 0.6), end=(0.9, 0.7)):
        """Draw with a finger: real touch events, which Chromium turns into pointer events."""
        session = self.page.context.new_cdp_session(self.page)
        (x0, y0), (x1, y1) = self.place(*start), self.place(*end)
        points = [(x0 + (x1 - x0) * i / 4, y0 + (y1 - y0) * i / 4) for i in range(5)]
        for i, (x, y) in enumerate(points):
            kind = "touchMove" if i else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def color(self, x, y):
        """Return red − green of a pixel of the surface, once its picture is drawn."""
        return self.canvas.evaluate(
            """(canvas, [x, y]) => {
                const [r, g] = canvas.getContext('2d').getImageData(x * canvas.width, y * canvas.height, 1, 1).data;
                return r - g;
            }""",
            [x, y],
        )

    def wait_for_color(self, x, y, red):
        """Wait until a pixel of the surface is red, or no longer so."""
        self.page.wait_for_function(
            """([x, y, red]) => {
                const canvas = document.querySelector('.t-brush .t-canvas');
                const [r, g] = canvas.getContext('2d').getImageData(x * canvas.width, y * canvas.height, 1, 1).data;
                return r - g > 40 === red;
            }""",
            arg=[x, y, red],
        )

    def download(self, button):
        """Press a button; return name and content of the file."""
        with self.page.expect_download() as waiting:
            self.root.locator(button).first.click()
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def use_the_brush(page):
    """Paint with the mouse, undo and erase; download the picture; save the strokes, clear them, and drop them again."""
    painter = Painter(page)
    painter.drop(("ann.jpg", photo()))
    painter.status("ann.jpg: 1500 × 1000 pixels")
    painter.paint()
    far = 0.75, 0.8  # of the stroke, on the same side
    assert painter.color(*far) < 40
    painter.drag()
    painter.status("1 stroke")
    painter.wait_for_color(*far, red=True)
    assert abs(painter.color(0.1, 0.5)) < 40, "the other side keeps its color"
    name, content = painter.download("button.t-download")
    image = Image.open(io.BytesIO(content))
    red, green, _ = image.convert("RGB").getpixel((int(far[0] * SIZE[0]), int(far[1] * SIZE[1])))
    assert (name, image.size) == ("ann-colored.jpg", SIZE) and red - green > 40
    name, strokes = painter.download(".t-save button")
    assert name == "ann.strokes.json" and len(json.loads(strokes)["strokes"]) == 1
    painter.canvas.press("u")
    painter.wait_for_color(*far, red=False)
    painter.drop(("ann.strokes.json", strokes))
    painter.status("1 stroke")
    painter.wait_for_color(*far, red=True)
    painter.root.locator(".t-eraser").click()
    painter.drag()
    painter.wait_for_color(*far, red=False)


def test_the_brush_in_lab(lab):
    use_the_brush(lab.run_notebook(cells=[PANEL]))
    assert lab.page_errors == []


def test_the_brush_in_the_app(app):
    use_the_brush(app.visit(cells=[PANEL]))
    assert app.page_errors == []


def test_a_finger_paints_on_a_phone_and_the_page_fits(app):
    painter = Painter(app.visit(cells=[PANEL], **PHONE))
    painter.root.locator(".colorlib-strip button").nth(2).tap()
    painter.status("coffee: 600 × 400 pixels")
    painter.paint()
    painter.touch()
    painter.status("1 stroke")
    assert painter.page.evaluate("document.documentElement.scrollWidth") <= 390
    box = painter.canvas.bounding_box()
    assert box["width"] > 330 and box["x"] + box["width"] <= 390
    assert app.page_errors == []


def test_dropped_photos_become_thumbnails_that_the_keyboard_chooses(app):
    painter = Painter(app.visit(cells=[PANEL]))
    painter.drop(("ann.jpg", photo()), kinds=["dragover"])
    painter.page.locator(".colorlib-over").wait_for()
    painter.drop(("ann.jpg", photo()), ("bob.jpg", photo((400, 500))), ("no.jpg", b"no photo"), kinds=["drop"])
    painter.status("no.jpg is not an image")
    thumbnails = painter.root.locator(".colorlib-strip button")
    assert thumbnails.count() == 5 and painter.page.locator(".colorlib-over").count() == 0
    assert thumbnails.nth(3).get_attribute("aria-pressed") == "true", "the first of them is shown"
    thumbnails.nth(4).press("Enter")
    painter.status("bob.jpg: 400 × 500 pixels")
    assert thumbnails.nth(4).get_attribute("aria-pressed") == "true"
    height = painter.page.viewport_size["height"]
    shown = painter.root.locator("img.t-after").bounding_box()
    assert 0.75 * height < shown["height"] < 0.85 * height, "as large as the window allows"
    assert app.page_errors == []


REFERENCE = """
from colorlib import paint_scenes, rgb_to_lab
from colorlib.lessons.widgets.before_deep_learning import ReferencePicker

scenes = [rgb_to_lab(scene) for scene in paint_scenes(2, 64, 7).rgb]
ReferencePicker(scenes[0], {"other": scenes[1]})
"""


def test_boxes_on_a_picture_and_its_reference(lab):
    page = lab.run_notebook(cells=[REFERENCE])
    canvases, picture = page.locator(".t-canvas"), page.locator("img.t-picture")
    page.locator("[data-ready=true]").nth(1).wait_for()
    picture.wait_for()
    before = picture.get_attribute("src")
    for number, pairs in ((0, "0 pairs"), (1, "1 pair")):
        box = canvases.nth(number).bounding_box()
        page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
        page.mouse.up()
        lab.wait_for_output(page, pairs)
    page.wait_for_function("before => document.querySelector('img.t-picture').src !== before", arg=before)
    assert lab.page_errors == []
