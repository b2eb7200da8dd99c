"""Chapter 02: exercise checkers, widgets, the scripted artist, and the code that the notebook shows."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import spsolve
from test_lessons import PNG, definition, solution

import colorlib
from colorlib import classical
from colorlib.color import rgb_to_lab, to_tensor
from colorlib.lessons import artist
from colorlib.lessons.checks import before_deep_learning as check
from colorlib.lessons.widgets import before_deep_learning as studio
from colorlib.lessons.widgets.stroke_canvas import StrokeCanvas, StrokePanel
from colorlib.strokes import Stroke

NOTEBOOK = "02_before_deep_learning.ipynb"
RED = (60.0, 40.0)


@pytest.fixture(scope="module")
def scenes():
    return colorlib.paint_scenes(10, 48, 7)


@pytest.fixture(scope="module")
def lab(scenes):
    return rgb_to_lab(scenes.rgb[9])


def weights(L, neighbors, variance):
    return torch.exp(-((neighbors - L) ** 2) / (2 * variance))


EXERCISES = [
    (
        check.match_mean_std,
        {
            "shape": lambda v, r: r,
            "spread is not right": lambda v, r: v - v.mean() + r.mean(),
            "upside down": lambda v, r: (v - v.mean()) * v.std() / r.std() + r.mean(),
            "before you stretch": lambda v, r: v / v.std() * r.std() + r.mean(),
            "add the reference's mean": lambda v, r: (v - v.mean()) / v.std() * r.std(),
            "variances": lambda v, r: (v - v.mean()) / v.var() * r.var() + r.mean(),
            "the mean should be": lambda v, r: v,
            "RuntimeError": lambda v, r: v + r,
        },
    ),
    (
        check.best_match,
        {
            "another texture": lambda L, t, Ls, ts: (Ls - L).abs().argmin(),
            "textures only": lambda L, t, Ls, ts: 3,
            "smallest distance": lambda L, t, Ls, ts: ((Ls - L) ** 2 + (ts - t) ** 2).argmax(),
            "must not cancel": lambda L, t, Ls, ts: ((Ls - L) + (ts - t)).argmin(),
            "differs least": lambda L, t, Ls, ts: 7,
            "the first is nearer": lambda L, t, Ls, ts: 1,
            "TypeError": lambda L, t, Ls, ts: Ls("L"),
        },
    ),
    (
        check.affinity_weights,
        {
            "add up to 1": weights,
            "as many weights": lambda L, n, v: weights(L, n[:2], v),
            "sign": lambda L, n, v: torch.exp((n - L) ** 2 / (2 * v)),
            "square the difference": lambda L, n, v: torch.exp(-(n - L).abs() / (2 * v)),
            "not by the variance": lambda L, n, v: weights(L, n, v / 2),
            "divide the squared difference": lambda L, n, v: weights(L, n, 0.5),
            "a square already": lambda L, n, v: weights(L, n, v**2),
            "of equal L should be": lambda L, n, v: torch.ones_like(n) / len(n),
            "TypeError": lambda L, n, v: L + None,
        },
    ),
    (
        check.where_it_stops,
        {
            "the one before it": lambda L: int(L.diff().abs().argmax()) + 1,
            "absolute value": lambda L: int(L.diff().argmax()),
            "the first step": lambda L: int(L.diff().nonzero()[0]),
            "should be 10": lambda L: 4,
            "IndexError": lambda L: L[99],
        },
    ),
]


@pytest.mark.parametrize(("checker", "mistakes"), EXERCISES, ids=lambda x: getattr(x, "__name__", ""))
def test_a_checker_tells_stub_solution_and_typical_mistakes_apart(checker, mistakes):
    given = {"torch": torch}
    assert repr(checker(definition(NOTEBOOK, checker.__name__, dict(given)))).startswith("not attempted yet")
    assert checker(solution(NOTEBOOK, checker.__name__, dict(given))).correct
    for hint, attempt in mistakes.items():
        answer = checker(attempt)
        assert hint in answer and not answer.correct, f"{hint!r}: {answer}"


# --- the code that the notebook shows is that of the package ----------------------------------------------------------


def test_the_chapter_builds_tint(lab):
    by_hand = definition(NOTEBOOK, "tint", {"np": np, "torch": torch})
    stops = [(20, 0, 0), (50, 10, 25), (90, 0, 8)]
    assert torch.allclose(by_hand(lab, stops), classical.tint(lab, stops), atol=1e-4)


def test_the_chapter_builds_welsh(lab, scenes):
    given = {"np": np, "torch": torch}
    definition(NOTEBOOK, "describe", given)
    by_hand, other = definition(NOTEBOOK, "take_colors", given), rgb_to_lab(scenes.rgb[0])
    same = (by_hand(lab, other) - classical.welsh(lab, other, samples=None)).abs().amax(dim=0) < 0.01
    assert same.float().mean() > 0.97  # equally similar pixels may be chosen differently


def test_the_chapter_builds_levin(lab):
    given = {"np": np, "csr_array": csr_array, "diags_array": diags_array, "spsolve": spsolve}
    definition(NOTEBOOK, "weights_of", given)
    by_hand, piece = definition(NOTEBOOK, "solve", given), lab[:, 20:34, 5:24].double()
    fixed = torch.zeros(14, 19, dtype=torch.bool)
    fixed[3, 2:5] = fixed[10, 15] = True
    ours = by_hand(piece[0].numpy() / 100, piece[1:].numpy(), fixed.numpy())
    assert np.abs(ours - classical.propagate(piece[0], piece[1:], fixed).numpy()).max() < 1e-6


# --- the scripted artist ----------------------------------------------------------------------------------------------


def test_the_artist_puts_dots_of_true_color_where_the_error_is_largest(lab):
    wrong = lab.clone()
    wrong[1:, 30:36, 10:16] += 50
    dot = artist.next_dot(wrong, lab)
    ((x, y),) = dot.points
    assert 10 <= x * 48 <= 16 and 30 <= y * 48 <= 36
    assert (torch.tensor(dot.ab) - lab[1:, int(y * 48), int(x * 48)]).abs().max() < 15
    assert artist.next_dot(wrong, lab, [dot]).points != dot.points

    gray = studio.without_color(lab)
    dots, errors = artist.draw_dots(lab, lambda strokes: classical.levin(gray, strokes) if strokes else gray, 8)
    assert len(dots) == 8 and len(errors) == 9
    assert errors[0] == pytest.approx(lab[1:].abs().mean().item(), rel=1e-4)
    assert errors[8] == artist.ab_error(classical.levin(gray, dots), lab) < errors[1]


def test_the_prepared_strokes_color_the_scene(lab):
    colored = classical.levin(studio.without_color(lab), artist.scene_strokes())
    assert artist.ab_error(colored, lab) < 0.5 * lab[1:].abs().mean()


# --- widgets ----------------------------------------------------------------------------------------------------------


def test_a_stroke_on_the_canvas_changes_the_result(lab):
    strokes = artist.scene_strokes()
    panel = studio.stroke_explorer(lab, strokes)
    assert isinstance(panel, StrokePanel) and bytes(panel.result.value).startswith(PNG)
    assert panel.canvas.drawn() == strokes and panel.status.value == f"{len(strokes)} strokes"
    before = panel.result.value
    panel.canvas.strokes = [{"points": [[0.5, 0.5]], "ab": [60, 40], "radius": 0.02}]  # as the page sends them
    assert panel.result.value != before and panel.status.value == "1 stroke"
    assert Image.open(io.BytesIO(panel.result.value)).size == (48, 48)
    panel.canvas.strokes = []
    assert np.ptp(np.asarray(Image.open(io.BytesIO(panel.result.value))).astype(int), axis=2).max() < 2
    panel.canvas.strokes = [{"points": [], "ab": None, "radius": 1}]
    assert "not valid" in panel.status.value
    panel.again.click()
    assert panel.result.value == before


def test_the_brush_corrects_a_result(lab):
    photo = studio.to_picture(lab)
    panel = studio.brush_explorer(photo, [Stroke([(0.2, 0.1)], RED, 0.02)])
    result = Image.open(io.BytesIO(panel.result.value))
    assert np.array_equal(np.asarray(result), np.asarray(colorlib.touch_up(photo, [Stroke([(0.2, 0.1)], RED, 0.02)])))
    assert not panel.canvas.keep
    panel.keep.value = True
    assert panel.canvas.keep


def test_a_color_of_the_palette_editor_fills_its_segment(lab, scenes):
    ids = scenes.objects[9]
    editor = studio.palette_editor(lab, {"sky": 0, "green grass": 4}, ids)
    before = editor.picture.value
    assert bytes(before).startswith(PNG)
    editor.controls["green_grass"].value = "#4a7a2a"
    assert editor.picture.value != before
    palette = {0: (0.0, -20.0)}
    figure = studio.palette_figure(lab, ids, palette)
    assert f"{artist.ab_error(classical.fill_segments(lab, ids, palette), lab):.1f}" in figure.axes[1].get_title()


def test_the_reference_picker(lab, scenes):
    others = {"one": rgb_to_lab(scenes.rgb[0]), "two": rgb_to_lab(scenes.rgb[1])}
    picker = studio.ReferencePicker(lab, others)
    seen = {picker.picture.value}
    for control, value in (
        (picker.method, "tint"),
        (picker.method, "Reinhard"),
        (picker.method, "Welsh"),
        (picker.choice, "two"),
    ):
        control.value = value
        seen.add(picker.picture.value)
    assert len(seen) == 4, "Welsh is shown twice"
    picker.target.boxes, before = [[0, 0, 0.2, 0.4]], picker.picture.value
    assert picker.picture.value == before, "a box counts when it has a partner"
    picker.source.boxes = [[0, 0.6, 0.3, 0.9]]
    assert picker.picture.value != before and picker.status.value.startswith("1 pair")
    picker.source.boxes = [[0.5, 0.5, 0.5, 0.5]]
    assert "has no pixel" in picker.status.value
    for method in studio.METHODS:
        assert torch.equal(studio.by_reference(lab, others["one"], method)[0], lab[0])

    file = io.BytesIO()
    Image.fromarray(np.asarray(scenes.rgb[3].permute(1, 2, 0))).save(file, "PNG")
    file.name = "mine.png"
    file.seek(0)
    picker.take_upload(file)
    assert picker.choice.value == "mine.png" and picker.reference.shape[0] == 3
    broken = io.BytesIO(b"no photo")
    broken.name = "broken.png"
    picker.take_upload(broken)
    assert "broken.png" in picker.status.value


def test_colors_that_no_screen_shows_become_paler(lab):
    wild = torch.cat([lab[:1], torch.full_like(lab[1:], 120.0)])
    shown = rgb_to_lab(to_tensor(studio.to_picture(wild)))
    assert (shown[0] - lab[0]).abs().max() < 1 and shown[1:].norm(dim=0).max() < 140


def test_a_canvas_has_a_picture_and_a_script():
    canvas = StrokeCanvas(np.zeros((4, 6, 3), np.uint8), mode="boxes")
    assert canvas.picture.startswith(PNG) and "export default" in str(canvas._esm)
