"""Compare generators on one set of images: `ladder` makes one table of many scores, with intervals.

Terms, beside those of `metrics`:

- *correlation inside images*: of predicted and true ab over all pixels, after subtracting the mean of each image. Does
  the model know *where* a color belongs?
- *correlation between images*: of predicted and true mean color of the images. Does it know *what kind of picture* it
  sees? nan for a model that gives every image the same mean color.
- *worse than gray*: share of the images whose ab MAE is larger than that of gray (ab = 0).
- *interval*: from the 2.5% to the 97.5% quantile of the ab MAE over bootstrap samples of the images (Efron 1979). It
  says how much the score depends on which images were drawn, not on the seed of a training.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import length_hint

import torch
from tqdm import tqdm

from colorlib.batches import Batches
from colorlib.color import AB_SCALE, join_lab, lab_to_rgb
from colorlib.files import atomic_write
from colorlib.metrics import check_prediction, colorfulness, eval_mode, evaluate, gray

GRAY, MEAN = "gray", "mean ab"  # names of the first rows
SAMPLES = 2000  # of the bootstrap
FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # of the curve in the plane of error and colorfulness
# Score -> heading of its column, and digits after the point. The CSV file has all scores.
COLUMNS = {
    "ab_mae": ("ab MAE", 2), "interval": ("95% interval", 2), "delta_e2000": ("ΔE2000", 2), "psnr": ("PSNR", 1),
    "ssim": ("SSIM", 3), "colorfulness_ratio": ("colorful", 2), "chroma_ratio": ("chroma", 2),
    "correlation_inside": ("r inside", 2), "correlation_between": ("r between", 2),
    "worse_than_gray": ("worse", 2), "ab_mae/determined": ("determined", 2), "ab_mae/edges": ("edges", 2),
    "ab_mae/context": ("context", 2), "ab_mae/ambiguous": ("ambiguous", 2),
}  # fmt: skip
LEGEND = """\
colorful, chroma: as ratios to the truth. worse: share of the images with a larger ab MAE than gray.
r: correlation of predicted and true ab inside images, and of the mean colors between images."""


@dataclass(frozen=True)
class Ladder:
    """The scores of several models on the same images. Printing it shows the table.

    Attributes:
        rows: model -> score -> value; the scores of `metrics.evaluate`, and those of this module.
        errors: model -> ab MAE of each image, (N,) float64, in Lab units.
    """

    rows: dict[str, dict[str, float]]
    errors: dict[str, torch.Tensor]

    @property
    def n_images(self) -> int:
        """How many images were scored."""
        return len(next(iter(self.errors.values())))

    def difference(self, one: str, other: str, seed: int = 0) -> tuple[float, float, float]:
        """Return how much larger the ab MAE of one model is than that of another, and the 95% interval of this.

        Both models are compared on the same bootstrap samples, so that hard and easy images cancel.

        Args:
            one, other: names of rows.
            seed: of the samples.
        Returns:
            Mean difference, lower and upper end, in Lab units. If 0 is outside, the images agree on who is better.
        """
        difference = self.errors[one] - self.errors[other]
        return difference.mean().item(), *bootstrap_interval(difference, seed=seed)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write all scores as a CSV file, one line per model, atomically.

        Raises:
            OSError: the file can't be written.
        """
        names = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["model", "images", *names], restval="")
        writer.writeheader()
        writer.writerows({"model": model, "images": self.n_images} | row for model, row in self.rows.items())
        with atomic_write(path) as file:
            file.write(text.getvalue().encode())

    def __str__(self) -> str:
        scores = set().union(*self.rows.values()) | {"interval"}
        shown = {key: column for key, column in COLUMNS.items() if key in scores}
        lines = [["", *(heading for heading, _ in shown.values())]]
        lines += [[model, *(_cell(row, key, shown[key][1]) for key in shown)] for model, row in self.rows.items()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))])
            for line in lines
        ]
        return "\n".join([*text, f"{self.n_images} images; {LEGEND}"])

    __repr__ = __str__


