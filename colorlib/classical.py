"""Coloring without a network: by lightness, by palette, by a reference picture, by strokes of color.

A picture is `lab`, a tensor (3, H, W) in Lab units; only its L is used, unless a docstring says otherwise. Every
function returns a new picture with the same L and other colors. Chapter 02 explains and measures them.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from skimage.segmentation import slic

from colorlib.strokes import Stroke, draw_strokes

TEXTURE_WINDOW = 5  # pixels: the neighborhood whose standard deviation of L describes the texture (Welsh et al.)
SAMPLES, SWATCH_SAMPLES = 200, 50  # of a whole reference, of one swatch (Welsh et al.)
MAX_PIXELS = 2**20  # a larger system of equations would need gigabytes

Box = tuple[float, float, float, float]  # left, top, right, bottom: shares of width and height, in [0, 1]


# --- by hand ----------------------------------------------------------------------------------------------------------


def tint(lab: torch.Tensor, stops: Sequence[Sequence[float]] | torch.Tensor) -> torch.Tensor:
    """Color every pixel by its lightness alone.

    Args:
        lab: (3, H, W) in Lab units.
        stops: rows (L, a, b) in Lab units, L increasing. Between two rows a and b are interpolated; outside they keep
            the values of the first and the last row.
    Raises:
        ValueError: `lab` or `stops` has another shape, or the L of the stops does not increase.
    """
    _check_lab(lab)
    stops = np.asarray(stops, dtype=float)
    if stops.ndim != 2 or stops.shape[1] != 3 or len(stops) == 0 or (np.diff(stops[:, 0]) <= 0).any():
        raise ValueError("stops are rows (L, a, b), at least one, with increasing L.")
    planes = [np.interp(lab[0].numpy(), stops[:, 0], stops[:, i]) for i in (1, 2)]
    return _with_ab(lab, torch.from_numpy(np.stack(planes)))


def stops_from(reference: torch.Tensor, n: int = 20) -> torch.Tensor:
    """Return stops for `tint`: the mean a and b of a color picture in each of `n` equal ranges of L.

    Args:
        reference: (3, H, W) in Lab units, in color.
        n: number of ranges, at least 1; those without a pixel are left out.
    Returns:
        (up to n, 3): mean L, a, b of the pixels in the range.
    """
    pixels = _check_lab(reference).flatten(1)
    which = (pixels[0] / 100 * n).long().clamp(0, n - 1)
    count = torch.bincount(which, minlength=n)
    sums = torch.stack([torch.bincount(which, plane.double(), minlength=n) for plane in pixels])  # (3, n)
    return (sums / count)[:, count > 0].T


def segments(lab: torch.Tensor, n: int) -> torch.Tensor:
    """Divide a picture into about `n` connected segments of similar lightness.

    Returns:
        (H, W) int64 ids, from 0.
    Source: Achanta et al. 2012 (SLIC), computed by scikit-image.
    """
    L = _check_lab(lab)[0].numpy() / 100
    return torch.from_numpy(slic(L, n_segments=n, compactness=0.03, channel_axis=None, start_label=0))


def fill_segments(lab: torch.Tensor, ids: torch.Tensor, palette: Mapping[int, Sequence[float]]) -> torch.Tensor:
    """Fill segments with colors.

    Args:
        lab: (3, H, W) in Lab units.
        ids: (H, W) integers, the segment of each pixel.
        palette: id -> (a, b) in Lab units; segments that are not in it become gray.
    Raises:
        ValueError: the sizes differ.
    """
    _check_lab(lab)
    if ids.shape != lab.shape[1:]:
        raise ValueError(f"ids must be {tuple(lab.shape[1:])}, one per pixel, got {tuple(ids.shape)}.")
    ab = torch.zeros_like(lab[1:])
    for number, color in palette.items():
        ab[:, ids == number] = lab.new_tensor(tuple(color))[:, None]
    return _with_ab(lab, ab)


def mean_palette(lab: torch.Tensor, ids: torch.Tensor) -> dict[int, tuple[float, float]]:
    """Return the mean (a, b) of a color picture in each segment: the best palette for these segments (least squares).

    Args:
        lab: (3, H, W) in Lab units, in color.
        ids: (H, W) integers.
    """
    return {int(number): tuple(lab[1:, ids == number].mean(dim=1).tolist()) for number in ids.unique()}


# --- by reference -----------------------------------------------------------------------------------------------------


def reinhard(lab: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Give a and b the mean and the standard deviation that they have in a reference.

    The colors of `lab` are used, too. A gray picture has no spread to stretch, so all of it gets the mean color.

    Args:
        lab, reference: (3, H, W) and (3, h, w) in Lab units, in color.
    Source: Reinhard et al. 2001, Color transfer between images. They use another color space, lαβ, and change L, too.
    """
    ab, other = _check_lab(lab)[1:].flatten(1), _check_lab(reference)[1:].flatten(1)
    spread, mean = torch.std_mean(ab, dim=1, keepdim=True, correction=0)
    other_spread, other_mean = torch.std_mean(other, dim=1, keepdim=True, correction=0)
    gain = torch.where(spread > 0.05, other_spread / spread.clamp(min=0.05), 0.0)  # the ab of gray is rounding error
    return _with_ab(lab, ((ab - mean) * gain + other_mean).view_as(lab[1:]))


