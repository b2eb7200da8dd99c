"""Chapter 03: what is the best guess when several colors are possible?"""

import math
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from colorlib import show
from colorlib.color import lab_to_rgb
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.sheets import draw_image

LIGHTNESS, CHROMA = 60.0, 36.0  # of every balloon in this thought experiment, Lab units
FIRST_HUE = math.radians(20)  # a red; the other hues follow at equal angles
REACH, GRID = 60, 81  # the ab plane is drawn from −60 to 60 Lab units, 81 points per axis


def possible_colors(n_hues: int, p_first: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the possible colors of a balloon, ab (n, 2) in Lab units, and their probabilities (n,).

    Args:
        n_hues: number of hues, at equal angles; at least 2.
        p_first: probability of the first hue, a red; the others share the rest equally.
    """
    angles = FIRST_HUE + torch.arange(n_hues) * (math.tau / n_hues)
    colors = CHROMA * torch.stack([angles.cos(), angles.sin()], dim=1)
    probabilities = torch.full((n_hues,), (1 - p_first) / (n_hues - 1))
    probabilities[0] = p_first
    return colors, probabilities


def expected_error(guesses: torch.Tensor, colors: torch.Tensor, p: torch.Tensor, loss: str) -> torch.Tensor:
    """Return the expected "l1" or "l2" error, mean over a and b, of guesses (..., 2) against colors (n, 2)."""
    difference = guesses[..., None, :] - colors  # (..., n, 2)
    error = difference.abs() if loss == "l1" else difference**2
    return (error.mean(dim=-1) * p).sum(dim=-1)


def best_guess(colors: torch.Tensor, p: torch.Tensor, loss: str) -> torch.Tensor:
    """Return the ab (2,) with the least expected error: the weighted median of a and of b for "l1", the mean for "l2".

    If every value between two medians is equally good, return their midpoint.
    """
    if loss == "l2":
        return (colors * p[:, None]).sum(dim=0)
    medians = []
    for channel in colors.T:
        order = channel.argsort()
        mass = p[order].cumsum(0)
        low = order[(mass >= 0.5 - 1e-6).nonzero()[0]]
        high = order[(mass > 0.5 + 1e-6).nonzero()[0]]
        medians.append((channel[low] + channel[high]) / 2)
    return torch.cat(medians)


def guess_map(n_hues: int = 8, p_first: float = 0.125, loss: str = "l1") -> Figure:
    """Draw the expected error of every guess in the ab plane, the possible colors and the best guess.

    Args:
        n_hues, p_first: as in `possible_colors`.
        loss: "l1" or "l2".
    """
    colors, p = possible_colors(n_hues, p_first)
    axis = torch.linspace(-REACH, REACH, GRID)
    bs, as_ = torch.meshgrid(axis, axis, indexing="ij")
    error = expected_error(torch.stack([as_, bs], dim=-1), colors, p, loss)
    best = best_guess(colors, p, loss)

    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2), width_ratios=[3, 2], layout="constrained")
    plt.close(figure)
    image = left.imshow(error.numpy(), origin="lower", extent=(-REACH, REACH, -REACH, REACH), cmap="Greys")
    unit = "Lab units" if loss == "l1" else "squared Lab units"
    figure.colorbar(image, ax=left, label=f"expected {loss.upper()} error ({unit})", shrink=0.85)
    for color, probability in zip(colors, p, strict=True):
        left.scatter(
            *color.tolist(), s=40 + 500 * probability.item(), color=_to_srgb(color), edgecolor="black", zorder=2
        )
    left.scatter(*best.tolist(), marker="*", s=220, color=_to_srgb(best), edgecolor="black", zorder=3)
    left.set(xlabel="a", ylabel="b", title="★ best guess   ● possible colors")
    right.add_patch(Rectangle((0, 0), 1, 1, color=_to_srgb(best)))
    right.set(xticks=[], yticks=[], title=f"best guess of {loss.upper()}\nchroma {best.norm():.0f} of {CHROMA:.0f}")
    return figure


@show.in_style
def cost_curves(guesses: torch.Tensor, costs: Mapping[str, torch.Tensor]) -> Figure:
    """Draw what each guess costs by several losses, each as a share of its largest cost, with a star at its minimum.

    Args:
        guesses: (n,) in Lab units.
        costs: name of the loss -> (n,) expected cost of each guess.
    """
    figure, ax = plt.subplots(figsize=(show.WIDTH - 3, 2.4))
    for i, (name, cost) in enumerate(costs.items()):
        share, best = cost / cost.max(), cost.argmin()
        ax.plot(guesses, share, color=show.COLORS[i], ls=show.DASHES[i % 4], label=f"{name}: {guesses[best]:.0f}")
        ax.plot(guesses[best], share[best], marker="*", ms=11, color=show.COLORS[i])
    ax.set(xlabel="guess for b (Lab units)", ylabel="cost / largest cost", ylim=(0, 1.08), title="★ least cost")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@show.in_style
def learning_curves(rows: Sequence[Mapping[str, float]], gray: Mapping[str, float]) -> Figure:
    """Draw the training loss and the held-out error of three regions over the epochs, each beside that of gray.

    Args:
        rows: one per epoch, as `History.rows`; without "train_loss" for the untrained network, epoch 0.
        gray: `loop.held_out_scores` of gray.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(show.WIDTH - 3, 2.4), width_ratios=[2, 3])
    trained = [row for row in rows if "train_loss" in row]
    left.plot([row["epoch"] for row in trained], [row["train_loss"] for row in trained], "o-", color="0.3")
    left.set_title("training loss (network units)")
    for i, region in enumerate(("determined", "context", "ambiguous")):
        key = f"valid_ab_mae/{region}"
        look = {"color": show.COLORS[i], "marker": show.MARKERS[i], "ls": show.DASHES[i]}
        right.plot([row["epoch"] for row in rows], [row[key] for row in rows], label=region, **look)
        right.axhline(gray[key], ls=":", lw=1.2, color=show.COLORS[i], label=f"gray: {gray[key]:.1f}")
    right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    right.set_title("held-out ab MAE (Lab units)")
    for ax in (left, right):
        ax.set_xlabel("epoch")
        ax.set_ylim(bottom=0)
        ax.xaxis.get_major_locator().set_params(integer=True)
    return figure


