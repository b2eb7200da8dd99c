"""Checkers of chapter 00."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from colorlib.color import rgb_to_lab
from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of


def color_error(attempt: Callable[[np.ndarray, np.ndarray], float]) -> Verdict:
    """Check a function from two (H, W, 3) uint8 images to the mean of |Δa| and |Δb|, in Lab units."""

    def check() -> str:
        rng = np.random.default_rng(0)
        one, two = rng.integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
        answer = attempt(one, two)
        if answer is None:
            return NOT_ATTEMPTED
        answer = float(answer)
        lab_one, lab_two = (rgb_to_lab(torch.from_numpy(image).permute(2, 0, 1)) for image in (one, two))
        difference = (lab_one - lab_two).abs()
        expected = difference[1:].mean().item()
        if abs(answer - expected) < 0.01:
            return "correct: brightness does not count, color does."
        if abs(answer - difference.mean().item()) < 0.01:
            return "not yet: that counts L, too. The network does not change L; leave out channel 0."
        if abs(answer - (lab_one - lab_two)[1:].mean().item()) < 0.01:
            return "not yet: errors in opposite directions must not cancel. Take abs() before the mean."
        if abs(answer - difference[1:].sum().item()) < 0.1:
            return "not yet: that is the sum, which grows with the size of the photo. Take the mean."
        raw = np.abs(one.astype(float) - two).mean()
        if abs(answer - raw) < 0.01 or abs(answer - np.abs(one - two).mean()) < 0.01:
            return "not yet: that compares RGB, where brightness counts as well. Convert with colorlib.rgb_to_lab."
        return f"not yet: for the checker's two images it should be {expected:.1f}; your function gives {answer:.1f}."

    return verdict_of(check)


def best_size(attempt: Callable[[Callable[[int], float], Sequence[int]], int]) -> Verdict:
    """Check a function that finds the render size with the smallest error."""

    def check() -> str:
        errors = {32: 9.0, 64: 7.5, 160: 7.0, 256: 8.5}
        asked = []

        def error_at(size: int) -> float:
            asked.append(size)
            return errors[size]

        answer = attempt(error_at, list(errors))
        if answer is None:
            return NOT_ATTEMPTED
        if answer in errors.values():
            return "not yet: that is the smallest error. Return the size that has it."
        if answer == 32 and len(set(asked)) == 4:
            return "not yet: size 32 has the largest error. Return the size with the smallest one."
        if answer == 256 and len(set(asked)) == 4:
            return "not yet: that is the last size that you tried. Remember the best one so far."
        if answer != 160:
            return f"not yet: of the checker's errors {errors}, 160 has the smallest; your function returns {answer}."
        other = {32: 4.0, 64: 5.0}
        again = attempt(lambda size: other[size], list(other))
        if again != 32:
            return f"not yet: for the errors {other} it should be 32, your function returns {again}."
        return "correct: but this needs the true colors. For an old photo there are none, so your eyes decide."

    return verdict_of(check)
