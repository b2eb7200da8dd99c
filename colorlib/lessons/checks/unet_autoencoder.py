"""Checkers of chapter 03."""

from collections.abc import Callable, Mapping

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
        if isinstance(answer, torch.Tensor) and answer.numel() != 1:
            return f"not yet: the result should be one number, yours has shape {tuple(answer.shape)}; take the means."
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


def one_epoch(ratios: Mapping[str, float | None]) -> Verdict:
    """Check the measured chroma ratios, on ambiguous pixels, of networks trained for one epoch with L1 and with L2."""

    def check() -> str:
        if ratios.get("l1") is None or ratios.get("l2") is None:
            return NOT_ATTEMPTED
        l1, l2 = (float(ratios[name]) for name in ("l1", "l2"))
        if abs(l1 - l2) < 1e-6:
            return "not yet: both are the same. Make a new network for each loss, and pass `loss` to the training."
        if min(l1, l2) > 0.6:
            return "not yet: such high ratios are those of all pixels. Use the key `chroma_ratio/ambiguous`."
        if l1 < l2:
            return "not yet: here L1 should be the more colorful one. Are the two swapped, or trained for longer?"
        return (
            f"correct: L1 has {l1:.2f}, L2 {l2:.2f}. After one epoch the network is still unsure. L2 then paints "
            "the mean, which is dull. L1 paints the color of the likelier thing around it at full strength: the median."
        )

    return verdict_of(check)


def in_workbench(ratios: Mapping[str, float | None]) -> Verdict:
    """Check that two chroma ratios, on ambiguous pixels, were read off the workbench; either order is possible."""

    def check() -> str:
        if ratios.get("l1") is None or ratios.get("l2") is None:
            return NOT_ATTEMPTED
        l1, l2 = (float(ratios[name]) for name in ("l1", "l2"))
        if not (0 <= l1 <= 1 and 0 <= l2 <= 1):
            return "not yet: a chroma ratio of this network lies between 0 and 1. Take the last column of the table."
        if abs(l1 - l2) < 1e-6:
            return "not yet: both are the same. Train once with each loss, and read off two rows."
        order = "L1 is still the more colorful one" if l1 > l2 else "now L2 is the more colorful one"
        return f"correct: L1 has {l1:.2f}, L2 {l2:.2f}: {order}. After one epoch L1 had about twice as much as L2."

    return verdict_of(check)


def red_jump(answer: float | None) -> Verdict:
    """Check the probability of red from which L1's best answer among eight hues is nearly as vivid as a balloon."""

    def check() -> str:
        if answer is None:
            return NOT_ATTEMPTED
        if 0.405 <= float(answer) <= 0.43:
            return "correct: from chroma 20 to 35 in one step. The median of a has moved on to the next hue's value."
        if 1 < float(answer) <= 100:
            return "not yet: give a probability between 0 and 1."
        if abs(float(answer) - 0.5) <= 0.03:
            return "not yet: that is where the answer becomes exactly red. It was nearly red before."
        if 0.12 <= float(answer) <= 0.16:
            return "not yet: there it leaves gray, but it is still dull. Go on, with the loss `l1`."
        return "not yet: set 8 hues and `l1`, raise p(red) slowly, and watch the chroma above the square."

    return verdict_of(check)


def enough_downs(answer: int | None) -> Verdict:
    """Check how many halvings a U-Net needs at least so that a roof can see a flag 24 px away."""

    def check() -> str:
        if answer is None:
            return NOT_ATTEMPTED
        if answer == 4:
            return (
                "correct: 80 px wide, so at least 32 px to each side. With 3 halvings it is 40, at most 23 to one side."
            )
        if answer == 3:
            return "not yet: 40 px is the whole width. A pixel sees only about half of it to each side."
        if answer == 5:
            return "nearly: 5 is enough, but a smaller number is, too."
        return "not yet: the flag is 24 px away, so the receptive field must reach 24 px to one side of the pixel."

    return verdict_of(check)


def bottleneck_sees(attempt: Callable[[int], int]) -> Verdict:
    """Check a function from the number of halvings to the side of the square that one bottleneck value sees, pixels."""

    def check() -> str:
        answers = [attempt(n) for n in (1, 2, 4)]
        if answers[0] is None:
            return NOT_ATTEMPTED
        if answers == [6, 12, 48]:
            return "correct: 3 · 2ⁿ. Each halving doubles what one value sees."
        mistakes = {
            (4, 10, 46): "that starts from one pixel. The stem, a 3 × 3 convolution, comes first.",
            (6, 9, 15): "a kernel at half resolution covers twice as many pixels: the step doubles after each halving.",
            (2, 4, 16): "that is the distance between two bottleneck values. They overlap: each sees more than that.",
            (10, 20, 80): "that is what the output sees, after the decoder. Stop at the bottleneck.",
        }
        if hint := mistakes.get(tuple(answers)):
            return f"not yet: {hint}"
        return f"not yet: for 1, 2 and 4 halvings it should be 6, 12 and 48, yours gives {answers}."

    return verdict_of(check)


def weighted_l1(attempt: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function (ab_pred, ab, weight) -> the weighted mean of the absolute error, weight (B, H, W)."""

    def check() -> str:
        generator = torch.Generator().manual_seed(0)
        ab_pred, ab = torch.rand(2, 2, 2, 5, 5, generator=generator)
        weight = torch.rand(2, 5, 5, generator=generator) + 0.5
        answer = attempt(ab_pred, ab, weight)
        if answer is None:
            return NOT_ATTEMPTED
        if not isinstance(answer, torch.Tensor) or answer.numel() != 1:
            return "not yet: the loss must be one number, as a tensor, or `backward()` can't start from it."
        error = (ab_pred - ab).abs()
        expected = (error.mean(1) * weight).sum() / weight.sum()
        if torch.allclose(answer, expected, atol=1e-5):
            return "correct: with all weights 1 it is L1."
        mistakes = {
            (
                error.mean(1) * weight
            ).mean(): "divide by the sum of the weights. Otherwise larger weights also raise the learning rate.",
            (
                error.mean(1) * weight
            ).sum(): "that is a sum; its size depends on the number of pixels. Divide by the sum of the weights.",
            (error.sum(1) * weight).sum() / weight.sum(): "take the mean over a and b, as L1 does, not their sum.",
            (error * weight).sum() / weight.sum(): "the weights met the wrong axis. Take the mean over a and b first, "
            "or use weight[:, None].",
            error.mean(): "the weights are not used.",
        }  # with a batch of 2, (B, 2, H, W) * (B, H, W) raises nothing
        for wrong, hint in mistakes.items():
            if torch.allclose(answer, wrong, atol=1e-5):
                return f"not yet: {hint}"
        return f"not yet: on the checker's data it should be {expected:.4f}, yours is {answer:.4f}."

    return verdict_of(check)
