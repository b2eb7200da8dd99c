"""Chapter 05: what the stored races on photos say, as curves, a plane of two scores, and pictures.

The figures take the record of `experiments.stored_training("photo_races")`, or one of the same form: its "table" has
a row per run, and a run with a name in `ab` has stored predictions for the seven photos of
`experiments.library_photos`.
"""

import functools
from collections.abc import Mapping

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from colorlib import show
from colorlib.color import join_lab, lab_to_rgb
from colorlib.lessons.experiments import LIBRARY_PHOTOS, library_photos, unpack_ab
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.sheets import draw_image, middles, sheet

STARTS = ("pretrained", "random")  # where the encoder starts
STEPS = 500  # of the runs on few and many photos
ERROR, COLOR = "ab MAE / gray", "colorfulness / truth"
GANS = {"patch": "PatchGAN", "features": "frozen features"}
SHOWN = ("coffee", "chelsea", "astronaut", "flower")  # photos below the curve
SIZE = 128  # side of these photos, pixels


def curve_points(record: Mapping, steps: int = STEPS) -> dict[str, dict[int, dict[int, float]]]:
    """Return the error over gray's by start, number of photos and seed.

    Args:
        record: with a "table", see the module.
        steps: only runs of this many training steps.
    Returns:
        {"pretrained": {32: {0: 0.96, …}, …}, "random": …}, with the numbers of photos in ascending order.
    Raises:
        ValueError: there are no such runs.
    """
    points = {start: {} for start in STARTS}
    for name, row in record["table"].items():
        start = name.split(",")[0]
        # Other runs have more in front of the number of photos, as in "random, two rates, 3200 photos".
        if start in STARTS and name.startswith(f"{start}, {row['n']} photos, {steps} steps"):
            points[start].setdefault(row["n"], {})[row["seed"]] = row["scores"][ERROR]
    if not all(points.values()):
        raise ValueError(f"The record has no runs of {steps} steps for both starts, pretrained and random.")
    return {start: dict(sorted(by_n.items())) for start, by_n in points.items()}


@show.in_style
def race_curve(record: Mapping, chosen: int | None = None, steps: int = STEPS) -> Figure:
    """Draw the error over gray's against the number of training photos: a dot per seed, lines through their means.

    Args:
        record, steps: as in `curve_points`.
        chosen: a number of photos to mark.
    Raises:
        ValueError: as in `curve_points`.
    """
    figure, ax = plt.subplots(figsize=(6.4, 3.2))
    _draw_curve(ax, curve_points(record, steps), chosen)
    ax.set_title(f"Error on held-out photos after {steps} steps")
    return figure


def _draw_curve(ax: Axes, points: Mapping, chosen: int | None) -> None:
    for i, (start, by_n) in enumerate(points.items()):
        look = {"color": show.COLORS[i], "marker": show.MARKERS[i]}
        means = [np.mean(list(seeds.values())) for seeds in by_n.values()]
        ax.plot(list(by_n), means, ls=show.DASHES[i], color=look["color"])
        dots = [(n, error) for n, seeds in by_n.items() for error in seeds.values()]
        ax.plot(*zip(*dots, strict=True), ls="none", alpha=0.6, label=f"{start} encoder", **look)
    ax.axhline(1, ls=":", color="0.3", lw=1.2)
    ax.annotate("all gray", (1, 1), xycoords=ax.get_yaxis_transform(), ha="right", va="bottom", size=8, color="0.3")
    numbers = sorted({n for by_n in points.values() for n in by_n})
    ax.set(xscale="log", xlabel="photos in the training set (log scale)", ylabel="ab error over gray's (1 = gray)")
    ax.set_xticks(numbers, [f"{n:,}" for n in numbers])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y")
    if chosen is not None:
        ax.axvspan(chosen / 1.13, chosen * 1.13, color="0.85", zorder=-1)
    ax.legend(title="dots: seeds; lines: means", title_fontsize=8, loc="upper right")


