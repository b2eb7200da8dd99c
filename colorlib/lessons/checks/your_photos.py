"""Checkers of chapter 07."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from colorlib.lessons.aging import INK, PAPER
from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of


def fade(attempt: Callable[[np.ndarray, float], np.ndarray]) -> Verdict:
    """Check a function that fades (H, W, 3) uint8 images: white drifts to 0.82, black to 0.30 of the range.

    Negative amounts raise the contrast again, which undoes most of the fading; the result is clipped to 0 ... 255.
    """

    def check() -> str:
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
        answer = attempt(ramp.copy(), 1.0)
        if answer is None:
            return NOT_ATTEMPTED
        answer = np.asarray(answer)
        if answer.shape != ramp.shape:
            return f"not yet: for an image of shape {ramp.shape} your function returned {answer.shape}."
        if answer.dtype != np.uint8:
            return f"not yet: an image is uint8, yours is {answer.dtype}. Round to whole numbers from 0 to 255."
        dark, light = answer[0, 0, 0] / 255, answer[-1, -1, 0] / 255
        if abs(light - INK) < 0.02 and abs(dark - PAPER) < 0.02:
            return "not yet: black and white are swapped."
        if abs(light - PAPER) > 0.02:
            return f"not yet: at amount 1, white should become {PAPER}, yours becomes {light:.2f}."
        if abs(dark - INK) > 0.02:
            return f"not yet: white is right, but black should become {INK:.2f}, yours becomes {dark:.2f}."
        for amount in (1.0, 0.0, 0.5):
            exact = (1 - amount) * ramp + amount * (255 * INK + (PAPER - INK) * ramp)
            error = np.asarray(attempt(ramp.copy(), amount), dtype=float) - exact
            worst = np.abs(error).max()
            if worst > 2:
                hint = "All values change, not only the ends." if amount == 1 else "Blend with the original."
                return f"not yet: at amount {amount:g}, a value is off by {worst:.0f} of 255. {hint}"
            if error.mean() < -0.2:
                return "nearly: astype cuts the decimals off, so the image gets darker. Use round() before it."
        with np.errstate(invalid="ignore"):  # NumPy warns of negative values that become uint8
            stronger = np.asarray(attempt(ramp.copy(), -0.5), dtype=float)
        exact = (1.5 * ramp - 0.5 * (255 * INK + (PAPER - INK) * ramp)).clip(0, 255)
        if np.abs(stronger - exact).max() > 2:
            return (
                "nearly: at amount -0.5 the contrast rises, and black should stay 0 and white 255, yours become "
                f"{stronger[0, 0, 0]:.0f} and {stronger[-1, -1, 0]:.0f}. Numbers outside 0 to 255 do not fit uint8: "
                "use clip(0, 255) before astype."
            )
        return "correct: contrast is lost for good once it is rounded to whole numbers."

    return verdict_of(check)


def is_namesake(one: str, other: str) -> bool:
    """Return whether two names are the same up to the first hyphen, as "anna-1950" and "anna-1962" are."""
    return one.partition("-")[0] == other.partition("-")[0]


def split_by_photo(attempt: Callable[[Sequence[str], int], tuple[list[str], list[str]]]) -> Verdict:
    """Check a function that splits crops, named as in "anna-3.jpg", so that no photo is in both parts."""

    def check() -> str:
        names = ("anna-1950", "anna-1962", "boat-blue", "boat-red", "cat", "cat-2")
        crops = [f"{name}-{i}.jpg" for i in (0, 1, 2, 10) for name in names]
        for n_test in (2, 1, 3):
            answer = attempt(list(crops), n_test)
            if answer is None:
                return NOT_ATTEMPTED
            train, test = (list(part) for part in answer)
            if sorted(train + test) != sorted(crops):
                return "not yet: every crop must be in exactly one part; some are missing or appear twice."
            in_train, in_test = ({crop.rpartition("-")[0] for crop in part} for part in (train, test))
            merged = [photo for photo in in_test if any(is_namesake(photo, other) for other in in_test - {photo})]
            if len(in_test) > n_test and len(merged) == len(in_test) and not in_train & in_test:
                return "nearly: a photo's name may have a hyphen, as in 'anna-1950-3.jpg'. Cut at the last hyphen."
            if in_train & in_test:
                both = sorted(in_train & in_test)[0]
                return f"not yet: crops of {both!r} are in both parts, so the network trains on parts of test photos."
            if len(in_test) != n_test:
                return f"not yet: {n_test} photos should be held out, but you hold out {len(in_test)}."
        return "correct: the network is tested on photos that it has never seen, not even in part."

    return verdict_of(check)


def blend_weights(attempt: Callable[[dict, dict, float], dict]) -> Verdict:
    """Check a function that blends two state dicts: share 0 gives the old weights, 1 the new ones."""

    def check() -> str:
        old = {"w": torch.tensor([0.0, 2.0]), "steps": torch.tensor(3)}
        new = {"w": torch.tensor([4.0, 0.0]), "steps": torch.tensor(7)}
        kept = {name: tensor.clone() for name, tensor in old.items()}
        answer = attempt(old, new, 0.25)
        if answer is None:
            return NOT_ATTEMPTED
        if any(not torch.equal(old[name], kept[name]) for name in kept):
            return "not yet: your function changes the old weights in place; build new tensors."
        if set(answer) != set(old):
            return f"not yet: the names should be {sorted(old)}, yours are {sorted(answer)}."
        for name in sorted(answer):
            if not isinstance(answer[name], torch.Tensor):
                kind = type(answer[name]).__name__
                return f"not yet: a network loads tensors only, and your {name!r} is of type {kind}."
        w, steps = answer["w"], answer["steps"]
        if not w.is_floating_point():
            return f"not yet: 'w' has become whole numbers, {w.tolist()}; weights must stay floating point."
        if torch.allclose(w.float(), torch.tensor([3.0, 0.5])):
            return "not yet: `share` is the fraction of the *new* weights; yours is the fraction of the old ones."
        if not torch.allclose(w.float(), torch.tensor([1.0, 1.5])):
            return f"not yet: a quarter of the way from [0, 2] to [4, 0] is [1, 1.5], yours is {w.tolist()}."
        if steps.is_floating_point():
            return "not yet: 'steps' is a counter and must stay a whole number; blend only floating point tensors."
        if steps.item() != 7:
            return f"nearly: counters are not blended. 'steps' should be the new one, 7; yours is {steps.item()}."
        return "correct: one slider between two networks, at no cost."

    return verdict_of(check)
