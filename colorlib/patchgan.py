"""Discriminators that score an image patch by patch: the PatchGAN, and small heads on frozen pretrained features.

Source: Isola, Zhu, Zhou and Efros 2017; Sauer, Chitta, Müller and Geiger 2021.
"""

import os
from hashlib import sha256

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from colorlib.color import join_lab, lab_to_rgb
from colorlib.resnet import frozen_resnet

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PatchDiscriminator(nn.Module):
    """Score patches of a colored picture: L (B, 1, H, W) and ab (B, 2, H, W) -> logits (B, 1, h, w).

    A logit above 0 says "real". Each one sees a patch of `patch_size` × `patch_size` pixels, and no more.

    Args:
        base_channels: channels after the first convolution; each further one doubles them, up to eight times as many.
        n_down: convolutions of stride 2. 3 gives the paper's patch of 70 px, 2 one of 34 px, 1 one of 16 px.
        conditional: look at L as well as ab. Without it, it can only judge whether colors look likely at all.
        spectral_norm: limit how fast each layer's answer can change (Miyato et al. 2018), in place of BatchNorm.
    """

    def __init__(self, base_channels: int = 32, n_down: int = 2, conditional: bool = True, spectral_norm: bool = False):
        super().__init__()
        self.conditional = conditional
        wrap = with_spectral_norm if spectral_norm else (lambda layer: layer)
        layers, channels = [], 3 if conditional else 2
        strides = [2] * n_down + [1]
        for i, stride in enumerate(strides):
            width = base_channels * min(2**i, 8)
            normed = i > 0 and not spectral_norm  # the paper leaves the first layer without
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
        """Side of the patch that one logit depends on, in pixels: the receptive field, counted from the last layer."""
        size = 1
        for layer in reversed(self.layers):
            if isinstance(layer, nn.Conv2d):
                size = (size - 1) * layer.stride[0] + layer.kernel_size[0]
        return size


class FeatureDiscriminator(nn.Module):
    """Score patches of a colored image by the features of a pretrained ResNet: L, ab -> logits (B, 3, h, w).

    L (B, 1, H, W) and ab (B, 2, H, W) become the RGB image, and that goes through a frozen ResNet. A head on the
    features of each level (1/4, 1/8 and 1/16 of the side) scores its patches; the coarse scores are repeated to the
    size of the finest, so that a mean over all logits weighs the levels alike. A logit above 0 says "real".

    The heads are all that learns. `state_dict` leaves the ResNet out, names its file and tells whether the weights are
    the same when it is loaded; `train` and `requires_grad_` don't touch it.

    Args:
        weights: of the ResNet: "imagenet" (downloaded once), or a safetensors file with torchvision's names.
        arch: "resnet18" or "resnet34".
        channels: width of the heads.
    Raises:
        ValueError, DownloadError, WeightsError: as `colorlib.resnet.frozen_resnet`.
    Source: Sauer et al. 2021, "Projected GANs converge faster". Left out: the random projections that mix channels and
        levels, and differentiable augmentation.
    """

    def __init__(self, weights: str | os.PathLike = "imagenet", arch: str = "resnet18", channels: int = 64):
        super().__init__()
        # In a tuple, torch does not see it: neither its parameters nor its modes are the discriminator's.
        self._frozen = (frozen_resnet(arch, weights),)
        self.weights = os.path.basename(weights)
        self.heads = nn.ModuleList(_head(width, channels) for width in (64, 128, 256))

    def forward(self, L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        x = _normalized_rgb(L, ab)
        logits = []
        for level, head in zip(self._frozen[0], self.heads):
            x = level(x)
            logits.append(head(x))  # (B, 1, H/4, W/4), then H/8, then H/16
        size = logits[0].shape[-2:]
        return torch.cat([F.interpolate(level, size, mode="nearest") for level in logits], dim=1)

    def _apply(self, fn, recurse: bool = True) -> "FeatureDiscriminator":
        self._frozen[0]._apply(fn, recurse)  # `to` moves the ResNet along
        return super()._apply(fn, recurse)

    def get_extra_state(self) -> dict[str, str]:
        """Return what a checkpoint tells of the frozen ResNet: the name of its file, and a hash of its weights."""
        values = sha256()
        for value in self._frozen[0].parameters():
            values.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return {"weights": self.weights, "sha256": values.hexdigest()}

    def set_extra_state(self, state: dict[str, str]) -> None:
        """Raise ValueError unless the heads were trained on the features of this very ResNet."""
        if state["sha256"] != self.get_extra_state()["sha256"]:
            raise ValueError(f"The heads belong to the ResNet of {state['weights']!r}, not of {self.weights!r}.")


def _head(features: int, channels: int) -> nn.Sequential:
    layers = []
    for c_in, c_out, kernel in ((features, channels, 1), (channels, channels, 3), (channels, 1, 1)):
        layers += [with_spectral_norm(nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def _normalized_rgb(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """Return RGB (B, 3, H, W) as a ResNet expects it, with gradients to ab also where sRGB can't show the color."""
    with torch.autocast(L.device.type, enabled=False):  # bfloat16 is too coarse for colors
        rgb = lab_to_rgb(join_lab(L.float(), ab.float()), clip=False)
        mean, std = (rgb.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return (rgb - mean) / std
