"""Side experiments: training runs that take too long for a chapter. `make experiments` stores their results.

An experiment is a plain function from settings to a result. The result is stored in `notebooks/runs/NAME.json`
(numbers) and `NAME.safetensors` (a few predictions), with the command, the settings, the seconds and hashes of the code
that can change the numbers, so that `stale` can name what has changed since. With its *tiny* settings, an experiment
takes seconds; the tests run these and check the same claim.
"""

import argparse
import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from colorlib import scenes
from colorlib.batches import Batches
from colorlib.color import AB_SCALE, to_tensor
from colorlib.config import pick_device, seed_everything
from colorlib.data import VALID_SEED, bundled_photo, make_loaders
from colorlib.files import atomic_write
from colorlib.images import fit_square
from colorlib.lessons.fingerprints import code_of
from colorlib.lessons.scene_labels import LABELS, scene_label_loaders
from colorlib.metrics import evaluate, gray, hue_entropy, predict
from colorlib.patchgan import PatchDiscriminator
from colorlib.pretraining import GrayClassifier, fit_classifier
from colorlib.resnet import N_FEATURES, resnet_unet
from colorlib.scenes import paint_scenes
from colorlib.tensors import load_tensors, save_tensors
from colorlib.training import fit_gan, fit_reconstruction
from colorlib.unet import UNet
from colorlib.zoo import load_generator

RUNS = Path(__file__).resolve().parents[2] / "notebooks" / "runs"  # in a checkout; an installed wheel has no notebooks
LIBRARY_PHOTOS = ("china", "flower", "coffee", "chelsea", "astronaut", "rocket", "motorcycle_left")


class StaleRun(UserWarning):
    """A stored run was made by a different version of the code."""


@dataclass(frozen=True)
class Experiment:
    """A named function, the settings that a chapter reports, tiny ones for the tests, and the claim about its result.

    Attributes:
        run: settings -> {"table": {...}, "ab": {name: packed ab}}, see `pack_ab`.
        settings: keyword arguments of the stored run.
        tiny: settings that override those above in tests, so that a run takes seconds.
        holds: table -> whether the result supports the chapter's claim.
    """

    run: Callable[..., dict]
    settings: dict
    tiny: dict
    holds: Callable[[dict], bool]


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(settings: dict, tiny: dict, holds: Callable[[dict], bool]) -> Callable:
    """Register the decorated function as an experiment and return it unchanged."""

    def register(run: Callable[..., dict]) -> Callable[..., dict]:
        EXPERIMENTS[run.__name__] = Experiment(run, settings, tiny, holds)
        return run

    return register


def run_and_store(name: str) -> dict:
    """Run an experiment with its full settings, store the result under `notebooks/runs/`, and return its table.

    Raises:
        ValueError: there is no such experiment.
        FileNotFoundError: this is not a checkout, so there is no place to store it.
    """
    chosen = _find(name)
    _check_checkout()
    code, start = code_of(chosen.run), time.monotonic()
    result = chosen.run(**chosen.settings)
    record = {
        "command": f"make experiments ARGS={name}",
        "settings": chosen.settings,
        "device": pick_device(),
        "seconds": round(time.monotonic() - start),
        "commit": _commit(),
        "code": code,
        "table": result["table"],
    }
    store(name, record, result["ab"])
    return result["table"]


def store(name: str, record: dict, ab: dict[str, torch.Tensor]) -> None:
    """Write a record and packed predictions as `notebooks/runs/NAME.json` and `NAME.safetensors`."""
    save_tensors(ab, RUNS / f"{name}.safetensors", {"run": name})
    with atomic_write(RUNS / f"{name}.json") as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())


