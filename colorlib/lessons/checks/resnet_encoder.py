"""Checkers of chapter 05."""

from collections.abc import Callable

import torch

from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of


def one_channel(attempt: Callable[[torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function from the first layer's weights for RGB (C, 3, k, k) to its weights for gray (C, 1, k, k)."""

    def check() -> str:
        weight = torch.randn(8, 3, 7, 7, generator=torch.Generator().manual_seed(0))
        answer = attempt(weight.clone())
        if answer is None:
            return NOT_ATTEMPTED
        if tuple(answer.shape) == (8, 7, 7):
            return "nearly: keep the channel axis, the shape should be (8, 1, 7, 7)."
        if tuple(answer.shape) != (8, 1, 7, 7):
            return f"not yet: the shape should be (8, 1, 7, 7), yours is {tuple(answer.shape)}."
        if torch.allclose(answer, weight.sum(dim=1, keepdim=True), atol=1e-5):
            return "correct: on a gray image, where R = G = B, the layer's output is the same as before."
        if torch.allclose(answer, weight.mean(dim=1, keepdim=True), atol=1e-5):
            return "not yet: with the mean, the layer's output is a third of what it was on R = G = B."
        if any(torch.allclose(answer[:, 0], weight[:, i], atol=1e-5) for i in range(3)):
            return "not yet: the weights of one color lose what the layer had learned from the other two."
        return "not yet: the new layer's output on one gray plane must equal the old layer's output on R = G = B."

    return verdict_of(check)
