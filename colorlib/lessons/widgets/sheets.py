"""Many images in one axes: a grid of axes would take a second to lay out, too long for a slider."""

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

GAP = 6  # pixels between the images of a sheet


def sheet(images: torch.Tensor, gap: int = GAP, value: float = 1.0) -> torch.Tensor:
    """Arrange images (rows, columns, C, h, w) as one image (H, W, C), with gaps of that value between them."""
    padded = F.pad(images, (0, gap, 0, gap), value=value)  # to the right and below
    joined = torch.cat([torch.cat(list(row), dim=-1) for row in padded], dim=-2)
    return joined[:, :-gap, :-gap].permute(1, 2, 0)


def middles(n: int, side: int, gap: int = GAP) -> list[float]:
    """Return the middles of the rows or columns of a sheet of images with that side, for ticks."""
    return [side / 2 + i * (side + gap) for i in range(n)]


def draw_image(ax: Axes, image: torch.Tensor, **style) -> AxesImage:
    """Draw an image, (H, W) or (H, W, 3), without a frame or ticks."""
    ax.set(xticks=[], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax.imshow(image.numpy(), interpolation="nearest", **style)