@show.in_style
def runs_figure(table: Mapping[str, Mapping], places: Mapping[str, float], keys: Mapping[str, str], **labels) -> Figure:
    """Draw scores of a stored run: a dot per seed, lines through the means.

    Args:
        table: seed -> name of a run -> scores.
        places: name of a run -> its place on the x axis.
        keys: a score -> its name in the legend.
        labels: of the axes, as matplotlib's `Axes.set` takes them.
    """
    figure, ax = plt.subplots(figsize=(show.WIDTH - 3, 2.6))
    for i, (key, name) in enumerate(keys.items()):
        values = torch.tensor([[row[run][key] for run in places] for row in table.values()])
        look = {"color": show.COLORS[i], "marker": show.MARKERS[i]}
        for row in values:
            ax.plot(list(places.values()), row, ls="", alpha=0.5, **look)
        ax.plot(list(places.values()), values.mean(0), ls=show.DASHES[i % 4], color=show.COLORS[i], label=name)
    ax.set(**labels)
    ax.set_ylim(bottom=0)
    ax.set_xticks(list(places.values()), [f"{x:g}" for x in places.values()])
    ax.minorticks_off()
    ax.grid(axis="y")
    ax.legend(title="line: mean\ndots: seeds", alignment="left", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@show.in_style
def influence_figure(L: torch.Tensor, by_name: Mapping[str, torch.Tensor], y: int, x: int) -> Figure:
    """Draw a gray image, and how strongly the color of one pixel depends on each gray value, on a log scale.

    Args:
        L: (1, H, W), network-scaled.
        by_name: title -> influence (H, W).
        y, x: the pixel, marked with a cross.
    """
    figure, axes = plt.subplots(1, 1 + len(by_name), figsize=(2.0 * (1 + len(by_name)), 2.2))
    draw_image(axes[0], (L[0].cpu() + 1) / 2, cmap="gray", vmin=0, vmax=1)
    axes[0].set_title("gray")
    for ax, (name, influence) in zip(axes[1:], by_name.items(), strict=True):
        top = influence.max()
        image = draw_image(ax, influence / top, cmap="magma", norm=LogNorm(1e-3, 1))
        ax.set_title(name)
    figure.colorbar(image, ax=axes, label="influence / largest", shrink=0.8).outline.set_visible(False)
    for ax in axes:
        ax.plot(x, y, marker="+", color="#56B4E9", ms=10, mew=2)
    return figure


def guess_explorer() -> FigurePanel:
    """Return a panel that draws `guess_map`, with controls for the hues, the probability of red and the loss."""
    return FigurePanel(
        guess_map,
        n_hues=widgets.IntSlider(8, 2, 16, description="hues"),
        p_first=widgets.FloatSlider(0.125, min=0.05, max=0.95, step=0.025, description="p(red)", readout_format=".3f"),
        loss=widgets.ToggleButtons(options=["l1", "l2"], description="loss"),
    )


def _to_srgb(ab: torch.Tensor) -> tuple[float, ...]:
    """Return the sRGB color, in [0, 1], of ab (2,) at the lightness of all balloons."""
    lab = torch.cat([ab.new_tensor([LIGHTNESS]), ab]).view(3, 1, 1)
    return tuple(lab_to_rgb(lab).flatten().tolist())
