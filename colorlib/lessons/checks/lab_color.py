"""Checkers of chapter 01."""

from collections.abc import Callable

import torch

from colorlib.color import rgb_to_lab
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
