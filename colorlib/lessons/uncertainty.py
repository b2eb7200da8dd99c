"""Chapter 06: does a model know where it doesn't know? Spread over several predictions, and how well it ranks pixels.

Source: Lakshminarayanan, Pritzel and Blundell 2017 for ensembles; Gal and Ghahramani 2016 for dropout at test time.
"""

import torch
from scipy.stats import rankdata
from torch import nn

from colorlib.color import AB_SCALE
from colorlib.data import Loaders
from colorlib.losses import RECONSTRUCTION
from colorlib.training import reconstruction_step
from colorlib.unet import UNet


def spread(predictions: torch.Tensor) -> torch.Tensor:
    """Return how far several predictions lie apart.

    Args:
        predictions: ab of the same images from K networks or draws, (K, N, 2, H, W), network-scaled.
    Returns:
        (N, H, W), Lab units: the standard deviation over the K, its square averaged over a and b.
    """
    return predictions.var(dim=0, unbiased=False).mean(dim=1).sqrt() * AB_SCALE


def auc(score: torch.Tensor, mask: torch.Tensor) -> float:
    """Return the probability that a random pixel of the mask has a higher score than a random pixel outside.

    Args:
        score: any shape; ties count half.
        mask: bool, of the same shape.
    Returns:
        The area under the ROC curve: 1 if the score tells both kinds apart, 0.5 if it knows nothing, nan if all pixels
        are of one kind.
    """
    inside = mask.flatten().numpy()
    n = int(inside.sum())
    if not 0 < n < len(inside):
        return float("nan")
    ranks = rankdata(score.flatten().numpy())
    return float((ranks[inside].sum() / n - (n + 1) / 2) / (len(inside) - n))


def fit_errors(generator: nn.Module, loaders: Loaders, epochs: int, lr: float = 5e-3) -> UNet:
    """Train a second network to predict how far a generator is from the truth.

    Args:
        generator: L -> ab, in eval mode; it is not changed.
        loaders: for its `train`.
        epochs: passes over it.
        lr: of Adam.
    Returns:
        L -> the expected |error| in a and b, (B, 2, H, W), network-scaled: minimizing the squared distance to the
        errors finds their mean.
    """
    judge = UNet().to(loaders.train.device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(judge.parameters(), lr)
    for number in range(epochs):
        for L, ab, *_ in loaders.train.epoch(number):
            with torch.no_grad():
                error = (generator(L) - ab).abs()
            reconstruction_step(judge, optimizer, L, error, RECONSTRUCTION["l2"])
    return judge.eval()
