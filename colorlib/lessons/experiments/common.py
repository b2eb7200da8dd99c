"""What the experiments of several chapters share: photos to look at, and predictions packed into 8 bits."""

import torch

from colorlib.batches import Batches
from colorlib.color import AB_SCALE, to_tensor
from colorlib.data import bundled_photo
from colorlib.images import fit_square
from colorlib.metrics import predict

LIBRARY_PHOTOS = ("china", "flower", "coffee", "chelsea", "astronaut", "rocket", "motorcycle_left")


def library_photos(size: int = 64, device: str = "cpu") -> Batches:
    """Return seven photos that scikit-image and scikit-learn ship, as one batch of size × size pixel squares.

    Networks trained on "scenes" or on a folder of photos have not seen them.
    """
    squares = torch.stack([to_tensor(fit_square(bundled_photo(name), size)) for name in LIBRARY_PHOTOS])
    return Batches(squares, size, len(squares), device=device)


def pack_ab(ab: torch.Tensor) -> torch.Tensor:
    """Round network-scaled ab to whole Lab units, int8: a quarter of the bytes, with no visible difference."""
    return (ab * AB_SCALE).round().clamp(-128, 127).to(torch.int8)


def unpack_ab(packed: torch.Tensor) -> torch.Tensor:
    """Undo `pack_ab`, except for the rounding."""
    return packed.float() / AB_SCALE


def predict_first(generator: torch.nn.Module, loader: Batches, n: int = 8) -> torch.Tensor:
    """Return the packed ab that a generator predicts for the first `n` images of a fixed loader."""
    return pack_ab(predict(generator, loader.first(n)[0]))
