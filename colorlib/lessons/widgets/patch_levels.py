"""Chapter 05: what does a discriminator with several levels see in the truth, in gray, in turned hues and in a net?"""

import functools
import itertools

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

from colorlib import show
from colorlib.color import join_lab, lab_to_rgb
from colorlib.data import Loaders
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.pix2pix import forge
from colorlib.lessons.widgets.sheets import GAP, draw_image, middles, sheet
from colorlib.losses import ADVERSARIAL
from colorlib.metrics import predict
from colorlib.training import discriminator_step

LEVELS = ("1/4", "1/8", "1/16")  # of a FeatureDiscriminator
TURN = 120  # degrees
Scores = dict[str, tuple[torch.Tensor, torch.Tensor]]


def train_discriminator(
    discriminator: nn.Module, generator: nn.Module, loaders: Loaders, steps: int = 40, lr: float = 4e-4
) -> list[dict[str, float]]:
    """Train a discriminator against a generator that stays as it is, with the hinge loss and Adam.

    Without the generator's half of `fit_gan`, the heads on frozen features learn within seconds.

    Args:
        discriminator: (L, ab) -> logits, trained in place; in eval mode afterwards.
        generator: L -> ab, used in eval mode.
        loaders: `train` gives the batches.
        steps: number of batches.
        lr: learning rate.
    Returns:
        "loss_d_real" and "loss_d_fake" of each step.
    """
    discriminator.to(loaders.train.device).train()
    optimizer = torch.optim.Adam(discriminator.parameters(), lr, betas=(0.0, 0.99))
    batches = itertools.chain.from_iterable(iter(loaders.train) for _ in itertools.count())
    rows = []
    for L, ab, *_ in itertools.islice(batches, steps):
        ab_fake = predict(generator, L).to(L.device)
        losses = discriminator_step(discriminator, optimizer, L, ab, ab_fake, ADVERSARIAL["hinge"][0])
        rows.append({name: loss.item() for name, loss in losses.items()})
    discriminator.eval()
    return rows


def scores_by_level(
    discriminator: nn.Module, generator: nn.Module, L: torch.Tensor, ab: torch.Tensor, turn: float = TURN
) -> Scores:
    """Return the colors and the patch scores of four versions of each image.

    Args:
        discriminator: (L, ab) -> logits (B, levels, h, w); used in eval mode, its mode is restored.
        generator: L -> ab.
        L, ab: (B, 1, H, W) and (B, 2, H, W), network-scaled.
        turn: degrees by which every hue of the third version is rotated.
    Returns:
        "truth", "gray", "turned" and "the net": ab (B, 2, H, W) and logits (B, levels, h, w), on the CPU.
    """
    generated = predict(generator, L).to(ab.device)
    versions = {"truth": ab, "gray": torch.zeros_like(ab), "turned": forge(ab, 1.0, turn), "the net": generated}
    was_training = discriminator.training
    discriminator.eval()
    with torch.no_grad():
        scores = {name: (colors.cpu(), discriminator(L, colors).float().cpu()) for name, colors in versions.items()}
    discriminator.train(was_training)
    return scores


@show.in_style
def level_maps(
    discriminator: nn.Module,
    generator: nn.Module,
    L: torch.Tensor,
    ab: torch.Tensor,
    image: int = 0,
    turn: int = TURN,
    scores: Scores | None = None,
) -> Figure:
    """Draw four versions of an image, and below each the score of every patch at each level of the discriminator.

    Args:
        discriminator, generator, L, ab, turn: as in `scores_by_level`.
        image: number of the image in the batch.
        scores: what `scores_by_level` returns for them, if it is known.
    """
    scores = scores or scores_by_level(discriminator, generator, L, ab, turn)
    size, columns = L.shape[-2:], len(scores)
    rgb = torch.stack([lab_to_rgb(join_lab(L[image].cpu(), colors[image])) for colors, _ in scores.values()])
    maps = torch.stack([logits[image] for _, logits in scores.values()], dim=1)  # (levels, 4, h, w)
    n_levels, height = len(maps), L.shape[-2] + GAP
    heights = [1, n_levels]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 0.8 + 1.5 * sum(heights)), height_ratios=heights,
                                         layout="compressed")  # fmt: skip
    draw_image(top, sheet(rgb[None]))
    ticks = middles(columns, size[1])
    top.set_xticks(ticks, [f"hues turned by {turn}°" if name == "turned" else name for name in scores])
    top.xaxis.tick_top()

    enlarged = F.interpolate(maps, tuple(size), mode="nearest")[:, :, None]  # (levels, 4, 1, H, W)
    limit = max(0.1, float(maps.abs().quantile(0.98)))
    shown = draw_image(bottom, sheet(enlarged, value=float("nan"))[..., 0], cmap="PuOr", vmin=-limit, vmax=limit)
    for row, column in np.ndindex(n_levels, columns):
        bottom.text(column * (size[1] + GAP) + 0.04 * size[1], row * height + 0.05 * size[0],
                    f"mean {_signed(maps[row, column].mean())}", va="top", size=8,
                    bbox={"facecolor": "white", "alpha": 0.85, "pad": 1, "linewidth": 0})  # fmt: skip
    names = LEVELS if n_levels == len(LEVELS) else [f"level {i + 1}" for i in range(n_levels)]
    bottom.set_yticks(middles(n_levels, size[0]), names)
    totals = [logits.mean().item() for _, logits in scores.values()]
    bottom.set_xticks(ticks, map(_signed, totals))
    bottom.set_xlabel(f"mean score of all levels and of all {len(L)} images")
    figure.colorbar(
        shown, ax=(top, bottom), label="score (above 0: real)", fraction=0.03, pad=0.02, shrink=0.6, extend="both"
    )
    return figure


def discriminator_eyes(
    discriminator: nn.Module, generator: nn.Module, L: torch.Tensor, ab: torch.Tensor
) -> FigurePanel:
    """Return a panel that draws `level_maps`, with controls for the image of the batch (L, ab) and the turn of hues."""

    @functools.lru_cache(maxsize=30)
    def scores_at(turn: int) -> Scores:
        return scores_by_level(discriminator, generator, L, ab, turn)

    def draw(image: int, turn: int) -> Figure:
        return level_maps(discriminator, generator, L, ab, image, turn, scores_at(turn))

    return FigurePanel(
        draw,
        image=widgets.IntSlider(0, 0, len(L) - 1, description="image", continuous_update=False),
        turn=widgets.IntSlider(TURN, -180, 180, 15, description="turn (°)", continuous_update=False),
    )


def _signed(value: float) -> str:
    return f"{round(float(value), 2) + 0.0:+.2f}".replace("-", "−")  # no −0.00
