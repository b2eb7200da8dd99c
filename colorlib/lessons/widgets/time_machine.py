"""Chapter 04: look at stored games, epoch by epoch: pictures, a histogram of ab, the discriminator's map, entropies.

The figures take the record and the tensors of `experiments.stored("games")`.
"""

from collections.abc import Mapping, Sequence

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
    """Draw a game after some epochs: pictures, patch maps, the ab histogram of all held-out pictures, and entropies.

    Args:
        record: its "table" has {game: {"epoch 0": {scores …}, "epoch 1": {losses …, scores …}, …}}.
        tensors: "<game> <epoch> ab", "… p_real" (percent) and "… histogram", int8.
        L: (n, 1, H, W), the pictures that were stored.
        game: name of the game.
        number: how many epochs were played.
    Raises:
        ValueError: there is no such game or epoch.
    """
    if game not in record["table"] or f"epoch {number}" not in record["table"][game]:
        raise ValueError(f"There is no epoch {number} of a game {game!r} in the record.")
    ab = tensors[f"{game} {number} ab"].float()  # Lab units
    L = L[: len(ab)]
    rgb = lab_to_rgb(torch.cat([join_lab(L, torch.zeros_like(ab))[:, :1], ab], dim=1))
    figure, axes = plt.subplots(1, 3, figsize=(show.WIDTH, 3.3), width_ratios=[5, 2.4, 2.6])
    size = L.shape[-1]
    p_real = F.interpolate(tensors[f"{game} {number} p_real"].float() / 100, (size, size), mode="nearest")
    gray = rgb.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    tint = torch.stack([1 - p_real[:, 0], 0.5 * torch.ones_like(p_real[:, 0]), p_real[:, 0]], dim=1)
    draw_image(axes[0], sheet(torch.stack([rgb, 0.35 * gray + 0.65 * tint])))
    axes[0].set_yticks(middles(2, size), ["pictures", "blue: “real”\norange: “fake”"])
    axes[0].set_xlabel(f"mean probability of “real”: {p_real.mean():.2f}")
    axes[0].set_title(f"{game}, epoch {number}")

    counts = histogram_counts(tensors[f"{game} {number} histogram"])
    reach = HISTOGRAM_STEP * len(counts) / 2
    axes[1].imshow((1 + counts).log10().numpy(), origin="lower", cmap="Greys", extent=(-reach, reach, -reach, reach))
    axes[1].set(xlabel="a (Lab units)", ylabel="b (Lab units)", title="log count of ab, all pixels")

    epochs = record["table"][game].values()
    for i, kind in enumerate(KINDS):
        values = [epoch[f"hue_entropy/{kind}"] for epoch in epochs]
        axes[2].plot(range(len(values)), values, color=show.COLORS[i], marker=show.MARKERS[i], label=kind)
    axes[2].axvline(number, color="0.6", lw=1)
    axes[2].set(xlabel="epoch", title=f"hue entropy by kind ({HUE_BINS} bins)", ylim=(-0.03, 1.2))
    axes[2].legend(loc="upper center", ncols=3, columnspacing=1)
    return figure


def time_machine(record: Mapping, tensors: Mapping, L: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `moment`, with controls for the game and the epoch."""
    games = list(record["table"])
    last = min(map(len, record["table"].values())) - 1

    def draw(game: str, epoch: int) -> Figure:
        return moment(record, tensors, L, game, epoch)

    return FigurePanel(
        draw,
        game=widgets.Dropdown(options=games, description="game"),
        epoch=widgets.IntSlider(0, 0, last, description="epoch", continuous_update=False),
    )


@show.in_style
def gallery(record: Mapping, games: Sequence[str] | None = None) -> Figure:
    """Draw the losses of stored games side by side, on one scale, with log 2."""
    games = list(games or record["table"])
    figure, axes = plt.subplots(1, len(games), figsize=(show.WIDTH, 2.5), sharey=True)
    for ax, game in zip(axes, games, strict=True):
        epochs = list(record["table"][game].values())[1:]
        for i, (key, label) in enumerate(LOSSES.items()):
            look = {"color": show.COLORS[i], "marker": show.MARKERS[i], "ls": show.DASHES[i]}
            ax.plot(range(1, len(epochs) + 1), [epoch[key] for epoch in epochs], label=label, **look)
        ax.axhline(0.693, color="0.3", ls=":", lw=1.2)
        ax.set(title=game, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("mean loss (dotted: log 2)")
    axes[0].set_ylim(bottom=0)
    axes[-1].legend()
    return figure
