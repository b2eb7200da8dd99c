"""Train and score the rungs of chapter 06's ladder on a folder of photos, and store the table.

`python tools/compare_on_photos.py FOLDER OUT --part networks --seed 0`, for each seed, then `--part classical`,
`--part bundled`, and `--store`. The split is that of `colorlib train --source FOLDER --n-test 500`; the first 200 test
photos are scored. All networks see the same number of photos, as many as fill --epochs passes; a GAN stage is the
second half of them. Each part is a file in OUT. `--store` collects them in `notebooks/runs/photo_ladder.json`, with
what the networks of the first seed predict for seven photos that scikit-image and scikit-learn ship.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from colorlib import comparison, load_generator, make_loaders
from colorlib.batches import Batches
from colorlib.config import pick_device
from colorlib.data import Loaders
from colorlib.lessons.experiments import library_photos, predict_first, store
from colorlib.lessons.experiments.compare_models import FACTORS, rounded, score_classical, score_rungs
from colorlib.tensors import load_tensors, save_tensors

SIZE, STORE_SIZE, N_HELD_OUT, N_TEST, BATCH_SIZE = 96, 112, 500, 200, 16
NAME = "photo_ladder"


def rung_epochs(epochs: int) -> dict[str, list[int]]:
    """Return epochs of L1 and of the GAN stage for each rung."""
    half = epochs // 2
    with_gan, alone = [epochs - half, half], [epochs, 0]
    return {
        "no skips": alone, "U-Net": alone, "Pix2Pix": with_gan, "ResNet U-Net": alone, "ResNet Pix2Pix": with_gan,
    }  # fmt: skip


def read_loaders(options: argparse.Namespace) -> Loaders:
    """Return the loaders of the folder with the test photos to score, and 100 for validation."""
    loaders = make_loaders(
        options.folder, SIZE, BATCH_SIZE, n_train=options.n_train, n_test=N_HELD_OUT, seed=options.seed,
        store_size=STORE_SIZE, device=pick_device(),
    )  # fmt: skip
    fewer = {"size": SIZE, "batch_size": 50, "device": pick_device()}
    valid, test = Batches(loaders.valid.rgb[:100], **fewer), Batches(loaders.test.rgb[:N_TEST], **fewer)
    return replace(loaders, valid=valid, test=test)


def run_part(options: argparse.Namespace) -> None:
    """Write the rows of one part, and for networks their pictures of the library's photos."""
    loaders = read_loaders(options)
    print(loaders, flush=True)
    if options.part == "networks":
        rows, models = score_rungs(loaders, rung_epochs(options.epochs), options.seed)
        part = f"seed {options.seed}"
        seven = library_photos(SIZE, pick_device())
        save_tensors(
            {name: predict_first(net, seven) for name, net in models.items()}, options.out / f"{part}.safetensors", {}
        )
    elif options.part == "classical":
        rows, part = score_classical(loaders), "classical"
    else:
        models = {name: load_generator(name) for name in ("photos-l1", "photos")}
        rows = comparison.ladder(models, loaders.test).rows
        curve = comparison.multiplied_curve(models["photos-l1"], loaders.test, FACTORS)
        rows |= {f"photos-l1 × {factor:g}": row for factor, row in curve.items()}
        rows, part = rounded({name: row for name, row in rows.items() if name != comparison.GRAY}), "bundled"
    (options.out / f"{part}.json").write_text(json.dumps(rows, indent=1))
    print(part, {name: row["ab_mae"] for name, row in rows.items()}, flush=True)


def store_parts(options: argparse.Namespace) -> None:
    """Collect the parts in OUT as one stored run."""
    table = {path.stem: json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))}
    ab, _ = load_tensors(options.out / "seed 0.safetensors")
    record = {
        "command": "python tools/compare_on_photos.py FOLDER OUT", "device": options.device,
        "settings": {
            "size": SIZE, "n_train": options.n_train, "n_test": N_TEST, "epochs": options.epochs,
            "batch_size": BATCH_SIZE,
        },
        "table": table,
    }  # fmt: skip
    store(NAME, record, ab)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=["networks", "classical", "bundled"], default="networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n-train", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--store", action="store_true", help="collect the parts instead")
    parser.add_argument("--device", default="cpu", help="name of the device of the networks, for the record")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    store_parts(options) if options.store else run_part(options)


if __name__ == "__main__":
    main()
