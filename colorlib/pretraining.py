"""Pretrain an encoder by classifying images, before it is trained to predict color.

ImageNet weights are better where they are available. This is the same idea with your own photos, offline, and a way to
fine-tune such weights.
"""

import os

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from colorlib.batches import Batches
from colorlib.data import Loaders
from colorlib.loop import History, mixed_precision, run_epochs
from colorlib.losses import CLASSIFICATION, pick
from colorlib.resnet import N_FEATURES, NormalizeGray, normalized_rgb
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

    def forward(self, L: torch.Tensor, ab: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(L)


class PhotoClassifier(nn.Module):
    """Classify photos, in color or gray, with a ResNet for RGB: L (B, 1, H, W), ab (B, 2, H, W) -> logits (B, classes).

    In training mode, every second image of a batch loses its color, so that the ResNet learns from both versions.

    Args:
        resnet: from `resnet.rgb_resnet`.
        n_classes: number of class labels.
    """

    def __init__(self, resnet: nn.Module, n_classes: int):
        super().__init__()
        self.resnet = resnet
        self.head = nn.Linear(N_FEATURES, n_classes)

    def forward(self, L: torch.Tensor, ab: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits; without ab, those of the gray image."""
        ab = L.new_zeros(len(L), 2, *L.shape[2:]) if ab is None else ab
        if self.training:
            in_color = torch.arange(len(L), device=L.device) % 2
            ab = ab * in_color.view(-1, 1, 1, 1)
        return self.head(self.resnet(normalized_rgb(L, ab)))


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
    """Train a classifier to predict the labels of each image, with AdamW on a one-cycle schedule.

    Args:
        classifier: a `GrayClassifier` or a `PhotoClassifier` of as many classes as `loaders.classes`. Trained in place.
        loaders: with labels, as from `make_loaders(..., labels=True)`.
        loss: "classes" for one class label per image, "multilabel" for any number of them.
        epochs, checkpoint, resume, progress: as in `fit_reconstruction`.
        lr: peak of the learning rate.
    Returns:
        A `History` with the mean "label_loss" and the "valid_accuracy" of every epoch, on gray images. A
        `PhotoClassifier` also has a "valid_accuracy/color".
    Raises:
        ValueError: the loaders have no labels, the loss is unknown, or as in `fit_reconstruction`.
        FileExistsError, OSError: as in `fit_reconstruction`.
    """
    if not loaders.classes:
        raise ValueError("fit_classifier needs loaders with labels, as from make_loaders(..., labels=True).")
    loss_fn = pick(CLASSIFICATION, loss)
    classifier.to(loaders.train.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr)
    schedule = OneCycleLR(optimizer, max_lr=lr, total_steps=max(1, epochs * len(loaders.train)))

    def step(L: torch.Tensor, ab: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        with mixed_precision(L.device):
            logits = classifier(L, ab)
        label_loss = loss_fn(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        label_loss.backward()
        optimizer.step()
        schedule.step()
        return {"label_loss": label_loss.detach()}

    def measure() -> dict[str, float]:
        scores = {"valid_accuracy": label_accuracy(classifier, loaders.valid)}
        if isinstance(classifier, PhotoClassifier):
            scores["valid_accuracy/color"] = label_accuracy(classifier, loaders.valid, color=True)
        return scores

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
        measure=measure,
    )


@torch.no_grad()
def label_accuracy(classifier: nn.Module, loader: Batches, color: bool = False) -> float:
    """Return the accuracy of a classifier: the fraction of labels that it predicts correctly.

    Args:
        classifier: L (B, 1, H, W), ab or None -> logits (B, n). It is put in eval mode.
        loader: a fixed set with `labels`, either class indices (N,) or multi-label targets (N, n).
        color: show it the images in color instead of gray.
    Returns:
        The accuracy in [0, 1]. Images with the label -100 do not count; nan if all have it.
    """
    classifier.eval()
    logits = torch.cat([classifier(L, ab) if color else classifier(L) for L, ab in loader])
    if loader.labels.ndim == 2:
        return ((logits > 0) == (loader.labels > 0.5)).float().mean().item()
    labeled = loader.labels >= 0
    return (logits.argmax(dim=1) == loader.labels)[labeled].float().mean().item()
