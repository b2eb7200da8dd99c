"""An encoder that has seen something before: it learned to say what is in a grey scene, not what colour it has.

Chapter 05 uses it where ImageNet's weights can't be had. The tags come from the object ids of the painted world.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import trange

from colorlib.color import rgb_to_lab, split_lab
from colorlib.resnet import GREY_MEAN, GREY_STD
from colorlib.scenes import KINDS, Scenes

# What a picture may or may not hold; the sky and the grass are in every one.
TAGS = ("sun", "cloud", "hill", "tree", "spruce", "brick", "road", "balloon", "car")


def scene_tags(scenes: Scenes) -> torch.Tensor:
    """Return which tags each scene holds: float 0 or 1, (n, 9), from its object ids."""
    ids = {tag: [i for i, kind in KINDS.items() if kind == tag] for tag in TAGS}
    present = [torch.isin(scenes.objects, torch.tensor(ids[tag])).flatten(1).any(dim=1) for tag in TAGS]
    return torch.stack(present, dim=1).float()


def fit_tagger(
    encoder: nn.Module, scenes: Scenes, epochs: int = 3, batch_size: int = 16, lr: float = 1e-3
) -> nn.Sequential:
    """Train an encoder, in place, and a small head on it to tag grey scenes.

    Args:
        encoder: grey (B, 1, H, W), normalised as `ResNetUNet` does it, -> features (B, C, h, w).
        scenes: painted pictures to learn from; their colours are not looked at.
    Returns:
        The tagger, L (B, 1, H, W) in [-1, 1] -> logits (B, 9), in eval mode. Its middle layer is the encoder.
    """
    L, _ = split_lab(rgb_to_lab(scenes.rgb))
    tags = scene_tags(scenes)
    with torch.no_grad():
        channels = encoder(L[:2]).shape[1]
    head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, len(TAGS)))
    tagger = nn.Sequential(NormalizeGrey(), encoder, head).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(tagger.parameters(), lr)
    steps = epochs * (len(L) // batch_size)
    schedule = OneCycleLR(optimizer, lr, total_steps=steps)
    for step in trange(steps, unit="batch", leave=False):
        start = step * batch_size % (len(L) // batch_size * batch_size)
        if start == 0:
            order = torch.randperm(len(L))
        chosen = order[start : start + batch_size]
        loss = F.binary_cross_entropy_with_logits(tagger(L[chosen]), tags[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return tagger.eval()


@torch.no_grad()
def tag_accuracy(tagger: nn.Module, scenes: Scenes) -> float:
    """Return the share of tags that are right on some scenes; saying what is most frequent is the rival to beat."""
    L, _ = split_lab(rgb_to_lab(scenes.rgb))
    return ((tagger(L) > 0) == (scene_tags(scenes) > 0.5)).float().mean().item()


class NormalizeGrey(nn.Module):
    """L in [-1, 1] -> what a pretrained encoder expects of a grey picture."""

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return ((L + 1) / 2 - GREY_MEAN) / GREY_STD
