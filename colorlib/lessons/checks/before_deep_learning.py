"""Checkers of chapter 02."""

from collections.abc import Callable

import torch

from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of


def match_mean_std(attempt: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function (values, reference) -> values with the reference's mean and standard deviation."""

    def check() -> str:
        generator = torch.Generator().manual_seed(0)
        values = 3 + 2 * torch.randn(30, 20, generator=generator)
        reference = -4 + 7 * torch.randn(25, 25, generator=generator)
        answer = attempt(values.clone(), reference.clone())
        if answer is None:
            return NOT_ATTEMPTED
        answer = torch.as_tensor(answer, dtype=torch.float32)
        if answer.shape != values.shape:
            return f"not yet: the result should have the shape {tuple(values.shape)}, yours has {tuple(answer.shape)}."
        mean, std = values.mean(), values.std()
        other_mean, other_std = reference.mean(), reference.std()
        if torch.allclose(answer, (values - mean) / std * other_std + other_mean, atol=0.05):
            return "correct: two numbers per plane move a whole picture."
        mistakes = {
            "the spread is not right: divide by the old standard deviation, and multiply by the new one.": (
                values - mean + other_mean
            ),
            "the standard deviations are upside down: divide by the old one, multiply by the new one.": (
                (values - mean) * std / other_std + other_mean
            ),
            "subtract the old mean before you stretch, or it is stretched, too.": (
                values * other_std / std + other_mean
            ),
            "add the reference's mean at the end.": (values - mean) / std * other_std,
            "that stretches by the variances. Take standard deviations, their square roots.": (
                (values - mean) * reference.var() / values.var() + other_mean
            ),
        }
        for hint, wrong in mistakes.items():
            if torch.allclose(answer, wrong, atol=0.05):
                return f"not yet: {hint}"
        return f"not yet: the mean should be {other_mean:.2f}, yours is {answer.mean():.2f}; the standard deviation " \
               f"should be {other_std:.2f}, yours is {answer.std():.2f}."  # fmt: skip

    return verdict_of(check)


def best_match(attempt: Callable[[float, float, torch.Tensor, torch.Tensor], int]) -> Verdict:
    """Check a function (L, texture, Ls, textures) -> index of the most similar sample, by squared distance."""

    def check() -> str:
        Ls = torch.tensor([50.0, 58.0, 40.0, 62.0, 90.0])
        textures = torch.tensor([15.0, 3.0, 1.5, 2.0, 2.0])
        answer = attempt(50.0, 2.0, Ls.clone(), textures.clone())
        if answer is None:
            return NOT_ATTEMPTED
        answer = int(answer)
        hints = {
            0: "not yet: that sample has the same lightness, but another texture. Add both squared differences.",
            3: "not yet: that compares textures only. Add both squared differences.",
            4: "not yet: that is the sample that differs most. Take the smallest distance.",
            2: "not yet: differences of opposite sign must not cancel, and a negative one is not the smallest. "
            "Square them before you add.",
        }
        if answer in hints:
            return hints[answer]
        if answer != 1:
            return f"not yet: sample 1 differs least from L 50 and texture 2; your function returns {answer}."
        again = attempt(10.0, 20.0, torch.tensor([12.0, 10.0]), torch.tensor([15.0, 13.0]))
        if int(again) != 0:
            return "not yet: of (12, 15) and (10, 13) the first is nearer to (10, 20); your function says otherwise."
        return "correct: it is one line, and it knows nothing about what is in the picture."

    return verdict_of(check)


def affinity_weights(attempt: Callable[[float, torch.Tensor, float], torch.Tensor]) -> Verdict:
    """Check a function (L, neighbors, variance) -> Levin's weights exp(−(L − neighbor)² / (2 variance)), sum 1."""

    def check() -> str:
        L, neighbors, variance = 0.5, torch.tensor([0.5, 0.52, 0.45, 0.6, 0.9]), 0.004
        answer = attempt(L, neighbors.clone(), variance)
        if answer is None:
            return NOT_ATTEMPTED
        answer = torch.as_tensor(answer, dtype=torch.float32)
        if answer.shape != neighbors.shape:
            return f"not yet: {len(neighbors)} neighbors need as many weights, yours have shape {tuple(answer.shape)}."
        difference = neighbors - L
        raw = torch.exp(-(difference**2) / (2 * variance))
        if torch.allclose(answer, raw / raw.sum(), atol=1e-4):
            return "correct: the neighbor that is as light gets the largest share, the far one almost none."
        if torch.allclose(answer, raw, atol=1e-4):
            return "nearly: divide by their sum, so that the weights add up to 1."
        mistakes = {
            "the sign is wrong: a larger difference must give a smaller weight.": torch.exp(
                difference**2 / (2 * variance)
            ),
            "square the difference.": torch.exp(-difference.abs() / (2 * variance)),
            "divide by 2 · variance, not by the variance.": torch.exp(-(difference**2) / variance),
            "divide the squared difference by 2 · variance.": torch.exp(-(difference**2)),
            "that squares the variance. It is a square already.": torch.exp(-(difference**2) / (2 * variance**2)),
        }
        for hint, wrong in mistakes.items():
            if torch.allclose(answer / answer.sum(), wrong / wrong.sum(), atol=1e-4):
                return f"not yet: {hint}"
        first = (raw / raw.sum())[0]
        return f"not yet: the weight of the neighbor of equal L should be {first:.3f}, yours is {answer[0]:.3f}."

    return verdict_of(check)


def where_it_stops(attempt: Callable[[torch.Tensor], int]) -> Verdict:
    """Check a function from a row of lightness values to the last pixel with the color of the stroke on its left."""

    def check() -> str:
        rising = torch.tensor([30.0] * 6 + [34.0] * 5 + [70.0] * 7)
        falling = torch.tensor([80.0] * 4 + [50.0] * 6 + [56.0] * 5)
        answers = []
        for row, last in ((rising, 10), (falling, 3)):
            answer = attempt(row.clone())
            if answer is None:
                return NOT_ATTEMPTED
            answers.append(int(answer) - last)
        if answers == [0, 0]:
            return "correct: between two strokes, the colors meet at the largest step of lightness."
        if answers == [1, 1]:
            return "nearly: that is the first pixel of the other color. Return the one before it."
        if answers[0] == 0:
            return "not yet: lightness may fall as well as rise. Take the absolute value of the steps."
        if answers[0] == -5:
            return "not yet: that is the first step. Color passes a weak edge; it stops at the strongest one."
        return f"not yet: for {rising.int().tolist()} it should be 10, your function returns {answers[0] + 10}."

    return verdict_of(check)
