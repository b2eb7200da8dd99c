"""Chapter 05: what do the layers of an encoder answer to?"""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from colorlib.lessons.widgets import FigurePanel
from colorlib.resnet import ResNetUNet, normalize_gray

# Where the encoder's resolution has been halved 1, 2, 3, 4 and 5 times: the index of the layer in the body.
STAGES = {"1/2": 2, "1/4": 4, "1/8": 5, "1/16": 6, "1/32": 7}
N_MAPS = 6


@torch.no_grad()
def features(generator: ResNetUNet, L: torch.Tensor, stage: str) -> torch.Tensor:
    """Return the features (C, h, w) of one picture L (1, H, W) at a stage such as "1/8"."""
    was_training = generator.training
    x = normalize_gray(L)[None]
    for layer in generator.eval().encoder[: STAGES[stage] + 1]:
        x = layer(x)
    generator.train(was_training)
    return torch.as_tensor(x[0]).as_subclass(torch.Tensor).cpu()


def feature_maps(generators: dict[str, ResNetUNet], L: torch.Tensor, stage: str) -> Figure:
    """Draw the strongest feature maps of each network for one picture L (1, H, W), one row a network."""
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
    """Return controls for the picture of a batch L (B, 1, H, W) and the depth, over `feature_maps`."""

    def draw(picture: int, stage: str) -> Figure:
        return feature_maps(generators, L[picture], stage)

    return FigurePanel(
        draw,
        picture=widgets.IntSlider(0, 0, len(L) - 1, description="picture", continuous_update=False),
        stage=widgets.SelectionSlider(options=list(STAGES), value="1/4", description="depth", continuous_update=False),
    )
