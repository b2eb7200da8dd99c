"""The PatchGAN discriminator: it classifies each patch of an image as real or fake.

Source: Isola, Zhu, Zhou and Efros 2017.
"""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm


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
