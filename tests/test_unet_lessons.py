"""Chapter 03: receptive fields, losses, repainted scenes, scores by kind, the workbench, and its answer boxes."""

import dataclasses
import math
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import colorlib
from colorlib import anatomy, show
from colorlib.lessons import more_losses
from colorlib.lessons.by_kind import scores_by_kind
from colorlib.lessons.checks import unet_autoencoder as check
from colorlib.lessons.experiments import unet_autoencoder as experiments
from colorlib.lessons.widgets import unet_autoencoder as figures
from colorlib.lessons.widgets import unet_workbench as bench
from colorlib.scenes import KINDS

PNG = b"\x89PNG"
DEFAULTS = {"depth": 2, "width": 4, "skips": True, "loss": "l1", "dropout": 0.0, "lr": 1e-2}


@pytest.fixture(scope="module")
def loaders():
    return colorlib.make_loaders("scenes", 32, n_train=16, n_test=30)


# --- what a pixel can see ---------------------------------------------------------------------------------------------


def test_the_receptive_field_of_stacked_convolutions_is_known():
    """Kernel sizes minus one add up; each stride multiplies what follows (Dumoulin and Visin 2016, §5)."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 5, padding=2), nn.Conv2d(4, 2, 7, padding=3))
    assert anatomy.receptive_field(plain) == 1 + 2 + 4 + 6
    dilated = nn.Conv2d(1, 2, 3, padding=8, dilation=8)
    assert anatomy.receptive_field(dilated) == 17
    for n_down in (1, 2, 3):
        for skips in (True, False):
            assert anatomy.receptive_field(colorlib.UNet(4, n_down, skips)) == 5 * 2**n_down
            assert bench.field_of(n_down) == 5 * 2**n_down


def test_a_field_without_an_end_and_one_without_a_beginning_are_refused():
    class Everywhere(nn.Conv2d):
        def forward(self, L):
            return super().forward(L) + L.mean((2, 3), keepdim=True)

    with pytest.raises(ValueError, match="larger than"):
        anatomy.receptive_field(Everywhere(1, 2, 1))
    blind = nn.Conv2d(1, 2, 1)
    nn.init.zeros_(blind.weight)
    with pytest.raises(ValueError, match="does not depend"):
        anatomy.receptive_field(blind)


def test_influence_is_the_change_that_a_changed_gray_value_makes():
    torch.manual_seed(0)
    net = colorlib.UNet(4, 2).double().train()
    L = torch.rand(1, 1, 32, 32, dtype=torch.float64)
    by_gradient = anatomy.influence(net, L, 16, 12)
    assert net.training
    net.eval()
    for y, x in ((16, 12), (14, 13), (20, 9)):
        changed = L.clone()
        changed[0, 0, y, x] += 1e-6
        with torch.no_grad():
            difference = (net(changed) - net(L))[0, :, 16, 12].abs().sum().item() / 1e-6
        assert by_gradient[y, x].item() == pytest.approx(difference, rel=1e-3, abs=1e-7)


# --- losses and worlds ------------------------------------------------------------------------------------------------


def test_huber_is_that_of_torch_at_five_lab_units():
    ab_pred, ab = torch.rand(2, 1, 2, 9, 9, generator=torch.Generator().manual_seed(0)) * 0.3
    expected = F.huber_loss(110 * ab_pred, 110 * ab, delta=5.0) / (5 * 110)
    assert more_losses.huber_5(ab_pred, ab).item() == pytest.approx(expected.item(), rel=1e-5)
    assert F.smooth_l1_loss(ab_pred, ab).item() == pytest.approx(F.mse_loss(ab_pred, ab).item() / 2), "L2 in disguise"
    assert colorlib.losses.RECONSTRUCTION[more_losses.HUBER] is more_losses.huber_5


def test_repainted_objects_have_the_given_hues_and_nothing_else_changes():
    painted = colorlib.paint_scenes(40, 64, 5)
    red_or_blue = experiments.repaint(painted, ((0.7, 20.0), (0.3, 260.0)), seed=0)
    assert torch.equal(
        red_or_blue.rgb.movedim(1, -1)[painted.determined], painted.rgb.movedim(1, -1)[painted.determined]
    )
    before, after = colorlib.rgb_to_lab(painted.rgb), colorlib.rgb_to_lab(red_or_blue.rgb)
    inside = painted.ambiguous[:, None]
    assert (after[:, :1] - before[:, :1])[inside].abs().mean() < 0.3, "the lightness stays"
    hues = colorlib.metrics.object_hues(after[:, 1:], painted.objects, painted.ambiguous).rad2deg() % 360
    red = (hues - 20).abs() < 6
    assert (red | ((hues - 260).abs() < 6)).all() and 0.6 < red.double().mean() < 0.8


def test_scores_by_kind_are_those_of_a_loop_over_pixels():
    painted = colorlib.paint_scenes(3, 32, 1)
    ab_pred, ab = torch.rand(2, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.5
    scores = scores_by_kind(ab_pred, ab, painted)
    assert list(scores) == sorted(scores, key=lambda kind: -scores[kind]["share"])
    where = torch.tensor([[[KINDS[i] == "sky" for i in row] for row in ids.tolist()] for ids in painted.objects])
    where &= ~painted.edges
    errors = [110 * (ab_pred - ab)[i, :, y, x].abs().mean().item() for i, y, x in where.nonzero().tolist()]
    assert scores["sky"]["ab_mae"] == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    assert scores["sky"]["share"] == pytest.approx(len(errors) / where.numel())


def test_a_shrunk_truth_is_exact_where_colors_are_uniform():
    ab = torch.full((1, 2, 16, 16), 0.25)
    assert torch.allclose(experiments.enlarged(F.avg_pool2d(ab, 4), 4), ab)
    assert experiments.shrunk(torch.full((1, 3, 8, 8), 7, dtype=torch.uint8), 4).unique().tolist() == [7]


def test_ab_histograms_count_every_pixel():
    ab = torch.zeros(1, 2, 4, 4)
    ab[0, :, 0, 0] = torch.tensor([30.0, -20.0]) / 110
    figure = show.ab_histograms({"all": ab, "some": ab.movedim(1, -1)[:, 0].reshape(-1, 2)})
    share = figure.axes[0].images[0].get_array().data
    middle = len(share) // 2
    assert share[middle, middle] == pytest.approx(15 / 16) and share.sum() == pytest.approx(1)
    row, column = (share == 1 / 16).nonzero()
    assert (column[0] - middle) * 2.5 == 30 and (row[0] - middle) * 2.5 == -20
    assert figure.axes[1].images[0].get_array().data.max() == pytest.approx(3 / 4)
    with pytest.raises(ValueError, match="name"):
        show.ab_histograms({"Lab": torch.zeros(1, 3, 4, 4)})


# --- the workbench ----------------------------------------------------------------------------------------------------


def test_a_timed_training_learns_and_is_measured(loaders):
    few = dataclasses.replace(loaders, valid=bench.first_scenes(loaders.valid, bench.N_HELD_OUT))
    assert len(few.valid.rgb) == bench.N_HELD_OUT == len(few.valid.masks.context)
    measured = []
    trial = bench.train_for(few, DEFAULTS, seconds=1.5, on_measure=lambda trial, net: measured.append(net.training))
    assert trial.n_weights == sum(p.numel() for p in colorlib.UNet(4, 2).parameters()) and trial.field == 20
    assert len(trial.points) == bench.MEASUREMENTS + 1 == len(measured) and trial.note == ""
    assert [seconds for seconds, *_ in trial.points] == sorted(seconds for seconds, *_ in trial.points)
    assert trial.points[-1][2]["ab_mae/determined"] < 0.9 * trial.points[0][2]["ab_mae/determined"]


def test_the_workbench_trains_stops_compares_and_forgets(loaders):
    panel = bench.unet_workbench(loaders, seconds=0.5)
    panel.controls["width"].value, panel.controls["depth"].value = 4, 2
    before = panel.picture.value
    panel.controls["skips"].value = False
    assert (
        panel.picture.value != before and f"{colorlib.UNet(4, 2, False).recipe['n_down'] * 10} px" in panel.facts.value
    )
    for number, loss in enumerate(("l1", "l2"), 1):
        panel.controls["loss"].value = loss
        panel.run.click()
        panel.thread.join()
        assert panel.status.value.startswith(f"Training {number}: finished")
    assert panel.table.value.count("<tr>") == 3 and bytes(panel.results.value).startswith(PNG)
    panel.seconds = 60.0
    panel.run.click()
    assert panel.run.description == "Stop" and panel.controls["lr"].disabled
    time.sleep(0.3)
    start = time.monotonic()
    panel.run.click()
    panel.thread.join()
    assert time.monotonic() - start < 20 and panel.trials[-1].note == "stopped" and not panel.controls["lr"].disabled
    panel.reset.click()
    assert panel.trials == [] and panel.table.value == "" and panel.status.value == "No training yet."


def test_a_training_that_diverges_is_one_sentence(loaders, monkeypatch):
    monkeypatch.setitem(bench.RECONSTRUCTION, "l1", lambda ab_pred, ab: (ab_pred - ab).sum() * math.inf)
    panel = bench.Workbench(loaders, seconds=0.5)
    panel.run.click()
    panel.thread.join()
    assert panel.status.value.startswith("The training failed: ") and "lower learning rate" in panel.status.value
    assert not panel.trials and panel.run.description == "Train 0.5 s"


# --- answer boxes and figures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (lambda: check.one_epoch({"l1": None, "l2": None}), "not attempted"),
        (lambda: check.one_epoch({"l1": 0.4, "l2": 0.2}), "correct"),
        (lambda: check.one_epoch({"l1": 0.2, "l2": 0.4}), "swapped"),
        (lambda: check.one_epoch({"l1": 0.3, "l2": 0.3}), "new network"),
        (lambda: check.one_epoch({"l1": 0.9, "l2": 0.8}), "chroma_ratio/ambiguous"),
        (lambda: check.one_epoch({"l1": "x", "l2": 1}), "ValueError"),
        (lambda: check.in_workbench({"l1": 0.3, "l2": None}), "not attempted"),
        (lambda: check.in_workbench({"l1": 0.3, "l2": 0.2}), "0.20: L1 is still"),
        (lambda: check.in_workbench({"l1": 0.2, "l2": 0.3}), "0.30: now L2"),
        (lambda: check.in_workbench({"l1": 0.3, "l2": 0.3}), "both are the same"),
        (lambda: check.in_workbench({"l1": 30, "l2": 20}), "between 0 and 1"),
        (lambda: check.red_jump(None), "not attempted"),
        (lambda: check.red_jump(0.425), "correct"),
        (lambda: check.red_jump(42.5), "between 0 and 1"),
        (lambda: check.red_jump(0.5), "exactly red"),
        (lambda: check.red_jump(0.13), "leaves gray"),
        (lambda: check.red_jump(0.8), "not yet"),
        (lambda: check.enough_downs(None), "not attempted"),
        (lambda: check.enough_downs(4), "correct"),
        (lambda: check.enough_downs(3), "whole width"),
        (lambda: check.enough_downs(5), "smaller"),
        (lambda: check.enough_downs(24), "to one side"),
    ],
)
def test_answer_boxes(verdict, words):
    assert words in verdict()


def test_the_answers_are_those_of_the_theory_and_of_the_networks():
    chroma = [figures.best_guess(*figures.possible_colors(8, p), "l1").norm().item() for p in (0.405, 0.4, 0.425)]
    assert chroma[1] < 20 and chroma[2] > 34
    reach = {}
    for n_down in (3, 4):
        torch.manual_seed(0)
        influence = anatomy.influence(colorlib.UNet(4, n_down), torch.rand(1, 1, 256, 256), 128, 128)
        reach[n_down] = (influence.nonzero() - 128).abs().max(0).values.max().item()
    assert reach[3] == 23 < 24 <= 32 <= reach[4]


def test_figures_of_stored_runs_and_of_influence_are_drawn():
    table = {f"seed {s}": {"a": {"x": 1.0 + s}, "b": {"x": 2.0}} for s in range(3)}
    figure = figures.runs_figure(table, {"a": 6, "b": 60}, {"x": "error"}, xscale="log")
    mean = figure.axes[0].lines[-1].get_ydata()
    assert mean.tolist() == [2.0, 2.0]
    drawn = figures.influence_figure(torch.zeros(1, 8, 8), {"net": torch.rand(8, 8)}, 3, 4)
    assert drawn.axes[1].lines[0].get_xydata().tolist() == [[4, 3]]
    assert drawn.axes[1].images[0].get_array().max() == 1 and drawn.axes[-1].get_ylabel() == "influence / largest"


def test_learning_curves_show_epoch_0_and_gray_in_every_region():
    regions = ("determined", "context", "ambiguous")
    rows = [{f"valid_ab_mae/{region}": 20.0 - epoch for region in regions} | {"epoch": epoch} for epoch in range(3)]
    rows = [row | {"train_loss": 0.1} if row["epoch"] else row for row in rows]
    gray = {f"valid_ab_mae/{region}": 14.0 + 3 * i for i, region in enumerate(regions)}
    left, right = figures.learning_curves(rows, gray).axes
    assert left.lines[0].get_xdata().tolist() == [1, 2]
    assert [line.get_ydata()[0] for line in right.lines] == [20, 14, 20, 17, 20, 20]
    labels = [text.get_text() for text in right.get_legend().texts]
    assert labels == ["determined", "gray: 14.0", "context", "gray: 17.0", "ambiguous", "gray: 20.0"]


def test_every_field_of_the_masks_is_cut(loaders):
    few = bench.first_scenes(loaders.valid, 5).masks
    assert {len(getattr(few, field.name)) for field in dataclasses.fields(few)} == {5}
