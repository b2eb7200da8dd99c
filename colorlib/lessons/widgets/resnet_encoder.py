"""Chapter 05: what do the layers of an encoder respond to?"""

import functools
from collections.abc import Mapping

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from colorlib import show
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.sheets import GAP, draw_image, sheet
from colorlib.metrics import predict
from colorlib.resnet import normalize_gray

# Resolution -> index of the encoder's last layer with that resolution.
STAGES = {"1/2": 2, "1/4": 4, "1/8": 5, "1/16": 6, "1/32": 7}
FILTERS = "filters"  # the choice of depth that shows the first layer's weights
N_MAPS = 6
N_PLACES = 5


def features(net: nn.Module, L: torch.Tensor, stage: str) -> torch.Tensor:
    """Return the features of one image L (1, H, W), as (C, h, w), or of a batch (B, 1, H, W), as (B, C, h, w).

    Args:
        net: a generator with an `encoder` for gray images, or a network from `resnet.rgb_resnet`, which gets the gray
            image as R = G = B.
        L: network-scaled.
        stage: resolution of the features, a key of `STAGES`.
    """
    has_encoder = hasattr(net, "encoder")
    layers = net.encoder if has_encoder else nn.Sequential(*list(net.children())[:-2])  # without pooling and fc
    gray = normalize_gray(L if L.ndim == 4 else L[None])
    maps = predict(layers[: STAGES[stage] + 1], gray if has_encoder else gray.expand(-1, 3, -1, -1))
    return maps if L.ndim == 4 else maps[0]


def first_filters(net: nn.Module) -> torch.Tensor:
    """Return the weights of the first layer, (64, 3, 7, 7), or (64, 1, 7, 7) if the network takes gray images."""
    layer = net.encoder[0] if hasattr(net, "encoder") else net.conv1
    return layer.weight.detach().float().cpu()


def by_strength(maps: torch.Tensor) -> list[int]:
    """Return the channels of the features of an image, (C, h, w), those with the largest standard deviation first."""
    return maps.flatten(1).std(dim=1).argsort(descending=True, stable=True).tolist()


@show.in_style
def feature_maps(generators: Mapping[str, nn.Module], L: torch.Tensor, stage: str = "1/8") -> Figure:
    """Draw the six strongest feature maps (largest standard deviation) of each network, one row per network.

    Args:
        generators: name -> network, as in `features`.
        L: one image, (1, H, W), network-scaled.
        stage: resolution of the features, a key of `STAGES`.
    """
    figure, axes = plt.subplots(len(generators), N_MAPS + 1, figsize=(1.28 * (N_MAPS + 1), 1.5 * len(generators)))
    for row, (name, net) in zip(axes.reshape(len(generators), -1), generators.items(), strict=True):
        maps = features(net, L, stage)
        draw_image(row[0], L[0].cpu(), cmap="Greys_r", vmin=-1, vmax=1)
        row[0].set_ylabel(name)
        for ax, channel in zip(row[1:], by_strength(maps)[:N_MAPS], strict=True):
            draw_image(ax, maps[channel], cmap="viridis")
            ax.set_title(f"channel {channel}", fontsize=8)
    figure.suptitle(f"the {N_MAPS} strongest feature maps at {stage} of the resolution (each on its own scale)")
    return figure


