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
LAB = """
from colorlib import paint_scenes
from colorlib.lessons.widgets import lab_color
one, two = paint_scenes(2, 96, 0).rgb.float() / 255
"""
# Four stored runs with few colors: the panel needs the names and scores of `tools/race_photos.py`.
RACES = """
import torch
from colorlib.lessons.widgets.photo_races import data_size_explorer

table, ab = {}, {}
for i, start in enumerate(["pretrained", "random"]):
    for n in (32, 1000):
        name = f"{start}, {n} photos, 500 steps, seed 0"
        table[name] = {"n": n, "steps": 500, "seed": 0, "scores": {"ab MAE / gray": 0.9 + i / 10 - n / 1e4}}
        ab[name] = torch.full((7, 2, 64, 64), n // 50, dtype=torch.int8)
data_size_explorer({"table": table}, ab)
"""
# Two stored games of three epochs, and three games of the playground, in plain colors.
GAMES = """
import torch
from colorlib.lessons.games import KINDS, ab_histogram

scores = {f"hue_entropy/{kind}": 0.5 for kind in KINDS} | {"variety": 0.9}
games, ab = {}, {}
for name in ("one", "two"):
    games[name] = {f"epoch {epoch}": scores for epoch in range(4)}
    for epoch in range(4):
        ab[f"{name} {epoch} ab"] = torch.full((2, 2, 32, 32), 9 * epoch, dtype=torch.int8)
        ab[f"{name} {epoch} p_real"] = torch.full((2, 1, 6, 6), 30, dtype=torch.int8)
        ab[f"{name} {epoch} histogram"] = ab_histogram(torch.zeros(2, 2, 32, 32))
table = {"seed 0": games, "seed 1": games}
"""
PLAYGROUND = """
import torch
from colorlib.lessons.widgets.playground import COLOR, ERROR, playground

games, ab = {}, {}
for i, value in enumerate((0, 20, 500)):
    name = f"lambda {value}, bce, patch 34"
    games[name] = {ERROR: 3 - i, COLOR: 1 - i / 3, "hue_entropy": 0.5, "hue_entropy/balloon": 0.5}
    ab[name] = torch.full((4, 2, 32, 32), 9 * i, dtype=torch.int8)
table = {"seed 0": games, "seed 1": games}
"""
PANELS = {
    "dimmer": (LAB + "lab_color.light_dimmer(one)", "light"),
    "mixer": (LAB + "lab_color.channel_mixer(one, two)", "blur_light"),
    "hue": (LAB + "lab_color.hue_turner(one)", "turn"),
    "gray": (LAB + "from colorlib import rgb_to_lab\nlab_color.gray_explorer(rgb_to_lab(one).flatten(1))", "L"),
    "lab": ("from colorlib.lessons.widgets.lab_color import lab_explorer\nlab_explorer()", "L"),
    "features": (
        "import torch\nfrom colorlib import resnet_unet\n"
        "from colorlib.lessons.widgets.resnet_encoder import feature_explorer\n"
        "feature_explorer({'random': resnet_unet('resnet18', None)}, torch.rand(6, 1, 64, 64))",
        "stage",
    ),
    "filters": (
        "import torch\nfrom colorlib.resnet import rgb_resnet\n"
        "from colorlib.lessons.widgets.resnet_encoder import filter_browser\n"
        "filter_browser({'random': rgb_resnet('resnet18', None)}, torch.rand(3, 1, 64, 64) * 2 - 1)",
        "rank",
    ),
    "data size": (RACES, "n"),
    "aging": (AGING, "grain"),
    "guess": ("from colorlib.lessons.widgets.unet_autoencoder import guess_explorer\nguess_explorer()", "p_first"),
    "time machine": (
        GAMES + "from colorlib.lessons.widgets.time_machine import time_machine\n"
        "time_machine({'table': table}, ab, torch.zeros(2, 1, 32, 32))",
        "epoch",
    ),
    "playground": (
        PLAYGROUND + "playground({'table': table}, ab, torch.zeros(4, 1, 32, 32))",
        "lambda_l1",
    ),
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
    lab.press(page, f".t-{control}", "ArrowLeft" if name == "data size" else "ArrowRight", times=3)
    changed = "before => document.querySelector('img.t-picture').src !== before"
    page.wait_for_function(changed, arg=before, timeout=30_000)
    page.wait_for_function("() => document.querySelector('img.t-picture').naturalWidth > 300", timeout=30_000)


def test_the_time_machine_under_voila(app):
    page = app.visit(cells=[PANELS["time machine"][0]])
    picture = page.locator("img.t-picture")
    picture.wait_for(state="visible", timeout=60_000)
    before = picture.get_attribute("src")
    handle = page.locator(".t-epoch .noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('img.t-picture').src !== before", arg=before, timeout=30_000
    )
    assert not app.page_errors


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


RACE = """
from colorlib.lessons.widgets.live_races import freeze_and_rates_explorer, race_loaders

freeze_and_rates_explorer(race_loaders(size=32, batch_size=6, crops=1), epochs=2)
"""


def test_races_run_by_keyboard_and_their_results_stay(lab):
    page = lab.run_notebook(cells=[RACE])
    run_by_keyboard(page, "race", "start", ("pretrained", "random"))
    assert not lab.page_errors


def run_by_keyboard(page, what, control, choices):
    """Choose, run and wait, once for each choice; every result is added to the picture."""
    status, picture = page.locator(".t-status"), page.locator("img.t-picture")
    status.get_by_text(f"No {what} yet.").wait_for(timeout=60_000)
    for number, choice in enumerate(choices, 1):
        before = picture.get_attribute("src")
        page.locator(f".t-{control} button", has_text=choice).press("Enter")
        page.locator(".t-run").press("Enter")
        status.get_by_text(f"{what.capitalize()} {number}: finished.").wait_for(timeout=120_000)
        assert picture.get_attribute("src") != before


REAL_OR_COLORED = """
import torch
from colorlib import paint_scenes, rgb_to_lab, split_lab
from colorlib.lessons.widgets import compare_models as panels

L, ab = split_lab(rgb_to_lab(paint_scenes(3, 64, 7).rgb))
colored = {name: panels.as_pictures(L, factor * ab, list("abc")) for name, factor in {"gray": 0, "bold": 1.5}.items()}
sheet = panels.AnswerSheet()
panels.RealOrColored(panels.as_pictures(L, ab, list("abc")), colored, sheet)
"""


def play_by_keyboard(page, rounds=10):
    """Answer with the arrow keys, left and right in turn; return the text of the table of rates."""
    pair = page.locator(".t-pair")
    pair.wait_for(timeout=60_000)
    pair.focus()
    for number in range(1, rounds + 1):
        page.wait_for_function(
            "n => document.querySelector('.t-pair').dataset.round == n", arg=str(number), timeout=30_000
        )
        page.wait_for_function("() => document.querySelector('.t-pair .t-left img').naturalWidth == 64")
        page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
    page.locator(".t-status", has_text=f"Round {rounds + 1}.").wait_for(timeout=30_000)
    return page.locator(".t-rates").inner_text()


def test_ten_rounds_of_real_or_colored_are_played_by_keyboard(lab):
    page = lab.run_notebook(cells=[REAL_OR_COLORED])
    rates = play_by_keyboard(page)
    assert "gray" in rates and "bold" in rates and "95% interval" in rates
    with page.expect_download(timeout=30_000) as download:
        page.locator(".t-download").press("Enter")
    with open(download.value.path(), encoding="utf-8") as file:
        assert len(file.read().splitlines()) == 11
    page.locator(".t-right").click()
    page.locator(".t-status", has_text="Round 12.").wait_for(timeout=30_000)
    assert not lab.page_errors


def test_real_or_colored_works_under_voila(app):
    page = app.visit(cells=[REAL_OR_COLORED])
    assert "of" in play_by_keyboard(page, rounds=2)
    assert not app.page_errors


WORKBENCH = """
from colorlib import make_loaders
from colorlib.lessons.widgets.unet_workbench import unet_workbench

unet_workbench(make_loaders("scenes", 32, n_train=16, n_test=6), seconds=2)
"""


def use_the_workbench(page):
    """Change the network, train it, stop a second training, and reset."""
    status, picture = page.locator(".t-status"), page.locator("img.t-picture")
    status.get_by_text("No training yet.").wait_for(timeout=60_000)
    before = picture.get_attribute("src")
    page.locator(".t-skips input").click()
    changed = "before => document.querySelector('img.t-picture').src !== before"
    page.wait_for_function(changed, arg=before, timeout=30_000)
    page.locator(".t-run").click()
    page.locator("img.t-live").wait_for(state="visible", timeout=30_000)
    status.get_by_text("Training 1: finished").wait_for(timeout=120_000)
    page.locator("img.t-results").wait_for(state="visible", timeout=30_000)
    assert "no skips" in page.locator(".t-table").inner_text()
    page.locator(".t-run", has_text="Train").click()
    page.locator(".t-run", has_text="Stop").click()
    status.get_by_text("Training 2: ").wait_for(timeout=120_000)
    page.locator(".t-reset").click()
    status.get_by_text("No training yet.").wait_for(timeout=30_000)
    assert not page.locator("img.t-results").is_visible()


def test_the_workbench_in_lab(lab):
    use_the_workbench(lab.run_notebook(cells=[WORKBENCH]))
    assert not lab.page_errors


def test_the_workbench_under_voila(app):
    use_the_workbench(app.visit(cells=[WORKBENCH], timeout=150))
    assert not app.page_errors


LIVE_GAME = """
from colorlib import UNet, make_loaders
from colorlib.lessons.widgets.playground import LiveGamePanel

LiveGamePanel(UNet(4, n_down=2), make_loaders("scenes", 32, n_train=12, n_test=8), steps=12)
"""


def test_live_games_run_by_keyboard_and_their_results_stay(lab):
    page = lab.run_notebook(cells=[LIVE_GAME])
    run_by_keyboard(page, "game", "adversarial", ("hinge", "lsgan"))
    page.locator(".t-reset").press("Enter")
    page.locator(".t-status", has_text="No game yet.").wait_for(timeout=30_000)
    assert not lab.page_errors


SHIFT = "from colorlib.lessons.widgets.one_dimension import ShiftPanel\nShiftPanel()"


def test_the_game_on_one_dimension_is_played_by_keyboard(lab):
    page = lab.run_notebook(cells=[SHIFT])
    status, picture = page.locator(".t-status"), page.locator("img.t-picture")
    picture.wait_for(state="visible", timeout=30_000)
    before = picture.get_attribute("src")
    page.locator(".t-one").press("Enter")
    status.get_by_text("Step 1:").wait_for(timeout=30_000)
    lab.press(page, ".t-lr_d", "ArrowRight")
    page.locator(".t-ten").press("Enter")
    status.get_by_text("Step 11:").wait_for(timeout=30_000)
    assert picture.get_attribute("src") != before
    page.locator(".t-reset").press("Enter")
    status.get_by_text("Step 0:").wait_for(timeout=30_000)
    assert not lab.page_errors


QUIZ = """
from colorlib import PatchDiscriminator, make_loaders
from colorlib.lessons.widgets.judge_quiz import JudgeQuiz, quiz_questions

test = make_loaders("scenes", 64, n_train=1, n_test=12).test
L, ab = test.first(12)
JudgeQuiz(quiz_questions(PatchDiscriminator(4), L, ab, 0 * ab, test.masks, n=3))
"""


def test_the_quiz_is_answered_by_keyboard(lab):
    page = lab.run_notebook(cells=[QUIZ])
    status = page.locator(".t-status")
    status.get_by_text("Patch 1 of 3").wait_for(timeout=60_000)
    page.locator(".t-real").press("Enter")
    status.get_by_text("Patch 2 of 3").wait_for(timeout=30_000)
    page.locator(".t-real").press("Tab")
    page.keyboard.press("Enter")  # Fake
    status.get_by_text("Patch 3 of 3").wait_for(timeout=30_000)
    page.locator(".t-real").press("Space")
    status.get_by_text("That was the last patch.").wait_for(timeout=30_000)
    page.locator(".t-again").press("Enter")
    status.get_by_text("Patch 1 of 3").wait_for(timeout=30_000)
    assert not lab.page_errors
