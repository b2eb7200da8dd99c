"""Metrics for colored images. This module defines every metric and term that the notebooks use.

- *ab MAE*: mean absolute error of a and b, in Lab units, averaged over both and over the selected pixels.
- *ΔE2000*: CIEDE2000 difference of predicted and true Lab (L is the same in both), averaged over the selected pixels.
- *chroma ratio*: mean predicted chroma / mean true chroma over the selected pixels; 0 = gray, 1 = as the truth.
- *PSNR* (dB), *SSIM*, *colorfulness*: per image, on RGB clipped to sRGB, averaged over images.
- *determined* pixels: the color follows from the gray image. *Ambiguous* ones: it does not.
- *edges*: pixels within 2 px of an object boundary, ambiguous ones left out.
- *context*: determined pixels whose color depends on something at least 3/8 of the side away (24 px at 64 px).
- *hue entropy*: entropy of the per-object mean hue over 8 bins, divided by log 8; 1 = uniform, 0 = one hue.
- *hue spread*: circular variance of hue within one ambiguous object, pixels weighted by chroma, averaged over objects;
  0 = one hue per object, near 1 = all hues.

An *object* is the set of ambiguous pixels of one image that share an id; objects under 6 px are left out. An object
without chroma has no hue: it counts as hue 0 and spread 0. A mean over no pixels or no objects is nan.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from skimage.color import deltaE_ciede2000
from skimage.metrics import structural_similarity

from colorlib.color import AB_SCALE, join_lab, lab_to_rgb

HUE_BINS = 8
MIN_OBJECT_PIXELS = 6
REGIONS = ("determined", "ambiguous", "edges", "context")
SSIM_WINDOW = 11  # pixels
MIN_CHROMA = 0.05  # Lab units: images with a lower mean chroma are gray, apart from rounding errors


class NonFiniteError(ValueError):
    """A prediction or a loss is nan or infinite: the training has diverged."""


def ab_mae(ab_pred: torch.Tensor, ab_true: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Return the mean absolute error in Lab units over a, b and the selected pixels.

    Args:
        ab_pred, ab_true: (B, 2, H, W) in [-1, 1].
        mask: bool (B, H, W), the pixels to count; None for all.
    Raises:
        ValueError: the shapes don't fit together.
    """
    _check_shapes(ab_pred, ab_true, mask)
    return _mean(_ab_error(ab_pred, ab_true), mask).item()


