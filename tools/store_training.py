"""Store the scores and predictions of trained networks for the chapters, when the photos can't be committed.

`python tools/store_training.py NAME --source FOLDER --commands FILE --weights LABEL=FILE...`

Writes two files. `notebooks/runs/NAME.json` has the commands and, for each network, the training time in seconds and
the scores on the held-out test photos of FOLDER and on seven photos that come with scikit-image and scikit-learn.
`NAME.safetensors` has the ab that each network predicts for those seven photos.
"""

import argparse
from pathlib import Path

from colorlib import evaluate, gray, load_generator, make_loaders
from colorlib.config import pick_device
from colorlib.lessons.experiments import library_photos, predict_first, store
from colorlib.zoo import read_info

N_TEST = 500  # photos to report on, the first of those that `colorlib train` holds out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--source", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--commands", type=Path, required=True, help="text file with the commands, one per line")
    parser.add_argument("--weights", nargs="+", required=True, metavar="LABEL=FILE")
    parser.add_argument("--encoder", help="weights of the encoder that the pretrained networks started from")
    options = parser.parse_args()

    device = pick_device()
    held_out = make_loaders(options.source, options.size, 32, n_train=1, n_test=N_TEST, device=device).test
    loaders = {"held-out": held_out, "library": library_photos(options.size, device)}
    gray_errors = {where: evaluate(gray, loader)["ab_mae"] for where, loader in loaders.items()}
    table, ab = {}, {}
    for label, file in (pair.split("=", 1) for pair in options.weights):
        generator = load_generator(file).to(device)
        table[label] = {"seconds": round(read_info(file).seconds)}
        for where, loader in loaders.items():
            scores = evaluate(generator, loader)
            table[label][f"{where}: ab MAE / gray"] = scores["ab_mae"] / gray_errors[where]
            table[label][f"{where}: chroma ratio"] = scores["chroma_ratio"]
        ab[label] = predict_first(generator, loaders["library"], len(loaders["library"].rgb))
        print(label, table[label], flush=True)
    record = {"commands": options.commands.read_text().splitlines(), "device": device, "table": table}
    if options.encoder:
        info = read_info(options.encoder)
        record["encoder"] = {"seconds": round(info.seconds), **info.scores}
    store(options.name, record, ab)


if __name__ == "__main__":
    main()
