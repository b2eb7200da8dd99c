"""The Huber loss at a scale that suits ab; `fit_reconstruction(loss="huber-5")` knows it once this module is imported.

The "huber" of `colorlib.losses` changes from L2 to L1 at an error of 1 in network units, 110 Lab units. Hardly any
error of ab is that large, so it is half of L2.
"""

import torch
import torch.nn.functional as F

from colorlib.color import AB_SCALE
from colorlib.losses import RECONSTRUCTION

DELTA = 5.0  # Lab units
HUBER = "huber-5"  # its name for `fit_reconstruction`


def huber_5(ab_pred: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """Return the Huber loss that is quadratic up to 5 Lab units, and rises like L1 beyond: both (B, 2, H, W)."""
    return F.smooth_l1_loss(ab_pred, ab, beta=DELTA / AB_SCALE)


RECONSTRUCTION.setdefault(HUBER, huber_5)
