"""sRGB and CIE Lab on tensors, and the one place that knows how Lab is scaled for a network."""

import numpy as np
import torch
from PIL import Image

# Linear sRGB to CIE XYZ (rows X, Y, Z) and the D65 white, 2° observer: IEC 61966-2-1 and CIE 15.
XYZ_FROM_RGB = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
    dtype=torch.float64,
)
WHITE = torch.tensor([0.95047, 1.0, 1.08883], dtype=torch.float64)
# L = 116 f(Y) − 16, a = 500 (f(X) − f(Y)), b = 200 (f(Y) − f(Z)), written as one matrix and an offset.
LAB_FROM_F = torch.tensor([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]], dtype=torch.float64)
L_OFFSET = 16.0
DARK = 0.008856  # below this share of white, f is a straight line
DARK_SLOPE, DARK_OFFSET = 7.787, 16 / 116

LUMA = torch.tensor([[0.299, 0.587, 0.114]], dtype=torch.float64)  # weights of R, G, B in a stored gray photo

L_SCALE = 50.0  # network L = L / 50 − 1
AB_SCALE = 110.0  # network ab = ab / 110; sRGB needs −107.9 … 98.3


def rgb_to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """Convert gamma-encoded sRGB to CIE Lab (D65, 2° observer).

    Args:
        rgb: (..., 3, H, W); float in [0, 1], or uint8 in [0, 255].
    Returns:
        float32, same shape (float64 for float64 input). L in [0, 100]; for sRGB input a in [-86.2, 98.3],
        b in [-107.9, 94.5].
    Raises:
        TypeError: neither floating point nor uint8.
        ValueError: the channel axis is not 3; the message names the shape received.
    Source: IEC 61966-2-1 and CIE 15; checked against skimage.color.rgb2lab.
    """
    _check_channels(rgb, 3, "rgb")
    if rgb.dtype == torch.uint8 and rgb.ndim > 3 and rgb.device.type == "cpu":
        lab = torch.empty(rgb.shape)
        for i, image in enumerate(rgb):  # one image at a time stays in the CPU's cache
            lab[i] = rgb_to_lab(image)
        return lab
    linear = _decode_srgb(rgb)
    t = _mix(XYZ_FROM_RGB / WHITE[:, None], linear)  # shares of white, about [0, 1]
    # Clamping before the root keeps the gradient finite at black, where the root's slope is infinite.
    f = torch.where(t > DARK, t.clamp(min=DARK).pow(1 / 3), t * DARK_SLOPE + DARK_OFFSET)
    lab = _mix(LAB_FROM_F, f)
    return lab - lab.new_tensor([L_OFFSET, 0.0, 0.0]).view(3, 1, 1)


def lab_to_rgb(lab: torch.Tensor, clip: bool = True) -> torch.Tensor:
    """Convert CIE Lab (D65, 2° observer) to gamma-encoded sRGB.

    Args:
        lab: (..., 3, H, W), floating point; L in [0, 100], a and b in Lab units.
        clip: limit the result to [0, 1]. Clipped values have no gradient, so use `clip=False` for a loss on RGB; colors
            outside the sRGB gamut then have values outside [0, 1].
    Returns:
        float, same shape; in [0, 1] when clipped.
    Raises:
        TypeError: not floating point.
        ValueError: the channel axis is not 3; the message names the shape received.
    Source: IEC 61966-2-1 and CIE 15; checked against skimage.color.lab2rgb.
    """
    rgb = _encode_srgb(_lab_to_linear(lab))
    return rgb.clamp(0, 1) if clip else rgb


def lab_to_rgb_keeping_light(lab: torch.Tensor) -> torch.Tensor:
    """Convert CIE Lab to gamma-encoded sRGB; colors outside the sRGB gamut are desaturated and keep their L.

    Such a color is mixed in linear light with just enough of the gray of the same luminance to bring it into the gamut.
    Both have the same L, so the mixture does, too. Clipping instead would make a vivid dark blue much lighter.

    Args:
        lab: (..., 3, H, W), floating point; L in [0, 100], a and b in Lab units.
    Returns:
        float in [0, 1], same shape.
    Raises:
        TypeError, ValueError: as `lab_to_rgb`.
    """
    linear = _lab_to_linear(lab)
    Y = _mix(XYZ_FROM_RGB[1:2], linear)  # (..., 1, H, W), in [0, 1]
    highest, lowest = linear.amax(-3, keepdim=True), linear.amin(-3, keepdim=True)
    tiny = torch.finfo(linear.dtype).tiny  # a gray pixel has no distance to divide by, and needs no mixing
    share = torch.minimum((1 - Y) / (highest - Y).clamp(min=tiny), Y / (Y - lowest).clamp(min=tiny)).clamp(0, 1)
    return _encode_srgb(torch.lerp(Y, linear, share)).clamp(0, 1)


