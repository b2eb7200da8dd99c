"""Pretrain an encoder by classifying gray images, before it is trained to predict color.

ImageNet weights are better where they are available. This is the same idea with your own photos, offline.
"""

import os

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from colorlib.batches import Batches
from colorlib.data import Loaders
from colorlib.loop import History, mixed_precision, run_epochs
from colorlib.losses import CLASSIFICATION, pick
from colorlib.resnet import NormalizeGray
from colorlib.unet import LabelHead


class GrayClassifier(nn.Sequential):
    """Classify gray images: L (B, 1, H, W) in [-1, 1] -> logits (B, n_classes).

    Args:
        encoder: the encoder of a `ResNetUNet`; its input is normalized as that network does.
        n_features: channels of the encoder's output.
        n_classes: number of class labels.
    """

    def __init__(self, encoder: nn.Module, n_features: int, n_classes: int):
        super().__init__(NormalizeGray(), encoder, LabelHead(n_features, n_classes))


def fit_classifier(
    classifier: nn.Module,
    loaders: Loaders,
    loss: str = "classes",
    *,
    epochs: int = 5,
    lr: float = 2e-3,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a classifier to predict the labels of each image from its L, with AdamW on a one-cycle schedule.

    Args:
        classifier: L (B, 1, H, W) -> logits (B, number of `loaders.classes`). Trained in place.
        loaders: with labels, as from `make_loaders(..., labels=True)`.
        loss: "classes" for one class label per image, "multilabel" for any number of them.
        epochs, checkpoint, resume, progress: as in `fit_reconstruction`.
        lr: peak of the learning rate.
    Returns:
        A `History` with the mean "label_loss" and the "valid_accuracy" of every epoch.
    Raises:
        ValueError: the loaders have no labels, the loss is unknown, or as in `fit_reconstruction`.
        FileExistsError, OSError: as in `fit_reconstruction`.
    """
    if not loaders.classes:
        raise ValueError("fit_classifier needs loaders with labels, as from make_loaders(..., labels=True).")
    loss_fn = pick(CLASSIFICATION, loss)
    classifier.to(loaders.train.rgb.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr)
    schedule = OneCycleLR(optimizer, max_lr=lr, total_steps=max(1, epochs * len(loaders.train)))

    def step(L: torch.Tensor, ab: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        with mixed_precision(L.device):
            logits = classifier(L)
        label_loss = loss_fn(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        label_loss.backward()
        optimizer.step()
        schedule.step()
        return {"label_loss": label_loss.detach()}

    return run_epochs(
        step,
        classifier,
        loaders,
        epochs,
        state={"classifier": classifier, "optimizer": optimizer, "schedule": schedule},
        settings={"stage": "classification", "loss": loss, "epochs": epochs, "lr": lr},
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        measure=lambda: {"valid_accuracy": label_accuracy(classifier, loaders.valid)},
    )


@torch.no_grad()
def label_accuracy(classifier: nn.Module, loader: Batches) -> float:
    """Return the accuracy of a classifier: the fraction of labels that it predicts correctly.

    Args:
        classifier: L (B, 1, H, W) -> logits (B, n). It is put in eval mode.
        loader: a fixed set with `labels`, either class indices (N,) or multi-label targets (N, n).
    Returns:
        The accuracy in [0, 1]. Images with the label -100 do not count; nan if all have it.
    """
    classifier.eval()
    logits = torch.cat([classifier(L) for L, _ in loader])
    if loader.labels.ndim == 2:
        return ((logits > 0) == (loader.labels > 0.5)).float().mean().item()
    labeled = loader.labels >= 0
    return (logits.argmax(dim=1) == loader.labels)[labeled].float().mean().item()
