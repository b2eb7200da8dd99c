"""Checkers of chapter 01."""

from collections.abc import Callable

import torch

from colorlib.color import rgb_to_lab
from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, judge


def grey_to_lightness(attempt: Callable[[torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function from stored grey values, gamma-encoded in [0, 1], to lightness L* in [0, 100]."""

    def check() -> str:
        grey = torch.linspace(0, 1, 101)
        answer = attempt(grey)
        if answer is None:
            return NOT_ATTEMPTED
        answer = torch.as_tensor(answer, dtype=torch.float32)
        if answer.shape != grey.shape:
            return f"not yet: for {tuple(grey.shape)} values your function returned shape {tuple(answer.shape)}."
        expected = rgb_to_lab(grey.expand(3, 1, 101))[0, 0]
        if (answer - expected).abs().max() < 0.05:
            return "correct: mid grey, 0.5, has L* = 53.4, because the eye and the gamma curve nearly agree."
        linear = torch.where(grey > 0.04045, ((grey + 0.055) / 1.055) ** 2.4, grey / 12.92)
        if (answer - 100 * grey).abs().max() < 0.5:
            return "not yet: 100 · grey skips both curves. Undo the gamma first, then apply Lab's f."
        if (answer - 100 * linear).abs().max() < 0.5:
            return "not yet: that is 100 · Y, the light. The eye's answer to it is 116 f(Y) − 16."
        if (answer[30:] - expected[30:]).abs().max() < 0.05:
            return "nearly: bright greys are right, dark ones are not. Both curves have a straight part near black."
        return f"not yet: grey 0.5 should give L* {expected[50]:.1f}, your function gives {answer[50]:.1f}."

    return judge(check)