def split_lab(lab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Split Lab into what a network sees and what it predicts, both scaled to [-1, 1].

    Args:
        lab: (..., 3, H, W) in Lab units.
    Returns:
        L (..., 1, H, W) = L/50 − 1, and ab (..., 2, H, W) = ab/110.
    Raises:
        ValueError: the channel axis is not 3.
    """
    _check_channels(lab, 3, "lab")
    return lab[..., :1, :, :] / L_SCALE - 1, lab[..., 1:, :, :] / AB_SCALE


def join_lab(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """Undo `split_lab`: put network-scaled L (..., 1, H, W) and ab (..., 2, H, W) together as Lab (..., 3, H, W).

    Raises:
        ValueError: a channel axis is wrong; the message names the shape received.
    """
    _check_channels(L, 1, "L")
    _check_channels(ab, 2, "ab")
    return torch.cat([(L + 1) * L_SCALE, ab * AB_SCALE], dim=-3)


def to_uint8(rgb: torch.Tensor) -> torch.Tensor:
    """Round float RGB in [0, 1] to uint8 in [0, 255], same shape; values outside are limited first."""
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8)


def to_tensor(image: np.ndarray | Image.Image) -> torch.Tensor:
    """Copy an image, (H, W, 3) uint8 array or RGB PIL image, to a tensor (3, H, W) uint8.

    Raises:
        ValueError: the array is not (H, W, 3); the message names the shape received.
    """
    array = np.array(image)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"image must have shape (H, W, 3), got {array.shape}.")
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def rgb_to_luma(rgb: torch.Tensor) -> torch.Tensor:
    """Compute luma, the gray that image programs store: 0.299 R + 0.587 G + 0.114 B of the gamma-encoded values.

    Args:
        rgb: (..., 3, H, W); float in [0, 1], or uint8 in [0, 255].
    Returns:
        (..., 1, H, W) float in [0, 1]. Luma is *not* L*: pure red has luma 0.30 and L* 53.
    Raises:
        ValueError: the channel axis is not 3; the message names the shape received.
    Source: ITU-R BT.601.
    """
    rgb = _check_channels(rgb, 3, "rgb")
    return _mix(LUMA, rgb.float() / 255 if rgb.dtype == torch.uint8 else rgb)


def _decode_srgb(rgb: torch.Tensor) -> torch.Tensor:
    """Undo the sRGB gamma curve: (..., H, W) float or uint8 -> linear light in [0, 1]."""
    if rgb.dtype == torch.uint8:  # only 256 answers exist: look them up
        curve = _decode_srgb(torch.arange(256, dtype=torch.float64) / 255).float().to(rgb.device)
        return curve.index_select(0, rgb.reshape(-1).int()).view(rgb.shape)
    if not rgb.is_floating_point():
        raise TypeError(f"rgb must be floating point in [0, 1] or uint8, got {rgb.dtype}.")
    return torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055).pow(2.4), rgb / 12.92)


def _encode_srgb(linear: torch.Tensor) -> torch.Tensor:
    """Apply the sRGB gamma curve: linear light -> gamma-encoded, any float tensor; values outside [0, 1] stay so."""
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308).pow(1 / 2.4) - 0.055, 12.92 * linear)


def _lab_to_linear(lab: torch.Tensor) -> torch.Tensor:
    """Convert CIE Lab (..., 3, H, W) to linear sRGB; colors outside the sRGB gamut have values outside [0, 1]."""
    if not lab.is_floating_point():
        raise TypeError(f"lab must be a floating point tensor, got {lab.dtype}.")
    _check_channels(lab, 3, "lab")
    f = _mix(torch.linalg.inv(LAB_FROM_F), lab + lab.new_tensor([L_OFFSET, 0.0, 0.0]).view(3, 1, 1))
    f_dark = DARK ** (1 / 3)
    t = torch.where(f > f_dark, f**3, (f - DARK_OFFSET) / DARK_SLOPE)
    return _mix(torch.linalg.inv(XYZ_FROM_RGB) * WHITE, t)


def _mix(matrix: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """Multiply the channel axis of `planes` (..., C_in, H, W) by `matrix` (C_out, C_in)."""
    mixed = matrix.to(planes) @ planes.flatten(-2)  # (..., C_out, H·W)
    return mixed.unflatten(-1, planes.shape[-2:])


def _check_channels(planes: torch.Tensor, channels: int, name: str) -> torch.Tensor:
    if planes.ndim < 3 or planes.shape[-3] != channels:
        raise ValueError(f"{name} must have shape (..., {channels}, H, W), got {tuple(planes.shape)}.")
    return planes
