"""Discriminators that classify each patch of an image as real or fake: the PatchGAN, and heads on frozen features.

Source: Isola, Zhu, Zhou and Efros 2017; Sauer, Chitta, Müller and Geiger 2021.
"""

import os
from hashlib import sha256

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from colorlib.resnet import frozen_resnet, normalized_rgb


class PatchDiscriminator(nn.Module):
    """Score patches of a colored image: L (B, 1, H, W) and ab (B, 2, H, W) -> logits (B, 1, h, w).

    A logit above 0 means "real". Each logit depends on a patch of `patch_size` × `patch_size` pixels; h and w are about
    H / 2^n_down and W / 2^n_down.

    Args:
        base_channels: channels after the first convolution. Each later convolution doubles the number of channels, up
            to 8 × base_channels.
        n_down: number of convolutions with stride 2: 1, 2, 3 give patches of 16, 34, 70 px (70 in the paper).
        conditional: feed L and ab to the network; if False, only ab.
        spectral_norm: bound the Lipschitz constant of each layer (Miyato et al. 2018), instead of using BatchNorm.
    """

    def __init__(self, base_channels: int = 32, n_down: int = 2, conditional: bool = True, spectral_norm: bool = False):
        super().__init__()
        self.conditional = conditional
        wrap = with_spectral_norm if spectral_norm else (lambda layer: layer)
        layers, channels = [], 3 if conditional else 2
        strides = [2] * n_down + [1]
        for i, stride in enumerate(strides):
            width = base_channels * min(2**i, 8)
            normed = i > 0 and not spectral_norm  # as in the paper, the first layer has none
            layers.append(wrap(nn.Conv2d(channels, width, 4, stride, padding=1, bias=not normed)))
            layers += [nn.BatchNorm2d(width)] if normed else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = width
        layers.append(wrap(nn.Conv2d(channels, 1, 4, stride=1, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([L, ab], dim=1) if self.conditional else ab)

    @property
    def patch_size(self) -> int:
        """Receptive field of one logit: side of the patch it depends on, in pixels."""
        size = 1
        for layer in reversed(self.layers):
            if isinstance(layer, nn.Conv2d):
                size = (size - 1) * layer.stride[0] + layer.kernel_size[0]
        return size


class FeatureDiscriminator(nn.Module):
    """Score patches by the features of a pretrained ResNet: L (B, 1, H, W) and ab (B, 2, H, W) -> logits (B, 3, h, w).

    L and ab are converted to RGB, and a frozen ResNet computes features at 1/4, 1/8 and 1/16 of the image's size. At
    each of the three levels, a small head scores the patches. The scores of the two coarser levels are repeated to the
    size of the finest (h = H / 4 and w = W / 4, rounded up), so that all levels have the same weight in the mean of the
    logits. A logit above 0 means "real".

    Only the heads are trained: `train` and `requires_grad_` do not affect the ResNet, and `state_dict` contains a hash
    of its weights in place of the weights. Loading a `state_dict` that belongs to another ResNet raises ValueError.

    Args:
        weights: weights of the ResNet: "imagenet" for torchvision's (downloaded once, then cached), the bundled
            "photos-encoder", or the path of a safetensors file with torchvision's names.
        arch: "resnet18" or "resnet34".
        channels: width of the heads.
    Raises:
        ValueError, DownloadError, WeightsError: as in `resnet.frozen_resnet`.
    Source: Sauer et al. 2021, "Projected GANs converge faster", without the random projections that mix channels and
        levels, and without differentiable augmentation.
    """

    def __init__(self, weights: str | os.PathLike = "imagenet", arch: str = "resnet18", channels: int = 64):
        super().__init__()
        # The tuple hides the ResNet from torch: its parameters and its mode are not the discriminator's.
        self._frozen = (frozen_resnet(arch, weights),)
        hashed = sha256()
        for value in self._frozen[0].parameters():
            hashed.update(value.numpy().tobytes())
        self._frozen_id = {"weights": os.path.basename(weights), "sha256": hashed.hexdigest()}
        # A checkpoint compares these before it is resumed.
        self.recipe = {"arch": arch, "channels": channels, "hash of the ResNet": hashed.hexdigest()[:12]}
        self.heads = nn.ModuleList(_head(width, channels) for width in (64, 128, 256))

    def forward(self, L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        x = normalized_rgb(L, ab)
        logits = []
        for level, head in zip(self._frozen[0], self.heads, strict=True):
            x = level(x)
            logits.append(head(x))  # (B, 1, H/4, W/4), then H/8, then H/16
        size = logits[0].shape[-2:]
        return torch.cat([F.interpolate(level, size, mode="nearest") for level in logits], dim=1)

    def _apply(self, fn, recurse: bool = True) -> "FeatureDiscriminator":
        self._frozen[0]._apply(fn, recurse)  # `to` must move the hidden ResNet, too
        return super()._apply(fn, recurse)

    def get_extra_state(self) -> dict[str, str]:
        """Return the entry of `state_dict` for the ResNet: the name of its file and a hash of its weights."""
        return self._frozen_id

    def set_extra_state(self, state: dict[str, str]) -> None:
        """Raise ValueError unless the heads were trained on the features of this ResNet."""
        if state["sha256"] != self._frozen_id["sha256"]:
            names = f"{state['weights']!r}, not of {self._frozen_id['weights']!r}"
            raise ValueError(f"These heads belong to the ResNet of {names}.")


def _head(features: int, channels: int) -> nn.Sequential:
    layers = []
    for c_in, c_out, kernel in ((features, channels, 1), (channels, channels, 3), (channels, 1, 1)):
        layers += [with_spectral_norm(nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])
