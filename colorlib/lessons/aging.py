"""Synthetic aging: make a color photo look like an old print, so that its true colors are known.

Each step takes and returns (H, W, 3) uint8 sRGB. `age` applies them in the order in which a print suffers them.
"""

import numpy as np

from colorlib.batches import LUMA

# A print on yellowed paper: what is left of red, green and blue where the paper is bare (a mild brown-yellow).
SEPIA = (1.0, 0.87, 0.68)
PAPER, INK = 0.82, 0.30  # stored values to which white and black drift as a print fades


def to_luma(rgb: np.ndarray) -> np.ndarray:
    """Drop the color as most programs do: luma of the stored values, three times (ITU-R BT.601)."""
    return _to_uint8((_to_float(rgb) @ np.array(LUMA))[..., None].repeat(3, axis=2))


def fade(rgb: np.ndarray, amount: float) -> np.ndarray:
    """Fade a print: white drifts down to 0.82, black up to 0.30 of the range; `amount` 0 (fresh) to 1."""
    _check_share("amount", amount)
    faded = INK + (PAPER - INK) * _to_float(rgb)
    return _to_uint8((1 - amount) * _to_float(rgb) + amount * faded)


def add_grain(rgb: np.ndarray, amount: float, seed: int = 0) -> np.ndarray:
    """Add film grain: the same Gaussian noise on R, G and B, of standard deviation `amount`, 0 to 1 of the range."""
    _check_share("amount", amount)
    noise = np.random.default_rng(seed).normal(0, amount, (*rgb.shape[:2], 1)) if amount else 0
    return _to_uint8(_to_float(rgb) + noise)


def tone_sepia(rgb: np.ndarray, amount: float) -> np.ndarray:
    """Yellow the paper: multiply the channels by the color of old paper; `amount` 0 (white paper) to 1."""
    _check_share("amount", amount)
    return _to_uint8(_to_float(rgb) * (1 - amount * (1 - np.array(SEPIA))))


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
        luma: drop the color first. Without it, the other steps age a color print.
        fading, grain, sepia: see `fade`, `add_grain` and `tone_sepia`; 0 leaves the step out.
        seed: of the grain.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ValueError: an amount outside 0 to 1, or something that is not such a picture.
    """
    picture = to_luma(rgb) if luma else _to_uint8(_to_float(rgb))
    return tone_sepia(add_grain(fade(picture, fading), grain, seed), sepia)


def _to_float(rgb: np.ndarray) -> np.ndarray:
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        shape = getattr(rgb, "shape", type(rgb).__name__)
        raise ValueError(f"rgb must be a uint8 array of shape (H, W, 3), got {getattr(rgb, 'dtype', '')} {shape}.")
    return rgb / 255


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} lies between 0 and 1, got {value}.")
