"""Batches from a store of uint8 images: shuffled, cropped, flipped and converted to `(L, ab)` on the device."""

import signal
import zlib
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader

from colorlib.color import rgb_to_lab, rgb_to_luma, split_lab, to_uint8
from colorlib.scenes import Scenes


class Batches:
    """An iterable of (L, ab) batches, network-scaled, from a store of uint8 images.

    Args:
        rgb: (N, 3, S, S) uint8, kept on `device`.
        size: side of the images in a batch, at most S.
        batch_size: images per batch. The last partial batch is dropped from a shuffled set and kept in a fixed one.
        shuffled: randomize the order, crops (from S×S down to size×size, resized to `size`) and horizontal flips.
        seed: together with the epoch number it determines every random draw, so that training can resume mid-epoch.
        repeats: how many times per epoch each image is drawn.
        masks: the scenes that the images come from, in the order of `rgb`; None for photos.
        vary_tone: augment L, see `vary_tone`. For shuffled sets.
        labels: class index of each image, (N,) int64, in the order of `rgb`; -100 for an image without a label. The
            batches of a shuffled set are then (L, ab, labels), with labels (B,).
        device: where the batches end up. Images are stored and converted there, too, unless there are workers.
        workers: processes that prepare the batches of a shuffled set on the CPU, ahead of time, so that a GPU does not
            wait for them. The batches are the same for any number.
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
        masks: Scenes | None = None,
        vary_tone: bool = False,
        labels: torch.Tensor | None = None,
        device: str = "cpu",
        workers: int = 0,
    ):
        self.device, self.workers = torch.device(device), workers
        storage = "cpu" if workers else device
        self.rgb = rgb.to(storage)
        self.labels = None if labels is None else labels.to(storage)
        self.size, self.batch_size, self.shuffled = size, batch_size, shuffled
        self.seed, self.repeats, self.masks, self.vary_tone = seed, repeats, masks, vary_tone
        self._visits = 0

    def __len__(self) -> int:
        n = len(self.rgb) * self.repeats
        return max(1, n // self.batch_size) if self.shuffled else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the batches of one epoch. For a shuffled set, each new iteration yields the next epoch."""
        self._visits += 1
        return self.epoch(self._visits - 1)

    def settings(self) -> dict[str, int | str | bool]:
        """Return everything that determines the batches, as plain values; images and labels enter as a checksum."""
        sums = torch.cat([some.flatten(1).sum(dim=1, dtype=torch.int64) for some in self.rgb.split(64)])
        crc = zlib.crc32(sums.cpu().numpy())
        if self.labels is not None:
            crc = zlib.crc32(self.labels.cpu().numpy(), crc)
        return {
            "n_train": len(self.rgb), "repeats": self.repeats, "size": self.size, "store_size": self.rgb.shape[-1],
            "batch_size": self.batch_size, "seed": self.seed, "vary_tone": self.vary_tone,
            "crops": type(self).__name__, "checksum of the images": crc,
        }  # fmt: skip

    def first(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first `n` images of a fixed set, or all if there are fewer, as L (n, 1, …) and ab (n, 2, …)."""
        return split_lab(rgb_to_lab(self.rgb[:n]))

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the batches of one epoch, from batch `start` on: L (B, 1, size, size), ab (B, 2, size, size)."""
        order = np.tile(np.arange(len(self.rgb)), self.repeats)
        if self.shuffled:
            order = np.random.default_rng([self.seed, number]).permutation(order)
        batches = _BatchesOfEpoch(self, number, order)
        if not self.workers:
            yield from (batches[index] for index in range(start, len(self)))
            return
        # Forked processes share the images. A generator of its own: DataLoader would draw from torch's global one.
        ahead = DataLoader(
            batches, batch_size=None, sampler=range(start, len(self)), num_workers=self.workers,
            multiprocessing_context="fork", worker_init_fn=_ignore_interrupt, generator=torch.Generator(),
        )  # fmt: skip
        for batch in ahead:
            yield tuple(part.to(self.device) for part in batch)

    def _batch(self, number: int, index: int, order: np.ndarray) -> tuple[torch.Tensor, ...]:
        chosen = torch.from_numpy(order[index * self.batch_size : (index + 1) * self.batch_size]).to(self.rgb.device)
        rgb = self.rgb[chosen]
        rng = np.random.default_rng([self.seed, number, index])
        if self.shuffled:
            rgb = _crop_and_flip(rgb, self.size, rng)
        L, ab = split_lab(rgb_to_lab(rgb))
        L = vary_tone(rgb, L, rng) if self.vary_tone else L
        return (L, ab, self.labels[chosen]) if self.shuffled and self.labels is not None else (L, ab)


class _BatchesOfEpoch:
    """The batches of one epoch by index, as DataLoader takes them."""

    def __init__(self, batches: Batches, number: int, order: np.ndarray):
        self.batches, self.number, self.order = batches, number, order

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        return self.batches._batch(self.number, index, self.order)


def _ignore_interrupt(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training loop, which ends after a whole batch


def _crop_and_flip(rgb: torch.Tensor, size: int, rng: np.random.Generator) -> torch.Tensor:
    """Cut a random square of random scale from each image, flip half of them: uint8 (B, 3, size, size)."""
    images = []
    for image in rgb:
        side = int(rng.integers(size, rgb.shape[-1] + 1))
        top, left = rng.integers(0, rgb.shape[-1] - side + 1, size=2)
        crop = image[:, top : top + side, left : left + side]
        if side != size:
            crop = F.interpolate(crop[None].float(), (size, size), mode="bilinear", antialias=True)[0]
            crop = crop.round().clamp(0, 255).to(torch.uint8)
        images.append(crop.flip(-1) if rng.random() < 0.5 else crop)
    return torch.stack(images)


def vary_tone(rgb: torch.Tensor, L: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Augment L to imitate different films, cameras and scans.

    In about half of the images, L is replaced by that of their stored gray version: luma, saved as a JPEG of quality 30
    to 95. In every image, the contrast around the mean is scaled by 0.7 to 1.1, and L is shifted by up to 8 lightness
    units.

    Args:
        rgb: (B, 3, H, W) uint8.
        L: (B, 1, H, W) in [-1, 1], of the same images.
        rng: source of the random numbers.
    Returns:
        (B, 1, H, W) in [-1, 1].
    """
    luma = to_uint8(rgb_to_luma(rgb)).cpu()  # (B, 1, H, W)
    stored = torch.from_numpy(rng.random(len(rgb)) < 0.5)
    contrast, shift = torch.from_numpy(rng.uniform((0.7, -0.16), (1.1, 0.16), (len(rgb), 2))).float().unbind(1)
    for i, quality in zip(stored.nonzero().flatten().tolist(), rng.integers(30, 96, size=len(rgb)).tolist()):
        luma[i, 0] = _through_jpeg(luma[i, 0], quality)
    stored_L, _ = split_lab(rgb_to_lab(luma.to(L.device).expand(-1, 3, -1, -1)))
    stored, contrast, shift = (value.to(L.device).reshape(-1, 1, 1, 1) for value in (stored, contrast, shift))
    L = torch.where(stored, stored_L, L)
    mean = L.mean((1, 2, 3), keepdim=True)
    return ((L - mean) * contrast + mean + shift).clamp(-1, 1)


def _through_jpeg(gray: torch.Tensor, quality: int) -> torch.Tensor:
    """Save a gray image, (H, W) uint8, as a JPEG and read it back."""
    with BytesIO() as file:
        Image.fromarray(gray.numpy()).save(file, "JPEG", quality=quality)
        return torch.from_numpy(np.array(Image.open(file)))
