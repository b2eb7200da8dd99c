"""Checkers of chapter 04."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from colorlib.lessons.checks import NOT_ATTEMPTED, Verdict, verdict_of
from colorlib.patchgan import PatchDiscriminator


def patch_size(attempt: Callable[[list[tuple[int, int]]], int]) -> Verdict:
    """Check a function from (kernel, stride) pairs, first to last, to the side of the patch that one output sees."""

    def check() -> str:
        for n_down in (1, 2, 3):
            layers = [(4, 2)] * n_down + [(4, 1), (4, 1)]
            answer, expected = attempt(list(layers)), PatchDiscriminator(4, n_down).patch_size
            if answer is None:
                return NOT_ATTEMPTED
            if answer != expected:
                forward = 1
                for kernel, stride in layers:
                    forward = (forward - 1) * stride + kernel
                if answer == forward:
                    return "not yet: you count from the first layer. Start at one output and go back from the last."
                if answer == expected - 1:
                    return "not yet: one less than it should be. Start with 1: one output is 1 pixel wide."
                return f"not yet: for {layers} it should be {expected}, yours is {answer}."
        return "correct: 16, 34 and 70 pixels for one, two and three layers of stride 2."

    return verdict_of(check)


def best_discriminator(attempt: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Verdict:
    """Check a function from the densities p (real) and q (fake), each (n,), to the best probability of "real" (n,)."""

    def check() -> str:
        p, q = torch.tensor([0.4, 0.1, 0.0, 0.2]), torch.tensor([0.1, 0.4, 0.3, 0.2])
        answer = attempt(p.clone(), q.clone())
        if answer is None:
            return NOT_ATTEMPTED
        answer = torch.as_tensor(answer)
        if answer.shape == p.shape and torch.allclose(answer, p / (p + q)):
            return "correct: 0.5 where both are equally frequent, so its loss is log 2 if they are so everywhere."
        mistakes = [
            (p / q, "that is the ratio of the densities, and no probability: it can be above 1."),
            (q / (p + q), "that is the probability of “fake”."),
            ((p / q).log(), "that is the logit; put it through a sigmoid."),
            (p - q, "a difference can be negative; a probability is the share of the real ones."),
            (torch.sigmoid(p - q), "the logit is log(p / q), not p − q."),
        ]
        for wrong, hint in mistakes:
            if answer.shape == wrong.shape and torch.allclose(answer, wrong, equal_nan=True):
                return f"not yet: {hint}"
        return "not yet: at a place with p = 0.4 and q = 0.1, four of five numbers are real; what is the best answer?"

    return verdict_of(check)


def discriminator_loss(attempt: Callable[[torch.Tensor, torch.Tensor], float]) -> Verdict:
    """Check a function from real and fake logits, each (B, 1, h, w), to the discriminator's loss."""

    def check() -> str:
        generator = torch.Generator().manual_seed(0)
        real, fake = (torch.randn(2, 1, 3, 3, generator=generator) + shift for shift in (1.0, -0.5))
        answer = attempt(real.clone(), fake.clone())
        if answer is None:
            return NOT_ATTEMPTED
        answer = float(answer)

        def half(a, b) -> float:
            return ((F.softplus(a).mean() + F.softplus(b).mean()) / 2).item()

        expected = half(-real, fake)
        mistakes = {
            2 * expected: "each of the two terms has the weight ½.",
            half(real, -fake): "real and fake are swapped: the loss must be small if real logits are high.",
            half(-real, -fake): "for the fake ones it is log(1 − D), not log D.",
            18 * expected: "take the mean over pictures and patches, not the sum.",
            -expected: "the sign is missing: the loss is minus the logarithm.",
            ((1 - real.sigmoid()).mean() + fake.sigmoid().mean()).item() / 2: "the logarithm is missing.",
        }
        if abs(answer - expected) < 1e-4:
            return "correct: this is what `discriminator_step` minimizes; log 2 for logits of 0."
        for wrong, hint in mistakes.items():
            if abs(answer - wrong) < 1e-4:
                return f"not yet: {hint}"
        return f"not yet: on the checker's logits it should be {expected:.3f}, yours is {answer:.3f}."

    return verdict_of(check)


