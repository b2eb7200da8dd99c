"""Checkers of chapter 06."""

from collections.abc import Callable

import numpy as np
import torch

from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of


def worse_than_gray(attempt: Callable[[torch.Tensor, torch.Tensor], float]) -> Verdict:
    """Check a function from the errors of a model and of gray, one per image, to the share that is worse than gray."""

    def check() -> str:
        errors, gray = torch.tensor([3.0, 9, 5, 7, 12]), torch.tensor([4.0, 8, 5, 9, 11])
        answer = attempt(errors.clone(), gray.clone())
        if answer is None:
            return NOT_ATTEMPTED
        answer = float(answer)
        if abs(answer - 0.4) < 1e-6:
            return "correct: a model with a good mean can be worse than gray on many images."
        if abs(answer - 0.6) < 1e-6:
            return "not yet: an image on which both have the same error is not worse."
        if abs(answer - 2) < 1e-6:
            return "nearly: that is the number of images; divide it by how many there are."
        if answer in (0, 1):
            return "not yet: compare image by image. You compare one number for the whole set."
        if abs(answer - float(errors.mean() / gray.mean())) < 1e-6:
            return "not yet: this is the ratio of the mean errors; it says nothing about how many images are worse."
        return f"not yet: it should be 0.4, yours is {answer:.3g}."

    return verdict_of(check)


def correlation_inside(attempt: Callable[[torch.Tensor, torch.Tensor], float]) -> Verdict:
    """Check a function from predicted and true ab (B, 2, H, W) to their correlation inside the images."""

    def check() -> str:
        generator = torch.Generator().manual_seed(0)
        true = torch.randn(5, 2, 6, 7, generator=generator)
        pred = 0.5 * true + 0.4 * torch.randn(5, 2, 6, 7, generator=generator)
        tint = torch.tensor([6.0, -2.0]).view(1, 2, 1, 1)
        pred, true = (x + tint + shift * torch.arange(5.0).view(5, 1, 1, 1) for x, shift in ((pred, 3), (true, 2)))
        answer = attempt(pred.clone(), true.clone())
        if answer is None:
            return NOT_ATTEMPTED
        answer = float(answer)

        def correlation(p: torch.Tensor, t: torch.Tensor) -> float:
            return float((p * t).sum() / (p.square().sum() * t.square().sum()).sqrt())

        p, t = (x - x.mean((2, 3), keepdim=True) for x in (pred, true))
        known = {
            correlation(p, t): "correct: a tint of the whole image, or a factor, changes nothing.",
            correlation(pred, true): "not yet: subtract means first; a uniform tint must not count.",
            correlation(pred - pred.mean(), true - true.mean()): "not yet: you subtract the mean of the whole set. "
            "Subtract that of each image, and of a and b apart: mean((2, 3), keepdim=True).",
            correlation(*(x - x.mean((0, 2, 3), keepdim=True) for x in (pred, true))): "not yet: you subtract the mean "
            "of the whole set. Subtract that of each image: mean((2, 3), keepdim=True).",
            correlation(*(x - x.mean((1, 2, 3), keepdim=True) for x in (pred, true))): "nearly: a and b have means of "
            "their own, so leave axis 1 out of the mean.",
            float((p * t).mean()): "not yet: this is the covariance; divide by both spreads.",
            correlation(p, t) ** 2: "not yet: this is the square of it; take the root of the product in the divisor.",
        }
        for value, sentence in known.items():
            if abs(answer - value) < 1e-4:
                return sentence
        return f"not yet: it should be {correlation(p, t):.3f}, yours is {answer:.3f}."

    return verdict_of(check)


