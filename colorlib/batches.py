"""Batches from a store of uint8 pictures: drawn, cropped, flipped and converted to `(L, ab)` on the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from colorlib.color import rgb_to_lab, split_lab

LUMA = (0.299, 0.587, 0.114)  # what a stored gray photo keeps of red, green and blue (ITU-R BT.601)
NO_LABEL = -100  # what torch's cross entropy leaves out


@dataclass(frozen=True)
class Masks:
    """Where the colors of a set of scenes are determined, ambiguous, or near an edge; (N, H, W), in loader order."""

    determined: torch.Tensor  # bool
    ambiguous: torch.Tensor  # bool
    edges: torch.Tensor  # bool
    objects: torch.Tensor  # integer ids, 0 = background


class Batches:
    """An iterable of (L, ab) batches, network-scaled, from a store of uint8 pictures.

    Args:
        rgb: (N, 3, S, S) uint8; it is kept on `device`.
        size: side of the pictures given out, at most S.
        batch_size: pictures a batch. A shuffled set leaves an incomplete last batch out, a fixed one gives it.
        shuffled: draw order, crops (from S×S down to size×size, resized to size) and flips at random.
        seed: with the epoch's number it decides every random draw, so that a training can resume mid-epoch.
        repeats: how often an epoch draws each picture.
        masks: for scenes, in the order of `rgb`.
        vary_tone: give L as other cameras, films and scans would: see `vary_tone`. For shuffled sets.
        labels: class of each picture, (N,) int64, `NO_LABEL` where it has none, in the order of `rgb`. A batch of a
            shuffled set then is (L, ab, labels (B,)).
    """

    def __init__(
        self,
        rgb: torch.Tensor,
        size: int,
        batch_size: int,
        *,
        shuffled: bool = False,
        seed: int = 0,
        repeats: int = 1,
        masks: Masks | None = None,
        vary_tone: bool = False,
        labels: torch.Tensor | None = None,
        device: str = "cpu",
    ):
        self.rgb = rgb.to(device)
        self.labels = None if labels is None else labels.to(device)
        self.size, self.batch_size, self.shuffled = size, batch_size, shuffled
        self.seed, self.repeats, self.masks, self.vary_tone = seed, repeats, masks, vary_tone
        self._visits = 0

    def __len__(self) -> int:
        n = len(self.rgb) * self.repeats
        return max(1, n // self.batch_size) if self.shuffled else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """Give one epoch; each new visit to a shuffled set is the next epoch."""
        self._visits += 1
        return self.epoch(self._visits - 1)

    def first(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first `n` pictures of a fixed set, or all if there are fewer, as L (n, 1, …) and ab (n, 2, …)."""
        return split_lab(rgb_to_lab(self.rgb[:n]))

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        """Give the batches of one epoch, from batch `start` on: L (B, 1, size, size), ab (B, 2, size, size)."""
        order = np.tile(np.arange(len(self.rgb)), self.repeats)
        if self.shuffled:
            order = np.random.default_rng([self.seed, number]).permutation(order)
        for index in range(start, len(self)):
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            chosen = torch.from_numpy(chosen).to(self.rgb.device)
            rgb = self.rgb[chosen]
            rng = np.random.default_rng([self.seed, number, index])
            if self.shuffled:
                rgb = _crop_and_flip(rgb, self.size, rng)
            L, ab = split_lab(rgb_to_lab(rgb))
            L = vary_tone(rgb, L, rng) if self.vary_tone else L
            yield (L, ab, self.labels[chosen]) if self.shuffled and self.labels is not None else (L, ab)


def _crop_and_flip(rgb: torch.Tensor, size: int, rng: np.random.Generator) -> torch.Tensor:
    """Cut a random square of random scale from each picture, flip half of them: uint8 (B, 3, size, size)."""
    pictures = []
    for picture in rgb:
        side = int(rng.integers(size, rgb.shape[-1] + 1))
        top, left = rng.integers(0, rgb.shape[-1] - side + 1, size=2)
        crop = picture[:, top : top + side, left : left + side]
        if side != size:
            crop = F.interpolate(crop[None].float(), (size, size), mode="bilinear", antialias=True)[0]
            crop = crop.round().clamp(0, 255).to(torch.uint8)
        pictures.append(crop.flip(-1) if rng.random() < 0.5 else crop)
    return torch.stack(pictures)


def vary_tone(rgb: torch.Tensor, L: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return the L that other films, cameras and scans would have given of these pictures.

    Half of them get the L of their stored gray picture (luma, ITU-R BT.601, through a JPEG of a quality from 30 to 95)
    in place of their own, and each a contrast of 0.7 to 1.1 times its own around its mean, and up to 8 lightness units
    more or less.

    Args:
        rgb: (B, 3, H, W) uint8. L: of the same pictures, (B, 1, H, W) in [-1, 1]; so is the result.
    """
    weights = torch.tensor(LUMA, device=rgb.device).reshape(3, 1, 1)
    luma = (rgb * weights).sum(1, keepdim=True).round().to(torch.uint8)
    stored = torch.from_numpy(rng.random(len(rgb)) < 0.5)
    contrast, shift = torch.from_numpy(rng.uniform((0.7, -0.16), (1.1, 0.16), (len(rgb), 2))).float().unbind(1)
    for i, quality in zip(stored.nonzero().flatten().tolist(), rng.integers(30, 96, size=len(rgb)).tolist()):
        luma[i, 0] = _through_jpeg(luma[i, 0], quality)
    stored_L, _ = split_lab(rgb_to_lab(luma.expand(-1, 3, -1, -1)))
    stored, contrast, shift = (value.to(L.device).reshape(-1, 1, 1, 1) for value in (stored, contrast, shift))
    L = torch.where(stored, stored_L, L)
    mean = L.mean((1, 2, 3), keepdim=True)
    return ((L - mean) * contrast + mean + shift).clamp(-1, 1)


def _through_jpeg(gray: torch.Tensor, quality: int) -> torch.Tensor:
    """Store a gray image (H, W) uint8 as a JPEG and read it back."""
    with BytesIO() as file:
        Image.fromarray(gray.cpu().numpy()).save(file, "JPEG", quality=quality)
        return torch.from_numpy(np.array(Image.open(file)))
