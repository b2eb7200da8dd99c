"""Checkers of chapter 01."""

import math
from collections.abc import Callable

import torch

from colorlib.color import lab_to_rgb, rgb_to_lab
from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of


def gray_to_lightness(attempt: Callable[[torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function from stored gray values, gamma-encoded in [0, 1], to lightness L* in [0, 100]."""

    def check() -> str:
        gray = torch.linspace(0, 1, 101)
        answer = attempt(gray)
        if answer is None:
            return NOT_ATTEMPTED
        answer = torch.as_tensor(answer, dtype=torch.float32)
        if answer.shape != gray.shape:
            return f"not yet: for {tuple(gray.shape)} values your function returned shape {tuple(answer.shape)}."
        expected = rgb_to_lab(gray.expand(3, 1, 101))[0, 0]
        if (answer - expected).abs().max() < 0.05:
            return "correct: mid gray, 0.5, has L* = 53.4. The gamma curve and Lab's f nearly cancel out."
        linear = torch.where(gray > 0.04045, ((gray + 0.055) / 1.055) ** 2.4, gray / 12.92)
        if (answer - 100 * gray).abs().max() < 0.5:
            return "not yet: 100 · gray skips both curves. Undo the gamma curve first, then apply Lab's f."
        if (answer - 100 * linear).abs().max() < 0.5:
            return "not yet: that is 100 · Y, the amount of light. Lightness is 116 f(Y) − 16."
        f_of_stored = torch.where(gray > 0.008856, gray ** (1 / 3), 7.787 * gray + 16 / 116)
        if (answer - (116 * f_of_stored - 16)).abs().max() < 0.05:
            return "not yet: that applies Lab's f to the stored values. Undo the gamma curve first."
        if (answer - expected / 100).abs().max() < 0.001:
            return "nearly: your L* goes from 0 to 1, but it should go from 0 to 100."
        if (answer[30:] - expected[30:]).abs().max() < 0.05:
            return "nearly: bright grays are right, dark ones are not. Both curves have a straight part near black."
        return f"not yet: gray 0.5 should give L* {expected[50]:.1f}, your function gives {answer[50]:.1f}."

    return verdict_of(check)


def borrow_color(attempt: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function from two images (3, H, W) in [0, 1] to one with the L of the first and the ab of the second."""

    def check() -> str:
        rgb, other = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
        answer = attempt(rgb.clone(), other.clone())
        if answer is None:
            return NOT_ATTEMPTED
        if answer.shape != rgb.shape:
            return f"not yet: for images {tuple(rgb.shape)} your function returned shape {tuple(answer.shape)}."
        lab, lab_other = rgb_to_lab(rgb), rgb_to_lab(other)
        mixed = torch.cat([lab[:1], lab_other[1:]])

        def same(expected: torch.Tensor, tolerance: float = 0.005) -> bool:
            return bool((answer.float() - expected).abs().max() < tolerance)

        if same(lab_to_rgb(mixed)):
            return "correct: the light says what it is, the color came from elsewhere."
        if same(lab_to_rgb(torch.cat([lab_other[:1], lab[1:]]))):
            return "not yet: the two images are swapped. Take L from the first one, ab from the second."
        if same(mixed, 0.5):
            return "nearly: that is Lab. Convert it back to RGB."
        if same(lab_to_rgb(mixed, clip=False)):
            return "nearly: some values are outside [0, 1], because the color does not exist at this L. Clip them."
        if same(lab_to_rgb(torch.cat([lab[:2], lab_other[2:]]))):
            return "not yet: only b comes from the second image. The color is a and b, channels 1 and 2."
        if same(torch.cat([rgb[:1], other[1:]])):
            return "not yet: that mixes channels of RGB. Convert both images to Lab first."
        return (
            "not yet: take channel 0 of the first image's Lab and channels 1 and 2 of the second's, then convert back."
        )

    return verdict_of(check)


def turn_hue(attempt: Callable[[torch.Tensor, float], torch.Tensor]) -> Verdict:
    """Check a function from Lab (3, H, W) and an angle in degrees to Lab with all hues turned by the angle."""

    def check() -> str:
        lab = torch.tensor([[50.0, 60, 70], [40, 0, -20], [0, 30, 10]]).view(3, 1, 3)
        answer = attempt(lab.clone(), 30)
        if answer is None:
            return NOT_ATTEMPTED
        if answer.shape != lab.shape:
            return f"not yet: for Lab {tuple(lab.shape)} your function returned shape {tuple(answer.shape)}."
        if (answer[0] - lab[0]).abs().max() > 0.01:
            return "not yet: L must stay as it is. Turn only a and b."

        def same(degrees: float) -> bool:
            phi = math.radians(degrees)
            a, b = lab[1:]
            expected = torch.stack([a * math.cos(phi) - b * math.sin(phi), a * math.sin(phi) + b * math.cos(phi)])
            return bool((answer[1:] - expected).abs().max() < 0.01)

        if same(30):
            return "correct: the same gray, the same chroma, another hue."
        if same(-30):
            return "not yet: that turns the other way. Look at the signs of the two sines."
        if same(math.degrees(30)):
            return "not yet: cos() and sin() take radians. Convert the degrees first."
        if (answer[1:].norm(dim=0) - lab[1:].norm(dim=0)).abs().max() > 0.1:
            return "not yet: the chroma, √(a² + b²), must stay. Compute both new values from the old a and the old b."
        new = ", ".join(f"{value:.1f}" for value in answer[1:, 0, 0])
        return f"not yet: (a, b) = (40, 0) turned by 30° should be (34.6, 20.0), your function gives ({new})."

    return verdict_of(check)


def in_gamut(attempt: Callable[[torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function from Lab (3, H, W) to bool (H, W): whether sRGB has the color."""

    def check() -> str:
        L, a, b = torch.meshgrid(
            torch.linspace(5, 95, 19), torch.linspace(-100, 100, 21), torch.linspace(-100, 100, 21), indexing="ij"
        )
        lab = torch.stack([L, a, b]).view(3, 19, -1)
        answer = attempt(lab.clone())
        if answer is None:
            return NOT_ATTEMPTED
        if answer.shape == lab.shape:
            return "not yet: that is one answer per channel. A color exists if all three channels fit: all(dim=0)."
        if answer.shape != lab.shape[1:]:
            return f"not yet: for Lab {tuple(lab.shape)} your function returned shape {tuple(answer.shape)}."
        if answer.dtype != torch.bool:
            return f"not yet: return a bool for each pixel, not {answer.dtype}."
        rgb = lab_to_rgb(lab, clip=False)
        low, high = rgb > -1e-3, rgb < 1 + 1e-3
        inside = (low & high).all(dim=0)
        # Any tolerance up to 0.002 is fine.
        strict = ((rgb >= 0) & (rgb <= 1)).all(dim=0)
        generous = ((rgb > -2e-3) & (rgb < 1 + 2e-3)).all(dim=0)
        if (answer | ~strict).all() and (generous | ~answer).all():
            return f"correct: of the checker's grid, {inside.float().mean():.0%} exist on a screen."
        if answer.all():
            return "not yet: clipped values always fit. Convert with clip=False."
        if (answer == high.all(dim=0)).all() or (answer == low.all(dim=0)).all():
            return "nearly: you look at one end only. A channel can be below 0 and above 1."
        if (answer == (low & high).any(dim=0)).all():
            return "not yet: one fitting channel is not enough; all three must fit."
        wrong = int((answer != inside).sum())
        return f"not yet: {wrong:,} of {inside.numel():,} colors of the checker's grid are wrong."

    return verdict_of(check)


def bin_number(attempt: Callable[[torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function from ab (2, H, W) in Lab units to the number of its bin, int64 (H, W)."""

    def check() -> str:
        ab = 216 * torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(0)) - 108
        answer = attempt(ab.clone())
        if answer is None:
            return NOT_ATTEMPTED
        if answer.shape != ab.shape[1:]:
            return f"not yet: for ab {tuple(ab.shape)} your function returned shape {tuple(answer.shape)}."
        i, j = (ab / 10).round().long() + 11
        floor_i, floor_j = (ab / 10).floor().long() + 11
        if (answer == 23 * i + j).all():
            if answer.is_floating_point():
                return "nearly: the numbers are right, but a list needs whole numbers: convert with long()."
            return "correct: gray has number 264, and a list of colors can now be learned like a list of words."
        mistakes = {
            "that is 23 times the number of b plus that of a; it should be the other way round.": 23 * j + i,
            "use round(), so that −10, 0, 10 … are the centers of the bins and not their edges.": (
                23 * floor_i + floor_j
            ),
            "your numbers start below 0: bin −110 should have number 0, so add 11 to each.": 23 * (i - 11) + (j - 11),
            "there are 23 bins on each axis, not 22: count both ends.": 22 * i + j,
        }
        for hint, wrong in mistakes.items():
            if (answer == wrong).all():
                return f"not yet: {hint}"
        first = ", ".join(f"{value:.1f}" for value in ab[:, 0, 0])
        return f"not yet: ab = ({first}) should have number {23 * i[0, 0] + j[0, 0]}, yours is {answer[0, 0]}."

    return verdict_of(check)
