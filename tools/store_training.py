"""Keep what chapters show of networks that `colorlib train` trained on photos which can't be committed.

`python tools/store_training.py NAME --source FOLDER --commands FILE --weights LABEL=FILE...`

Writes `notebooks/runs/NAME.json`: the commands, and for each network its seconds and its numbers on the held-out test
photos of FOLDER and on those that scikit-image and scikit-learn ship; and `NAME.safetensors`: its ab for the latter.
"""

import argparse
import json
from pathlib import Path

import torch

from colorlib.config import pick_device
from colorlib.data import make_loaders
from colorlib.files import atomic_write, save_tensors
from colorlib.lessons.experiments import RUNS, library_photos, predict_first
from colorlib.metrics import evaluate
from colorlib.zoo import load_generator, read_notes

N_TEST = 500  # photos to report on, the first of those that `colorlib train` holds out


def gray(L: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(L).expand(-1, 2, -1, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--source", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--commands", type=Path, required=True, help="text file: the commands, a line each")
    parser.add_argument("--weights", nargs="+", required=True, metavar="LABEL=FILE")
    parser.add_argument("--encoder", help="weights of the encoder that the pretrained ones started from")
    options = parser.parse_args()

    device = pick_device()
    held_out = make_loaders(options.source, options.size, 32, n_train=1, n_test=N_TEST, device=device).test
    shipped = library_photos(options.size, device)
    grays = {"held-out": evaluate(gray, held_out), "library": evaluate(gray, shipped)}
    table, pictures = {}, {}
    for label, file in (pair.split("=", 1) for pair in options.weights):
        generator = load_generator(file).to(device)
        table[label] = {"seconds": round(read_notes(file)["seconds"])}
        for where, loader in {"held-out": held_out, "library": shipped}.items():
            scores = evaluate(generator, loader)
            table[label][f"{where}: ab MAE / gray"] = scores["ab_mae"] / grays[where]["ab_mae"]
            table[label][f"{where}: chroma ratio"] = scores["chroma_ratio"]
        pictures[label] = predict_first(generator, shipped, len(shipped.rgb))
        print(label, table[label], flush=True)
    record = {"commands": options.commands.read_text().splitlines(), "device": device, "table": table}
    if options.encoder:
        notes = read_notes(options.encoder)
        record["encoder"] = {"seconds": round(notes["seconds"]), **notes["valid"]}
    save_tensors(pictures, RUNS / f"{options.name}.safetensors", {"training": options.name})
    with atomic_write(RUNS / f"{options.name}.json") as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
