"""The command line: `colorlib colorize`, `colorlib train` and `colorlib evaluate`."""

import argparse
import io
import math
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from colorlib.config import check_render_size, check_saturation

if TYPE_CHECKING:
    from colorlib.batches import Batches
    from colorlib.data import Loaders
    from colorlib.loop import History

# Each command imports what it needs when it runs, so that --help is instant and coloring loads no training code.
# model -> default peak of the learning rate of its first stage
MODELS = {"unet": 2e-2, "pix2pix": 2e-2, "resnet": 1e-3, "resnet-pix2pix": 1e-3, "encoder": 2e-3}


def colorize(options: argparse.Namespace) -> int:
    """Color photos at full resolution and save the results in a folder. Every pixel keeps its lightness."""
    from tqdm import tqdm

    from colorlib.albums import color_album
    from colorlib.colorizer import Colorizer

    finish = _brush(options.strokes) if options.strokes else None
    tally = color_album(
        Colorizer.from_pretrained(options.weights, options.device),
        options.inputs,
        options.out,
        lambda sentence: tqdm.write(f"colorlib: {sentence}", file=sys.stderr),
        render_size=options.render_size,
        saturation=options.saturation,
        finish=finish,
        overwrite=options.overwrite,
    )
    skipped = f"{tally.skipped} skipped (their results exist; --overwrite replaces them), " if tally.skipped else ""
    print(f"{tally.colored} colored, {skipped}{tally.failed} failed; results are in {options.out}")
    return 1 if tally.failed else 0


