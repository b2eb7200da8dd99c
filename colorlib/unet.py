"""The U-Net: an encoder with a growing receptive field, a decoder that restores the resolution, and skip connections.

Source: Ronneberger, Fischer and Brox 2015 for the architecture; Isola et al. 2017 for image-to-image translation.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Down(nn.Sequential):
    """Halve the resolution: (B, c_in, H, W) -> (B, c_out, H/2, W/2)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.LeakyReLU(0.2, inplace=True),
        )


class Up(nn.Module):
    """Double the resolution and, with a skip, concatenate the encoder's features of that size.

    Upsampling followed by a convolution leaves no checkerboard artifacts, unlike a transposed convolution (Odena et
    al. 2016).
    """

    def __init__(self, c_in: int, c_skip: int, c_out: int, dropout: float):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(c_in + c_skip, c_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")  # (B, c_in, 2h, 2w)
        return self.block(x if skip is None else torch.cat([x, skip], dim=1))


class Residual(nn.Module):
    """A residual block of two convolutions (He et al. 2016): (B, c, h, w) -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.block(x))


class LabelHead(nn.Sequential):
    """Classify an image by its bottleneck features: (B, c, h, w) -> logits (B, n_classes). Used in training only."""

    def __init__(self, n_features: int, n_classes: int):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_features, n_classes))


class UNet(nn.Module):
    """Predict ab from L: L (B, 1, H, W) -> ab (B, 2, H, W), both in [-1, 1], for any H and W.

    Args:
        base_channels: channels at full resolution. Each level doubles the number of channels, up to 8 × base_channels.
        n_down: number of times the encoder halves the resolution.
        skips: pass the encoder's features to the decoder. Without them this is a plain autoencoder.
        dropout: probability that a decoder channel is dropped in training (Isola et al. 2017 use 0.5 as noise).
        n_blocks: residual blocks at the bottleneck, where added depth costs least.
    """

    def __init__(
        self, base_channels: int = 16, n_down: int = 4, skips: bool = True, dropout: float = 0.0, n_blocks: int = 0
    ):
        super().__init__()
        self.recipe = {  # for `load_generator`, to build this network again
            "base_channels": base_channels, "n_down": n_down, "skips": skips, "dropout": dropout, "n_blocks": n_blocks,
        }  # fmt: skip
        width = [base_channels * min(2**level, 8) for level in range(n_down + 1)]
        self.stem = nn.Sequential(
            nn.Conv2d(1, width[0], kernel_size=3, padding=1), nn.LeakyReLU(0.2, inplace=True)
        )  # (B, base, H, W)
        self.encoder = nn.ModuleList(Down(c_in, c_out) for c_in, c_out in zip(width, width[1:], strict=False))
        self.bottleneck = nn.Sequential(*(Residual(width[-1]) for _ in range(n_blocks)))
        self.decoder = nn.ModuleList(
            Up(width[level + 1], width[level] if skips else 0, width[level], dropout)
            for level in reversed(range(n_down))
        )
        self.head = nn.Conv2d(width[0], 2, kernel_size=3, padding=1)

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return self.with_features(L)[0]

    def with_features(self, L: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the predicted ab and the bottleneck features, (B, `n_features`, h, w)."""
        height, width = L.shape[-2:]
        x = self.stem(_pad_to_multiple(L, 2 ** len(self.encoder)))
        skips = []
        for down in self.encoder:
            skips.append(x)
            x = down(x)
        features = x = self.bottleneck(x)  # (B, 8·base, H/2ⁿ, W/2ⁿ)
        for up in self.decoder:
            skip = skips.pop()
            x = up(x, skip if self.recipe["skips"] else None)
        return torch.tanh(self.head(x))[..., :height, :width], features

    @property
    def n_features(self) -> int:
        """Number of channels at the bottleneck."""
        return self.encoder[-1][0].out_channels


def _pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Repeat the last row and column until H and W are multiples of `multiple`."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
