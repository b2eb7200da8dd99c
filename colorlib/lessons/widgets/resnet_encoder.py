"""Chapter 05: what do the layers of an encoder respond to?"""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import nn

from colorlib.lessons.widgets import FigurePanel
from colorlib.metrics import predict
from colorlib.resnet import NormalizeGray, ResNetUNet

# Resolution -> index of the encoder's last layer with that resolution.
STAGES = {"1/2": 2, "1/4": 4, "1/8": 5, "1/16": 6, "1/32": 7}
N_MAPS = 6


def features(generator: ResNetUNet, L: torch.Tensor, stage: str) -> torch.Tensor:
    """Return the features (C, h, w) of one image L (1, H, W) at a stage such as "1/8"."""
    layers = nn.Sequential(NormalizeGray(), *generator.encoder[: STAGES[stage] + 1])
    return predict(layers, L[None])[0]


def feature_maps(generators: dict[str, ResNetUNet], L: torch.Tensor, stage: str) -> Figure:
    """Draw the six strongest feature maps (largest standard deviation) of each network, one row per network.

    Args:
        generators: name -> network.
        L: one image, (1, H, W), network-scaled.
        stage: resolution of the features, a key of `STAGES`.
    """
    figure, axes = plt.subplots(
        len(generators), N_MAPS + 1, figsize=(1.3 * (N_MAPS + 1), 1.5 * len(generators)), layout="constrained"
    )
    plt.close(figure)
    for row, (name, generator) in zip(axes.reshape(len(generators), -1), generators.items(), strict=True):
        maps = features(generator, L, stage)
        strongest = maps.flatten(1).std(dim=1).topk(N_MAPS).indices
        row[0].imshow(L[0].cpu().numpy(), cmap="Greys_r", vmin=-1, vmax=1)
        row[0].set_ylabel(name)
        for axis, channel in zip(row[1:], strongest.tolist(), strict=True):
            axis.imshow(maps[channel].numpy(), cmap="viridis")
            axis.set_title(f"channel {channel}", fontsize=7)
        for axis in row:
            axis.set(xticks=[], yticks=[])
    figure.suptitle(f"the {N_MAPS} strongest feature maps at {stage} of the resolution", fontsize=9)
    return figure


def feature_explorer(generators: dict[str, ResNetUNet], L: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `feature_maps`, with controls for the image of a batch L (B, 1, H, W) and the depth."""

    def draw(image: int, stage: str) -> Figure:
        return feature_maps(generators, L[image], stage)

    return FigurePanel(
        draw,
        image=widgets.IntSlider(0, 0, len(L) - 1, description="image", continuous_update=False),
        stage=widgets.SelectionSlider(options=list(STAGES), value="1/4", description="depth", continuous_update=False),
    )
