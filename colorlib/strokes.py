"""Strokes of color on a picture: what a stroke is, files of strokes, and the pixels under them.

Chapter 02 colors gray pictures with strokes, and `touch_up` corrects a network's colors with them.
"""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from colorlib.files import atomic_write

FORMAT = "colorlib strokes 1"
MAX_AB = 128.0  # Lab units; sRGB needs up to 108
MAX_POINTS = 100_000  # per file, far more than a hand draws
MAX_FILE = 20 * 2**20  # bytes


@dataclass(frozen=True)
class Stroke:
    """A line in one color, drawn by hand. It fits a picture at any size.

    Attributes:
        points: one or more (x, y): shares of width and height, from 0 (left, top) to 1. One point is a dot.
        ab: (a, b) in Lab units, or None to keep the colors that the picture has under the stroke.
        radius: half of the line's width, as a share of the picture's shorter side, in (0, 0.5].
    Raises:
        ValueError: one of them is something else.
    """

    points: Sequence[tuple[float, float]]
    ab: tuple[float, float] | None
    radius: float = 0.01

    def __post_init__(self):
        points = tuple(_pair(point, "a point of a stroke is (x, y), both from 0 to 1", 0, 1) for point in self.points)
        if not points:
            raise ValueError("a stroke needs at least one point.")
        if not isinstance(self.radius, int | float) or not 0 < self.radius <= 0.5:
            raise ValueError(f"the radius of a stroke is a share of the shorter side, up to 0.5, got {self.radius!r}.")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "radius", float(self.radius))
        if self.ab is not None:
            rule = f"the color of a stroke is (a, b) in Lab units, from {-MAX_AB:g} to {MAX_AB:g}, or None"
            object.__setattr__(self, "ab", _pair(self.ab, rule, -MAX_AB, MAX_AB))


def save_strokes(strokes: Iterable[Stroke], path: str | os.PathLike) -> None:
    """Write strokes to a JSON file, which `read_strokes` reads. An existing file is replaced."""
    content = strokes_to_json(strokes)
    with atomic_write(Path(path)) as file:
        file.write(content)


def read_strokes(path: str | os.PathLike) -> list[Stroke]:
    """Read the strokes in a file that `save_strokes` has written.

    Raises:
        ValueError: the file has other content; the message names the file and what is wrong.
        OSError: the file can't be read.
    """
    with open(path, "rb") as file:
        return strokes_from_json(file.read(MAX_FILE + 1), str(path))


def strokes_to_json(strokes: Iterable[Stroke]) -> bytes:
    """Return the content of a file of strokes."""
    content = {"format": FORMAT, "strokes": [asdict(stroke) for stroke in strokes]}
    return (json.dumps(content, indent=1) + "\n").encode()


def strokes_from_json(content: bytes, name: str) -> list[Stroke]:
    """Return the strokes in the content of a file of strokes.

    Raises:
        ValueError: it has other content; the message begins with `name` and says what is wrong.
    """
    if len(content) > MAX_FILE:
        raise ValueError(f"{name} is larger than {MAX_FILE // 2**20} MB, so it is not a file of strokes.")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not a JSON file: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("strokes"), list):
        raise ValueError(f"{name} is not a file of strokes: its format should be {FORMAT!r}.")
    try:
        return strokes_from(found["strokes"])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def strokes_from(rows: Iterable[dict]) -> list[Stroke]:
    """Return the strokes of plain dicts with the keys points, ab and radius, as in the file and on the drawing surface.

    Raises:
        ValueError: a stroke is not valid; the message gives its number, from 1.
    """
    strokes, n_points = [], 0
    for number, row in enumerate(rows, 1):
        try:
            stroke = Stroke(**row)
        except (TypeError, ValueError) as error:
            reason = (
                str(error) if isinstance(error, ValueError) else "it needs points, ab and radius, and nothing else."
            )
            raise ValueError(f"stroke {number} is not valid: {reason}") from error
        strokes.append(stroke)
        n_points += len(stroke.points)
    if n_points > MAX_POINTS:
        raise ValueError(f"the strokes have {n_points:,} points; at most {MAX_POINTS:,} can be used.")
    return strokes


def draw_strokes(lab: torch.Tensor, strokes: Iterable[Stroke]) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw strokes on a picture; a later stroke covers an earlier one.

    Args:
        lab: (3, H, W) in Lab units.
        strokes: each covers the pixels whose center is within its radius, and at least the pixels on its line.
    Returns:
        The picture with the strokes' a and b under the strokes and everything else as it was, (3, H, W); and whether a
        pixel is under a stroke, (H, W) bool.
    """
    drawn, covered = lab.clone(), torch.zeros(lab.shape[1:], dtype=torch.bool)
    height, width = covered.shape
    for stroke in strokes:
        radius = max(stroke.radius * min(height, width), 0.5 * math.sqrt(2))  # no line slips between pixel centers
        mask = torch.zeros_like(covered)
        points = [(x * width - 0.5, y * height - 0.5) for x, y in stroke.points]  # pixel centers are whole numbers
        for start, end in zip(points, points[1:] or points, strict=False):
            _cover(mask, start, end, radius)
        drawn[1:, mask] = lab[1:, mask] if stroke.ab is None else lab.new_tensor(stroke.ab)[:, None]
        covered |= mask
    return drawn, covered


def _cover(mask: torch.Tensor, start: tuple[float, float], end: tuple[float, float], radius: float) -> None:
    """Set the pixels of `mask` (H, W) within `radius` of the line from `start` to `end`, (x, y) in pixels."""
    (left, right), (top, bottom) = (
        (max(0, math.ceil(min(pair) - radius)), min(size, math.floor(max(pair) + radius) + 1))
        for pair, size in zip(zip(start, end, strict=True), reversed(mask.shape), strict=True)
    )
    x = torch.arange(left, max(left, right), dtype=torch.float64)
    y = torch.arange(top, max(top, bottom), dtype=torch.float64)[:, None]
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = along_x**2 + along_y**2
    share = (((x - start[0]) * along_x + (y - start[1]) * along_y) / (length or 1)).clamp(0, 1)
    distance = (x - start[0] - share * along_x) ** 2 + (y - start[1] - share * along_y) ** 2
    mask[top:bottom, left:right] |= distance <= radius**2 + 1e-9


def _pair(value, rule: str, low: float, high: float) -> tuple[float, float]:
    """Return two finite numbers in [low, high] as floats, or raise a ValueError that states the rule."""
    try:
        first, second = (float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{rule}, got {value!r}.") from None
    if not (low <= first <= high and low <= second <= high):
        raise ValueError(f"{rule}, got {value!r}.")
    return first, second
