"""From a photo to a colored photo: the network sees it small, the result has every pixel of the original's light."""

import numbers
import os
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from colorlib.color import join_lab, lab_to_rgb_keeping_light, rgb_to_lab, split_lab, to_uint8
from colorlib.config import pick_device
from colorlib.files import WeightsError
from colorlib.images import as_srgb, open_image, srgb_profile
from colorlib.zoo import bundled_names, load_generator, read_notes

DEFAULT_WEIGHTS = "photos"
RENDER_SIZE = 128  # px, for weights that don't say what suits them
MIN_RENDER_SIZE, MAX_RENDER_SIZE = 32, 2048  # a ResNet encoder needs 31 px
MAX_ASPECT = 8  # the network sees longer strips squeezed
MAX_SATURATION = 10.0
GUIDE_SIGMA = 0.06  # network L: pixels 3 L apart hardly share their color
BAND_PIXELS = 2**18  # joined at a time, so that a large photo needs little memory

Picture = str | os.PathLike | BinaryIO | Image.Image | np.ndarray


class Colorizer:
    """Color photos, gray or not, with a generator.

    Args:
        generator: any module L (B, 1, h, w) -> ab (B, 2, h, w), both network-scaled to [-1, 1].
            It is moved to the device and put into eval mode.
        render_size: pixels on the shorter side of the small L that the network sees. A network does best at the
            scale of its training pictures: well below it, small things lose their colors; above it, it gets unsure.
        device: "cpu", "cuda" or "mps" for the network; the fastest there is by default.
    Raises:
        ValueError: the device is not available, or `render_size` is not a whole number from 32 to 2048.
    """

    def __init__(self, generator: nn.Module, render_size: int = RENDER_SIZE, device: str | None = None):
        self.render_size = check_render_size(render_size)
        self.device = pick_device(device)
        self.generator = generator.to(self.device).eval()

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike | None = None, device: str | None = None) -> "Colorizer":
        """Load a generator with the render size that its file recommends.

        Args:
            name_or_path: a file written by `save_generator` or `colorlib train`, or the name of a bundled one; the
                bundled "photos" by default.
            device: as for `Colorizer`.
        Raises:
            WeightsError: no such file or name, or the file does not hold a generator of colorlib.
            ValueError: the device is not available.
        """
        device = pick_device(device)
        if name_or_path is None and DEFAULT_WEIGHTS not in bundled_names():
            raise WeightsError(
                f"The weights {DEFAULT_WEIGHTS!r} did not come with this copy of colorlib: "
                "train your own with `colorlib train` and name the file that it saves."
            )
        name_or_path = DEFAULT_WEIGHTS if name_or_path is None else name_or_path
        generator = load_generator(name_or_path)
        try:
            return cls(generator, read_notes(name_or_path).get("render_size", RENDER_SIZE), device)
        except ValueError as error:
            raise WeightsError(f"{name_or_path}: in the file's notes, {error}") from error

    def colorize(self, image_or_path: Picture, render_size: int | None = None, saturation: float = 1.0) -> Image.Image:
        """Color one photo at its own resolution.

        Args:
            image_or_path: a path, a binary file object, a PIL image, or an array (H, W, 3) or (H, W), uint8 sRGB. Of a
                colored photo only the L is used.
            render_size: instead of the one the Colorizer was made with.
            saturation: multiplies ab; 0 gives gray, 1 what the network predicts. In [0, 10].
        Returns:
            RGB, upright, with the photo's own L. `info` holds "icc_profile" (sRGB) and, where the photo had it, "exif"
            (without the orientation, which is applied), so that `save_image` keeps both.
        Raises:
            ImageReadError: the file can't be read as a picture.
            TypeError, ValueError: no such kind of image, `render_size` or `saturation`.
        """
        check_saturation(saturation)
        rgb, info = _read(image_or_path)
        L, ab = self._predict(rgb, self.render_size if render_size is None else check_render_size(render_size))
        result = Image.fromarray(paint(rgb, L, ab, saturation))
        result.info = info | {"icc_profile": srgb_profile()}
        return result

    def predict_ab(
        self, image_or_path: Picture, render_size: int | None = None
    ) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        """Do the slow half of `colorize`; `paint(*result, saturation)` is the quick one, fit for a slider.

        Args, Raises: as `colorize`.
        Returns:
            The photo (H, W, 3) uint8, and what the network saw and said: L (1, 1, h, w) and ab (1, 2, h, w).
        """
        rgb, _ = _read(image_or_path)
        return rgb, *self._predict(rgb, self.render_size if render_size is None else check_render_size(render_size))

    @torch.inference_mode()
    def _predict(self, rgb: np.ndarray, render_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        small = Image.fromarray(rgb).resize(_small_size(rgb, render_size), Image.Resampling.LANCZOS, reducing_gap=3.0)
        L, _ = split_lab(rgb_to_lab(_to_planes(np.array(small))))
        return L[None], self.generator(L[None].to(self.device)).float().cpu()


@torch.inference_mode()
def paint(rgb: np.ndarray, L_small: torch.Tensor, ab: torch.Tensor, saturation: float = 1.0) -> np.ndarray:
    """Give a photo the colors of a small prediction; every pixel keeps its own L.

    Args:
        rgb: (H, W, 3) uint8, sRGB; only its L counts.
        L_small, ab: (1, 1, h, w) and (1, 2, h, w), network-scaled: the same picture small, and its colors.
        saturation: multiplies ab, in [0, 10].
    Returns:
        (H, W, 3) uint8, sRGB. Colors that sRGB can't show at that L are made grayer, see `lab_to_rgb_keeping_light`.
    Raises:
        ValueError: `saturation` is out of range.
    """
    ab = ab * check_saturation(saturation)
    height, width = rgb.shape[:2]
    L_small, ab = _no_larger(L_small, ab, height, width)
    painted = np.empty_like(rgb)
    rows = max(1, BAND_PIXELS // width)

    def paint_band(top: int) -> None:
        L, _ = split_lab(rgb_to_lab(_to_planes(rgb[top : top + rows])))
        L = L[None]  # (1, 1, rows, W)
        band = lab_to_rgb_keeping_light(join_lab(L, _upsample_band(ab, L_small, L, top, height))[0])
        painted[top : top + rows] = to_uint8(band).permute(1, 2, 0).numpy()

    # A thread a band: torch's own threads would wait for each other at every one of the many small steps.
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(paint_band, range(0, height, rows)))
    finally:
        torch.set_num_threads(threads)
    return painted


def upsample_ab(ab: torch.Tensor, L_small: torch.Tensor, L: torch.Tensor) -> torch.Tensor:
    """Enlarge ab so that its edges fall on those of the full-size L.

    Bilinear interpolation mixes the four nearest small pixels. Here each counts the more, the more its L is like that
    of the pixel to be colored, so that colors don't run across edges.

    Args:
        ab: (B, 2, h, w), network-scaled.
        L_small: (B, 1, h, w), network-scaled: what `ab` was predicted from.
        L: (B, 1, H, W), network-scaled: the guide.
    Returns:
        (B, 2, H, W), network-scaled.
    Source: Kopf et al. 2007, Joint bilateral upsampling, with bilinear weights for their spatial Gaussian.
    """
    height, width = L.shape[-2:]
    L_small, ab = _no_larger(L_small, ab, height, width)
    return _upsample_band(ab, L_small, L, 0, height)


def check_render_size(render_size: int) -> int:
    """Return `render_size`; raise ValueError unless it is a whole number from 32 to 2048."""
    whole = isinstance(render_size, numbers.Integral) and not isinstance(render_size, bool)
    if not whole or not MIN_RENDER_SIZE <= render_size <= MAX_RENDER_SIZE:
        raise ValueError(
            f"render_size must be a whole number of pixels from {MIN_RENDER_SIZE} to {MAX_RENDER_SIZE}, "
            f"got {render_size!r}."
        )
    return int(render_size)


def check_saturation(saturation: float) -> float:
    """Return `saturation`; raise ValueError unless it is a number from 0 to 10."""
    number = isinstance(saturation, numbers.Real) and not isinstance(saturation, bool)
    if not number or not 0 <= saturation <= MAX_SATURATION:  # also when it is not a number (nan)
        raise ValueError(f"saturation must be a number from 0 (gray) to {MAX_SATURATION:g}, got {saturation!r}.")
    return float(saturation)


def _read(image_or_path: Picture) -> tuple[np.ndarray, dict]:
    """Return any kind of picture as (H, W, 3) uint8, and its EXIF as an image's `info`."""
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


def _small_size(rgb: np.ndarray, render_size: int) -> tuple[int, int]:
    """Return the (width, height) at which the network sees a picture."""
    height, width = rgb.shape[:2]
    scale = render_size / min(height, width)
    return tuple(min(round(side * scale), MAX_ASPECT * render_size) for side in (width, height))


def _to_planes(rgb: np.ndarray) -> torch.Tensor:
    """Copy (H, W, 3) to a tensor (3, H, W)."""
    return torch.from_numpy(rgb.transpose(2, 0, 1).copy())


def _no_larger(L_small: torch.Tensor, ab: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Average L_small and ab down to at most (height, width): a tiny photo is smaller than what the network saw."""
    size = min(ab.shape[-2], height), min(ab.shape[-1], width)
    return F.adaptive_avg_pool2d(L_small, size), F.adaptive_avg_pool2d(ab, size)


def _upsample_band(
    ab: torch.Tensor, L_small: torch.Tensor, L: torch.Tensor, top: int, total_height: int
) -> torch.Tensor:
    """Return rows `top` ... of the upsampled ab, as many as the guide L (B, 1, rows, W) has."""
    rows = _neighbors(ab.shape[-2], total_height, top, top + L.shape[-2])
    columns = _neighbors(ab.shape[-1], L.shape[-1], 0, L.shape[-1])
    first, last = int(rows[0][0][0]), int(rows[1][0][-1])
    small = torch.cat([L_small, ab], dim=1)[:, :, first : last + 1]  # (B, 3, the few rows this band lies between, w)
    weighted, total = 0.0, 0.0
    for column, column_weight in columns:
        stretched = small.index_select(-1, column)  # (B, 3, h, W)
        for row, row_weight in rows:
            neighbor = stretched.index_select(-2, row - first)  # (B, 3, rows, W)
            alike = torch.exp((L - neighbor[:, :1]).square() * (-0.5 / GUIDE_SIGMA**2)) + 1e-6  # never all zero
            weight = alike * row_weight[:, None] * column_weight
            weighted = weighted + weight * neighbor[:, 1:]
            total = total + weight
    return weighted / total


def _neighbors(small: int, full: int, start: int, stop: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return index and bilinear weight of the two small pixels beside each of the full pixels start ... stop - 1."""
    position = (torch.arange(start, stop) + 0.5) * (small / full) - 0.5
    first = position.floor()
    share = position - first
    return [
        (first.long().clamp(0, small - 1), 1 - share),
        ((first.long() + 1).clamp(0, small - 1), share),
    ]
