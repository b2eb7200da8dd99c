"""Checkers of chapter 07."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from colorlib.lessons.aging import INK, PAPER
from colorlib.lessons.aging import fade as packaged_fade
from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, judge


def fade(attempt: Callable[[np.ndarray, float], np.ndarray]) -> Verdict:
    """Check a function that fades (H, W, 3) uint8 pictures: white drifts to 0.82, black to 0.30 of the range."""

    def check() -> str:
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
        answer = attempt(ramp.copy(), 1.0)
        if answer is None:
            return NOT_ATTEMPTED
        answer = np.asarray(answer)
        if answer.shape != ramp.shape:
            return f"not yet: for a picture of shape {ramp.shape} your function returned {answer.shape}."
        if answer.dtype != np.uint8:
            return f"not yet: a picture is uint8, yours is {answer.dtype}. Round to whole numbers from 0 to 255."
        dark, light = answer[0, 0, 0] / 255, answer[-1, -1, 0] / 255
        if abs(light - INK) < 0.02 and abs(dark - PAPER) < 0.02:
            return "not yet: black and white have changed places."
        if abs(light - PAPER) > 0.02:
            return f"not yet: at amount 1, white should become {PAPER}, yours becomes {light:.2f}."
        if abs(dark - INK) > 0.02:
            return f"not yet: white is right, but black should become {INK:.2f}, yours becomes {dark:.2f}."
        for amount in (0.0, 0.5):
            off = np.abs(np.asarray(attempt(ramp.copy(), amount), dtype=int) - packaged_fade(ramp, amount)).max()
            if off > 2:
                return f"not yet: amount 1 is right, amount {amount:g} is off by {off} of 255. Blend with the original."
        return "correct: contrast is lost for good once it is rounded to whole numbers."

    return judge(check)


def split_by_photo(attempt: Callable[[Sequence[str], int], tuple[list[str], list[str]]]) -> Verdict:
    """Check a function that splits crops, named as in "anna-3.jpg", so that no photo is on both sides."""

    def check() -> str:
        crops = [f"{photo}-{i}.jpg" for i in range(4) for photo in ("anna", "boat", "cat", "dog", "ernst-august")]
        answer = attempt(list(crops), 2)
        if answer is None:
            return NOT_ATTEMPTED
        train, test = (list(part) for part in answer)
        photos = [{name.rpartition("-")[0] for name in part} for part in (train, test)]
        if sorted(train + test) != sorted(crops):
            return "not yet: every crop must be on exactly one side; some are lost, or there twice."
        if photos[0] & photos[1]:
            both = sorted(photos[0] & photos[1])[0]
            return f"not yet: crops of {both!r} are on both sides, so the test pictures are half known already."
        if len(photos[1]) != 2:
            return f"not yet: 2 photos should be held out, you hold out {len(photos[1])}."
        return "correct: the network is asked about photos of which it has never seen a corner."

    return judge(check)


def blend_weights(attempt: Callable[[dict, dict, float], dict]) -> Verdict:
    """Check a function that mixes two state dicts: share 0 gives the old weights, 1 the new ones."""

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
        if torch.allclose(answer["w"], torch.tensor([3.0, 0.5])):
            return "not yet: share is the part of the *new* weights; yours is the part of the old ones."
        if not torch.allclose(answer["w"], torch.tensor([1.0, 1.5])):
            return f"not yet: a quarter of the way from [0, 2] to [4, 0] is [1, 1.5], yours is {answer['w'].tolist()}."
        if answer["steps"].is_floating_point():
            return "not yet: 'steps' counts, and must stay a whole number; mix only tensors that are floating point."
        return "correct: one slider between two networks, at no cost."

    return judge(check)
