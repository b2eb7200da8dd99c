"""The widgets of the chapters in JupyterLab: a control moves, the figure changes."""

import pytest

DISCRIMINATOR = """
from colorlib import PatchDiscriminator, make_loaders
L, ab = make_loaders("scenes", size=32, n_train=1, n_test=2).test.first(2)
"""

AGING = """
import torch
from colorlib import Colorizer, UNet, paint_scenes
from colorlib.lessons.widgets.your_photos import aging_explorer

torch.manual_seed(0)
colorizer = Colorizer(UNet(base_channels=8, n_down=2), render_size=64, device="cpu")
aging_explorer(colorizer, paint_scenes(1, 128, 0).rgb[0].permute(1, 2, 0).numpy())
"""
PANELS = {
    "lab": ("from colorlib.lessons.widgets.lab_color import lab_explorer\nlab_explorer()", "L"),
    "features": (
        "import torch\nfrom colorlib import resnet_unet\n"
        "from colorlib.lessons.widgets.resnet_encoder import feature_explorer\n"
        "feature_explorer({'random': resnet_unet('resnet18', None)}, torch.rand(6, 1, 64, 64))",
        "stage",
    ),
    "aging": (AGING, "grain"),
    "guess": ("from colorlib.lessons.widgets.unet_autoencoder import guess_explorer\nguess_explorer()", "p_first"),
    "patch": (
        DISCRIMINATOR + "from colorlib.lessons.widgets.pix2pix import patch_explorer\n"
        "patch_explorer(PatchDiscriminator(4, n_down=1), L, ab)",
        "turn",
    ),
}


@pytest.mark.parametrize("name", PANELS)
def test_a_widget_redraws_when_its_slider_moves(lab, name):
    cell, control = PANELS[name]
    page = lab.run_notebook(cells=[cell])
    picture = page.locator("img.t-picture")
    picture.wait_for(state="visible", timeout=30_000)
    assert picture.evaluate("image => image.naturalWidth") > 300
    before = picture.get_attribute("src")
    lab.press(page, f".t-{control}", "ArrowRight", times=3)
    changed = "before => document.querySelector('img.t-picture').src !== before"
    page.wait_for_function(changed, arg=before, timeout=30_000)
    page.wait_for_function("() => document.querySelector('img.t-picture').naturalWidth > 300", timeout=30_000)


STROKES = """
import torch
from colorlib import paint_scenes, rgb_to_lab
from colorlib.lessons.widgets.before_deep_learning import stroke_explorer

panel = stroke_explorer(rgb_to_lab(paint_scenes(1, 96, 7).rgb[0]), [])
panel
"""


def test_strokes_drawn_with_mouse_and_keyboard_color_the_picture(lab):
    page = lab.run_notebook(cells=[STROKES])
    canvas, result = page.locator(".t-canvas"), page.locator("img.t-result")
    page.locator("[data-ready=true]").wait_for(timeout=30_000)
    result.wait_for(state="visible", timeout=30_000)

    def after(action, strokes):
        before = result.get_attribute("src")
        action()
        page.wait_for_function(
            "before => document.querySelector('img.t-result').src !== before", arg=before, timeout=30_000
        )
        lab.wait_for_output(page, strokes)

    def drag():
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.1 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.12 * box["height"], steps=4)
        page.mouse.up()

    def type_a_stroke():
        page.locator(".t-picker").press("ArrowLeft")  # another color
        canvas.focus()
        for key in ("Shift+ArrowDown", "Shift+ArrowDown", "Space", "ArrowRight", "ArrowRight", "Space"):
            canvas.press(key)

    after(drag, "1 stroke")
    after(type_a_stroke, "2 strokes")
    after(lambda: canvas.press("u"), "1 stroke")
    page.locator(".t-eraser").click()
    after(drag, "0 strokes")
    assert not lab.page_errors