def ladder(
    models: Mapping[str, Callable[[torch.Tensor], torch.Tensor]],
    loader: Iterable,
    train: Iterable | None = None,
    *,
    perceptual: bool = True,
    seed: int = 0,
) -> Ladder:
    """Score several models on the same images, the easiest rivals first.

    Args:
        models: name -> L (B, 1, H, W) in [-1, 1] -> ab (B, 2, H, W). A module is evaluated in eval mode, and its mode
            is restored.
        loader: as in `evaluate`: yields (L, ab) in a fixed order, all images of one size.
        train: yields the (L, ab) of training images; the second row then gives every pixel their mean color.
        perceptual: compute ΔE2000, PSNR and SSIM, which take most of the time; False leaves them out.
        seed: of the bootstrap samples; they are the same for all models.
    Returns:
        The table, with the rows "gray" (ab = 0), "mean ab" if there are training images, and the models. The scores are
        those of `evaluate`, and "ab_mae_low", "ab_mae_high", "colorfulness_ratio", "correlation_inside",
        "correlation_between" and "worse_than_gray"; see the module.
    Raises:
        ValueError: a model has the name of a row that is added, nothing to score, or a prediction of the wrong shape.
        NonFiniteError: a prediction is not finite. Both messages begin with the name of the model.
    """
    first = {GRAY: gray} | ({} if train is None else {MEAN: uniform(mean_ab(train))})
    if taken := sorted(first.keys() & models.keys()):
        raise ValueError(f"the ladder adds a row {taken[0]!r} of its own: give this model another name.")
    rows, errors = {}, {}
    with tqdm(total=len(first | models) * length_hint(loader) or None, desc="scoring", leave=False) as bar:
        for name, model in (first | models).items():
            bar.set_postfix_str(name)
            watched = _Watched(model, loader, bar.update)
            try:
                with eval_mode(model):
                    scores = evaluate(watched, watched, perceptual)
            except ValueError as error:  # also NonFiniteError
                raise type(error)(f"{name}: {error}") from error
            images = torch.cat(watched.images)  # (N, 8)
            errors[name] = images[:, 0]
            low, high = bootstrap_interval(errors[name], seed=seed)
            rows[name] = scores | {
                "ab_mae_low": low,
                "ab_mae_high": high,
                "colorfulness_ratio": scores["colorfulness"] / (scores["colorfulness_true"] or float("nan")),
                "correlation_inside": _correlation(images[:, 1:4]),
                "correlation_between": _between(images[:, 4:6], images[:, 6:8]),
                "worse_than_gray": (errors[name] > errors[GRAY]).double().mean().item(),
            }
    return Ladder(rows, errors)


@torch.no_grad()
def multiplied_curve(
    model: Callable[[torch.Tensor], torch.Tensor], loader: Iterable, factors: Iterable[float] = FACTORS
) -> dict[float, dict[str, float]]:
    """Score a model whose colors are multiplied by several factors: the cheap way to bolder colors.

    Args:
        model, loader: as in `ladder`.
        factors: of ab. Values beyond ±1 are clipped.
    Returns:
        factor -> "ab_mae", "colorfulness" and "colorfulness_ratio".
    Raises:
        ValueError: a prediction of the wrong shape, or one that is not finite.
    """
    factors = list(factors)
    sums, true, n = torch.zeros(len(factors), 2, dtype=torch.float64), 0.0, 0  # error and colorfulness per factor
    with eval_mode(model):
        for L, ab_true in loader:
            ab = check_prediction(model(L), ab_true).cpu()
            L, ab_true = L.cpu(), ab_true.cpu()
            for i, factor in enumerate(factors):
                bold = (ab * factor).clamp(-1, 1)
                error = (bold - ab_true).abs().mean((1, 2, 3)) * AB_SCALE
                sums[i] += torch.stack([error, _colorfulness(L, bold)], dim=1).sum(0)
            true, n = true + _colorfulness(L, ab_true).sum().item(), n + len(L)
    return {
        factor: {"ab_mae": error / n, "colorfulness": color / n, "colorfulness_ratio": color / (true or float("nan"))}
        for factor, (error, color) in zip(factors, sums.tolist(), strict=True)
    }


