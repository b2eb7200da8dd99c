"""Chapter 04: which patches does the discriminator classify as real?"""

import math
from collections.abc import Mapping

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

from colorlib.color import join_lab, lab_to_rgb
from colorlib.lessons.widgets import FigurePanel


def forge(ab: torch.Tensor, saturation: float, turn: float) -> torch.Tensor:
    """Multiply the chroma of ab (..., 2, H, W) by `saturation` and rotate its hues by `turn` degrees."""
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    a, b = ab.unbind(dim=-3)
    return saturation * torch.stack([c * a - s * b, s * a + c * b], dim=-3)


@torch.no_grad()
def patch_maps(discriminator: nn.Module, L: torch.Tensor, named_ab: Mapping[str, torch.Tensor]) -> Figure:
    """Draw an image in some colors and, beside it, the probability of "real" for each of its patches.

    Args:
        discriminator: (L, ab) -> logits; used in eval mode.
        L: one image, (1, H, W), network-scaled.
        named_ab: name -> colors for it, (2, H, W), network-scaled; each gets its own picture and map.
    """
    was_training = discriminator.training
    discriminator.eval()
    figure, axes = plt.subplots(1, 2 * len(named_ab), figsize=(3.3 * 2 * len(named_ab), 3.1), layout="constrained")
    plt.close(figure)
    for (name, ab), left, right in zip(named_ab.items(), axes[::2], axes[1::2], strict=True):
        ab = ab.to(L.device)
        logits = discriminator(L[None], ab[None])
        p_real = F.interpolate(logits.sigmoid(), size=L.shape[-2:], mode="bilinear")[0, 0].cpu().numpy()
        rgb = lab_to_rgb(join_lab(L, ab)).permute(1, 2, 0).cpu().numpy()
        left.imshow(rgb, interpolation="nearest")
        left.set_title(name)
        right.imshow(rgb.mean(axis=-1), cmap="Greys_r", vmin=0, vmax=1, interpolation="nearest")
        image = right.imshow(p_real, cmap="RdBu", vmin=0, vmax=1, alpha=0.75, interpolation="nearest")
        right.set_title(f"discriminator: mean {p_real.mean():.2f}")
    discriminator.train(was_training)
    figure.colorbar(image, ax=axes[-1], label="probability of “real”", shrink=0.85)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure


def patch_map(discriminator: nn.Module, L: torch.Tensor, ab: torch.Tensor, saturation: float, turn: float) -> Figure:
    """Draw `patch_maps` for an image with changed colors.

    Args:
        discriminator, L: as in `patch_maps`.
        ab: the true colors, (2, H, W), network-scaled.
        saturation: factor of the chroma; 0 is gray, 1 the true chroma.
        turn: degrees by which every hue is rotated.
    """
    return patch_maps(discriminator, L, {f"saturation {saturation:g}, turned {turn:g}°": forge(ab, saturation, turn)})


def patch_explorer(discriminator: nn.Module, L: torch.Tensor, ab: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `patch_map`, with controls for the image of the batch (L, ab), saturation and hue."""

    def draw(image: int, saturation: float, turn: float) -> Figure:
        return patch_map(discriminator, L[image], ab[image], saturation, turn)

    return FigurePanel(
        draw,
        image=widgets.IntSlider(0, 0, len(L) - 1, description="image"),
        saturation=widgets.FloatSlider(1.0, min=0.0, max=2.0, step=0.1, description="saturation"),
        turn=widgets.IntSlider(0, -180, 180, step=15, description="turn (°)"),
    )
