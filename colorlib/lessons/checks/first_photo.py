"""Checkers of chapter 00."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from colorlib.color import rgb_to_lab
from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, judge


def color_error(attempt: Callable[[np.ndarray, np.ndarray], float]) -> Verdict:
    """Check a function from two (H, W, 3) uint8 pictures to the mean of |Δa| and |Δb|, Lab units."""

    def check() -> str:
        rng = np.random.default_rng(0)
        one, two = rng.integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
        answer = attempt(one, two)
        if answer is None:
            return NOT_ATTEMPTED
        answer = float(answer)
        lab_one, lab_two = (rgb_to_lab(torch.from_numpy(picture).permute(2, 0, 1)) for picture in (one, two))
        difference = (lab_one - lab_two).abs()
        expected = difference[1:].mean().item()
        if abs(answer - expected) < 0.01:
            return "correct: brightness does not count, color does."
        if abs(answer - difference.mean().item()) < 0.01:
            return "not yet: that counts L, too. The network never touches L; leave plane 0 out."
        if abs(answer - (lab_one - lab_two)[1:].mean().item()) < 0.01:
            return "not yet: too red here and too green there must not cancel. Take abs() before the mean."
        if abs(answer - difference[1:].sum().item()) < 0.1:
            return "not yet: that is the sum. A large photo would look worse than a small one; take the mean."
        raw = np.abs(one.astype(float) - two).mean()
        if abs(answer - raw) < 0.01 or abs(answer - np.abs(one - two).mean()) < 0.01:
            return "not yet: that compares RGB, where light counts as well. Go to Lab with colorlib.rgb_to_lab."
        return f"not yet: for the checker's two pictures it should be {expected:.1f}, your function gives {answer:.1f}."

    return judge(check)


def best_size(attempt: Callable[[Callable[[int], float], Sequence[int]], int]) -> Verdict:
    """Check a function that finds, among render sizes, the one whose error is least."""

    def check() -> str:
        errors = {32: 9.0, 64: 7.5, 96: 7.0, 128: 8.5}
        asked = []

        def error_at(size: int) -> float:
            asked.append(size)
            return errors[size]

        answer = attempt(error_at, list(errors))
        if answer is None:
            return NOT_ATTEMPTED
        if answer in errors.values():
            return "not yet: that is an error. Return the size that has it."
        if answer == 128 and len(set(asked)) == 4:
            return "not yet: that is the last size. Or did you take the largest one? Small errors are good ones."
        if answer != 96:
            return f"not yet: among the checker's errors {errors}, size 96 has the least; your function says {answer}."
        other = {32: 4.0, 64: 5.0}
        again = attempt(lambda size: other[size], list(other))
        if again != 32:
            return f"not yet: with the errors {other} it should be 32, your function says {again}."
        return "correct: and it takes a truth to find it. Your grandmother's album has none, so there your eyes decide."

    return judge(check)
