"""Checkers of chapter 03."""

from collections.abc import Callable

import torch

from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of
from colorlib.metrics import chroma_ratio as reference


def chroma_ratio(attempt: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], float]) -> Verdict:
    """Check a function (ab_pred, ab_true, mask) -> mean predicted chroma / mean true chroma within the mask."""

    def check() -> str:
        generator = torch.Generator().manual_seed(0)
        ab_true = torch.rand(3, 2, 8, 8, generator=generator) - 0.5
        ab_pred = torch.tensor([0.7, 0.1]).view(2, 1, 1) * (torch.rand(3, 2, 8, 8, generator=generator) - 0.5)
        mask = torch.rand(3, 8, 8, generator=generator) < 0.3
        answer = attempt(ab_pred, ab_true, mask)
        if answer is None:
            return NOT_ATTEMPTED
        answer = float(answer)
        chroma_pred, chroma_true = ab_pred.norm(dim=1), ab_true.norm(dim=1)
        expected = reference(ab_pred, ab_true, mask)
        if abs(answer - expected) < 1e-4:
            return "correct: 0 would be gray, 1 as colorful as the truth."
        mistakes = {
            chroma_pred.mean() / chroma_true.mean(): "that counts all pixels; use the mask.",
            (chroma_pred / chroma_true)[mask].mean(): "average each chroma first, then divide. Otherwise nearly gray "
            "pixels dominate the mean.",
            ab_pred.abs().sum(1)[mask].mean() / ab_true.abs().sum(1)[mask].mean(): "chroma is the length of (a, b), "
            "√(a² + b²), not |a| + |b|.",
            chroma_true[mask].mean() / chroma_pred[mask].mean(): "that is upside down: divide predicted by true.",
        }
        for wrong, hint in mistakes.items():
            if abs(answer - wrong.item()) < 1e-4:
                return f"not yet: {hint}"
        return f"not yet: on the checker's data it should be {expected:.3f}, yours is {answer:.3f}."

    return verdict_of(check)
