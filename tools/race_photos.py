"""Train many small networks on a folder of photos, and store what pretraining and two discriminators buy.

`python tools/race_photos.py FOLDER OUT [--encoder WEIGHTS] [--processes 6] [--deadline SECONDS]`

Every run has the same number of steps, so a run on few photos sees each of them more often. It is scored on the test
photos of FOLDER, which no run trains on, and colors seven photos that scikit-image and scikit-learn ship. Each result
is a file in OUT; a run that has one is skipped, so that the same command continues. `--store NAME` then collects them
in `notebooks/runs/NAME.json` and `NAME.safetensors`.
"""

import argparse
import json
import time
from pathlib import Path
from queue import Empty

import torch
import torch.nn.functional as F
from torch import multiprocessing, nn

from colorlib import evaluate, fit_gan, fit_reconstruction, gray, make_loaders
from colorlib.batches import Batches
from colorlib.config import pick_device, seed_everything
from colorlib.data import Loaders
from colorlib.lessons.experiments import library_photos, pack_ab, store
from colorlib.metrics import ab_correlation, predict
from colorlib.patchgan import FeatureDiscriminator, PatchDiscriminator
from colorlib.resnet import GRAY_MEAN, GRAY_STD, resnet_unet
from colorlib.tensors import load_tensors, save_tensors
from colorlib.zoo import load_generator, save_generator

SIZE, STORE_SIZE, N_TEST, BATCH_SIZE = 128, 160, 500, 32
STEPS, LONG = 500, 1500
SIZES = (32, 100, 320, 1000, 3200, 16000)  # photos; each divides STEPS × BATCH_SIZE
SEEDS = (0, 1, 2)
RATES = {"lr": 3e-3, "encoder_lr": 5e-4}
ONE_RATE = {"lr": 3e-3}
FACTORS = (1.0, 1.25, 1.5, 2.0, 2.5)


def all_runs() -> dict[str, dict]:
    """Return the settings of all runs by name, in the order in which to run them."""
    runs = {}

    def add(name: str, n: int = SIZES[-1], steps: int = STEPS, seeds=SEEDS, **more) -> None:
        for seed in seeds:
            runs[f"{name}, {n} photos, {steps} steps, seed {seed}"] = {"n": n, "steps": steps, "seed": seed} | more

    for seed in SEEDS:
        for start, rates in (("pretrained", RATES), ("random", ONE_RATE)):
            add(start, steps=LONG, seeds=[seed], start=start, **rates)
    for seed in SEEDS:
        for n in reversed(SIZES):
            add("pretrained", n, seeds=[seed], start="pretrained", **RATES)
            add("random", n, seeds=[seed], start="random", **ONE_RATE)
        for kind in ("features", "patch"):
            add(f"GAN, {kind}", steps=LONG, seeds=[seed], start="gan", kind=kind)
    return runs


def small_runs() -> dict[str, dict]:
    """Return the settings of the ablations by name. They are small, to run on a CPU; each has its control here."""
    kinds = {
        "two rates": {"start": "pretrained"} | RATES,
        "random": {"start": "random"} | ONE_RATE,
        "frozen": {"start": "pretrained", "freeze": 1.0} | RATES,
        "one rate": {"start": "pretrained"} | ONE_RATE,
        "BatchNorm in eval mode": {"start": "pretrained", "trap": "eval mode"} | RATES,
        "L not normalized": {"start": "pretrained", "trap": "raw input"} | RATES,
        "frozen at first": {"start": "pretrained", "freeze": 0.3} | RATES,
        "random first layer": {"start": "pretrained", "trap": "first layer"} | RATES,
        "fastai's decoder": {"start": "pretrained", "decoder": "fastai"} | RATES,
    }
    fixed = {"n": 4800, "steps": 300, "batch_size": 16}
    return {f"{name}, seed {seed}": fixed | {"seed": seed} | kind for seed in SEEDS for name, kind in kinds.items()}


