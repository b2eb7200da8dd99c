"""Side experiments: what takes too long to train in a chapter is trained by `make experiments` and read from there.

An experiment is a plain function from settings to a result. Its result is kept in `notebooks/runs/NAME.json` (numbers)
and `NAME.safetensors` (a few pictures), with the command, the settings, the seconds and a fingerprint of the code, so
that a result that no longer belongs to the code is noticed. Its *tiny* settings take seconds; the tests run them and
ask the same question of the answer.
"""

import argparse
import hashlib
import inspect
import io
import json
import sys
import time
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from colorlib import scenes
from colorlib.batches import Batches
from colorlib.color import AB_SCALE
from colorlib.config import pick_device, seed_everything
from colorlib.data import bundled_photo, make_loaders
from colorlib.files import atomic_write, load_tensors, save_tensors
from colorlib.images import fit_square
from colorlib.lessons.tagger import fit_tagger
from colorlib.metrics import evaluate, hue_entropy
from colorlib.patchgan import PatchDiscriminator
from colorlib.resnet import resnet_unet
from colorlib.scenes import paint_scenes
from colorlib.training import fit_gan, fit_reconstruction
from colorlib.unet import UNet

RUNS = Path(__file__).resolve().parents[2] / "notebooks" / "runs"


LIBRARY_PHOTOS = ("l:china", "l:flower", "s:coffee", "s:chelsea", "s:astronaut", "s:rocket", "s:motorcycle_left")


@dataclass(frozen=True)
class Experiment:
    """A named function, the settings that a chapter reports, tiny ones for the tests, and the claim on its result."""

    run: Callable[..., dict]  # settings -> {"table": {...}, "pictures": {name: uint8 or int8 tensor}}
    settings: dict
    tiny: dict  # what the tests change of the settings
    holds: Callable[[dict], bool]  # the direction that the chapter claims, asked of the table

    @property
    def name(self) -> str:
        return self.run.__name__

    def fingerprint(self) -> str:
        """Return a hash of the function, its settings and the painted world, comments and blank lines aside."""
        run = inspect.getsource(self.run)
        sources = [run[run.index("def ") :], inspect.getsource(scenes)]  # without the decorator: tiny may change
        text = "\n".join(map(_without_comments, sources)) + json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(settings: dict, tiny: dict, holds: Callable[[dict], bool]) -> Callable:
    """Register the decorated function as an experiment; the function itself stays as it is."""

    def register(run: Callable[..., dict]) -> Callable[..., dict]:
        EXPERIMENTS[run.__name__] = Experiment(run, settings, tiny, holds)
        return run

    return register


def run_and_store(name: str) -> dict:
    """Run an experiment in full, store what came out under `notebooks/runs/`, and return its table."""
    chosen = _find(name)
    start = time.monotonic()
    result = chosen.run(**chosen.settings)
    record = {
        "command": f"make experiments ARGS={name}",
        "settings": chosen.settings,
        "device": pick_device(),
        "seconds": round(time.monotonic() - start),
        "fingerprint": chosen.fingerprint(),
        "table": result["table"],
    }
    save_tensors(result["pictures"], RUNS / f"{name}.safetensors", {"experiment": name})
    with atomic_write(RUNS / f"{name}.json") as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())
    return result["table"]


