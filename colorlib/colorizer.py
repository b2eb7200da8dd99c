"""Color photos: the network sees a small copy, and the result keeps the L of the full-size original."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from colorlib.color import join_lab, lab_to_rgb_keeping_light, rgb_to_lab, split_lab, to_tensor, to_uint8
from colorlib.config import check_render_size, check_saturation, pick_device
from colorlib.images import as_srgb, open_image
from colorlib.srgb import srgb_profile
from colorlib.tensors import WeightsError
from colorlib.zoo import load_with_info

DEFAULT_WEIGHTS = "photos"
RENDER_SIZE = 128  # px, for weights that store no render size
MAX_ASPECT = 8  # the copy that the network sees is squeezed to this aspect ratio if the photo is longer
GUIDE_SIGMA = 0.06  # network-scaled (3 lightness units): pixels whose L differs by more hardly affect each other
BAND_PIXELS = 2**18  # a photo is converted in bands of this many pixels, to save memory

Picture = str | os.PathLike | BinaryIO | Image.Image | np.ndarray


class Colorizer:
    """Color photos, gray or not, with a generator.

    Args:
        generator: any module L (B, 1, h, w) -> ab (B, 2, h, w), both network-scaled to [-1, 1].
            It is moved to the device and put into eval mode.
        render_size: shorter side of the small L that the network sees, pixels. A network does best at the scale of its
            training images: well below it, small things lose their colors; above it, colors get spotty.
        device: "cpu", "cuda" or "mps" for the network; by default the fastest one available.
    Raises:
        ValueError: the device is not available, or `render_size` is not a whole number from 32 to 2048.
    """

    def __init__(self, generator: nn.Module, render_size: int = RENDER_SIZE, device: str | None = None):
        self.render_size = check_render_size(render_size)
        self.device = pick_device(device)
        self.generator = generator.to(self.device).eval()

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike | None = None, device: str | None = None) -> "Colorizer":
        """Load a generator, with the render size that its file recommends.

        Args:
            name_or_path: a file written by `save_generator` or `colorlib train`, or the name of a bundled one; by
                default the bundled "photos".
            device: as for `Colorizer`.
        Raises:
            WeightsError: no such file or name, or the file does not contain a generator of colorlib.
            ValueError: the device is not available.
        """
        device = pick_device(device)
        name_or_path = DEFAULT_WEIGHTS if name_or_path is None else name_or_path
        generator, info = load_with_info(name_or_path)
        try:
            return cls(generator, RENDER_SIZE if info.render_size is None else info.render_size, device)
        except ValueError as error:
            raise WeightsError(f"{name_or_path}: in the file's header, {error}") from error

    def colorize(self, image_or_path: Picture, render_size: int | None = None, saturation: float = 1.0) -> Image.Image:
        """Color one photo at its own resolution.

        Args:
            image_or_path: a path, a binary file object, a PIL image, or an array (H, W, 3) or (H, W), uint8 sRGB. Only
                the L of a color photo is used.
            render_size: overrides the Colorizer's render size; in [32, 2048] pixels.
            saturation: factor for ab in [0, 10]; 0 gives gray, 1 the colors that the network predicts.
        Returns:
            An upright RGB image with the size and the L of the photo. Its `info` has "icc_profile" (sRGB) and, if the
            photo had them, "exif" (without the orientation, which has been applied) and "dpi"; `save_image` keeps them.
        Raises:
            ImageReadError: the file can't be read as an image.
            TypeError: the image is of an unsupported type.
            ValueError: the array is not a uint8 image, or `render_size` or `saturation` is out of range.
        """
        check_saturation(saturation)
        rgb, info = read_picture(image_or_path)
        L, ab = self._predict(rgb, self.render_size if render_size is None else check_render_size(render_size))
        result = Image.fromarray(paint(rgb, L, ab, saturation))
        result.info = info | {"icc_profile": srgb_profile()}
        return result

    @torch.inference_mode()
    def _predict(self, rgb: np.ndarray, render_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        L, _ = split_lab(rgb_to_lab(to_tensor(small_copy(rgb, render_size))))
        return L[None], self.generator(L[None].to(self.device)).float().cpu()


@torch.inference_mode()
def paint(rgb: np.ndarray, L_small: torch.Tensor, ab: torch.Tensor, saturation: float = 1.0) -> np.ndarray:
    """Apply the colors of a small prediction to a photo; every pixel keeps its own L.

    Args:
        rgb: (H, W, 3) uint8, sRGB; only its L is used.
        L_small, ab: (1, 1, h, w) and (1, 2, h, w), network-scaled: the small image and its predicted colors.
        saturation: multiplies ab, in [0, 10].
    Returns:
        (H, W, 3) uint8, sRGB. Colors outside sRGB at that L are desaturated, see `lab_to_rgb_keeping_light`.
    Raises:
        ValueError: `saturation` is out of range.
    """
    ab = ab * check_saturation(saturation)
    height, width = rgb.shape[:2]
    painted = np.empty_like(rgb)
    rows = max(1, BAND_PIXELS // width)
    bands = [(top, min(top + rows, height), 0, width) for top in range(0, height, rows)]
    paint_windows(painted, rgb, bands, L_small, ab)
    return painted


@torch.inference_mode()
def paint_windows(
    painted: np.ndarray,
    rgb: np.ndarray,
    windows: Sequence[tuple[int, int, int, int]],
    L_small: torch.Tensor,
    ab: torch.Tensor,
    add: bool = False,
) -> None:
    """Paint parts of a photo, in parallel.

    Args:
        painted: (H, W, 3) uint8; the windows in it are replaced.
        rgb, L_small, ab: as in `paint`.
        windows: (top, bottom, left, right) in pixels, the ends excluded; of about `BAND_PIXELS`, to save memory.
        add: add `ab` to the photo's own a and b, in place of replacing them.
    """
    height, width = rgb.shape[:2]
    L_small, ab = _no_larger(L_small, ab, height, width)

    def paint_window(window: tuple[int, int, int, int]) -> None:
        top, bottom, left, right = window
        L, own = split_lab(rgb_to_lab(to_tensor(rgb[top:bottom, left:right])))
        colors = _upsample_window(ab, L_small, L[None], (top, left), (height, width))[0]
        part = lab_to_rgb_keeping_light(join_lab(L, own + colors if add else colors))
        painted[top:bottom, left:right] = to_uint8(part).permute(1, 2, 0).numpy()

    # One thread per window: torch's own threads would wait for each other at each of the many small steps.
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(paint_window, windows))
    finally:
        torch.set_num_threads(threads)


def upsample_ab(ab: torch.Tensor, L_small: torch.Tensor, L: torch.Tensor) -> torch.Tensor:
    """Upsample ab so that its edges coincide with those of the full-size L.

    Bilinear interpolation mixes the four nearest small pixels. Here their weights also depend on how similar their L is
    to that of the pixel to be colored, so that colors do not bleed across edges.

    Args:
        ab: (B, 2, h, w), network-scaled.
        L_small: (B, 1, h, w), network-scaled: the input that `ab` was predicted from.
        L: (B, 1, H, W), network-scaled: the guide.
    Returns:
        (B, 2, H, W), network-scaled.
    Source: Kopf et al. 2007, Joint bilateral upsampling, with bilinear weights for their spatial Gaussian.
    """
    height, width = L.shape[-2:]
    L_small, ab = _no_larger(L_small, ab, height, width)
    return _upsample_window(ab, L_small, L, (0, 0), (height, width))


def read_picture(image_or_path: Picture) -> tuple[np.ndarray, dict]:
    """Return an image of any kind as (H, W, 3) uint8, and its EXIF as the `info` of a PIL image.

    Args and errors are those of `Colorizer.colorize`.
    """
    if isinstance(image_or_path, np.ndarray):
        shape = image_or_path.shape
        gray = image_or_path.ndim == 2
        if image_or_path.dtype != np.uint8 or 0 in shape or not (gray or (len(shape) == 3 and shape[2] == 3)):
            raise ValueError(
                f"an image array must be uint8 of shape (H, W, 3) or (H, W), got {image_or_path.dtype} {shape}."
            )
        rgb = np.repeat(image_or_path[..., None], 3, axis=2) if gray else image_or_path
        return np.ascontiguousarray(rgb), {}
    if isinstance(image_or_path, Image.Image):
        image = as_srgb(image_or_path)
    elif isinstance(image_or_path, str | os.PathLike) or hasattr(image_or_path, "read"):
        image = open_image(image_or_path)
    else:
        kind = type(image_or_path).__name__
        raise TypeError(f"an image must be a path, a binary file object, a PIL image or a uint8 array, got {kind}.")
    return np.array(image), image.info


def small_copy(rgb: np.ndarray, shorter: int) -> np.ndarray:
    """Return a copy of a photo, (H, W, 3) uint8, whose sides have `shorter` and at most 8 × `shorter` pixels."""
    height, width = rgb.shape[:2]
    scale = shorter / min(height, width)
    size = tuple(min(round(side * scale), MAX_ASPECT * shorter) for side in (width, height))
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def _no_larger(L_small: torch.Tensor, ab: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Average L_small and ab down to at most (height, width): a tiny photo can be smaller than the network's input."""
    size = min(ab.shape[-2], height), min(ab.shape[-1], width)
    return F.adaptive_avg_pool2d(L_small, size), F.adaptive_avg_pool2d(ab, size)


