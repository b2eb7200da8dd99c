"""The methods of chapter 02 as rivals of the networks: they color a whole set of test images."""

import torch
from tqdm import tqdm

from colorlib import classical
from colorlib.batches import Batches
from colorlib.color import join_lab, split_lab
from colorlib.lessons.artist import draw_dots

N_REFERENCES = 50  # training images from which the tint is measured


def classical_rivals(test: Batches, train: Batches, n_dots: int = 8) -> dict[str, torch.Tensor]:
    """Color the images of a fixed set with three methods of chapter 02.

    Args:
        test: images of size × size pixels. Only the artist who puts the dots sees their colors.
        train: gives the references, from its first images on.
        n_dots: dots in true colors for each image, where the error is largest at the time.
    Returns:
        "tint", "Welsh" and "<n_dots> dots" -> ab (N, 2, H, W), network-scaled, on the CPU.
    """
    lab = join_lab(*(part.cpu() for part in test.first(len(test.rgb))))
    references = _reference_lab(train, max(N_REFERENCES, len(lab)), lab.shape[-1])
    stops = classical.stops_from(torch.cat(list(references[:N_REFERENCES]), dim=1))
    colored = {"tint": [], "Welsh": [], f"{n_dots} dots": []}
    for i, truth in enumerate(tqdm(lab, desc="classical methods", leave=False)):
        gray = torch.cat([truth[:1], torch.zeros_like(truth[1:])])
        colored["tint"].append(classical.tint(gray, stops))
        colored["Welsh"].append(classical.welsh(gray, references[i % len(references)]))
        colored[f"{n_dots} dots"].append(_with_dots(gray, truth, n_dots))
    return {name: split_lab(torch.stack(pictures))[1] for name, pictures in colored.items()}


def _with_dots(gray: torch.Tensor, truth: torch.Tensor, n: int) -> torch.Tensor:
    def color(strokes: list) -> torch.Tensor:
        return classical.levin(gray, strokes) if strokes else gray

    return color(draw_dots(truth, color, n)[0])


def _reference_lab(train: Batches, n: int, size: int) -> torch.Tensor:
    whole = Batches(train.rgb[:n].cpu(), train.rgb.shape[-1], n)
    lab = join_lab(*whole.first(n))
    return torch.nn.functional.interpolate(lab, (size, size), mode="area")