def stored(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the stored record of an experiment and its pictures.

    Raises:
        ValueError: there is no such experiment.
        FileNotFoundError: it was not run yet; the message says how to.
    """
    _find(name)
    path = RUNS / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"The experiment {name} has no stored result; `make experiments ARGS={name}` makes it.")
    return json.loads(path.read_text()), load_tensors(RUNS / f"{name}.safetensors")[0]


def stored_training(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the record of a training on photos, as `tools/store_training.py` wrote it, and its packed predictions."""
    return json.loads((RUNS / f"{name}.json").read_text()), load_tensors(RUNS / f"{name}.safetensors")[0]


def library_photos(size: int = 64, device: str = "cpu") -> Batches:
    """Return seven photos that scikit-image and scikit-learn ship, as squares of size × size pixels.

    Networks trained on "scenes" or on a folder of photos have seen none of them.
    """
    squares = np.stack([fit_square(bundled_photo(name), size) for name in LIBRARY_PHOTOS])
    return Batches(torch.from_numpy(squares).permute(0, 3, 1, 2), size, len(squares), device=device)


def pack_ab(ab: torch.Tensor) -> torch.Tensor:
    """Round network-scaled ab to whole Lab units, int8: a quarter of the bytes, invisible to the eye."""
    return (ab * AB_SCALE).round().clamp(-128, 127).to(torch.int8)


def unpack_ab(packed: torch.Tensor) -> torch.Tensor:
    """Undo `pack_ab`, but for the rounding."""
    return packed.float() / AB_SCALE


@torch.no_grad()
def predict_first(generator: torch.nn.Module, loader, pictures: int = 8) -> torch.Tensor:
    """Return the generator's ab for the first pictures of a fixed loader, packed."""
    L = torch.cat([L for L, _ in loader])[:pictures]
    return pack_ab(generator.eval()(L).cpu())


@torch.no_grad()
def entropy_by_kind(generator: torch.nn.Module | None, loader: Batches) -> dict[str, float]:
    """Return the hue entropy of balloons, cars and doors apart, as "hue_entropy/<kind>"; of the truth for None."""
    masks = loader.masks
    pairs = [(L, ab) for L, ab in loader]
    ab = torch.cat([ab if generator is None else generator.eval()(L) for L, ab in pairs]).cpu()
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
    """Chapter 03: the same autoencoder with and without skip connections, L1, on painted scenes."""
    table, pictures = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        table[f"seed {seed}"] = {"ab = 0": evaluate(lambda L: L.new_zeros(len(L), 2, *L.shape[2:]), loaders.test)}
        for name, with_skips in {"U-Net": True, "without skips": False}.items():
            seed_everything(seed)
            net = UNet(base_channels=base_channels, skips=with_skips)
            fit_reconstruction(net, loaders, epochs=epochs)
            table[f"seed {seed}"][name] = evaluate(net, loaders.test)
            pictures.setdefault(name, predict_first(net, loaders.test))
    return {"table": table, "pictures": pictures}


@experiment(
    settings={"seeds": [0, 1, 2], "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "gan_epochs": 5},
    tiny={"seeds": [0], "size": 32, "n_train": 240, "n_test": 60, "epochs": 5, "gan_epochs": 4},
    holds=lambda table: all(
        rows["Pix2Pix"]["ab_mae/determined"] > 1.02 * rows["L1"]["ab_mae/determined"]  # what boldness costs
        for rows in table.values()
    ),
)
def gan(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, gan_epochs: int) -> dict:
    """Chapter 04: an L1 network, and the same network after the game, on painted scenes."""
    table, pictures = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        seed_everything(seed)
        net = UNet()
        fit_reconstruction(net, loaders, epochs=epochs)
        rows = table[f"seed {seed}"] = {"truth": entropy_by_kind(None, loaders.test)}
        rows["L1"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
        pictures.setdefault("L1", predict_first(net, loaders.test))
        fit_gan(net, PatchDiscriminator(), loaders, epochs=gan_epochs)
        rows["Pix2Pix"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
        pictures.setdefault("Pix2Pix", predict_first(net, loaders.test))
    return {"table": table, "pictures": pictures}


@experiment(
    settings={"seed": 0, "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "gan_epochs": 5},
    tiny={"seed": 0, "size": 32, "n_train": 300, "n_test": 60, "epochs": 2, "gan_epochs": 1},
    holds=lambda table: table["unheld"]["ab_mae/determined"] > table["L1"]["ab_mae/determined"],
)
def unheld(seed: int, size: int, n_train: int, n_test: int, epochs: int, gan_epochs: int) -> dict:
    """Chapter 04: the game without the L1 term and without the condition, against a fast judge."""
    loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
    seed_everything(seed)
    net = UNet()
    fit_reconstruction(net, loaders, epochs=epochs)
    table = {"L1": evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)}
    judge = PatchDiscriminator(conditional=False)
    fit_gan(net, judge, loaders, epochs=gan_epochs, lambda_l1=0.0, lr_d=4e-3)
    table["unheld"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
    return {"table": table, "pictures": {"unheld": predict_first(net, loaders.test)}}


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "crop": 32, "n_tagged": 2500, "tag_epochs": 5, "n_train": 100, "n_test": 60,
        "lr": 1e-3,
    },
    tiny={"seeds": [0], "size": 32, "n_tagged": 160, "tag_epochs": 1, "n_test": 20},
    holds=lambda table: all(
        row["after 40 steps"] < 0.9 * row["after 20 steps"] for rows in table.values() for row in rows.values()
    ),
)  # fmt: skip
def pretraining(
    seeds: list[int], size: int, crop: int, n_tagged: int, tag_epochs: int, n_train: int, n_test: int, lr: float
) -> dict:
    """Chapter 05: the same ResNet U-Net from a random encoder and from one that learned to tag gray scenes."""
    table, pictures = {}, {}
    for seed in seeds:
        loaders = make_loaders(
            "scenes", size, batch_size=5, n_train=n_train, n_test=n_test, seed=seed, device=pick_device()
        )
        for name in ("pretrained", "random"):
            seed_everything(seed)
            net = resnet_unet("resnet18", None)
            if name == "pretrained":
                fit_tagger(net.encoder, paint_scenes(n_tagged, size, seed=seed + 100), crop, epochs=tag_epochs)
            seed_everything(seed)
            history = fit_reconstruction(net, loaders, epochs=2, lr=lr)
            after = history["valid_ab_mae/determined"]
            table.setdefault(f"seed {seed}", {})[name] = {"after 20 steps": after[0], "after 40 steps": after[1]}
            pictures.setdefault(name, predict_first(net, loaders.test))
    return {"table": table, "pictures": pictures}


def main(arguments: list[str] | None = None) -> None:
    """Run the experiments named on the command line, or all of them, one after the other."""
    parser = argparse.ArgumentParser(prog="make experiments ARGS=…", description=main.__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *EXPERIMENTS], help="default: all")
    for name in parser.parse_args(arguments).names or EXPERIMENTS:
        print(f"{name}: {EXPERIMENTS[name].run.__doc__}", file=sys.stderr, flush=True)
        print(json.dumps(run_and_store(name), indent=1))


def _find(name: str) -> Experiment:
    if name not in EXPERIMENTS:
        raise ValueError(f"There is no experiment {name!r}; there are: {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]


def _without_comments(source: str) -> str:
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


if __name__ == "__main__":
    main()
