"""The side experiment of chapter 07."""

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch

from colorlib.batches import Batches
from colorlib.color import to_tensor
from colorlib.config import pick_device, seed_everything
from colorlib.data import Loaders, bundled_photo, make_loaders
from colorlib.images import fit_square, save_image
from colorlib.lessons.experiments.common import predict_first
from colorlib.lessons.experiments.registry import experiment
from colorlib.metrics import evaluate, gray
from colorlib.scenes import paint_scenes
from colorlib.training import fit_reconstruction
from colorlib.zoo import load_generator


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "n_train": 60, "n_test": 60, "epochs": 8, "lr": 1e-3,
        "photos": ["flower", "china", "coffee", "chelsea", "rocket"],
    },
    tiny={"seeds": [0], "size": 32, "n_train": 40, "n_test": 10, "epochs": 3, "photos": ["rocket"]},
    holds=lambda table: all(
        rows["fine-tuned"]["scenes"] < 0.98 * rows["bundled"]["scenes"]
        and rows["fine-tuned"]["all photos"] > 1.1 * rows["bundled"]["all photos"]
        and rows["blend"]["scenes"] < rows["bundled"]["scenes"]
        and rows["blend"]["all photos"] < rows["fine-tuned"]["all photos"]
        for rows in table.values()
    ),
)  # fmt: skip
def fine_tuning(
    seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, lr: float, photos: list[str]
) -> dict:
    """Chapter 07: the bundled generator before and after fine-tuning on painted scenes, and the mean of their weights.

    The table has the ab MAE, in Lab units, on held-out scenes and on photos. The error on a photo is the mean of five
    images: the central square and four crops, see `photo_and_crops`.
    """
    table, ab = {}, {}
    old_kind = {name: photo_and_crops(name, size, pick_device()) for name in photos}
    for seed in seeds:
        loaders = scene_album(n_train, n_test, size, seed)
        seed_everything(seed)
        bundled = load_generator("photos").to(pick_device())
        tuned = copy.deepcopy(bundled)
        fit_reconstruction(tuned, loaders, epochs=epochs, lr=lr)
        networks = {"gray": gray, "bundled": bundled, "fine-tuned": tuned, "blend": mean_of(bundled, tuned)}
        rows = table[f"seed {seed}"] = {}
        for name, network in networks.items():
            on_photos = {photo: evaluate(network, views)["ab_mae"] for photo, views in old_kind.items()}
            mean = sum(on_photos.values()) / len(photos)
            rows[name] = {"scenes": evaluate(network, loaders.test)["ab_mae"], "all photos": mean} | on_photos
        ab.setdefault("fine-tuned", predict_first(tuned, loaders.test))
    return {"table": table, "ab": ab}


def scene_album(n_train: int, n_test: int, size: int, seed: int) -> Loaders:
    """Return loaders for painted scenes saved as a folder of photos, as in the chapter: trained on in random crops."""
    with tempfile.TemporaryDirectory() as folder:
        for i, rgb in enumerate(paint_scenes(n_train + 2 * n_test, size, seed).rgb):
            save_image(rgb.permute(1, 2, 0).numpy(), Path(folder) / f"scene-{i:03}.png")
        return make_loaders(folder, size, 8, n_test=n_test, vary_tone=True, seed=seed, device=pick_device())


def photo_and_crops(name: str, size: int, device: str = "cpu") -> Batches:
    """Return five size × size images of a bundled photo: its central square, and the four quarters of that square."""
    square = fit_square(bundled_photo(name), 2 * size)
    quarters = [square[top : top + size, left : left + size] for top in (0, size) for left in (0, size)]
    images = [to_tensor(np.ascontiguousarray(image)) for image in (fit_square(square, size), *quarters)]
    return Batches(torch.stack(images), size, len(images), device=device)


def mean_of(one: torch.nn.Module, other: torch.nn.Module) -> torch.nn.Module:
    """Return a network whose weights are the mean of those of two networks."""
    mixed, old = copy.deepcopy(one), one.state_dict()
    mixed.load_state_dict(
        {
            name: torch.lerp(old[name], new, 0.5) if new.is_floating_point() else new
            for name, new in other.state_dict().items()
        }
    )
    return mixed
