"""The U-Net: an encoder that sees ever larger surroundings, a decoder that returns to full detail, and skips between.

Source: Ronneberger, Fischer and Brox 2015 for the shape; Isola et al. 2017 for its use from picture to picture.
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
    """Double the resolution and, with a skip, mix in the encoder's features of that size.

    Upsampling first and convolving afterwards leaves no checkerboard (Odena et al. 2016), which a transposed
    convolution can.
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
    """Add to what comes in a correction of two convolutions (He et al. 2016): (B, c, h, w) -> the same shape."""

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
    """Name what a picture shows: the bottleneck's features (B, c, h, w) -> logits (B, n_classes). For training only."""

    def __init__(self, n_features: int, n_classes: int):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_features, n_classes))


class UNet(nn.Module):
    """Predict ab from L: L (B, 1, H, W) -> ab (B, 2, H, W), both in [-1, 1], for any H and W.

    Args:
        base_channels: channels at full resolution; each level down doubles them, up to eight times as many.
        n_down: how often the encoder halves the resolution.
        skips: hand the encoder's features across to the decoder. Without them this is a plain autoencoder.
        dropout: share of the decoder's channels that training drops at random (Isola et al. 2017 use 0.5 as noise).
        n_blocks: residual blocks at the bottleneck, where a pixel costs least: depth to tell what a photo shows.
    """

    def __init__(
        self, base_channels: int = 16, n_down: int = 4, skips: bool = True, dropout: float = 0.0, n_blocks: int = 0
    ):
        super().__init__()
        self.recipe = {
            "base_channels": base_channels,
            "n_down": n_down,
            "skips": skips,
            "dropout": dropout,
            "n_blocks": n_blocks,
        }  # what `load_generator` needs to build this network again
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
        """Predict ab, and return with it the bottleneck's features, (B, `n_features`, h, w)."""
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
        """Channels at the bottleneck."""
        return self.encoder[-1][0].out_channels


def _pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Repeat the last row and column until H and W are multiples of `multiple`, as halving needs."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
