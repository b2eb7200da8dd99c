"""Chapter 04: look at stored games, epoch by epoch: pictures, a histogram of ab, the discriminator's map, scores.

The figures take the record and the tensors of `experiments.stored("games")`. Pictures are those of its first seed.
"""

import math
from collections.abc import Mapping

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from colorlib import show
from colorlib.color import join_lab, lab_to_rgb
from colorlib.lessons.games import HISTOGRAM_STEP, KINDS, histogram_counts
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.sheets import draw_image, middles, sheet
from colorlib.metrics import HUE_BINS

LOSSES = {"loss_d_real": "D, real", "loss_d_fake": "D, fake", "loss_g_gan": "G"}


@show.in_style
def moment(record: Mapping, tensors: Mapping, L: torch.Tensor, game: str, number: int) -> Figure:
    """Draw a game after some epochs: pictures, patch maps, the ab histogram of all held-out pictures, and two scores.

    Args:
        record: its "table" has {"seed 0": {game: {"epoch 0": {scores …}, "epoch 1": {losses …, scores …}, …}}, …}.
        tensors: "<game> <epoch> ab", "… p_real" (percent) and "… histogram", int8, of the first seed.
        L: (n, 1, H, W), the pictures that were stored.
        game: name of the game.
        number: how many epochs were played.
    Raises:
        ValueError: there is no such game or epoch.
    """
    first = next(iter(record["table"].values()))
    if game not in first or f"epoch {number}" not in first[game]:
        raise ValueError(f"There is no epoch {number} of a game {game!r} in the record.")
    ab = tensors[f"{game} {number} ab"].float()  # Lab units
    L = L[: len(ab)]
    rgb = lab_to_rgb(torch.cat([join_lab(L, torch.zeros_like(ab))[:, :1], ab], dim=1))
    figure = plt.figure(figsize=(show.WIDTH + 1, 3.6))
    grid = figure.add_gridspec(2, 3, width_ratios=[5, 2.7, 2.7])
    left, middle, above, below = map(figure.add_subplot, (grid[:, 0], grid[:, 1], grid[0, 2], grid[1, 2]))
    size = L.shape[-1]
    p_real = F.interpolate(tensors[f"{game} {number} p_real"].float() / 100, (size, size), mode="nearest")
    gray = rgb.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    tint = torch.stack([1 - p_real[:, 0], 0.5 * torch.ones_like(p_real[:, 0]), p_real[:, 0]], dim=1)
    draw_image(left, sheet(torch.stack([rgb, 0.35 * gray + 0.65 * tint])))
    left.set_yticks(middles(2, size), ["pictures", "blue: “real”\norange: “fake”"])
    left.set_xlabel(f"mean probability of “real”: {p_real.mean():.2f}")
    left.set_title(f"{game}, epoch {number}")

    counts = histogram_counts(tensors[f"{game} {number} histogram"])
    reach = HISTOGRAM_STEP * len(counts) / 2
    image = middle.imshow(
        (1 + counts).log10().numpy(), origin="lower", cmap="Greys", vmin=0, extent=(-reach, reach, -reach, reach)
    )
    middle.set(xlabel="a (Lab units)", ylabel="b (Lab units)", title="ab of all pixels")
    figure.colorbar(image, ax=middle, orientation="horizontal", label="log₁₀(1 + pixels)", shrink=0.8)

    for i, kind in enumerate(KINDS):
        values = [epoch[f"hue_entropy/{kind}"] for epoch in first[game].values()]
        above.plot(range(len(values)), values, color=show.COLORS[i], marker=show.MARKERS[i], ms=4, label=f"{kind}s")
    above.set(title=f"hue entropy ({HUE_BINS} bins)")
    above.tick_params(labelbottom=False)
    above.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    for i, (seed, rows) in enumerate(record["table"].items()):
        look = {"color": "0.6", "lw": 1} if i else {"color": "black", "marker": "o", "ms": 4}
        label = {0: seed, 1: "other seeds"}.get(i)
        below.plot(range(len(rows[game])), [epoch["variety"] for epoch in rows[game].values()], label=label, **look)
    below.set(xlabel="epoch", title="variety between pictures")
    below.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    for ax in (above, below):
        ax.axvline(number, color="0.6", lw=1, ls=":")
        ax.set(ylim=(-0.05, 1.05))
    return figure


def time_machine(record: Mapping, tensors: Mapping, L: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `moment`, with controls for the game and the epoch."""
    first = next(iter(record["table"].values()))
    last = min(map(len, first.values())) - 1

    def draw(game: str, epoch: int) -> Figure:
        return moment(record, tensors, L, game, epoch)

    return FigurePanel(
        draw,
        game=widgets.Dropdown(options=list(first), description="game"),
        epoch=widgets.IntSlider(0, 0, last, description="epoch", continuous_update=False),
    )


@show.in_style
def gallery(record: Mapping) -> Figure:
    """Draw the losses of stored games side by side, on one scale, with log 2; the seeds after the first are pale."""
    games = list(next(iter(record["table"].values())))
    figure, axes = plt.subplots(1, len(games), figsize=(show.WIDTH, 2.5), sharey=True)
    for ax, game in zip(axes, games, strict=True):
        for number, rows in enumerate(record["table"].values()):
            epochs = list(rows[game].values())[1:]  # epoch 0 has no losses
            for i, (key, label) in enumerate(LOSSES.items()):
                look = {"color": show.COLORS[i], "marker": show.MARKERS[i], "ls": show.DASHES[i], "label": label}
                if number:
                    look |= {"alpha": 0.35, "lw": 1, "marker": "", "label": None}
                ax.plot(range(1, len(epochs) + 1), [epoch[key] for epoch in epochs], **look)
        ax.axhline(math.log(2), color="0.3", ls=":", lw=1.2)
        ax.set(title=game, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("mean loss (dotted: log 2)")
    axes[0].set_ylim(bottom=0)
    axes[-1].legend()
    return figure