def _upsample_window(
    ab: torch.Tensor, L_small: torch.Tensor, L: torch.Tensor, corner: tuple[int, int], size: tuple[int, int]
) -> torch.Tensor:
    """Return the part of the upsampled ab, of `size` in all, under the guide L (B, 1, rows, columns) at `corner`."""
    rows, columns = (
        _neighbors(ab.shape[axis], size[axis], corner[axis], corner[axis] + L.shape[axis]) for axis in (-2, -1)
    )
    first, last = int(rows[0][0][0]), int(rows[1][0][-1])
    small = torch.cat([L_small, ab], dim=1)[:, :, first : last + 1]  # (B, 3, the rows around this window, w)
    weighted, total = 0.0, 0.0
    for column, column_weight in columns:
        stretched = small.index_select(-1, column)  # (B, 3, h, columns)
        for row, row_weight in rows:
            neighbor = stretched.index_select(-2, row - first)  # (B, 3, rows, columns)
            alike = torch.exp((L - neighbor[:, :1]).square() * (-0.5 / GUIDE_SIGMA**2)) + 1e-6  # never all zero
            weight = alike * row_weight[:, None] * column_weight
            weighted = weighted + weight * neighbor[:, 1:]
            total = total + weight
    return weighted / total


def _neighbors(small: int, full: int, start: int, stop: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return index and bilinear weight of the two small pixels next to each full-size pixel start ... stop - 1."""
    position = (torch.arange(start, stop) + 0.5) * (small / full) - 0.5
    first = position.floor()
    share = position - first
    return [
        (first.long().clamp(0, small - 1), 1 - share),
        ((first.long() + 1).clamp(0, small - 1), share),
    ]
