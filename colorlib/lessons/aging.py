"""Synthetic aging: turn a color photo into an "old print" whose true colors are known.

Every step takes and returns an (H, W, 3) uint8 sRGB image. `age` applies the steps in the order in which real prints
change.
"""

import numpy as np

from colorlib.color import rgb_to_luma, to_tensor

SEPIA = (1.0, 0.87, 0.68)  # color of old paper, relative to white: a mild brownish yellow
PAPER, INK = 0.82, 0.30  # what white and black become in a fully faded print


def to_luma(rgb: np.ndarray) -> np.ndarray:
    """Make a photo gray as most programs do: luma (ITU-R BT.601), repeated in all three channels."""
    _check_image(rgb)
    return _to_uint8(rgb_to_luma(to_tensor(rgb)).permute(1, 2, 0).numpy().repeat(3, axis=2))


def fade(rgb: np.ndarray, amount: float) -> np.ndarray:
    """Reduce the contrast: with `amount` 1, white becomes 0.82 and black 0.30 of the range; 0 changes nothing."""
    fresh = _to_float(rgb, amount)
    return _to_uint8((1 - amount) * fresh + amount * (INK + (PAPER - INK) * fresh))


def add_grain(rgb: np.ndarray, amount: float, seed: int = 0) -> np.ndarray:
    """Add film grain: Gaussian noise, the same in R, G and B, with standard deviation `amount`, 0 to 1 of the range."""
    values = _to_float(rgb, amount)
    return _to_uint8(values + np.random.default_rng(seed).normal(0, amount, (*rgb.shape[:2], 1)))


def tone_sepia(rgb: np.ndarray, amount: float) -> np.ndarray:
    """Multiply the image by the color of old paper; `amount` from 0 (white paper) to 1."""
    return _to_uint8(_to_float(rgb, amount) * (1 - amount * (1 - np.array(SEPIA))))


def age(
    rgb: np.ndarray,
    luma: bool = True,
    fading: float = 0.0,
    grain: float = 0.0,
    sepia: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Turn a photo into an old print of itself: gray, faded, grainy, on yellow paper.

    Args:
        rgb: (H, W, 3) uint8, sRGB.
        luma: remove the color first; False ages a color print.
        fading, grain, sepia: amounts for `fade`, `add_grain` and `tone_sepia`, from 0 (skip the step) to 1.
        seed: seed of the grain.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ValueError: an amount is not in [0, 1], or `rgb` is not an (H, W, 3) uint8 array.
    """
    _check_image(rgb)
    return tone_sepia(add_grain(fade(to_luma(rgb) if luma else rgb, fading), grain, seed), sepia)


def _to_float(rgb: np.ndarray, amount: float) -> np.ndarray:
    """Check the arguments of a step; return the image in [0, 1]."""
    _check_image(rgb)
    if not 0 <= amount <= 1:
        raise ValueError(f"amount must be between 0 and 1, got {amount}.")
    return rgb / 255


def _check_image(rgb: np.ndarray) -> None:
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        shape = getattr(rgb, "shape", type(rgb).__name__)
        raise ValueError(f"rgb must be a uint8 array of shape (H, W, 3), got {getattr(rgb, 'dtype', '')} {shape}.")


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return (values.clip(0, 1) * 255).round().astype(np.uint8)
