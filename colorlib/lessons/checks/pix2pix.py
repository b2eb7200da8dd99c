"""Checkers of chapter 04."""

from collections.abc import Callable

from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of
from colorlib.patchgan import PatchDiscriminator


def patch_size(attempt: Callable[[list[tuple[int, int]]], int]) -> Verdict:
    """Check a function from (kernel, stride) pairs, first to last, to the side of the patch that one output sees."""

    def check() -> str:
        for n_down in (1, 2, 3):
            layers = [(4, 2)] * n_down + [(4, 1), (4, 1)]
            answer, expected = attempt(list(layers)), PatchDiscriminator(4, n_down).patch_size
            if answer is None:
                return NOT_ATTEMPTED
            if answer != expected:
                forward = 1
                for kernel, stride in layers:
                    forward = (forward - 1) * stride + kernel
                if answer == forward:
                    return "not yet: you count from the first layer. Start at one output and go back from the last."
                if answer == expected - 1:
                    return "not yet: one less than it should be. Start with 1: one output is 1 pixel wide."
                return f"not yet: for {layers} it should be {expected}, yours is {answer}."
        return "correct: 16, 34 and 70 pixels for one, two and three layers of stride 2."

    return verdict_of(check)