def match_histogram(values: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Change values monotonically, so that they are distributed like those of a reference.

    A value that is larger than 30% of all `values` becomes the value that is larger than 30% of the reference.

    Args:
        values, reference: any shape, floating point; one plane of a picture each.
    Returns:
        Like `values`; equal values stay equal.
    Source: Gonzalez and Woods, Digital Image Processing, section 3.3; checked against skimage.exposure.
    """
    _, where, count = np.unique(values.numpy(), return_inverse=True, return_counts=True)
    levels, other_count = np.unique(reference.numpy(), return_counts=True)
    share, other_share = count.cumsum() / values.numel(), other_count.cumsum() / reference.numel()
    return torch.from_numpy(np.interp(share, other_share, levels)[where].reshape(values.shape)).to(values)


def welsh(
    lab: torch.Tensor,
    reference: torch.Tensor,
    samples: int | None = SAMPLES,
    swatches: Sequence[tuple[Box, Box]] = (),
    seed: int = 0,
) -> torch.Tensor:
    """Give every pixel the color of the pixel in a reference that is most alike in lightness and texture.

    Lightness is L, after the reference's L got the mean and spread of the picture's. Texture is the standard deviation
    of L in 5×5 pixels. With swatches, the boxes of the picture are colored from their boxes in the reference, and every
    other pixel gets the color of the pixel in these boxes whose 5×5 neighborhood is most alike.

    Args:
        lab: (3, H, W) in Lab units.
        reference: (3, h, w) in Lab units, in color.
        samples: compare with so many pixels of the reference (50 in a swatch), one drawn from each cell of a grid;
            None compares with all of them.
        swatches: pairs of boxes in the picture and in the reference: (left, top, right, bottom) as shares.
        seed: determines the samples.
    Raises:
        ValueError: a shape is wrong, fewer than 1 sample, or a box without a pixel.
    Source: Welsh, Ashikhmin and Mueller 2002, https://doi.org/10.1145/566654.566576.
    """
    rng = np.random.default_rng(seed)
    if samples is not None and samples < 1:
        raise ValueError(f"samples must be at least 1, or None for all pixels, got {samples}.")
    if not swatches:
        return _with_ab(lab, _nearest_colors(_check_lab(lab), _check_lab(reference), samples, rng))
    colored, known = _with_ab(lab, torch.zeros_like(lab[1:])), torch.zeros(lab.shape[1:], dtype=torch.bool)
    for box, other_box in swatches:
        rows, columns = _slices(box, lab)
        source = reference[:, *_slices(other_box, reference)]
        n = None if samples is None else SWATCH_SAMPLES
        colored[1:, rows, columns] = _nearest_colors(lab[:, rows, columns], source, n, rng)
        known[rows, columns] = True
    patches = F.unfold(F.pad(lab[None, :1], [TEXTURE_WINDOW // 2] * 4, mode="reflect"), TEXTURE_WINDOW)[0].T  # (n, 25)
    known = known.flatten()
    colors = colored[1:].flatten(1)  # (2, n)
    best = torch.cat([torch.cdist(some, patches[known]).argmin(dim=1) for some in patches[~known].split(4096)])
    colors[:, ~known] = colors[:, known][:, best]
    return colored


def _nearest_colors(
    lab: torch.Tensor, reference: torch.Tensor, samples: int | None, rng: np.random.Generator
) -> torch.Tensor:
    """Return a and b (2, H, W) of the most similar pixels of the reference."""
    spread, mean = torch.std_mean(lab[0], correction=0)
    other_spread, other_mean = torch.std_mean(reference[0], correction=0)
    remapped = (reference[0] - other_mean) * (spread / other_spread.clamp(min=1e-6)) + mean
    described, candidates = (_lightness_and_texture(L) for L in (lab[0], remapped))  # (n, 2) each
    chosen = _jittered(*remapped.shape, samples, rng) if samples else slice(None)
    _, best = cKDTree(candidates[chosen]).query(described)
    return reference[1:].flatten(1)[:, chosen][:, best].view(2, *lab.shape[1:])


def _lightness_and_texture(L: torch.Tensor) -> np.ndarray:
    """Return L and its standard deviation in 5×5 pixels, for L (H, W): (H·W, 2) float64."""
    half = TEXTURE_WINDOW // 2
    padded = F.pad(L[None, None].double(), [half] * 4, mode="replicate")
    mean, mean_square = (F.avg_pool2d(x, TEXTURE_WINDOW, stride=1)[0, 0] for x in (padded, padded**2))
    return torch.stack([L.double(), (mean_square - mean**2).clamp(min=0).sqrt()], dim=-1).flatten(0, 1).numpy()


def _jittered(height: int, width: int, samples: int, rng: np.random.Generator) -> torch.Tensor:
    """Draw one pixel from each cell of a grid of about `samples` cells; return their flat indices."""
    rows = max(1, round((samples * height / width) ** 0.5))
    columns = max(1, round(samples / rows))
    y = ((np.arange(rows)[:, None] + rng.random((rows, columns))) * height / rows).astype(int)
    x = ((np.arange(columns) + rng.random((rows, columns))) * width / columns).astype(int)
    return torch.from_numpy((y * width + x).ravel()).unique()


def _slices(box: Box, lab: torch.Tensor) -> tuple[slice, slice]:
    """Return the rows and columns of a box."""
    left, top, right, bottom = box
    height, width = lab.shape[1:]
    rows = slice(max(0, round(top * height)), min(height, round(bottom * height)))
    columns = slice(max(0, round(left * width)), min(width, round(right * width)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise ValueError(f"the box {tuple(box)} has no pixel; it is (left, top, right, bottom), in shares from 0 to 1.")
    return rows, columns


# --- by strokes -------------------------------------------------------------------------------------------------------


def levin(lab: torch.Tensor, strokes: Iterable[Stroke]) -> torch.Tensor:
    """Let the colors of strokes flow over a picture, and stop where the lightness changes.

    Args:
        lab: (3, H, W) in Lab units; strokes that keep the picture's colors take its a and b.
        strokes: at least one that covers a pixel.
    Raises:
        ValueError: `lab` has another shape or over a million pixels, or no pixel is under a stroke.
    Source: Levin, Lischinski and Weiss 2004, Colorization using optimization.
    """
    drawn, covered = draw_strokes(_check_lab(lab), strokes)
    return _with_ab(lab, propagate(lab[0], drawn[1:], covered))


def propagate(L: torch.Tensor, values: torch.Tensor, fixed: torch.Tensor, pull: float = 0.0) -> torch.Tensor:
    """Solve for planes that have given values at fixed pixels and vary only where L varies.

    Every other pixel becomes the weighted mean of its neighbors, divided by 1 + `pull`; `affinity` has the weights.

    Args:
        L: (H, W) lightness in [0, 100].
        values: (C, H, W); only those at fixed pixels count.
        fixed: (H, W) bool.
        pull: at least 0; a positive one draws the planes to 0 far from the fixed pixels.
    Returns:
        (C, H, W), of the type of `values`.
    Raises:
        ValueError: the shapes don't fit, there are over a million pixels, or no pixel is fixed and nothing pulls.
    """
    if values.ndim != 3 or values.shape[1:] != L.shape or fixed.shape != L.shape:
        raise ValueError(f"L {tuple(L.shape)}, values {tuple(values.shape)} and fixed {tuple(fixed.shape)} don't fit.")
    if not fixed.any() and pull == 0:
        raise ValueError("no pixel is under a stroke: draw at least one.")
    return solve_planes(affinity(L), values, fixed, pull)


def solve_planes(weights: csr_array, values: torch.Tensor, fixed: torch.Tensor, pull: float) -> torch.Tensor:
    """Do the work of `propagate`, for the matrix of `affinity`."""
    order = _dissection(*fixed.shape)
    free = (~fixed).flatten().numpy()
    matrix = diags_array(np.where(free, 1 + pull, 1.0)) - diags_array(free.astype(float)) @ weights
    right = np.where(free, 0.0, values.flatten(1).double().numpy())  # (C, n)
    # Each diagonal entry outweighs its row, so no pivoting is needed, and the order of elimination can be chosen.
    factors = splu(
        matrix.tocsr()[order][:, order].tocsc(),
        permc_spec="NATURAL",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    solved = np.empty_like(right)
    solved[:, order] = factors.solve(np.ascontiguousarray(right[:, order].T)).T
    return torch.from_numpy(solved.reshape(values.shape)).to(values)


def affinity(L: torch.Tensor) -> csr_array:
    """Return how much each pixel listens to its neighbors: sparse (n, n), n = H·W, whose rows add up to 1.

    For the up to 8 neighbors s of pixel r, w(r, s) ∝ exp(−(L_r − L_s)² / 2σ_r²), where 2σ_r² is 0.6 times the variance
    of L in the 3×3 window around r; it is raised where needed, so that the most similar neighbor has a weight of at
    least 0.01 before the row is normalized.

    Args:
        L: (H, W) lightness in [0, 100], at least 2 pixels and at most about a million.
    Raises:
        ValueError: another shape, or too many pixels.
    Source: Levin et al. 2004, equation 2, with the constants of the code that they published.
    """
    if L.ndim != 2 or not 2 <= L.numel() <= MAX_PIXELS:
        raise ValueError(f"L must be (H, W) with 2 to {MAX_PIXELS:,} pixels, got {tuple(L.shape)}; shrink the picture.")
    L = L.double().numpy() / 100
    height, width = L.shape
    window = np.lib.stride_tricks.sliding_window_view(np.pad(L, 1, constant_values=np.nan), (3, 3))
    window = window.reshape(height, width, 9)
    neighbors = np.delete(window, 4, axis=2)  # (H, W, 8), nan outside of the picture
    difference = (neighbors - L[..., None]) ** 2
    spread = np.maximum(0.6 * np.nanvar(window, axis=2), np.nanmin(difference, axis=2) / -np.log(0.01))
    weights = np.exp(-difference / np.maximum(spread, 2e-6)[..., None])
    weights = np.nan_to_num(weights) / np.nansum(weights, axis=2, keepdims=True)
    steps = np.array([dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
    n = height * width
    row, inside = np.arange(n)[:, None], ~np.isnan(neighbors).reshape(n, 8)
    columns = (row + steps)[inside]
    starts = np.concatenate([[0], inside.sum(axis=1).cumsum()])
    return csr_array((weights.reshape(n, 8)[inside], columns, starts), shape=(n, n))


@lru_cache(maxsize=8)
def _dissection(height: int, width: int) -> np.ndarray:
    """Order the pixels of a grid for elimination: both halves first, then the line between them, and so on inside.

    With this order the factors of the matrix stay sparse, and are computed about three times as fast as in SuperLU's
    own orders. Source: George 1973, Nested dissection of a regular finite element mesh.
    """
    ids = np.arange(height * width).reshape(height, width)

    def dissect(block: np.ndarray) -> list[np.ndarray]:
        if max(block.shape) <= 4:
            return [block.ravel()]
        if block.shape[0] < block.shape[1]:
            block = block.T
        middle = len(block) // 2
        return [*dissect(block[:middle]), *dissect(block[middle + 1 :]), block[middle]]

    return np.concatenate(dissect(ids))


# --- helpers ----------------------------------------------------------------------------------------------------------


def _check_lab(lab: torch.Tensor) -> torch.Tensor:
    if lab.ndim != 3 or len(lab) != 3:
        raise ValueError(f"a picture must be (3, H, W) in Lab units, got {tuple(lab.shape)}.")
    return lab


def _with_ab(lab: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """Return the picture's L with other colors."""
    return torch.cat([lab[:1], ab.to(lab)])
