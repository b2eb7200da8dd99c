"""What a generator is asked to make small, as plain functions of tensors.

Reconstruction losses compare ab with ab, both network-scaled (B, 2, H, W). Adversarial losses compare a
discriminator's logits (B, 1, h, w) with "all real" or "all fake". Every loss is a mean, so that its size does not
depend on the picture's.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from colorlib.batches import NO_LABEL

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
AdversarialLoss = Callable[[torch.Tensor, bool], torch.Tensor]

RECONSTRUCTION: dict[str, Loss] = {
    "l1": F.l1_loss,  # best answer where color is uncertain: the median, per channel
    "l2": F.mse_loss,  # best answer: the mean
    "huber": F.smooth_l1_loss,  # l2 for small errors, l1 for large ones
}


def bce(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Return the binary cross entropy of `logits` against "all real" or "all fake"; log 2 ≈ 0.69 is a coin's.

    Source: Goodfellow et al. 2014, with the non-saturating form when a generator asks for `real=True`.
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def lsgan(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Return the squared distance of `logits` to 1 (real) or 0 (fake). Source: Mao et al. 2017."""
    return F.mse_loss(logits, torch.full_like(logits, float(real)))


def hinge(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Return the hinge loss of a discriminator: logits beyond ±1 on the right side cost nothing.

    A generator does not use it: it maximizes the logits themselves, see `generator_hinge`. Source: Lim & Ye 2017.
    """
    return F.relu(1 - logits if real else 1 + logits).mean()


def generator_hinge(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Return a generator's loss beside a hinge discriminator: minus the mean logit (plus it for `real=False`)."""
    return -logits.mean() if real else logits.mean()


# name: (the discriminator's loss, the generator's loss)
ADVERSARIAL: dict[str, tuple[AdversarialLoss, AdversarialLoss]] = {
    "bce": (bce, bce),
    "lsgan": (lsgan, lsgan),
    "hinge": (hinge, generator_hinge),
}


def label_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of logits (B, n) over those pictures that have a label (B,) >= 0; 0 if none has."""
    total = F.cross_entropy(logits, labels, reduction="sum", ignore_index=NO_LABEL)
    return total / (labels != NO_LABEL).sum().clamp(min=1)


def pick(losses: dict, name: str):
    """Return the loss called `name`.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    if name not in losses:
        raise ValueError(f"There is no loss {name!r}; choose one of: {', '.join(losses)}.")
    return losses[name]