def stored(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the stored record of an experiment and its packed predictions.

    Raises:
        ValueError: there is no such experiment.
        FileNotFoundError: there is no stored run; the message says how to get one.
    """
    _find(name)
    _check_checkout()
    if not (RUNS / f"{name}.json").exists():
        raise FileNotFoundError(f"The experiment {name} has no stored run; `make experiments ARGS={name}` creates it.")
    return stored_training(name)


def stored_training(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the record and the packed predictions of a training on photos, stored by `tools/store_training.py`.

    Raises:
        FileNotFoundError: this is not a checkout, or there is no such training.
    """
    _check_checkout()
    return json.loads((RUNS / f"{name}.json").read_text()), load_tensors(RUNS / f"{name}.safetensors")[0]


def stale(name: str) -> list[str]:
    """Return what has changed since an experiment was run, an empty list if nothing has.

    Returns:
        Names of modules, as in "losses"; "name()" for the function itself; "settings".
    Raises:
        ValueError, FileNotFoundError: as `stored`.
    """
    record, _ = stored(name)
    if "code" not in record:
        return ["stored by earlier code"]
    chosen, then = _find(name), record["code"]
    now = code_of(chosen.run)
    changed = [part for part in now | then if now.get(part) != then.get(part)]
    return changed + ["settings"] * (record["settings"] != chosen.settings)


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


def entropy_by_kind(generator: torch.nn.Module | None, loader: Batches) -> dict[str, float]:
    """Return the hue entropy of the predicted balloons, cars and doors, as "hue_entropy/<kind>".

    If `generator` is None, return that of the true colors.
    """
    masks = loader.masks
    ab = torch.cat([ab for _, ab in loader]).cpu() if generator is None else predict(generator, loader)
    scores = {}
    for kind in ("balloon", "car", "door"):
        ids = torch.tensor([i for i in scenes.KINDS if scenes.KINDS[i] == kind])
        where = masks.ambiguous & torch.isin(masks.objects, ids)
        scores[f"hue_entropy/{kind}"] = hue_entropy(ab, masks.objects, where)
    return scores


@experiment(
    settings={"seeds": [0, 1, 2], "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "base_channels": 16},
    tiny={"seeds": [0], "size": 32, "n_train": 300, "n_test": 60, "epochs": 5, "base_channels": 8},
    holds=lambda table: all(
        seed["without skips"]["ab_mae/edges"] > 1.1 * seed["U-Net"]["ab_mae/edges"]
        and seed["U-Net"]["chroma_ratio/ambiguous"] < 0.5
        for seed in table.values()
    ),
)
def skips(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, base_channels: int) -> dict:
    """Chapter 03: the same autoencoder with and without skip connections, trained with L1 on painted scenes."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        table[f"seed {seed}"] = {"ab = 0": evaluate(gray, loaders.test)}
        for name, with_skips in {"U-Net": True, "without skips": False}.items():
            seed_everything(seed)
            net = UNet(base_channels=base_channels, skips=with_skips)
            fit_reconstruction(net, loaders, epochs=epochs)
            table[f"seed {seed}"][name] = evaluate(net, loaders.test)
            ab.setdefault(name, predict_first(net, loaders.test))
    return {"table": table, "ab": ab}


@experiment(
    settings={"seeds": [0, 1, 2], "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "gan_epochs": 5},
    tiny={"seeds": [0], "size": 32, "n_train": 240, "n_test": 60, "epochs": 5, "gan_epochs": 4},
    holds=lambda table: all(
        rows["Pix2Pix"]["ab_mae/determined"] > 1.02 * rows["L1"]["ab_mae/determined"]  # the cost of vivid colors
        for rows in table.values()
    ),
)
def gan(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, gan_epochs: int) -> dict:
    """Chapter 04: an L1 network, and the same network after the GAN stage, on painted scenes."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        seed_everything(seed)
        net = UNet()
        fit_reconstruction(net, loaders, epochs=epochs)
        rows = table[f"seed {seed}"] = {"truth": entropy_by_kind(None, loaders.test)}
        rows["L1"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
        ab.setdefault("L1", predict_first(net, loaders.test))
        fit_gan(net, PatchDiscriminator(), loaders, epochs=gan_epochs)
        rows["Pix2Pix"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
        ab.setdefault("Pix2Pix", predict_first(net, loaders.test))
    return {"table": table, "ab": ab}


@experiment(
    settings={"seed": 0, "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "gan_epochs": 5},
    tiny={"seed": 0, "size": 32, "n_train": 300, "n_test": 60, "epochs": 2, "gan_epochs": 1},
    holds=lambda table: table["unheld"]["ab_mae/determined"] > table["L1"]["ab_mae/determined"],
)
def unheld(seed: int, size: int, n_train: int, n_test: int, epochs: int, gan_epochs: int) -> dict:
    """Chapter 04: a GAN stage without the L1 term, with an unconditional, fast-learning discriminator."""
    loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
    seed_everything(seed)
    net = UNet()
    fit_reconstruction(net, loaders, epochs=epochs)
    table = {"L1": evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)}
    discriminator = PatchDiscriminator(conditional=False)
    fit_gan(net, discriminator, loaders, epochs=gan_epochs, lambda_l1=0.0, lr_d=4e-3)
    table["unheld"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
    return {"table": table, "ab": {"unheld": predict_first(net, loaders.test)}}


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "crop": 32, "n_labeled": 2500, "label_epochs": 5, "n_train": 100, "n_test": 60,
        "lr": 1e-3,
    },
    tiny={"seeds": [0], "size": 32, "n_labeled": 160, "label_epochs": 1, "n_test": 20},
    holds=lambda table: all(
        row["after 40 steps"] < 0.9 * row["after 20 steps"] for rows in table.values() for row in rows.values()
    ),
)  # fmt: skip
def pretraining(
    seeds: list[int], size: int, crop: int, n_labeled: int, label_epochs: int, n_train: int, n_test: int, lr: float
) -> dict:
    """Chapter 05: a ResNet U-Net with a random encoder and with one pretrained to classify gray scenes."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders(
            "scenes", size, batch_size=5, n_train=n_train, n_test=n_test, seed=seed, device=pick_device()
        )
        for name in ("pretrained", "random"):
            seed_everything(seed)
            net = resnet_unet("resnet18", None)
            if name == "pretrained":
                known, held_out = paint_scenes(n_labeled, size, seed + 100), paint_scenes(n_test, size, VALID_SEED)
                classifier = GrayClassifier(net.encoder, N_FEATURES, len(LABELS))
                labeled = scene_label_loaders(known, held_out, crop, batch_size=32, seed=seed)
                fit_classifier(classifier, labeled, loss="multilabel", epochs=label_epochs)
            seed_everything(seed)
            history = fit_reconstruction(net, loaders, epochs=2, lr=lr)
            after = history["valid_ab_mae/determined"]
            table.setdefault(f"seed {seed}", {})[name] = {"after 20 steps": after[0], "after 40 steps": after[1]}
            ab.setdefault(name, predict_first(net, loaders.test))
    return {"table": table, "ab": ab}


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
        loaders = make_loaders(
            "scenes", size, 8, n_train=n_train, n_test=n_test, seed=seed, vary_tone=True, device=pick_device()
        )
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


def main(arguments: list[str] | None = None) -> None:
    """Run the experiments named on the command line, one after the other, and store their results."""
    parser = argparse.ArgumentParser(prog="make experiments ARGS=…", description=main.__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *EXPERIMENTS], help="default: all")
    parser.add_argument("--stale", action="store_true", help="run only experiments whose stored run is out of date")
    parser.add_argument("--check", action="store_true", help="run nothing; print why stored runs are out of date")
    options = parser.parse_args(arguments)
    for name in options.names or EXPERIMENTS:
        changed = _changes(name) if options.check or options.stale else []
        if options.check:
            print(f"{name}: {', '.join(changed) or 'current'}")
        elif changed or not options.stale:
            print(f"{name}: {EXPERIMENTS[name].run.__doc__}", file=sys.stderr, flush=True)
            print(json.dumps(run_and_store(name), indent=1))


def _changes(name: str) -> list[str]:
    try:
        return stale(name)
    except FileNotFoundError:
        return ["no stored run"]


def _find(name: str) -> Experiment:
    if name not in EXPERIMENTS:
        raise ValueError(f"There is no experiment {name!r}; there are: {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]


def _check_checkout() -> None:
    if not RUNS.is_dir():
        raise FileNotFoundError(f"The stored runs come with the notebooks, in a checkout; there is no folder {RUNS}.")


def _commit() -> str | None:
    """Return the commit of the checkout, with "-dirty" if files were changed since; None without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=RUNS, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    main()