def bootstrap_interval(attempt: Callable[[np.ndarray, int], tuple[float, float]]) -> Verdict:
    """Check a function from errors (n,) and a number of samples to the bootstrap interval of their mean."""

    def check() -> str:
        errors = np.random.default_rng(0).gamma(4, 2, 60)
        answer = attempt(errors.copy(), 2000)
        if answer is None:
            return NOT_ATTEMPTED
        low, high = map(float, answer)
        random = np.random.default_rng(1)
        means = random.choice(errors, (4000, 60)).mean(axis=1)
        expected = np.quantile(means, [0.025, 0.975])
        width = expected[1] - expected[0]
        if low == high:
            return "not yet: your samples are all alike. Draw with replacement, or each is a mere reordering."
        if low > high:
            return "nearly: the lower end comes first."
        if np.abs([low, high] - np.quantile(errors, [0.025, 0.975])).max() < 0.3:
            return "not yet: these are quantiles of the errors. Take them of the means of the samples."
        if np.abs([low, high] - np.quantile(means, [0.05, 0.95])).max() < 0.03 * width:
            return "nearly: you cut 5% at each end, that is a 90% interval. Cut 2.5%."
        if np.abs([low, high] - expected).max() < 0.09 * width:
            return "correct: and it needs no formula, so it works for any score."
        return f"not yet: it should be about {expected[0]:.1f} to {expected[1]:.1f}, yours is {low:.1f} to {high:.1f}."

    return verdict_of(check)


def error_on_curve(attempt: Callable[[list[float], list[float], float], float]) -> Verdict:
    """Check a function that reads the error of a multiplied model at a given colorfulness from its curve."""

    def check() -> str:
        color, error = [0.2, 0.4, 0.5, 0.9], [9.0, 8.0, 8.5, 12.5]
        answer = attempt(list(color), list(error), 0.8)
        if answer is None:
            return NOT_ATTEMPTED
        answer = float(answer)
        if abs(answer - 11.5) < 1e-6 and abs(float(attempt(list(color), list(error), 0.3)) - 8.5) < 1e-6:
            return "correct: a model with a larger error than this, at the same colorfulness, is above the curve."
        if answer in error:
            return "not yet: that is the error of the nearest factor. Go along the line between two factors."
        if abs(answer - float(np.interp(0.8, error, color))) < 1e-6:
            return "not yet: np.interp(x, xp, fp) takes the known colorfulness second and the errors third."
        return f"not yet: at 0.8 it should be 11.5, yours is {answer:.3g}."

    return verdict_of(check)


def is_worse(answer: str | None) -> Verdict:
    """Check who of two models is better, given the interval of the difference of their errors, -0.3 to 1.1."""

    def check() -> str:
        if answer is None:
            return NOT_ATTEMPTED
        if isinstance(answer, str) and answer.strip().lower() in ("can't tell", "cannot tell", "can’t tell"):
            return "correct: 0 is inside the interval. Other photos could turn the order around."
        if answer in ("A", "B"):
            return f"not yet: where does 0 lie, relative to the interval? It decides whether {answer} can be named."
        return "not yet: answer with 'A', 'B' or \"can't tell\"."

    return verdict_of(check)


def auc(attempt: Callable[[torch.Tensor, torch.Tensor], float]) -> Verdict:
    """Check a function from scores and a mask, both (n,), to the area under the ROC curve."""

    def check() -> str:
        score = torch.tensor([3.0, 1, 4, 1, 5, 9, 2, 6])
        mask = torch.tensor([False, True, True, False, False, True, False, True])
        answer = attempt(score.clone(), mask.clone())
        if answer is None:
            return NOT_ATTEMPTED
        answer = float(answer)
        pairs = score[mask][:, None] - score[~mask][None]  # (4, 4)
        right = ((pairs > 0).sum() + 0.5 * (pairs == 0).sum()).item()
        ahead = (pairs > 0).sum().item()
        known = {
            right / 16: "correct: 0.5 is a coin; below it, the score would do better upside down.",
            ahead / 16: "nearly: a pair with equal scores counts half.",
            (pairs >= 0).sum().item() / 16: "nearly: a pair with equal scores counts half, not whole.",
            1 - right / 16: "not yet: the other way round. Count pairs in which the pixel *inside* the mask is higher.",
            right: "nearly: that is the number of pairs; divide it by how many pairs there are.",
            score[mask].mean().item() - score[~mask].mean().item(): "not yet: this is the difference of the means. "
            "Compare pair by pair: score[mask][:, None] > score[~mask][None].",
        }
        for value, verdict in known.items():
            if abs(answer - value) < 1e-6:
                return verdict
        return f"not yet: it should be {right / 16:.5g}, yours is {answer:.3g}."

    return verdict_of(check)
