"""An encoder that has seen something before: it learned to say what is in a gray scene, not what color it has.

Chapter 05 uses it where ImageNet's weights can't be had. The tags come from the object ids of the painted world.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import trange

from colorlib.color import rgb_to_lab, split_lab
from colorlib.resnet import NormalizeGray
from colorlib.scenes import KINDS, Scenes

TAGS = ("sky", "cloud", "sun", "hill", "grass", "tree", "spruce", "brick", "road", "balloon", "car")


def tags_of(objects: torch.Tensor) -> torch.Tensor:
    """Return which tags each picture holds: object ids (n, H, W) -> float 0 or 1, (n, 11)."""
    ids = [torch.tensor([i for i, kind in KINDS.items() if kind == tag]) for tag in TAGS]
    return torch.stack([torch.isin(objects, i).flatten(1).any(dim=1) for i in ids], dim=1).float()


def fit_tagger(
    encoder: nn.Module, scenes: Scenes, crop: int, epochs: int = 3, batch_size: int = 32, lr: float = 2e-3
) -> nn.Sequential:
    """Train an encoder, in place, and a small head on it to tag crops of gray scenes.

    Crops are cheap: half the side costs a quarter of the time, and what is in them has the size it has in the picture.

    Args:
        encoder: gray (B, 1, H, W), normalized as `ResNetUNet` does it, -> features (B, C, h, w).
        scenes: painted pictures to learn from; their colors are not looked at.
        crop: side of the squares cut from the scenes, pixels; at most the scenes' own.
        epochs: times through the scenes.
        batch_size: crops a step.
        lr: the highest learning rate of the cycle.
    Returns:
        The tagger, L (B, 1, H, W) in [-1, 1] -> logits (B, 11), in eval mode. Its middle layer is the encoder.
    Raises:
        ValueError: `crop` is larger than the scenes, or there are fewer scenes than `batch_size`.
    """
    if crop > scenes.rgb.shape[-1]:
        raise ValueError(
            f"crop is {crop} and the scenes are {scenes.rgb.shape[-1]} pixels wide; choose a smaller crop."
        )
    if len(scenes) < batch_size:
        raise ValueError(f"{len(scenes)} scenes are too few for one batch of {batch_size}; paint more.")
    L, _ = split_lab(rgb_to_lab(scenes.rgb))
    with torch.no_grad():
        channels = encoder(L[:2]).shape[1]
    head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, len(TAGS)))
    tagger = nn.Sequential(NormalizeGray(), encoder, head).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(tagger.parameters(), lr, fused=True)
    steps = len(L) // batch_size
    schedule = OneCycleLR(optimizer, lr, total_steps=epochs * steps)
    for step in trange(epochs * steps, unit="batch", leave=False):
        if step % steps == 0:
            order = torch.randperm(len(L)).split(batch_size)
        chosen = order[step % steps]
        top, left = torch.randint(L.shape[-1] - crop + 1, (2,)).tolist()
        window = (chosen, slice(None), slice(top, top + crop), slice(left, left + crop))
        tags = tags_of(scenes.objects[:, None][window][:, 0])
        loss = F.binary_cross_entropy_with_logits(tagger(L[window]), tags)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return tagger.eval()


@torch.no_grad()
def tag_accuracy(tagger: nn.Module, scenes: Scenes, crop: int) -> float:
    """Return the share of tags that are right on the middles, crop × crop, of some scenes."""
    L, _ = split_lab(rgb_to_lab(scenes.rgb))
    start = (L.shape[-1] - crop) // 2
    middle = (..., slice(start, start + crop), slice(start, start + crop))
    return ((tagger(L[middle]) > 0) == (tags_of(scenes.objects[middle]) > 0.5)).float().mean().item()