def train(options: argparse.Namespace) -> int:
    """Train a generator in one or two stages; write the weights and checkpoint of each stage to a folder."""
    from colorlib.config import seed_everything
    from colorlib.metrics import evaluate as scores_of
    from colorlib.tensors import WeightsInfo
    from colorlib.zoo import save_generator

    out = Path(options.out)
    if not options.resume and any((out / f"{stage}.pt").exists() for stage in ("reconstruction", "gan", "encoder")):
        raise ValueError(f"{out} already contains a training run: add --resume to continue it, or change --out.")
    seed_everything(options.seed)
    options.lr = MODELS[options.model] if options.lr is None else options.lr
    if options.encoder is None:
        options.encoder = "none" if options.model == "encoder" else "imagenet"
    options.encoder = None if options.encoder == "none" else options.encoder
    labels = options.label_weight > 0 or options.model == "encoder"
    loaders = _loaders(
        options, store_size=options.store_size, vary_tone=options.vary_tone, labels=labels, workers=options.workers
    )
    print(loaders)
    if options.model == "encoder":
        return _train_encoder(options, loaders, out)
    generator = _generator(options)
    stages = _stages(options, generator, loaders, out)
    if not stages:
        raise ValueError(f"--epochs 0 leaves nothing to train for --model {options.model}.")
    for name, fit in stages.items():
        history = fit()
        if not _report(name, history, out):
            return 130
        scores = scores_of(generator, loaders.test)
        info = WeightsInfo(options.size, loaders.source, (options.command,), history.seconds, scores)
        save_generator(generator, out / f"{name}.safetensors", info)
        _print_scores(scores)
        if history.diverged:
            return 1
    print(f"saved: {', '.join(str(path) for path in sorted(out.glob('*.safetensors')))}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Score weights on the held-out images of a source, beside two easy rivals: gray, and one color for all pixels."""
    from colorlib.comparison import ladder, multiplied_curve
    from colorlib.config import pick_device
    from colorlib.zoo import load_generator, read_info

    _check_results(options)  # before the scoring, which may take minutes
    if options.figure:
        from colorlib import show
    device = pick_device(options.device)
    models = {name: load_generator(name).to(device) for name in dict.fromkeys(options.weights)}
    if options.size is None:
        options.size = next(filter(None, (read_info(name).render_size for name in models)), 64)
    test, train = _every_photo(options) if options.all else _held_out(options)
    scored = ladder(models, test, train, seed=options.seed)
    print(scored)
    if options.csv:
        scored.to_csv(options.csv)
    if options.figure:
        curves = {name: multiplied_curve(model, test) for name, model in models.items()}
        show.plane(scored.rows, curves).savefig(options.figure, dpi=150)
    written = [str(path) for path in (options.csv, options.figure) if path]
    if written:
        print(f"saved: {', '.join(written)}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # printing a name that the encoding can't represent must not fail
    parser = _parser()
    options = parser.parse_args(arguments)
    if getattr(options, "strokes", None) and (len(options.inputs) > 1 or os.path.isdir(options.inputs[0])):
        parser.error("--strokes corrects one photo: name one photo file, not several or a folder")
    options.command = " ".join(["colorlib", *arguments])
    format_before, warnings.formatwarning = warnings.formatwarning, lambda message, *args: f"colorlib: {message}\n"
    try:
        return options.run(options)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        print(f"colorlib: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        warnings.formatwarning = format_before


def _brush(path: str) -> Callable:
    """Return a function that corrects a colored photo with the strokes in a file."""
    from colorlib.brush import touch_up
    from colorlib.strokes import read_strokes

    try:
        strokes = read_strokes(path)
    except OSError as error:
        raise ValueError(f"the strokes in {path} can't be read: {error.strerror or error}") from error
    return lambda colored: touch_up(colored, strokes)


def _generator(options: argparse.Namespace):
    """Build the network to train, or load it from --init."""
    from colorlib.resnet import resnet_unet
    from colorlib.unet import UNet
    from colorlib.zoo import load_generator

    if options.init:
        return load_generator(options.init)
    if options.model.startswith("resnet"):
        return resnet_unet(options.arch, options.encoder, options.decoder)
    return UNet(options.base_channels, options.n_down, n_blocks=options.n_blocks)


def _stages(options, generator, loaders: "Loaders", out: Path) -> dict[str, Callable[[], "History"]]:
    """Return the fits to run, in order, by the name of their stage."""
    from colorlib.patchgan import FeatureDiscriminator, PatchDiscriminator
    from colorlib.training import fit_gan, fit_reconstruction

    stages = {}
    if options.epochs:
        stages["reconstruction"] = lambda: fit_reconstruction(
            generator, loaders, epochs=options.epochs, lr=options.lr, encoder_lr=options.encoder_lr,
            freeze=options.freeze, schedule=options.schedule, label_weight=options.label_weight,
            checkpoint=out / "reconstruction.pt", resume=options.resume,
        )  # fmt: skip
    if options.model.endswith("pix2pix"):
        if options.discriminator == "features":
            discriminator = FeatureDiscriminator(options.discriminator_weights)
        else:
            discriminator = PatchDiscriminator(spectral_norm=options.spectral_norm)
        lr_d = options.gan_lr if options.gan_lr_d is None else options.gan_lr_d
        stages["gan"] = lambda: fit_gan(
            generator, discriminator, loaders, adversarial=options.adversarial, lambda_l1=options.lambda_l1,
            epochs=options.gan_epochs, lr_g=options.gan_lr, lr_d=lr_d, betas=options.betas, ema=options.ema,
            checkpoint=out / "gan.pt", resume=options.resume,
        )  # fmt: skip
    return stages


def _train_encoder(options: argparse.Namespace, loaders: "Loaders", out: Path) -> int:
    """Train a ResNet to classify photos, in color and gray, by their class folders, for --encoder."""
    from colorlib.pretraining import PhotoClassifier, fit_classifier
    from colorlib.resnet import rgb_resnet, save_encoder
    from colorlib.tensors import WeightsInfo

    if options.init or options.epochs < 1:
        raise ValueError("--model encoder starts from --encoder and needs an epoch: no --init, no --epochs 0.")
    resnet = rgb_resnet(options.arch, options.encoder)
    classifier = PhotoClassifier(resnet, len(loaders.classes))
    checkpoint = out / "encoder.pt"
    history = fit_classifier(
        classifier, loaders, epochs=options.epochs, lr=options.lr, checkpoint=checkpoint, resume=options.resume
    )
    if not _report("encoder", history, out):
        return 130
    scores = {key: value for key, value in (history.rows or [{}])[-1].items() if "valid_accuracy" in key}
    scores["classes"] = len(loaders.classes)
    info = WeightsInfo(None, loaders.source, (options.command,), history.seconds, scores)
    save_encoder(resnet, out / "encoder.safetensors", info)
    print(f"saved: {out / 'encoder.safetensors'}")
    return 1 if history.diverged else 0


def _report(stage: str, history: "History", out: Path) -> bool:
    """Print the record of a stage; return whether it was completed."""
    if history.interrupted:
        print(f"To continue from {out}, run the same command with --resume.")
        return False
    print(f"{stage}: {history.seconds:.0f} s\n{history}")
    return True


def _loaders(options: argparse.Namespace, **more) -> "Loaders":
    from colorlib.config import pick_device
    from colorlib.data import make_loaders

    counts = {"n_train": options.n_train, "n_test": options.n_test, "seed": options.seed}
    device = pick_device(options.device)
    return make_loaders(options.source, options.size, options.batch_size, device=device, **counts, **more)


def _held_out(options: argparse.Namespace) -> tuple["Batches", "Batches"]:
    """Return the test and the training images of a source."""
    loaders = _loaders(options)
    print(f"{loaders}; the test images are scored")
    return loaders.test, loaders.train


def _every_photo(options: argparse.Namespace) -> tuple["Batches", "Batches"]:
    """Return all photos of a source for testing; as nothing is left for training, they also give the mean color."""
    import torch

    from colorlib.batches import Batches

    if options.source == "scenes":
        raise ValueError("--all is for photos; of scenes, --n-test N scores as many as you like.")
    options.n_test, options.n_train = 1, None
    loaders = _loaders(options, store_size=options.size)
    rgb = torch.cat([part.rgb for part in (loaders.test, loaders.valid, loaders.train)])
    print(f"{loaders.source}: all {len(rgb):,} photos are scored, {options.size}×{options.size} px; mean ab is theirs")
    test = Batches(rgb, options.size, options.batch_size, device=loaders.test.device)
    return test, test


def _check_results(options: argparse.Namespace) -> None:
    """Refuse to replace a file, unless asked to, or to write into a folder that is not there."""
    for path in filter(None, (options.csv, options.figure)):
        if path.exists() and not options.overwrite:
            raise ValueError(f"{path} exists: add --overwrite to replace it, or change the name.")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.parent}.")


def _print_scores(scores: dict[str, float]) -> None:
    for name, value in scores.items():
        print(f"  {name:24} {value:8.3f}")


COLORIZE_HELP = """\
examples:
  colorlib colorize grandma.jpg --out colored
      writes colored/grandma.jpg with the size, lightness and EXIF data of the original, and an sRGB profile
  colorlib colorize album scans/1932.tif --out colored
      colors all photos in album, keeping its subfolders, and the file 1932.tif
  colorlib colorize album --out bolder --saturation 1.3 --weights run1/gan.safetensors
      uses stronger colors and weights from `colorlib train`
  colorlib colorize grandma.jpg --out colored --strokes grandma.strokes.json
      corrects the colors with strokes that were drawn in the app or in chapter 07 and saved there

Each result keeps the name and format of its photo, but GIFs (which have too few colors) and formats that can't be
written become PNG. If two photos have the same name, the second result gets a number (1932-2.jpg). Photos that already
have a result are skipped, so running the same command again continues an interrupted album. --overwrite replaces
results, but never an input. Each failure is reported in one line on stderr. Images are limited to 100 million pixels;
set COLORLIB_MAX_MEGAPIXELS=400 to allow 400 million.

exit status: 0 all done, 1 some inputs failed, 2 wrong usage, 130 interrupted (no half-written file is left)
"""


EVALUATE_HELP = """\
examples:
  colorlib evaluate --source album --all --weights photos photos-l1
      scores both on all photos in the folder album, none of which they were trained on
  colorlib evaluate --source album --weights run1/gan.safetensors photos --csv scores.csv --figure scores.png
      scores them on the photos that `colorlib train --source album` holds out (5 %, or --n-test)

All weights see the same images, at --size; without it, at the size stored with the first weights. The 95% interval is
from a bootstrap over the images: it says how much the error depends on which photos you have. The figure shows each
model as a point, and the line on which its colors are multiplied by 0.5 to 2.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="colorlib", description="Learn to color gray photos.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    formatter = argparse.RawDescriptionHelpFormatter
    command = commands.add_parser(
        "colorize", help="color photos", description=colorize.__doc__, epilog=COLORIZE_HELP, formatter_class=formatter
    )
    command.set_defaults(run=colorize)
    add = command.add_argument
    add("inputs", nargs="+", type=_not_empty, metavar="FILE_OR_FOLDER", help="photos, or folders to search for them")
    add("--out", required=True, type=_folder, metavar="DIR", help="folder for the results")
    add("--weights", metavar="W", help="a name, or a file written by colorlib train (default: the bundled weights)")
    add("--render-size", type=_checked(int, check_render_size), metavar="N",
        help="shorter side of the network's input, px (default: stored with the weights)")  # fmt: skip
    add("--saturation", type=_checked(float, check_saturation), default=1.0, metavar="S",
        help="strength of the colors: 0 gray, 1 as predicted (default: %(default)s)")  # fmt: skip
    add("--strokes", type=_not_empty, metavar="FILE",
        help="correct the colors of one photo with these strokes, a JSON file")  # fmt: skip
    add("--overwrite", action="store_true", help="replace existing results")
    add("--device", help="cpu, cuda or mps (default: the fastest available)")

    command = commands.add_parser(
        "train", parents=[_data_options(64)], help="train a generator", description=train.__doc__
    )
    command.set_defaults(run=train)
    add = command.add_argument
    add("--model", choices=MODELS, default="unet",
        help="network; encoder: pretrain a ResNet on class folders, for --encoder (default: %(default)s)")  # fmt: skip
    add("--out", required=True, metavar="DIR", help="folder for weights and checkpoints")
    add("--resume", action="store_true", help="continue the training in --out")
    add("--init", metavar="WEIGHTS", help="start from the network and weights in this file")
    add("--epochs", type=_whole(0), default=5, help="epochs of the first stage; 0 skips it (default: %(default)s)")
    add("--lr", type=_number(0), help="peak learning rate, first stage (default: 0.02; resnet 0.001, encoder 0.002)")
    add("--encoder-lr", type=_number(0), help="peak learning rate of the encoder, first stage (default: as --lr)")
    add("--freeze", type=_number(0, 1), default=0.0, metavar="SHARE",
        help="share of the first stage's steps in which the encoder is frozen (default: %(default)s)")  # fmt: skip
    add("--schedule", choices=["one-cycle", "linear"], default="one-cycle",
        help="learning rate schedule, first stage; linear: short rise, fall to 0 (default: %(default)s)")  # fmt: skip
    add("--label-weight", type=_number(0), default=0.0,
        help="weight of an added classification loss on class folders, U-Net only (default: %(default)s)")  # fmt: skip
    add("--gan-epochs", type=_whole(1), default=5, help="epochs of the GAN stage (default: %(default)s)")
    add("--gan-lr", type=_number(0), default=8e-4, help="learning rate of the GAN stage (default: %(default)s)")
    add("--gan-lr-d", type=_number(0), help="learning rate of the discriminator (default: as --gan-lr)")
    add("--betas", type=_number(0, 0.9999), nargs=2, default=(0.5, 0.999), metavar="BETA",
        help="betas of Adam in the GAN stage (default: 0.5 0.999)")  # fmt: skip
    add("--adversarial", choices=["bce", "lsgan", "hinge"], default="bce", help="GAN loss (default: %(default)s)")
    add("--lambda-l1", type=_number(0), default=20.0, help="weight of L1 in the GAN stage (default: %(default)s)")
    add("--discriminator", choices=["patch", "features"], default="patch",
        help="PatchGAN, or heads on features of a frozen pretrained ResNet-18 (default: %(default)s)")  # fmt: skip
    add("--discriminator-weights", default="imagenet", metavar="WEIGHTS",
        help="weights of that ResNet: imagenet, photos-encoder, or a file with torchvision's names "
        "(default: %(default)s)")  # fmt: skip
    add("--spectral-norm", action="store_true", help="use spectral norm instead of BatchNorm in the PatchGAN")
    add("--ema", type=_number(0, 1), default=0.99, help="decay per step of the averaged weights (default: %(default)s)")
    add("--base-channels", type=_whole(1), default=16, help="width of the U-Net (default: %(default)s)")
    add("--n-down", type=_whole(1), default=4, help="number of times the U-Net halves the size (default: %(default)s)")
    add("--n-blocks", type=_whole(0), default=0, help="residual blocks at the bottleneck (default: %(default)s)")
    add("--arch", default="resnet18", help="encoder of the resnet models (default: %(default)s)")
    add("--encoder", metavar="WEIGHTS",
        help="weights that the encoder starts from: imagenet, none, a bundled name, or a file, written by --model "
        "encoder or with torchvision's names (default: imagenet for the resnet models, none for encoder)")  # fmt: skip
    add("--decoder", choices=["fastai", "slim"], default="fastai",
        help="decoder of the resnet models: fastai's DynamicUnet, or a smaller one (default: %(default)s)")  # fmt: skip
    add("--store-size", type=_whole(1), help="side of stored training photos, before cropping, px (default: 2 x size)")
    add("--vary-tone", action="store_true", help="augment lightness; helps with gray photo files and old prints")
    add("--workers", type=_whole(0), default=0,
        help="processes that prepare batches ahead of a GPU, not on Windows (default: %(default)s)")  # fmt: skip

    command = commands.add_parser(
        "evaluate", parents=[_data_options(None)], help="score weights", description=evaluate.__doc__,
        epilog=EVALUATE_HELP, formatter_class=formatter,
    )  # fmt: skip
    command.set_defaults(run=evaluate)
    add = command.add_argument
    add("--weights", required=True, nargs="+", metavar="W", help="files written by colorlib train, or bundled names")
    add("--all", action="store_true", help="score all photos, not only those that colorlib train holds out")
    add("--csv", type=_file(".csv"), metavar="FILE", help="write all scores to this file")
    add("--figure", type=_file(".png", ".pdf", ".svg"), metavar="FILE", help="draw error against colorfulness")
    add("--overwrite", action="store_true", help="replace existing files")
    return parser


def _data_options(size: int | None) -> argparse.ArgumentParser:
    """Return the options that choose images; `size` is the default of --size."""
    data = argparse.ArgumentParser(add_help=False)
    add = data.add_argument
    add("--source", required=True, help="scenes, bundled, imagenette, imagenette-320, coco, or a folder of photos")
    add("--size", type=_whole(32), default=size, help=f"side of the images, px (default: {size or 'as stored with W'})")
    add("--batch-size", type=_whole(1), default=4, help="images per batch (default: %(default)s)")
    add("--n-train", type=_whole(1), help="number of training images (default: 1500 scenes, all photos)")
    add("--n-test", type=_whole(1), help="number of held-out images (default: 200 scenes, 5 %% of the photos)")
    add("--seed", type=_whole(0), default=0, help="random seed (default: %(default)s)")
    add("--device", help="cpu, cuda or mps (default: the fastest available)")
    return data


def _checked(number: type, check: Callable) -> Callable[[str], float]:
    """Return an argument type: a number that `check` accepts."""

    def parse(text: str) -> float:
        try:
            value = number(text)
        except ValueError:
            value = text  # `check` refuses it with its own message
        try:
            return check(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def _whole(lowest: int) -> Callable[[str], int]:
    """Return an argument type: a whole number of at least `lowest`."""

    def parse(text: str) -> int:
        if not text.strip().lstrip("+").isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"it must be a whole number of at least {lowest}, got {text!r}")
        return int(text)

    return parse


def _number(lowest: float, highest: float = math.inf) -> Callable[[str], float]:
    """Return an argument type: a finite number from `lowest` to `highest`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and lowest <= value <= highest):
            limits = f"at least {lowest:g}" if highest == math.inf else f"from {lowest:g} to {highest:g}"
            raise argparse.ArgumentTypeError(f"it must be a number {limits}, got {text!r}")
        return value

    return parse


def _not_empty(text: str) -> str:
    if not text:  # Path("") would be the current folder
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def _file(*endings: str) -> Callable[[str], Path]:
    """Return an argument type: a path with one of these endings."""

    def parse(text: str) -> Path:
        if Path(text).suffix.lower() not in endings:
            raise argparse.ArgumentTypeError(f"the name must end in {' or '.join(endings)}, got {text!r}")
        return Path(text)

    return parse


def _folder(text: str) -> str:
    if os.path.exists(_not_empty(text)) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text} is a file, not a folder")
    return text


if __name__ == "__main__":
    sys.exit(main())