def feature_explorer(generators: Mapping[str, nn.Module], L: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `feature_maps`, with controls for the image of a batch L (B, 1, H, W) and the depth."""
    return FigurePanel(
        lambda image, stage: feature_maps(generators, L[image], stage),
        image=widgets.IntSlider(0, 0, len(L) - 1, description="image", continuous_update=False),
        stage=widgets.SelectionSlider(options=list(STAGES), value="1/8", description="depth", continuous_update=False),
    )


@show.in_style
def filter_sheets(nets: Mapping[str, nn.Module], marked: Mapping[str, int] | None = None) -> Figure:
    """Draw the 64 filters of the first layer of each network: for red, green and blue, and their sum for gray.

    Args:
        nets: name -> network, as in `features`; one for gray images has no filters for RGB.
        marked: name -> number of a filter to frame.
    """
    sheets = []
    for name, net in nets.items():
        filters = first_filters(net)
        if filters.shape[1] == 3:
            sheets.append((name, f"{name}: red, green, blue", filters))
        sheets.append((name, f"{name}: summed for gray", filters.sum(dim=1, keepdim=True)))
    figure, axes = plt.subplots(1, len(sheets), figsize=(2.25 * len(sheets), 2.5), squeeze=False)
    for ax, (name, title, filters) in zip(axes[0], sheets, strict=True):
        # Every filter on its own scale, with zero in the middle: gray is "no influence".
        scaled = 0.5 + 0.5 * filters / filters.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-8)
        shown = F.interpolate(scaled.expand(-1, 3, -1, -1), scale_factor=4.0, mode="nearest")
        draw_image(ax, sheet(shown.unflatten(0, (8, 8)), gap=2))
        ax.set_title(title)
        if marked:
            row, column = divmod(marked[name], 8)
            frame = {"facecolor": "none", "edgecolor": show.COLORS[1], "linewidth": 2}
            ax.add_patch(Rectangle((30 * column - 1.5, 30 * row - 1.5), 30, 30, **frame))
    return figure


@show.in_style
def channel_view(
    nets: Mapping[str, nn.Module],
    L: torch.Tensor,
    depth: str = "1/8",
    rank: int = 0,
    photo: int = 0,
    maps: Mapping[str, torch.Tensor] | None = None,
) -> Figure:
    """Draw where one channel of each network responds in a photo, and the places where it responds most in all photos.

    Args:
        nets: name -> network, as in `features`.
        L: photos, (B, 1, H, W), network-scaled.
        depth: resolution of the features, a key of `STAGES`.
        rank: of the channel; 0 is the strongest in this photo (largest standard deviation).
        photo: number of the photo.
        maps: name -> features of L at this depth (B, C, h, w), if they are known.
    """
    maps = maps or {name: features(net, L, depth) for name, net in nets.items()}
    gray = ((L.cpu() + 1) / 2).expand(-1, 3, -1, -1)
    size, n_places = L.shape[-1], min(N_PLACES, len(L))
    figure, axes = plt.subplots(len(nets), 2, figsize=(show.WIDTH, 1.72 * len(nets)), width_ratios=[1, n_places],
                                squeeze=False)  # fmt: skip
    for (left, right), (name, of_net) in zip(axes, maps.items(), strict=True):
        channel = by_strength(of_net[photo])[rank]
        responses = of_net[:, channel].clamp(min=0)  # (B, h, w)
        responses = responses / responses.max().clamp(min=1e-8)
        heat = F.interpolate(responses[photo][None, None], gray.shape[-2:], mode="nearest")[0] * 0.8  # (1, H, W)
        orange = torch.tensor([0.90, 0.45, 0.0]).view(3, 1, 1)
        draw_image(left, ((1 - heat) * gray[photo] + heat * orange).permute(1, 2, 0))
        left.set_title(f"channel {channel} of {of_net.shape[1]}")
        left.set_ylabel(name)
        places, shares = _strongest_places(responses, gray, min(size, max(24, 4 * size // responses.shape[-1])))
        draw_image(right, sheet(places[None, :n_places]))
        side = places.shape[-1] + GAP
        for i, share in enumerate(shares[:n_places]):
            right.text(side * i + 3, 5, f"{share:.0%}", va="top", size=8, color="white",
                       bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0})  # fmt: skip
    axes[0, 1].set_title("its strongest place in each photo, as a share of its largest response")
    figure.suptitle(f"Features at {depth} of the resolution; orange: the channel responds")
    return figure


def _strongest_places(responses: torch.Tensor, gray: torch.Tensor, window: int) -> tuple[torch.Tensor, list[float]]:
    """Cut a window around the largest response in each image, strongest first.

    Args:
        responses: (B, h, w), of one channel.
        gray: (B, 3, H, W), the images.
        window: side of the window, pixels of the image.
    Returns:
        (B, 3, 96, 96) and the responses there.
    """
    height, width = gray.shape[-2:]
    scale = height / responses.shape[-2], width / responses.shape[-1]
    found = []
    for image, response in zip(gray, responses, strict=True):
        row, column = divmod(int(response.argmax()), response.shape[-1])
        top, left = (round((i + 0.5) * s - window / 2) for i, s in zip((row, column), scale, strict=True))
        top, left = min(max(top, 0), height - window), min(max(left, 0), width - window)
        cut = image[None, :, top : top + window, left : left + window]
        found.append((response.max().item(), F.interpolate(cut, (96, 96), mode="nearest")))
    found.sort(key=lambda pair: -pair[0])
    return torch.cat([cut for _, cut in found]), [share for share, _ in found]


def filter_browser(nets: Mapping[str, nn.Module], L: torch.Tensor, names: list[str] | None = None) -> FigurePanel:
    """Return a panel to browse the first layer's filters (`filter_sheets`) and the channels (`channel_view`) of nets.

    Args:
        nets: name -> network, as in `features`; with `resnet.rgb_resnet` the filters for RGB are shown, too.
        L: photos, (B, 1, H, W), network-scaled.
        names: of the photos.
    Returns:
        Controls for the depth (or the filters), the rank of the channel, and the photo.
    """

    @functools.cache
    def maps_at(depth: str) -> dict[str, torch.Tensor]:
        return {name: features(net, L, depth) for name, net in nets.items()}

    def draw(depth: str, rank: int, photo: int) -> Figure:
        if depth == FILTERS:
            return filter_sheets(nets, {name: by_strength(maps[photo])[rank] for name, maps in maps_at("1/2").items()})
        return channel_view(nets, L, depth, rank, photo, maps_at(depth))

    def last_rank(depth: str) -> int:
        return min(maps.shape[1] for maps in maps_at("1/2" if depth == FILTERS else depth).values()) - 1

    def limit_rank(change: dict) -> None:
        """Let the slider reach the last channel of the chosen depth; a rank beyond it becomes the last."""
        rank.max = last_rank(change["new"])

    depths = widgets.SelectionSlider(
        options=[FILTERS, *STAGES], value="1/8", description="depth", continuous_update=False
    )
    rank = widgets.IntSlider(0, 0, last_rank("1/8"), description="channel", continuous_update=False)
    rank.tooltip = "0 is the channel that responds most strongly to this photo"
    depths.observe(limit_rank, names="value")  # before the panel's callback, which draws
    photos = widgets.Dropdown(
        options=list(zip(names or map(str, range(len(L))), range(len(L)), strict=True)), description="photo"
    )
    return FigurePanel(draw, depth=depths, rank=rank, photo=photos)
