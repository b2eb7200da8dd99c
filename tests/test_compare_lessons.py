"""Real or colored, the widget of chapter 06, and its interval."""

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binom, binomtest

from colorlib import lab_to_rgb, paint_scenes, rgb_to_lab, split_lab
from colorlib.lessons.checks import NOT_ATTEMPTED
from colorlib.lessons.checks import compare_models as check
from colorlib.lessons.widgets import compare_models as panels

PICTURES = {name: np.full((12, 16, 3), level, np.uint8) for name, level in {"dark": 40, "light": 200}.items()}
COLORED = {
    model: {name: picture + add for name, picture in PICTURES.items()} for model, add in {"A": 7, "B": 9}.items()
}


def shown(png: bytes) -> int:
    return int(np.asarray(Image.open(io.BytesIO(png)))[0, 0, 0])


def send(panel, side):
    panel.pair._handle_custom_msg({"round": panel.pair.round, "side": side}, [])


def colored_side(panel):
    """Find the colored picture from what the page shows."""
    levels = {side: shown(getattr(panel.pair, side)) for side in ("left", "right")}
    return next(side for side, level in levels.items() if level not in (40, 200))


@pytest.mark.parametrize(("hits", "rounds"), [(0, 5), (3, 10), (10, 10), (6, 20), (120, 400)])
def test_the_interval_is_that_of_scipy_and_holds_by_definition(hits, rounds):
    low, high = panels.binomial_interval(hits, rounds)
    expected = binomtest(hits, rounds).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    if 0 < hits < rounds:  # at its ends, so extreme a result has a probability of 2.5 %
        assert binom.sf(hits - 1, rounds, low) == pytest.approx(0.025)
        assert binom.cdf(hits, rounds, high) == pytest.approx(0.025)


def test_without_rounds_nothing_is_known():
    assert panels.binomial_interval(0, 0) == (0.0, 1.0)


def test_every_model_gets_every_picture_once_before_any_twice():
    sheet = panels.AnswerSheet()
    panel = panels.RealOrColored(PICTURES, COLORED, sheet)
    for _ in range(8):
        send(panel, "left")
    played = [(answer["model"], answer["image"]) for answer in sheet.answers]
    every = {(model, name) for model in COLORED for name in PICTURES}
    assert set(played[:4]) == set(played[4:]) == every
    assert {answer["colored"] for answer in sheet.answers} == {"left", "right"}


def test_answers_are_judged_by_what_is_shown():
    sheet = panels.AnswerSheet()
    panel = panels.RealOrColored(PICTURES, COLORED, sheet, seed=3)
    expected = []
    for number in range(10):
        side = colored_side(panel)
        level = shown(getattr(panel.pair, side))
        model = "A" if level in (47, 207) else "B"
        chosen = side if number % 3 else {"left": "right", "right": "left"}[side]
        send(panel, chosen)
        expected.append({"model": model, "image": "dark" if level < 100 else "light", "colored": side,
                         "chosen": chosen, "fooled": chosen != side})  # fmt: skip
        assert ("Fooled" if chosen != side else "Right") in panel.status.value and model in panel.status.value
    assert sheet.answers == expected
    for model, (fooled, rounds, low, high) in sheet.fool_rates().items():
        outcomes = [answer["fooled"] for answer in expected if answer["model"] == model]
        assert (fooled, rounds) == (sum(outcomes), len(outcomes)) and low <= fooled / rounds <= high
        assert f"{fooled} of {rounds}" in panel.table.value
    name, content = panel.make_file()
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert name == "real_or_colored.csv" and len(rows) == 10
    assert [row["fooled"] for row in rows] == [str(answer["fooled"]) for answer in expected]


def test_a_second_answer_to_a_round_and_nonsense_are_ignored():
    sheet = panels.AnswerSheet()
    panel = panels.RealOrColored(PICTURES, COLORED, sheet)
    panel.answer(None, {"round": 1, "side": "left"}, [])
    for message in ({"round": 1, "side": "right"}, {"round": 2, "side": "up"}, {}):
        panel.answer(None, message, [])
    assert len(sheet.answers) == 1 and panel.pair.round == 2


def test_the_answers_outlive_the_panel():
    sheet = panels.AnswerSheet()
    first = panels.RealOrColored(PICTURES, COLORED, sheet)
    assert not first.download.ready and first.table.value == ""
    send(first, "left")
    second = panels.RealOrColored(PICTURES, COLORED, sheet)
    assert second.download.ready and "of 1" in second.table.value
    assert repr(sheet) == "AnswerSheet(1 round)"


def test_a_test_without_pictures_or_models_is_refused():
    for pictures, colored in (({}, COLORED), (PICTURES, {})):
        with pytest.raises(ValueError, match="at least one picture and one model"):
            panels.RealOrColored(pictures, colored, panels.AnswerSheet())


def test_the_still_picture_shows_both():
    panel = panels.RealOrColored(PICTURES, COLORED, panels.AnswerSheet())
    assert panel.still().size == (32, 12)
    assert repr(panel) == "RealOrColored: run the notebook to use it"


def test_pictures_of_tensors_are_those_that_lab_to_rgb_gives():
    rgb = paint_scenes(2, 32, 0).rgb
    L, ab = split_lab(rgb_to_lab(rgb))
    pictures = panels.as_pictures(L, ab, ["one", "two"])
    assert list(pictures) == ["one", "two"]
    assert np.abs(pictures["two"].astype(int) - rgb[1].permute(1, 2, 0).numpy()).max() <= 1
    gray = panels.as_pictures(L, torch.zeros_like(ab), ["one", "two"])["one"]
    assert np.ptp(gray.astype(int), axis=2).max() <= 1
    assert lab_to_rgb(rgb_to_lab(rgb)).shape == rgb.shape


def test_who_is_better_needs_zero_outside_of_the_interval():
    assert check.is_worse(None) == NOT_ATTEMPTED
    assert check.is_worse("can't tell").correct
    assert "where does 0 lie" in check.is_worse("A") and "answer with" in check.is_worse(0)