@show.in_style
def plane(record: Mapping) -> Figure:
    """Draw error against colorfulness: GAN runs as points, and L1 nets of the same seeds with their ab multiplied.

    Args:
        record: with a "table", see the module; GAN runs start from the pretrained long run of the same seed.
    Raises:
        ValueError: the record has no GAN runs.
    """
    table = record["table"]
    gans = {name: row for name, row in table.items() if name.startswith("GAN, ")}
    if not gans:
        raise ValueError("The record has no runs whose names begin with 'GAN, '.")
    figure, ax = plt.subplots(figsize=(6.4, 3.8))
    on_white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    seeds = sorted({row["seed"] for row in gans.values()})
    for seed in seeds:
        before = next(row for name, row in table.items() if name.startswith("pretrained, ") and
                      "multiplied" in row and row["seed"] == seed)  # fmt: skip
        factors = {"1": before["scores"]} | before["multiplied"]
        color, error = zip(*((scores[COLOR], scores[ERROR]) for scores in factors.values()), strict=True)
        label = "L1, ab multiplied by 1 to " + list(factors)[-1] if seed == seeds[0] else None
        ax.plot(color, error, ls="-", marker=".", color="0.45", lw=1.2, label=label)
        ax.annotate(
            f"seed {seed}", (color[-1], error[-1]), (6, -3), textcoords="offset points", size=7.5, bbox=on_white
        )
        if seed == seeds[0]:
            for factor, x, y in zip(factors, color, error, strict=True):
                ax.annotate(
                    f"× {float(factor):g}",
                    (x, y),
                    (-4, 4),
                    ha="right",
                    textcoords="offset points",
                    size=7.5,
                    color="0.3",
                )
    for i, (kind, name) in enumerate(GANS.items()):
        rows = [row for key, row in gans.items() if key.startswith(f"GAN, {kind},")]
        look = {"color": show.COLORS[1 - i], "marker": show.MARKERS[1 - i]}
        ax.plot([row["scores"][COLOR] for row in rows], [row["scores"][ERROR] for row in rows], ls="none", ms=7,
                label=f"GAN, discriminator: {name}", **look)  # fmt: skip
        for row in rows:
            place = row["scores"][COLOR], row["scores"][ERROR]
            dx, dy, ha = ((-7, 0, "right"), (7, -3, "left"), (0, 6, "center"))[row["seed"] % 3]
            ax.annotate(
                f"seed {row['seed']}", place, (dx, dy), textcoords="offset points", ha=ha, size=7.5, bbox=on_white
            )
    ax.axhline(1, ls=":", color="0.3", lw=1.2)
    ax.annotate("all gray", (1, 1), xycoords=ax.get_yaxis_transform(), ha="right", va="bottom", size=8, color="0.3")
    ax.set(xlabel="colorfulness over the truth's (1 = as colorful)", ylabel="ab error over gray's (1 = gray)")
    ax.set_title("What color costs on held-out photos (lower: smaller error, further right: more color)")
    ax.grid()
    ax.legend(loc="upper left")
    return figure


@functools.cache
def _photos(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return L and ab of the seven photos; reading them takes a second."""
    return library_photos(size).first(len(LIBRARY_PHOTOS))


def stored_rgb(ab: Mapping[str, torch.Tensor], name: str, size: int = SIZE) -> torch.Tensor:
    """Return the seven photos of `library_photos` in the stored colors of a run: (7, 3, size, size), in [0, 1].

    Args:
        ab: run -> packed ab (7, 2, h, w), enlarged here to the size of the photos.
        name: of the run.
        size: side of the photos, pixels.
    """
    L, _ = _photos(size)
    enlarged = F.interpolate(unpack_ab(ab[name]), (size, size), mode="bilinear", align_corners=False)
    return lab_to_rgb(join_lab(L, enlarged))


@show.in_style
def data_size(record: Mapping, ab: Mapping[str, torch.Tensor], n: int = 3200, steps: int = STEPS) -> Figure:
    """Draw `race_curve` with one number of photos marked, and below it four photos in the colors of both nets.

    Args:
        record, steps: as in `curve_points`.
        ab: stored predictions of the runs with seed 0, see `stored_rgb`.
        n: number of training photos.
    Raises:
        ValueError: as in `curve_points`, or no run has this number of photos.
    """
    points = curve_points(record, steps)
    if any(n not in by_n for by_n in points.values()):
        raise ValueError(f"There are no runs on {n} photos, only on {', '.join(map(str, points[STARTS[0]]))}.")
    chosen = [LIBRARY_PHOTOS.index(name) for name in SHOWN]
    L, ab_true = _photos(SIZE)
    rows = {start: stored_rgb(ab, f"{start}, {n} photos, {steps} steps, seed 0") for start in STARTS}
    rows["truth"] = lab_to_rgb(join_lab(L, ab_true))
    figure, (ax, below) = plt.subplots(2, 1, figsize=(6.4, 7.2), height_ratios=[2.2, 4.6])
    _draw_curve(ax, points, n)
    means = {start: np.mean(list(by_n[n].values())) for start, by_n in points.items()}
    numbers = ", ".join(f"{start} {mean:.2f}" for start, mean in means.items())
    ax.set_title(f"{n:,} photos, {steps} steps: error over gray's: {numbers} (means of the seeds)")
    draw_image(below, sheet(torch.stack([rgb[chosen] for rgb in rows.values()])))
    below.set_yticks(middles(len(rows), SIZE), [f"{name}\nencoder" * (name in STARTS) or name for name in rows])
    return figure


def data_size_explorer(record: Mapping, ab: Mapping[str, torch.Tensor], steps: int = STEPS) -> FigurePanel:
    """Return a slider over the number of photos of `data_size`; arguments and errors are the same."""
    points = curve_points(record, steps)
    numbers = [n for n in points[STARTS[0]] if n in points[STARTS[1]]]
    slider = widgets.SelectionSlider(
        options=[(f"{n:,}", n) for n in numbers], value=numbers[-1], description="photos", continuous_update=False
    )
    return FigurePanel(lambda n: data_size(record, ab, n, steps), n=slider)