def multiplied(model: Callable[[torch.Tensor], torch.Tensor], factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a model that predicts the ab of `model` times a factor, clipped to [-1, 1]."""
    return lambda L: (model(L) * factor).clamp(-1, 1)


def uniform(ab: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a model that gives every pixel the same color, ab (2,), network-scaled."""
    return lambda L: ab.to(L).view(1, 2, 1, 1).expand(len(L), 2, *L.shape[-2:])


def mean_ab(train: Iterable) -> torch.Tensor:
    """Return the mean ab (2,) of all pixels of the batches (L, ab, …); from shuffled `Batches`, those of epoch 0."""
    batches = train.epoch(0) if isinstance(train, Batches) else train
    sums = torch.stack([torch.stack([ab.new_tensor(len(ab)), *ab.mean((2, 3)).sum(0)]).cpu() for _, ab, *_ in batches])
    count, *means = sums.double().sum(0)
    return torch.stack(means).div(count).float()


def bootstrap_interval(
    values: torch.Tensor, samples: int = SAMPLES, share: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the interval in which the mean of resampled values lies with a given probability.

    Args:
        values: (N,), one per image.
        samples: how often N values are drawn with replacement.
        share: the probability.
        seed: of the draws.
    Returns:
        Lower and upper quantile of the means.
    Source: Efron 1979; the percentile interval.
    """
    generator = torch.Generator().manual_seed(seed)
    values = values.double()
    means = torch.empty(samples, dtype=torch.float64)
    for i in range(samples):  # one at a time: all draws of 10,000 images would need 160 MB
        means[i] = values[torch.randint(len(values), (len(values),), generator=generator)].mean()
    tail = (1 - share) / 2
    return tuple(means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist())


class _Watched:
    """A model and a loader in one: passes batches and predictions to `evaluate`, and keeps sums of each image."""

    def __init__(self, model: Callable, loader: Iterable, tick: Callable[[], object]):
        self.model, self.loader, self.tick = model, loader, tick
        self.masks = getattr(loader, "masks", None)
        self.images = []  # (B, 8) per batch: error, three sums for the correlation, predicted and true mean color

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for L, ab in self.loader:
            self.ab_true = ab
            yield L, ab
            self.tick()

    def __call__(self, L: torch.Tensor) -> torch.Tensor:
        ab = check_prediction(self.model(L), self.ab_true)
        pred, true = ab.cpu().double().flatten(2), self.ab_true.cpu().double().flatten(2)  # (B, 2, H·W)
        pred_mean, true_mean = pred.mean(2), true.mean(2)  # (B, 2)
        p, t = pred - pred_mean[..., None], true - true_mean[..., None]
        error = (pred - true).abs().mean((1, 2)) * AB_SCALE
        sums = torch.stack([error, *((one * two).sum((1, 2)) for one, two in ((p, t), (p, p), (t, t)))], dim=1)
        self.images.append(torch.cat([sums, pred_mean, true_mean], dim=1))
        return ab


def _colorfulness(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    return colorfulness(lab_to_rgb(join_lab(L, ab)))  # (B,)


def _between(pred: torch.Tensor, true: torch.Tensor) -> float:
    """Return the correlation of the mean colors (N, 2) of images; nan if the predicted ones are all the same."""
    p, t = pred - pred.mean(0), true - true.mean(0)
    if p.abs().max() < 1e-6:  # rounding errors of a model that gives every image the same mean color
        return float("nan")
    return _correlation(torch.stack([p * t, p * p, t * t], dim=-1).flatten(0, 1))


def _correlation(sums: torch.Tensor) -> float:
    """Return Σ pt / √(Σ pp Σ tt) of rows (n, 3)."""
    both, pred, true = sums.sum(0)
    return (both / (pred * true).sqrt()).item()


def _cell(row: dict[str, float], key: str, digits: int) -> str:
    if key == "interval":
        return f"{row['ab_mae_low']:.{digits}f} … {row['ab_mae_high']:.{digits}f}"
    return f"{row[key]:.{digits}f}" if key in row and row[key] == row[key] else "–"
