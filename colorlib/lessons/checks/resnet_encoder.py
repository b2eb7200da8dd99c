"""Checkers of chapter 05."""

from collections.abc import Callable

import torch
from torch import nn

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


def photos_needed(answer: str | int | None) -> Verdict:
    """Check for how many photos a random start has the error that a pretrained one has with 1,000."""

    def check() -> str:
        if answer is None:
            return NOT_ATTEMPTED
        if isinstance(answer, str) and "more" in answer and "16" in answer:
            return "correct: not even 16,000 photos were enough, so the number is not in the figure."
        if isinstance(answer, int | float) and answer > 16_000:
            return "correct: more than 16,000. How many more, these races can't say."
        return "not yet: read the error of the pretrained start at 1,000 photos, and look for it on the other curve."

    return verdict_of(check)


def residual(attempt: Callable[[torch.Tensor, nn.Module], torch.Tensor]) -> Verdict:
    """Check a function from x and f to the output of a residual block, ReLU(x + f(x))."""

    def check() -> str:
        torch.manual_seed(0)
        x, f = torch.randn(2, 4, 8, 8), nn.Conv2d(4, 4, 3, padding=1)
        answer = attempt(x.clone(), f)
        if answer is None:
            return NOT_ATTEMPTED
        if tuple(answer.shape) != (2, 4, 8, 8):
            return f"not yet: the shape should be (2, 4, 8, 8), yours is {tuple(answer.shape)}."
        if torch.allclose(answer, torch.relu(x + f(x)), atol=1e-5):
            return "correct: f only says what to add to x."
        if torch.allclose(answer, torch.relu(f(x)), atol=1e-5):
            return "not yet: the identity path is missing; x itself must reach the output."
        if torch.allclose(answer, x + f(x), atol=1e-5):
            return "nearly: the ReLU after the sum is missing, so the output can be negative."
        if torch.allclose(answer, x + torch.relu(f(x)), atol=1e-5):
            return "nearly: the ReLU comes after the sum."
        return "not yet: the output should be ReLU(x + f(x))."

    return verdict_of(check)


def two_groups(attempt: Callable[[nn.Module, float, float], list[dict]]) -> Verdict:
    """Check a function from a network and two learning rates to two groups of parameters for an optimizer."""

    def check() -> str:
        net = nn.Module()
        net.encoder, net.decoder, net.head = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 1)
        answer = attempt(net, 0.1, 0.7)
        if answer is None:
            return NOT_ATTEMPTED
        groups = [(group["lr"], [id(p) for p in group["params"]]) for group in answer]
        listed = [p for _, group in groups for p in group]
        encoder, everything = ({id(p) for p in part.parameters()} for part in (net.encoder, net))
        if len(listed) != len(set(listed)):
            return "not yet: a parameter is in two groups; torch refuses that. Leave the encoder's out of the second."
        if set(listed) != everything:
            return "not yet: some parameters are in no group, so they would never be trained."
        if len(groups) != 2 or encoder not in [set(group) for _, group in groups]:
            return "not yet: there should be two groups, and one holds exactly the encoder's parameters."
        rates = {rate: set(group) for rate, group in groups}
        if rates.get(0.1) != encoder:
            return "not yet: the rates are swapped; the encoder gets `encoder_lr`."
        if rates.get(0.7) != everything - encoder:
            return "not yet: the second group gets `lr`."
        torch.optim.AdamW(answer)
        return "correct: AdamW takes these groups as they are."

    return verdict_of(check)


def silent_depth(attempt: Callable[[Callable[[int, bool], float]], int]) -> Verdict:
    """Check a function that finds the smallest depth at which less than a millionth of the gradient is left."""

    def check() -> str:
        def gradient_left(depth: int, identity: bool) -> float:
            return (0.75 if identity else 0.2) ** depth

        answer = attempt(gradient_left)
        if answer is None:
            return NOT_ATTEMPTED
        if answer == 9:
            return "correct. Now call it with the real `gradient_left`."
        if answer == 49:
            return "not yet: that is the stack with the identity path; pass `False`."
        if answer in (8, 10):
            return "nearly: the first depth at which less than 1e-6 is left, not the one before or after it."
        return f"not yet: with 0.2 of the gradient left per block the depth should be 9, yours is {answer}."

    return verdict_of(check)
