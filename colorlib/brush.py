"""The correcting brush: strokes change the colors of a photo where an object is, and leave the rest as it was.

The difference to the photo's colors is prescribed under the strokes, drawn weakly to zero elsewhere, and flows where
the lightness is alike, as in `classical.propagate`. This happens in a small copy. The difference is then upsampled like
a network's prediction, along the edges of the full-size photo.
"""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from colorlib.classical import affinity, solve_planes
from colorlib.color import AB_SCALE, rgb_to_lab, split_lab, to_tensor
from colorlib.colorizer import Picture, paint_windows, read_picture, small_copy
from colorlib.srgb import srgb_profile
from colorlib.strokes import Stroke, draw_strokes

SIDE = 128  # pixels: the shorter side of the copy in which colors flow
PULL = 1e-4  # how strongly a pixel is drawn back to its own color, see `classical.propagate`
STEP = 1.0  # Lab units, not visible: differences are rounded to it, so they are exactly zero far from the strokes
BLOCK = 16  # pixels of the small copy: the photo is painted in blocks of this side, those that have changed


class TouchUp:
    """Correct the colors of a photo with strokes, again and again.

    What depends only on the photo is computed once, and only what has changed since the last call is painted anew: a
    stroke on a photo of 12 megapixels takes one to two seconds, nearly all of it for painting.

    Args:
        image_or_result: a colored photo, such as the result of `Colorizer.colorize`: a path, a binary file object, a
            PIL image, or an array (H, W, 3) or (H, W), uint8 sRGB.
        pull: at least 0. The larger, the less far a stroke reaches; 0 lets one stroke shift the whole photo.
    Raises:
        ImageReadError, TypeError: the image can't be read, or is of an unsupported type.
        ValueError: the array is not a uint8 image, or `pull` is negative.
    """

    def __init__(self, image_or_result: Picture, pull: float = PULL):
        if not pull >= 0:
            raise ValueError(f"pull must be at least 0, got {pull}.")
        self.pull = pull
        self.rgb, info = read_picture(image_or_result)
        self.info = info | {"icc_profile": srgb_profile()}
        self.lab = rgb_to_lab(to_tensor(small_copy(self.rgb, min(SIDE, *self.rgb.shape[:2]))))  # (3, h, w)
        self.weights = affinity(self.lab[0]) if self.lab[0].numel() > 1 else None
        self.painted, self.change = self.rgb.copy(), torch.zeros_like(self.lab[1:])

    def apply(self, strokes: Iterable[Stroke]) -> Image.Image:
        """Return the photo, corrected with these strokes only; strokes of earlier calls are forgotten.

        Args:
            strokes: a later one covers an earlier one. One whose color is None keeps the photo's own colors there, and
                keeps other strokes from changing them.
        Returns:
            An RGB image with the size and the L of the photo. Pixels that no stroke reaches are unchanged.
        """
        result = Image.fromarray(self._paint(strokes).copy())
        result.info = dict(self.info)
        return result

    def _paint(self, strokes: Iterable[Stroke]) -> np.ndarray:
        """Correct `self.painted` with these strokes, and return it."""
        change = self.difference(strokes)
        paint_windows(
            self.painted,
            self.rgb,
            self._windows(change),
            split_lab(self.lab)[0][None],
            change[None] / AB_SCALE,
            add=True,
        )
        self.change = change
        return self.painted

    def difference(self, strokes: Iterable[Stroke]) -> torch.Tensor:
        """Return what these strokes add to a and b in the small copy, (2, h, w) in Lab units."""
        drawn, covered = draw_strokes(self.lab, strokes)
        if not covered.any() or self.weights is None:
            return drawn[1:] - self.lab[1:]
        change = solve_planes(self.weights, drawn[1:] - self.lab[1:], covered, self.pull)
        return (change / STEP).round() * STEP

    def _windows(self, change: torch.Tensor) -> list[tuple[int, int, int, int]]:
        """Return windows (top, bottom, left, right) of the photo that cover all pixels whose difference has changed."""
        differs = (change != self.change).any(dim=0)
        reached = F.max_pool2d(differs[None].float(), 3, stride=1, padding=1)[0].bool()  # each pixel has its neighbors
        (height, width), (h, w) = self.rgb.shape[:2], differs.shape
        windows = []
        for top in range(0, h, BLOCK):
            for left in range(0, w, BLOCK):
                if reached[top : top + BLOCK, left : left + BLOCK].any():
                    bottom, right = min(top + BLOCK, h), min(left + BLOCK, w)
                    windows.append(
                        (top * height // h, -(-bottom * height // h), left * width // w, -(-right * width // w))
                    )
        return windows


def touch_up(image_or_result: Picture, strokes: Iterable[Stroke]) -> Image.Image:
    """Correct the colors of a photo with strokes.

    Args:
        image_or_result: a colored photo, such as the result of `Colorizer.colorize`; see `TouchUp`.
        strokes: `Stroke`s, for example from `read_strokes`.
    Returns:
        An RGB image with the size and the L of the photo; see `TouchUp.apply`.
    Raises:
        ImageReadError, TypeError, ValueError: as `TouchUp`.
    Source: Levin et al. 2004, Colorization using optimization, on the difference; Kopf et al. 2007 for the upsampling.
    """
    tool = TouchUp(image_or_result)
    result = Image.fromarray(tool._paint(strokes))  # without a copy: a photo can have 100 million pixels
    result.info = tool.info
    return result
