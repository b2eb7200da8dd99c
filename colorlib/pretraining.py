"""An encoder that knows something before it learns color: it has learned to name gray photos, by their class folders.

ImageNet's weights are better, where they can be had. This is the same idea for one's own photos, offline.
"""

import os

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from colorlib.batches import NO_LABEL, Batches
from colorlib.data import Loaders
from colorlib.loop import History, mixed_precision, run_epochs
from colorlib.losses import label_cross_entropy
from colorlib.resnet import NormalizeGray
from colorlib.unet import LabelHead


class GrayClassifier(nn.Sequential):
    """Name gray pictures: L (B, 1, H, W) in [-1, 1] -> logits (B, n_classes).

    Args:
        encoder: the encoder of a `ResNetUNet`, fed as that network feeds it.
        n_features: channels that the encoder gives.
        n_classes: how many names there are.
    """

    def __init__(self, encoder: nn.Module, n_features: int, n_classes: int):
        super().__init__(NormalizeGray(), encoder, LabelHead(n_features, n_classes))


def fit_labels(
    classifier: nn.Module,
    loaders: Loaders,
    *,
    epochs: int = 5,
    lr: float = 2e-3,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a classifier to name the class folder of each picture from its L, with AdamW on a one-cycle schedule.

    Args:
        classifier: L (B, 1, H, W) -> logits (B, number of `loaders.classes`). Trained in place.
        loaders: from `make_loaders(..., labels=True)`.
        epochs, checkpoint, resume, progress: as in `fit_reconstruction`.
        lr: the highest learning rate of the cycle.
    Returns:
        A `History` with the mean "label_loss" and the held-out "valid_accuracy" of every epoch.
    Raises:
        ValueError: the loaders give no labels, or as `fit_reconstruction`.
        FileExistsError: as `fit_reconstruction`.
    """
    if not loaders.classes:
        raise ValueError("fit_labels needs loaders made with labels=True.")
    classifier.to(loaders.train.rgb.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr)
    schedule = OneCycleLR(optimizer, max_lr=lr, total_steps=max(1, epochs * len(loaders.train)))

    def step(L: torch.Tensor, ab: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        with mixed_precision(L.device):
            logits = classifier(L)
        loss = label_cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        return {"label_loss": loss.detach()}

    return run_epochs(
        step,
        classifier,
        loaders,
        epochs,
        state={"classifier": classifier, "optimizer": optimizer, "schedule": schedule},
        settings={"stage": "labels", "epochs": epochs, "lr": lr},
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        measure=lambda: ({"valid_accuracy": label_accuracy(classifier, loaders.valid)}, torch.empty(0)),
    )


@torch.no_grad()
def label_accuracy(classifier: nn.Module, loader: Batches) -> float:
    """Return the share of the pictures with a label whose label a classifier, in eval mode, ranks first.

    Args:
        classifier: L (B, 1, H, W) -> logits (B, n).
        loader: a fixed set with `labels`, (N,), in its order. nan if no picture has one.
    """
    classifier.eval()
    guesses = torch.cat([classifier(L).argmax(dim=1) for L, _ in loader])
    known = loader.labels != NO_LABEL
    return (guesses == loader.labels)[known].float().mean().item()
