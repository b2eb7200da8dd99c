"""Losses as plain functions of tensors.

Reconstruction losses compare ab with ab, both network-scaled (B, 2, H, W). Adversarial losses compare a
discriminator's logits (B, 1, h, w) with "all real" or "all fake". Classification losses compare logits (B, n) with
labels. Every loss is a mean, so its value does not depend on the image size.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
AdversarialLoss = Callable[[torch.Tensor, bool], torch.Tensor]

RECONSTRUCTION: dict[str, Loss] = {
    "l1": F.l1_loss,  # minimized by the median of the possible colors, per channel
    "l2": F.mse_loss,  # minimized by their mean
    "huber": F.smooth_l1_loss,  # L2 for small errors, L1 for large ones
}


def bce(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Return the binary cross entropy of `logits` against "all real" or "all fake"; log 2 ≈ 0.69 for random guessing.

    Source: Goodfellow et al. 2014; a generator uses it with `real=True`, the non-saturating form.
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def lsgan(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Return the mean squared distance of `logits` to 1 (real) or 0 (fake). Source: Mao et al. 2017."""
    return F.mse_loss(logits, torch.full_like(logits, float(real)))


def hinge(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Return the hinge loss of a discriminator: logits beyond ±1 on the right side cost nothing.

    The generator's counterpart is `generator_hinge`. Source: Lim and Ye 2017.
    """
    return F.relu(1 - logits if real else 1 + logits).mean()


def generator_hinge(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Return the generator's loss that goes with `hinge`: minus the mean logit, or plus for `real=False`."""
    return -logits.mean() if real else logits.mean()


# name: (the discriminator's loss, the generator's loss)
ADVERSARIAL: dict[str, tuple[AdversarialLoss, AdversarialLoss]] = {
    "bce": (bce, bce),
    "lsgan": (lsgan, lsgan),
    "hinge": (hinge, generator_hinge),
}


def class_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of logits (B, n) over the labels (B,) that are not -100; 0 if there are none."""
    total = F.cross_entropy(logits, labels, reduction="sum")  # torch ignores the label -100
    return total / (labels >= 0).sum().clamp(min=1)


CLASSIFICATION: dict[str, Loss] = {
    "classes": class_cross_entropy,  # one class per image: labels (B,) int64
    "multilabel": F.binary_cross_entropy_with_logits,  # any number of labels per image: (B, n) float 0 or 1
}


def pick(losses: dict, name: str):
    """Return the loss called `name`.

    Raises:
        ValueError: there is no loss of that name; the message lists the names.
    """
    if name not in losses:
        raise ValueError(f"There is no loss {name!r}; choose one of: {', '.join(losses)}.")
    return losses[name]