def diversity(attempt: Callable[[torch.Tensor], float]) -> Verdict:
    """Check a function from hues (draws, objects), radians, to how much the hue of an object changes between draws."""

    def check() -> str:
        hues = torch.tensor([[3.1, 0.2, -1.0], [-3.1, 1.0, -1.0], [3.0, -0.5, -1.0]])
        answer = attempt(hues.clone())
        if answer is None:
            return NOT_ATTEMPTED
        answer = torch.as_tensor(answer, dtype=torch.float32)
        length = torch.polar(torch.ones_like(hues), hues).mean(dim=0).abs()
        if answer.shape == length.shape and torch.allclose(answer, 1 - length, atol=1e-4):
            return "nearly: that is the diversity of each object; return the mean."
        if answer.ndim:
            return f"not yet: return one number, not {tuple(answer.shape)}."
        other = torch.polar(torch.ones_like(hues), hues).mean(dim=1).abs()
        mistakes = [
            (hues.std(dim=0).mean(), "3.1 and −3.1 are neighbors on the wheel; average unit vectors, not angles."),
            (length.mean(), "that is 1 for an object that keeps its hue; subtract it from 1."),
            (1 - other.mean(), "that compares the objects of one draw; average over the draws, dim=0."),
            (
                1 - torch.polar(torch.ones_like(hues), hues).mean().abs(),
                "average over the draws of each object first; you mix all objects.",
            ),
        ]
        if abs(answer - (1 - length.mean())) < 1e-4:
            return "correct: 0 if every object keeps its hue."
        for wrong, hint in mistakes:
            if abs(answer - wrong) < 1e-4:
                return f"not yet: {hint}"
        return f"not yet: on the checker's hues it should be {1 - length.mean():.3f}, yours is {answer:.3f}."

    return verdict_of(check)


def which_lambda(
    table: Mapping[str, Mapping[str, Mapping[str, float]]],
    most_exact: float | None,
    most_vivid: float | str | None,
) -> Verdict:
    """Check which λ of the stored playground has the least error on determined pixels, and which is the most vivid.

    Args:
        table: of `experiments.stored("playground")`; the games with BCE and 34 px patches count.
        most_exact: λ with the lowest ab MAE on determined pixels, or "open" if the seeds disagree.
        most_vivid: λ with the highest chroma ratio on ambiguous pixels, or "open".
    """

    def check() -> str:
        if most_vivid is None or most_exact is None:
            return NOT_ATTEMPTED
        ending = ", bce, patch 34"
        seeds = [
            {float(name.removesuffix(ending).removeprefix("lambda ")): rows[name] for name in rows if ending in name}
            for rows in table.values()
        ]
        best = {
            "most_exact": [min(rows, key=lambda value: rows[value]["ab_mae/determined"]) for rows in seeds],
            "most_vivid": [max(rows, key=lambda value: rows[value]["chroma_ratio/ambiguous"]) for rows in seeds],
        }
        for name, given in {"most_exact": most_exact, "most_vivid": most_vivid}.items():
            agree = len(set(best[name])) == 1
            if given == "open":
                if agree:
                    return f"not yet: the seeds agree on `{name}`. Print its score for each of them."
                continue
            if float(given) not in seeds[0]:
                there = ", ".join(f"{value:g}" for value in seeds[0])
                return f"not yet: there is no run with λ = {given}; choose among {there}, or “open”."
            if float(given) not in best[name]:
                return f"not yet: no seed has λ = {given} as `{name}`. The L1 term lowers the error, not more."
            if not agree:
                return f"not yet: another seed has another λ as `{name}`. Look at all of them. What can you say then?"
        exact, vivid = (", ".join(f"{value:g}" for value in values) for values in best.values())
        return f"correct. Seed by seed, the lowest error is that of λ = {exact}; the most vivid is λ = {vivid}."

    return verdict_of(check)
