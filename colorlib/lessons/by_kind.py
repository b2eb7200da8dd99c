"""Scores of painted scenes by kind of object: sky, sun, car, …"""

import torch

from colorlib.metrics import ab_mae, chroma_ratio
from colorlib.scenes import KINDS, Scenes


def scores_by_kind(ab_pred: torch.Tensor, ab_true: torch.Tensor, masks: Scenes) -> dict[str, dict[str, float]]:
    """Return the share of the pixels, the ab MAE in Lab units and the chroma ratio of each kind of object.

    Args:
        ab_pred, ab_true: (B, 2, H, W), network-scaled, on the CPU.
        masks: the scenes they belong to. Pixels of `masks.edges` are left out.
    Returns:
        kind -> {"share", "ab_mae", "chroma_ratio"}, the most frequent kind first; nan ratio for a gray kind.
    """
    scores = {}
    for kind in dict.fromkeys(KINDS.values()):
        ids = torch.tensor([i for i, name in KINDS.items() if name == kind])
        where = (torch.isin(masks.objects.cpu(), ids)) & ~masks.edges.cpu()
        if where.any():
            scores[kind] = {
                "share": where.float().mean().item(),
                "ab_mae": ab_mae(ab_pred, ab_true, where),
                "chroma_ratio": chroma_ratio(ab_pred, ab_true, where),
            }
    return dict(sorted(scores.items(), key=lambda item: -item[1]["share"]))
