"""The PatchGAN discriminator: a judge that looks at one patch at a time and says "real" or "fake" for each.

Source: Isola, Zhu, Zhou and Efros 2017.
"""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm


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