class RawInput(nn.Module):
    """A ResNet U-Net that gets L in [-1, 1] where it expects normalized gray."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.recipe = net, {}
        self.encoder = net.encoder

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return self.net(2 * (L * GRAY_STD + GRAY_MEAN) - 1)  # `normalize_gray` turns this into L


def build(settings: dict, options: argparse.Namespace) -> nn.Module:
    """Return the network that a run starts with."""
    start, trap = settings["start"], settings.get("trap")
    weights = options.encoder if start == "pretrained" else None
    net = resnet_unet("resnet18", weights, settings.get("decoder", "slim"))
    if trap == "first layer":
        net.encoder[0].reset_parameters()
    if trap == "eval mode":
        for norm in (part for part in net.modules() if isinstance(part, nn.BatchNorm2d)):
            norm.eval()
            norm.train = lambda mode=True, norm=norm: norm  # stays in eval mode
    return RawInput(net) if trap == "raw input" else net


def run(name: str, settings: dict, photos: torch.Tensor, valid, test, options: argparse.Namespace) -> None:
    """Do one run and write its scores, predictions and, for long runs, weights."""
    device = pick_device()
    order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(settings["seed"]))
    n = min(settings["n"], len(photos))
    batch_size = settings.get("batch_size", BATCH_SIZE // 2 if settings["start"] == "gan" else BATCH_SIZE)
    steps = STEPS if settings["start"] == "gan" else settings["steps"]
    train = Batches(
        photos[order[:n]], options.size, batch_size, shuffled=True, seed=settings["seed"],
        repeats=-(-steps * batch_size // n), device=device, workers=options.workers,
    )  # fmt: skip
    fixed = {"size": options.size, "batch_size": 50, "device": device}
    loaders = Loaders(train, Batches(valid, **fixed), Batches(test, **fixed), "photos")
    seed_everything(settings["seed"])
    start = time.monotonic()
    if settings["start"] == "gan":
        before = name.replace(f"GAN, {settings['kind']}", "pretrained")
        net = load_generator(options.out / f"{before}.weights")
        if settings["kind"] == "features":
            discriminator = FeatureDiscriminator(options.encoder)
        else:
            discriminator = PatchDiscriminator(48, 3, spectral_norm=True)
        fit_gan(
            net, discriminator, loaders, adversarial="hinge", epochs=1, lr_g=1e-4, lr_d=4e-4, betas=(0, 0.99),
            progress=False,
        )  # fmt: skip
    else:
        net = build(settings, options)
        rates = {key: settings[key] for key in ("lr", "encoder_lr", "freeze") if key in settings}
        fit_reconstruction(net, loaders, epochs=1, schedule="linear", progress=False, **rates)
    seconds = time.monotonic() - start
    net.to(device).eval()
    record = settings | {"seconds": round(seconds, 1), "scores": scores_of(net, loaders.test)}
    if settings["steps"] == LONG:
        record["multiplied"] = {f: scores_of(lambda L, f=f: f * net(L), loaders.test) for f in FACTORS[1:]}
        save_generator(net, options.out / f"{name}.weights", bits=16)
    ab = predict(net, library_photos(options.size, device).first(7)[0])
    ab = F.interpolate(ab, scale_factor=0.5, mode="area")  # the network predicts ab at half resolution anyway
    save_tensors({name: pack_ab(ab)}, options.out / f"{name}.safetensors", {})
    (options.out / f"{name}.json").write_text(json.dumps(record))
    print(f"{name}: {record['seconds']} s, {record['scores']}", flush=True)


def scores_of(predict, loader: Batches) -> dict[str, float]:
    """Return the ab MAE over gray's, the colorfulness over the truth's, and the correlation inside of photos."""
    with torch.no_grad():
        scores, baseline = (evaluate(net, loader, perceptual=False) for net in (predict, gray))
        return {
            "ab MAE / gray": round(scores["ab_mae"] / baseline["ab_mae"], 4),
            "colorfulness / truth": round(scores["colorfulness"] / scores["colorfulness_true"], 4),
            "correlation": round(ab_correlation(predict, loader), 4),
        }


def work(queue, photos, valid, test, options) -> None:
    """Take runs from the queue until it is empty or the deadline has passed."""
    torch.set_num_threads(options.threads)
    while time.time() < options.until:
        try:
            name, settings = queue.get(timeout=1)
        except Empty:
            return
        try:
            run(name, settings, photos, valid, test, options)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder", default="photos-encoder", help="weights of the pretrained encoder")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare the batches of a run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=1e9, help="seconds after which no run is started")
    parser.add_argument("--small", action="store_true", help="the ablations, at 64 px, instead of the races")
    parser.add_argument("--only", default="", help="only runs whose names contain this")
    parser.add_argument("--store", metavar="NAME", help="collect the results instead")
    parser.add_argument("--device", default="cpu", help="name of the device, for the stored record")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.size, store_size = (64, 80) if options.small else (SIZE, STORE_SIZE)
    runs = small_runs() if options.small else all_runs()
    runs = {name: settings for name, settings in runs.items() if options.only in name}
    if options.store:
        names = [name for name in runs if (options.out / f"{name}.json").exists()]
        table = {name: json.loads((options.out / f"{name}.json").read_text()) for name in names}
        ab = {name: load_tensors(options.out / f"{name}.safetensors")[0][name] for name in names if "seed 0" in name}
        small = " --small" if options.small else ""
        record = {"command": f"python tools/race_photos.py PHOTOS OUT{small}", "device": options.device, "table": table}
        return store(options.store, record, ab)
    options.until = time.time() + options.deadline
    loaders = make_loaders(str(options.folder), options.size, BATCH_SIZE, n_test=N_TEST, store_size=store_size)
    print(loaders, flush=True)
    photos, valid, test = loaders.train.rgb, loaders.valid.rgb[:50], loaders.test.rgb
    context = multiprocessing.get_context("fork")  # the processes share the photos
    queue = context.Queue()
    for name, settings in runs.items():
        if not (options.out / f"{name}.json").exists():
            queue.put((name, settings))
    processes = [
        context.Process(target=work, args=(queue, photos, valid, test, options)) for _ in range(options.processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
