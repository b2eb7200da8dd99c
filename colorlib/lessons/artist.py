"""A scripted artist who knows the true colors and puts dots where the error is largest, for chapter 02."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from colorlib.strokes import Stroke, draw_strokes

WINDOW = 9  # pixels: errors are averaged over such squares, so that a place matters more than a pixel
RADIUS = 0.015  # of the dots, see `Stroke`


def ab_error(lab: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the mean of |Δa| and |Δb| over two pictures (3, H, W), in Lab units."""
    return (lab - truth)[1:].abs().mean().item()


def next_dot(lab: torch.Tensor, truth: torch.Tensor, strokes: Sequence[Stroke] = (), radius: float = RADIUS) -> Stroke:
    """Return a dot in the true color at the place where the colors of `lab` are farthest from the truth.

    Args:
        lab, truth: (3, H, W) in Lab units.
        strokes: drawn before; no dot is put on them.
        radius: of the dot.
    """
    error = (lab - truth)[1:].abs().mean(dim=0)
    smooth = F.avg_pool2d(error[None, None], WINDOW, stride=1, padding=WINDOW // 2)[0, 0]
    _, taken = draw_strokes(truth, strokes)
    y, x = divmod(int(smooth.masked_fill(taken, -1).argmax()), error.shape[1])
    place = ((x + 0.5) / error.shape[1], (y + 0.5) / error.shape[0])
    _, covered = draw_strokes(truth, [Stroke([place], None, radius)])
    return Stroke([place], tuple(truth[1:, covered].median(dim=1).values.tolist()), radius)


def draw_dots(
    truth: torch.Tensor, color: Callable[[Sequence[Stroke]], torch.Tensor], n: int
) -> tuple[list[Stroke], list[float]]:
    """Add dots one by one, each where the error is largest at that time.

    Args:
        truth: (3, H, W) in Lab units.
        color: strokes, at first none -> the picture colored with them, (3, H, W).
        n: number of dots.
    Returns:
        The dots, and the error with the first 0, 1, … n of them.
    """
    strokes, errors = [], []
    for _ in range(n):
        lab = color(strokes)
        errors.append(ab_error(lab, truth))
        strokes.append(next_dot(lab, truth, strokes))
    return strokes, [*errors, ab_error(color(strokes), truth)]