def chroma_ratio(ab_pred: torch.Tensor, ab_true: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Return mean predicted chroma / mean true chroma over the selected pixels: 0 = gray, 1 = as the truth.

    Arguments and errors are those of `ab_mae`; nan if the truth has no chroma, or less than 0.05 Lab units.
    """
    _check_shapes(ab_pred, ab_true, mask)
    return _ratio(_mean(_chroma(ab_pred), mask), _mean(_chroma(ab_true), mask)).item()


def delta_e2000(lab1: torch.Tensor, lab2: torch.Tensor) -> torch.Tensor:
    """Return the CIEDE2000 difference of two Lab images per pixel; about 1 is just noticeable. For measuring only.

    Args:
        lab1, lab2: (..., 3, H, W) in Lab units.
    Returns:
        (..., H, W) float32, at least 0, on the CPU and without a gradient.
    Raises:
        ValueError: the shapes differ, or the channel axis is not 3.
    Source: Sharma, Wu and Dalal 2005, computed by scikit-image.
    """
    if lab1.shape != lab2.shape or lab1.ndim < 3 or lab1.shape[-3] != 3:
        raise ValueError(f"Both must be (..., 3, H, W), got {tuple(lab1.shape)} and {tuple(lab2.shape)}.")
    difference = deltaE_ciede2000(_numpy(lab1), _numpy(lab2), channel_axis=-3)
    return torch.as_tensor(difference, dtype=torch.float32)


def psnr(rgb1: torch.Tensor, rgb2: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio of each image in dB; inf where both are the same.

    Args:
        rgb1, rgb2: (B, 3, H, W) in [0, 1]; the result is (B,).
    Raises:
        ValueError: not two batches of RGB of the same shape.
    """
    _check_rgb(rgb1, rgb2)
    return -10 * ((rgb1 - rgb2) ** 2).mean(dim=(1, 2, 3)).log10()


def ssim(rgb1: torch.Tensor, rgb2: torch.Tensor) -> torch.Tensor:
    """Return the structural similarity of each image, averaged over the channels; 1 = identical. For measuring only.

    Args:
        rgb1, rgb2: (B, 3, H, W) in [0, 1], at least 11×11 px.
    Returns:
        (B,) float32, on the CPU and without a gradient.
    Raises:
        ValueError: not two batches of RGB of the same shape, or smaller than the 11 px window.
    Source: Wang et al. 2004 (Gaussian window 11×11, σ 1.5 px), computed by scikit-image.
    """
    _check_rgb(rgb1, rgb2)
    if min(rgb1.shape[-2:]) < SSIM_WINDOW:
        height, width = rgb1.shape[-2:]
        raise ValueError(f"SSIM needs images of at least {SSIM_WINDOW}×{SSIM_WINDOW} px, got {height}×{width}.")
    as_published = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    pairs = zip(_numpy(rgb1), _numpy(rgb2))
    values = [structural_similarity(one, two, data_range=1, channel_axis=0, **as_published) for one, two in pairs]
    return torch.tensor(values, dtype=torch.float32)


def colorfulness(rgb: torch.Tensor) -> torch.Tensor:
    """Return the colorfulness of each image: 0 = gray, about 15 = slight, above 80 = extreme.

    Args:
        rgb: (B, 3, H, W) in [0, 1], scaled to [0, 255] inside; the result is (B,).
    Raises:
        ValueError: not a batch of RGB.
    Source: Hasler and Süsstrunk 2003, with signed means (code that takes absolute values first is not comparable).
    """
    _check_rgb(rgb, rgb)
    red, green, blue = (255 * rgb).flatten(2).unbind(1)  # each (B, H·W)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1)  # (B, 2, H·W)
    deviation, mean = torch.std_mean(opponents, dim=2, correction=0)
    return deviation.norm(dim=1) + 0.3 * mean.norm(dim=1)


def object_hues(ab: torch.Tensor, objects: torch.Tensor, ambiguous: torch.Tensor) -> torch.Tensor:
    """Return the hue of every ambiguous object: the angle of its mean ab.

    Args:
        ab: (B, 2, H, W), any scale.
        objects: integer (B, H, W), object ids, numbered per image.
        ambiguous: bool (B, H, W).
    Returns:
        (number of objects,) float64 on the CPU, radians in (-π, π]: 0 = red, π/2 = yellow, π = green, -π/2 = blue.
        Ordered by image, then id.
    Raises:
        ValueError: the shapes don't fit together.
    """
    total_a, total_b, _ = _object_totals(ab, objects, ambiguous)
    return torch.atan2(total_b, total_a)


def hue_counts(hues: torch.Tensor) -> torch.Tensor:
    """Count hues (n,), radians, in 8 equal bins of the wheel; bin 0 starts at angle 0. Returns int64 (8,)."""
    bins = (hues.remainder(math.tau) / math.tau * HUE_BINS).long() % HUE_BINS  # an angle of -1e-20 rounds to 2π
    return torch.bincount(bins, minlength=HUE_BINS)


def entropy_of_hues(hues: torch.Tensor) -> float:
    """Return the entropy of hues (n,), radians, over 8 bins, divided by log 8: in [0, 1], nan without hues."""
    share = hue_counts(hues).double() / len(hues)
    return (torch.special.entr(share).sum() / math.log(HUE_BINS)).item()


def hue_entropy(ab: torch.Tensor, objects: torch.Tensor, ambiguous: torch.Tensor) -> float:
    """Return the entropy of the objects' hues: 1 = uniform, 0 = all in one bin. Arguments as in `object_hues`."""
    return entropy_of_hues(object_hues(ab, objects, ambiguous))


def gray(L: torch.Tensor) -> torch.Tensor:
    """Predict no color at all, the baseline of every comparison: L (B, 1, H, W) -> ab = 0 (B, 2, H, W)."""
    return torch.zeros_like(L).expand(-1, 2, -1, -1)


@torch.no_grad()
def predict(generator: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor | Iterable) -> torch.Tensor:
    """Return the ab that a generator predicts, in eval mode and without gradients; its mode is restored afterwards.

    Args:
        generator: L (B, 1, H, W) -> ab (B, 2, H, W), both network-scaled.
        inputs: one batch L (N, 1, H, W), or a loader that yields (L, ab) batches.
    Returns:
        (N, 2, H, W) float32 on the CPU.
    """
    batches = [(inputs,)] if isinstance(inputs, torch.Tensor) else inputs
    with eval_mode(generator):
        return torch.cat([generator(L).as_subclass(torch.Tensor).float().cpu() for L, *_ in batches])


@torch.no_grad()
def evaluate(
    predict: Callable[[torch.Tensor], torch.Tensor], loader: Iterable, perceptual: bool = True
) -> dict[str, float]:
    """Score a generator on a whole set of images; the batch size makes no difference.

    Args:
        predict: L (B, 1, H, W) in [-1, 1] -> ab (B, 2, H, W). A module is evaluated in eval mode, and its mode is
            restored; a function that calls a module must do this itself.
        loader: yields (L, ab) in a fixed order. `loader.masks`, if present and not None, has bool (N, H, W)
            `.determined`, `.ambiguous`, `.edges`, `.context` and integer `.objects` in the same order.
        perceptual: compute ΔE2000, PSNR and SSIM, which take most of the time; False leaves them out.
    Returns:
        "ab_mae", "delta_e2000", "chroma_ratio" over all pixels of the set; "psnr", "ssim", "colorfulness" and
        "colorfulness_true" averaged over images (one perfect image makes the mean PSNR inf). With masks also the
        first three as "<name>/determined", "/ambiguous", "/edges" and "/context", and "hue_entropy", "hue_spread" and
        "hue_spread_true". The chroma ratio is nan where the truth is gray, as in `chroma_ratio`.
    Raises:
        ValueError: nothing to score, a prediction of the wrong shape, or masks for other images.
        NonFiniteError: a prediction is not finite. It is a ValueError.
    """
    masks = getattr(loader, "masks", None)
    names = ["", *(f"/{name}" for name in REGIONS if masks is not None)]
    pixels, images, objects, seen = [], [], [], 0
    with eval_mode(predict):
        for L, ab_true in loader:
            ab_pred = check_prediction(predict(L), ab_true).cpu()
            L, ab_true = L.cpu(), ab_true.cpu()
            batch, seen = slice(seen, seen + len(L)), seen + len(L)
            if masks is not None:
                where = masks.objects[batch], masks.ambiguous[batch]
                objects.append(torch.stack([_object_totals(ab, *where) for ab in (ab_pred, ab_true)]))
            regions = [torch.ones_like(L[:, 0])]  # all pixels, then each region: (B, H, W)
            regions += [getattr(masks, name[1:])[batch].to(L) for name in names[1:]]
            pixels.append(_pixel_totals(L, ab_pred, ab_true, regions, perceptual))
            images.append(_image_scores(L, ab_pred, ab_true, perceptual))
    if not seen or (masks is not None and seen != len(masks.objects)):
        expected = "some" if masks is None else f"{len(masks.objects)}, as many as its masks"
        raise ValueError(f"The loader yielded {seen} images instead of {expected}.")

    error, delta_e, chroma, chroma_true, count = sum(pixels).unbind(1)  # each (regions,)
    ratio = _ratio(chroma / count, chroma_true / count)
    by_region = {"ab_mae": error / count, "delta_e2000": delta_e / count, "chroma_ratio": ratio}
    if not perceptual:
        del by_region["delta_e2000"]
    scores = {f"{key}{name}": values[i].item() for key, values in by_region.items() for i, name in enumerate(names)}
    of_images = (*(("psnr", "ssim") if perceptual else ()), "colorfulness", "colorfulness_true")
    scores |= zip(of_images, torch.cat(images).mean(0).tolist(), strict=True)
    if masks is not None:
        pred, true = torch.cat(objects, dim=2)  # each (3, objects)
        scores["hue_entropy"] = entropy_of_hues(torch.atan2(pred[1], pred[0]))
        scores["hue_spread"], scores["hue_spread_true"] = _hue_spread(*pred), _hue_spread(*true)
    return scores


@torch.no_grad()
def ab_correlation(predict: Callable[[torch.Tensor], torch.Tensor], loader: Iterable) -> float:
    """Return the correlation of predicted and true ab over all pixels, after subtracting the mean of each image.

    It measures whether colors are in the right place: a tint of the whole image, or stronger colors, change nothing.

    Args:
        predict, loader: as in `evaluate`.
    Returns:
        A number in [-1, 1]; nan if the predictions or the true colors are uniform in every image.
    """
    totals = torch.zeros(3, dtype=torch.float64)  # predicted × true, predicted², true²
    with eval_mode(predict):
        for L, ab_true in loader:
            pairs = check_prediction(predict(L), ab_true), ab_true
            ab, ab_true = (
                values.cpu().double() - values.cpu().double().mean((-2, -1), keepdim=True) for values in pairs
            )
            totals += torch.stack([(ab * ab_true).sum(), (ab**2).sum(), (ab_true**2).sum()])
    return (totals[0] / (totals[1] * totals[2]).sqrt()).item()


def _pixel_totals(
    L: torch.Tensor, ab_pred: torch.Tensor, ab_true: torch.Tensor, regions: list, perceptual: bool
) -> torch.Tensor:
    """Sum ab error, ΔE2000, chroma, true chroma and 1 over each region (B, H, W): float64 (regions, 5)."""
    ones = torch.ones_like(L[:, 0])
    delta_e = delta_e2000(join_lab(L, ab_pred), join_lab(L, ab_true)) if perceptual else ones * math.nan
    values = [_ab_error(ab_pred, ab_true), delta_e, _chroma(ab_pred), _chroma(ab_true), ones]
    values = torch.stack(values, dim=1)  # (B, 5, H, W)
    totals = [(values * region[:, None]).sum((2, 3)) for region in regions]
    return torch.stack(totals, dim=1).double().sum(0)  # float32 is exact enough within one image


def _image_scores(L: torch.Tensor, ab_pred: torch.Tensor, ab_true: torch.Tensor, perceptual: bool) -> torch.Tensor:
    """Return PSNR, SSIM (both if `perceptual`), colorfulness and true colorfulness: float64 (B, 4) or (B, 2)."""
    pred, true = lab_to_rgb(join_lab(L, ab_pred)), lab_to_rgb(join_lab(L, ab_true))
    similarity = [psnr(pred, true), ssim(pred, true)] if perceptual else []
    return torch.stack([*similarity, colorfulness(pred), colorfulness(true)], dim=1).double()


def _object_totals(ab: torch.Tensor, objects: torch.Tensor, ambiguous: torch.Tensor) -> torch.Tensor:
    """Sum a, b and chroma over each ambiguous object of at least 6 px: float64 (3, objects) on the CPU."""
    shape = ab[:, 0].shape
    if objects.shape != shape or ambiguous.shape != shape:
        raise ValueError(f"For ab {tuple(ab.shape)} objects and ambiguous must be {tuple(shape)}, "
                         f"got {tuple(objects.shape)} and {tuple(ambiguous.shape)}.")  # fmt: skip
    ab, objects, ambiguous = ab.cpu(), objects.cpu(), ambiguous.cpu()
    image = torch.arange(len(ab))[:, None, None]
    key = (image * (int(objects.max()) + 1) + objects)[ambiguous]  # one number per object
    a, b = ab.movedim(1, -1)[ambiguous].double().unbind(1)
    _, index = key.unique(return_inverse=True)
    totals = torch.stack([torch.bincount(index, weights) for weights in (a, b, torch.hypot(a, b))])
    return totals[:, torch.bincount(index) >= MIN_OBJECT_PIXELS]


def _hue_spread(total_a: torch.Tensor, total_b: torch.Tensor, total_chroma: torch.Tensor) -> float:
    spread = 1 - torch.hypot(total_a, total_b) / total_chroma  # 1 − |Σ ab| / Σ |ab|, for each object
    return torch.where(total_chroma > 0, spread, 0.0).mean().item()


@contextmanager
def eval_mode(predict: Callable) -> Iterator[None]:
    """Put a module in eval mode; afterwards restore the mode of each of its parts (some may be frozen on purpose)."""
    parts = list(predict.modules()) if isinstance(predict, torch.nn.Module) else []
    modes = [part.training for part in parts]
    try:
        if parts:
            predict.eval()
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode


def _ab_error(ab_pred: torch.Tensor, ab_true: torch.Tensor) -> torch.Tensor:
    return (ab_pred - ab_true).abs().mean(1) * AB_SCALE  # (B, H, W), Lab units


def _chroma(ab: torch.Tensor) -> torch.Tensor:
    return torch.hypot(ab[:, 0], ab[:, 1]) * AB_SCALE  # (B, H, W), Lab units


def _ratio(chroma: torch.Tensor, chroma_true: torch.Tensor) -> torch.Tensor:
    return torch.where(chroma_true < MIN_CHROMA, math.nan, chroma / chroma_true)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _mean(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return (values if mask is None else values[mask]).mean()


def _check_rgb(rgb1: torch.Tensor, rgb2: torch.Tensor) -> None:
    if rgb1.shape != rgb2.shape or rgb1.ndim != 4 or rgb1.shape[1] != 3 or not rgb1.is_floating_point():
        raise ValueError(f"Images must be floating point (B, 3, H, W) in [0, 1], of equal shape, got {rgb1.dtype} "
                         f"{tuple(rgb1.shape)} and {rgb2.dtype} {tuple(rgb2.shape)}.")  # fmt: skip


def _check_shapes(ab_pred: torch.Tensor, ab_true: torch.Tensor, mask: torch.Tensor | None) -> None:
    if ab_pred.shape != ab_true.shape or ab_true.ndim != 4 or ab_true.shape[1] != 2:
        raise ValueError(f"Both ab must be (B, 2, H, W), got {tuple(ab_pred.shape)} and {tuple(ab_true.shape)}.")
    if mask is not None and mask.shape != ab_true[:, 0].shape:
        raise ValueError(f"The mask must be {tuple(ab_true[:, 0].shape)}, got {tuple(mask.shape)}.")


def check_prediction(ab_pred: torch.Tensor, ab_true: torch.Tensor) -> torch.Tensor:
    """Return a prediction as plain float32 (a fastai network returns a subclass, a network under autocast bfloat16).

    Raises:
        ValueError: it is no tensor, or its shape is not that of `ab_true`.
        NonFiniteError: it has values that are not finite.
    """
    if not isinstance(ab_pred, torch.Tensor) or ab_pred.shape != ab_true.shape:
        got = tuple(ab_pred.shape) if isinstance(ab_pred, torch.Tensor) else type(ab_pred).__name__
        raise ValueError(f"The prediction must be a tensor of shape {tuple(ab_true.shape)}, got {got}.")
    ab_pred = ab_pred.as_subclass(torch.Tensor).float()
    if not ab_pred.isfinite().all():
        raise NonFiniteError("The prediction has values that are not finite (nan or inf): the training has diverged.")
    return ab_pred
