"""A distance between pictures in the features of a network, which notices what looks wrong, not only how much differs.

Source: the idea of LPIPS (Zhang et al. 2018), with equal weights for all features and without their training on human
judgments. Any ResNet can be the eyes; the bundled "photos-encoder" needs no download.
"""

import os

import torch
from torch import nn

from colorlib.resnet import IMAGENET_MEAN, IMAGENET_STD, frozen_resnet


class FeatureDistance(nn.Module):
    """How far pictures are from the truth in the features of a frozen ResNet.

    Args:
        weights: as in `resnet.frozen_resnet`.
    Raises:
        DownloadError, WeightsError: as in `resnet.frozen_resnet`.
    """

    def __init__(self, weights: str | os.PathLike = "photos-encoder"):
        super().__init__()
        self.eyes = frozen_resnet("resnet18", weights)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    @torch.no_grad()
    def forward(self, rgb: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        """Compare pictures with the truth.

        Args:
            rgb, true: (B, 3, H, W) in [0, 1].
        Returns:
            (B,): the mean absolute difference of the features over the mean absolute feature of the truth, averaged
            over 1/4, 1/8 and 1/16 of the size; 0 for equal pictures.
        Raises:
            ValueError: the shapes differ.
        """
        if rgb.shape != true.shape or rgb.ndim != 4:
            raise ValueError(f"Both must be (B, 3, H, W), got {tuple(rgb.shape)} and {tuple(true.shape)}.")
        ours, theirs, distance = (rgb - self.mean) / self.std, (true - self.mean) / self.std, 0.0
        for level in self.eyes:
            ours, theirs = level(ours), level(theirs)
            distance = distance + (ours - theirs).abs().mean((1, 2, 3)) / theirs.abs().mean((1, 2, 3))
        return distance / len(self.eyes)
