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


def scene_strokes() -> list[Stroke]:
    """Return strokes for scene 9 of `paint_scenes(10, size, seed=7)`, one or two for each of its things."""

    def line(color: tuple[float, float], *points: tuple[float, float]) -> Stroke:
        return Stroke(points, color, 0.012)

    sky, grass, brick, roof, gray = (-3, -22), (-22, 32), (24, 19), (5, -19), (0, 0)
    return [
        line(sky, (0.02, 0.04), (0.98, 0.04)),
        line(sky, (0.03, 0.3), (0.12, 0.5)),
        line(sky, (0.94, 0.1), (0.97, 0.4)),
        line(sky, (0.68, 0.2), (0.68, 0.3)),
        line((3, 55), (0.5, 0.2), (0.56, 0.26)),
        line((-2, -8), (0.45, 0.4), (0.75, 0.39)),
        line((28, -42), (0.18, 0.14), (0.22, 0.17)),
        line((19, 38), (0.76, 0.24), (0.79, 0.28)),
        line((42, -14), (0.64, 0.48), (0.68, 0.5)),
        line((-23, 27), (0.72, 0.55), (0.83, 0.56)),
        line((-18, 7), (0.95, 0.5), (0.95, 0.57)),
        line(grass, (0.01, 0.68), (0.14, 0.7)),
        line(grass, (0.5, 0.7), (0.97, 0.7)),
        line(grass, (0.02, 0.97), (0.97, 0.97)),
        line(brick, (0.19, 0.53), (0.42, 0.53)),
        line(brick, (0.18, 0.72), (0.32, 0.72)),
        line(roof, (0.2, 0.46), (0.4, 0.46)),
        line((0, 42), (0.36, 0.65), (0.4, 0.7)),
        line((38, 5), (0.15, 0.83), (0.35, 0.84)),
        line((0, -2), (0.03, 0.91), (0.97, 0.91)),
        line((0, -2), (0.5, 0.8), (0.97, 0.8)),
        line(gray, (0.2, 0.58), (0.28, 0.66)),
        line(gray, (0.8, 0.54), (0.93, 0.54)),
    ]
