"""Multi-label classification of painted scenes: which kinds of objects are in a gray crop?

Chapter 05 pretrains an encoder on this task where ImageNet weights are not available. The labels come from the object
ids of the painted scenes; colors are not used.
"""

from collections.abc import Iterator

import numpy as np
import torch

from colorlib.batches import Batches
from colorlib.color import rgb_to_lab, split_lab
from colorlib.data import Loaders
from colorlib.scenes import KINDS, Scenes

LABELS = ("sky", "cloud", "sun", "hill", "grass", "tree", "spruce", "brick", "road", "balloon", "car")


def labels_of(objects: torch.Tensor) -> torch.Tensor:
    """Return which kinds are in each image: object ids (n, H, W) -> float 0 or 1, (n, 11), in the order of `LABELS`."""
    ids = [torch.tensor([i for i, kind in KINDS.items() if kind == label]) for label in LABELS]
    return torch.stack([torch.isin(objects, i).flatten(1).any(dim=1) for i in ids], dim=1).float()


class SceneCrops(Batches):
    """Shuffled batches (L, ab, labels) of random crop×crop windows, one position per batch, not rescaled.

    Crops of half the side take a quarter of the time, and objects keep the size that they have in the whole scene.
    """

    def __init__(self, scenes: Scenes, crop: int, batch_size: int, seed: int):
        super().__init__(scenes.rgb, crop, batch_size, shuffled=True, seed=seed, masks=scenes)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the batches of one epoch: L (B, 1, crop, crop), ab (B, 2, crop, crop), labels (B, 11)."""
        order = np.random.default_rng([self.seed, number]).permutation(len(self.rgb))
        for index in range(start, len(self)):
            chosen = torch.from_numpy(order[index * self.batch_size : (index + 1) * self.batch_size])
            rng = np.random.default_rng([self.seed, number, index])
            top, left = rng.integers(self.rgb.shape[-1] - self.size + 1, size=2)
            rgb = self.rgb[chosen, :, top : top + self.size, left : left + self.size]
            objects = self.masks.objects[chosen, top : top + self.size, left : left + self.size]
            yield *split_lab(rgb_to_lab(rgb)), labels_of(objects)


def scene_label_loaders(scenes: Scenes, held_out: Scenes, crop: int, batch_size: int = 32, seed: int = 0) -> Loaders:
    """Make loaders for `fit_classifier(..., loss="multilabel")` from painted scenes.

    Args:
        scenes: scenes for training.
        held_out: the first half is for validation, the second half for testing; only their central crops are used.
        crop: side of the crops, pixels; at most that of the scenes.
        batch_size: crops per batch.
        seed: seed of the order and the crop positions.
    Raises:
        ValueError: `crop` is larger than the scenes.
    """
    side = scenes.rgb.shape[-1]
    if crop > side:
        raise ValueError(f"crop is {crop} and the scenes are {side} pixels wide; choose a smaller crop.")
    middle = slice((side - crop) // 2, (side + crop) // 2)
    rgb, labels = held_out.rgb[..., middle, middle], labels_of(held_out.objects[:, middle, middle])
    half = len(held_out) // 2
    valid, test = (Batches(rgb[i], crop, batch_size, labels=labels[i]) for i in (slice(half), slice(half, None)))
    train = SceneCrops(scenes, crop, batch_size, seed)
    return Loaders(train, valid, test, source="scene labels", classes=LABELS)
