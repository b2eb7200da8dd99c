"""The command line: `colorlib colorize`, `colorlib train` and `colorlib evaluate`."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colorlib.data import Loaders
    from colorlib.loop import History

# Each command imports what it needs when it runs: the help comes at once, and coloring waits for no training code.
# The models to train, and the peak of the learning rate that suits their first stage.
MODELS = {"unet": 2e-2, "pix2pix": 2e-2, "resnet": 1e-3, "resnet-pix2pix": 1e-3, "encoder": 2e-3}


def train(options: argparse.Namespace) -> int:
    """Train a generator in one or two stages; write each stage's weights and checkpoint to a folder."""
    from colorlib.config import seed_everything
    from colorlib.metrics import evaluate
    from colorlib.patchgan import FeatureDiscriminator, PatchDiscriminator
    from colorlib.resnet import resnet_unet
    from colorlib.training import fit_gan, fit_reconstruction
    from colorlib.unet import UNet
    from colorlib.zoo import load_generator, save_generator

    out = Path(options.out)
    checkpoints = [out / "reconstruction.pt", out / "gan.pt", out / "encoder.pt"]
    if not options.resume and any(path.exists() for path in checkpoints):
        raise ValueError(f"{out} holds a training already: add --resume to go on with it, or choose another --out.")
    seed_everything(options.seed)
    labels = options.label_weight > 0 or options.model == "encoder"
    loaders = _loaders(options, store_size=options.store_size, vary_tone=options.vary_tone, labels=labels)
    print(loaders)
    options.lr = MODELS[options.model] if options.lr is None else options.lr
    if options.model == "encoder":
        if options.init or options.epochs < 1:
            raise ValueError("--model encoder starts from random numbers and needs an epoch: no --init, no --epochs 0.")
        return _train_encoder(options, loaders, out, checkpoints[2])
    if options.init:
        generator = load_generator(options.init)
    elif options.model.startswith("resnet"):
        generator = resnet_unet(options.arch, None if options.encoder == "none" else options.encoder, options.decoder)
    else:
        generator = UNet(options.base_channels, options.n_down, n_blocks=options.n_blocks)
    adversarial = options.model.endswith("pix2pix")
    stages: dict[str, Callable[[], History]] = {}
    if options.epochs:
        stages["reconstruction"] = lambda: fit_reconstruction(
            generator,
            loaders,
            epochs=options.epochs,
            lr=options.lr,
            encoder_lr=options.encoder_lr,
            freeze=options.freeze,
            schedule=options.schedule,
            label_weight=options.label_weight,
            checkpoint=checkpoints[0],
            resume=options.resume,
        )
    if adversarial:
        if options.discriminator == "features":
            discriminator = FeatureDiscriminator(options.discriminator_weights)
        else:
            discriminator = PatchDiscriminator(spectral_norm=options.spectral_norm)
        stages["gan"] = lambda: fit_gan(
            generator,
            discriminator,
            loaders,
            adversarial=options.adversarial,
            epochs=options.gan_epochs,
            lr_g=options.gan_lr,
            lr_d=options.gan_lr if options.gan_lr_d is None else options.gan_lr_d,
            betas=options.betas,
            lambda_l1=options.lambda_l1,
            ema=options.ema,
            checkpoint=checkpoints[1],
            resume=options.resume,
        )
    if not stages:
        raise ValueError(f"--epochs 0 leaves nothing to train for --model {options.model}.")
    for name, fit in stages.items():
        history = fit()
        if not _report(name, history, out):
            return 130
        scores = evaluate(generator, loaders.test)
        notes = {"stage": name, "command": vars(options) | {"run": None}, "seconds": history.seconds, "test": scores}
        notes["render_size"] = options.size  # the Colorizer then shows the network what it knows
        save_generator(generator, out / f"{name}.safetensors", notes)
        _print_scores(scores)
    print(f"saved: {', '.join(str(path) for path in sorted(out.glob('*.safetensors')))}")
    return 0


def _train_encoder(options: argparse.Namespace, loaders: "Loaders", out: Path, checkpoint: Path) -> int:
    """Train a ResNet encoder to name photos, for `--encoder`; write `encoder.safetensors` and the checkpoint."""
    from colorlib.pretraining import GrayClassifier, fit_labels
    from colorlib.resnet import N_FEATURES, resnet_unet, save_encoder

    encoder = resnet_unet(options.arch, None).encoder
    classifier = GrayClassifier(encoder, N_FEATURES, len(loaders.classes))
    history = fit_labels(
        classifier, loaders, epochs=options.epochs, lr=options.lr, checkpoint=checkpoint, resume=options.resume
    )
    if not _report("encoder", history, out):
        return 130
    notes = {"command": vars(options) | {"run": None}, "seconds": history.seconds, "classes": len(loaders.classes)}
    save_encoder(encoder, out / "encoder.safetensors", notes | {"valid": history.rows[-1]})
    print(f"saved: {out / 'encoder.safetensors'}")
    return 0


def _report(stage: str, history: "History", out: Path) -> bool:
    """Print how a stage went; return whether it came to its end."""
    if history.interrupted:
        print(f"The same command with --resume goes on from {out}.")
        return False
    print(f"{stage}: {history.seconds:.0f} s\n{history}")
    return True


def colorize(options: argparse.Namespace) -> int:
    """Color photos at their own resolution, keeping their light; the results go to a folder."""
    from tqdm import tqdm

    from colorlib.albums import file_id, plan_results
    from colorlib.colorizer import Colorizer
    from colorlib.images import save_image

    done, failures = 0, 0

    def failed(error: Exception | str) -> None:
        nonlocal failures
        failures += 1
        tqdm.write(f"colorlib: {' '.join(str(error).splitlines()) or type(error).__name__}", file=sys.stderr)

    colorizer = Colorizer.from_pretrained(options.weights, options.device)
    jobs = plan_results(options.inputs, Path(options.out), failed)
    inputs = {file_id(photo) for photo, _ in jobs} - {None}
    for photo, result in tqdm(jobs, unit="photo", disable=None):  # None: no bar unless a person looks on
        try:
            if file_id(result) in inputs:
                raise FileExistsError(f"{photo}: its result would replace the input {result}; choose another --out.")
            if os.path.lexists(result) and not options.overwrite:
                raise FileExistsError(f"{photo}: {result} exists already; add --overwrite to replace it.")
            save_image(colorizer.colorize(photo, options.render_size, options.saturation), result, options.overwrite)
            done += 1
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            failed(error if str(photo) in str(error) else f"{photo}: {error}")
    print(f"{done} colored, {failures} failed; results are in {options.out}")
    return 1 if failures else 0


def measure(options: argparse.Namespace) -> int:
    """Score a generator on the held-out test pictures of a source."""
    import torch

    from colorlib.config import pick_device
    from colorlib.metrics import evaluate
    from colorlib.zoo import load_generator

    generator = load_generator(options.weights).to(pick_device(options.device))
    loaders = _loaders(options)
    print(loaders)
    scores = {"gray": evaluate(lambda L: torch.zeros_like(L).expand(-1, 2, -1, -1), loaders.test)}
    scores[options.weights] = evaluate(generator, loaders.test)
    for name, values in scores.items():
        print(name)
        _print_scores(values)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"colorlib: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="colorlib", description="Learn to color gray photos.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = argparse.ArgumentParser(add_help=False)
    data.add_argument(
        "--source",
        required=True,
        help="scenes, bundled, imagenette, coco, or a folder of photos (searched to any depth)",
    )
    data.add_argument("--size", type=int, default=64, help="side of the pictures, px (default: %(default)s)")
    data.add_argument("--batch-size", type=int, default=4, help="pictures a step (default: %(default)s)")
    data.add_argument("--n-train", type=int, help="training pictures (default: 1500 scenes, all photos)")
    data.add_argument("--n-test", type=int, help="held-out pictures (default: 200 scenes, 5 %% of the photos)")
    data.add_argument("--seed", type=int, default=0, help="repeats a training exactly (default: %(default)s)")
    data.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")

    _add_colorize(commands)

    train_parser = commands.add_parser("train", parents=[data], help="train a generator", description=train.__doc__)
    train_parser.add_argument(
        "--model",
        choices=MODELS,
        default="unet",
        help="encoder: a ResNet that learns to name class folders, to start a resnet from (default: %(default)s)",
    )
    train_parser.add_argument("--out", required=True, metavar="DIR", help="folder for weights and checkpoints")
    train_parser.add_argument("--resume", action="store_true", help="go on with the training in --out")
    train_parser.add_argument(
        "--epochs", type=int, default=5, help="of the first stage, 0 for no L1 stage (default: %(default)s)"
    )
    train_parser.add_argument("--gan-epochs", type=int, default=5, help="of the GAN stage (default: %(default)s)")
    train_parser.add_argument(
        "--lr", type=float, help="of the first stage, at its peak (default: 0.02, resnet 0.001, encoder 0.002)"
    )
    train_parser.add_argument(
        "--encoder-lr", type=float, help="of the encoder of the resnet models, in the first stage (default: as --lr)"
    )
    train_parser.add_argument(
        "--freeze",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the first stage's steps in which the encoder keeps its weights (default: %(default)s)",
    )
    train_parser.add_argument(
        "--schedule",
        choices=["one-cycle", "linear"],
        default="one-cycle",
        help="of the learning rate in the first stage; linear: a short rise, then down to zero (default: %(default)s)",
    )
    train_parser.add_argument(
        "--label-weight",
        type=float,
        default=0.0,
        help="weight of naming each photo's class folder beside the L1 loss; for the U-Net (default: %(default)s)",
    )
    train_parser.add_argument(
        "--gan-lr", type=float, default=8e-4, help="of both networks in the GAN stage (default: %(default)s)"
    )
    train_parser.add_argument("--gan-lr-d", type=float, help="of the discriminator (default: as --gan-lr)")
    train_parser.add_argument(
        "--betas",
        type=float,
        nargs=2,
        default=(0.5, 0.999),
        metavar="B",
        help="of Adam in the GAN stage (default: 0.5 0.999)",
    )
    train_parser.add_argument(
        "--adversarial", choices=["bce", "lsgan", "hinge"], default="bce", help="the GAN loss (default: %(default)s)"
    )
    train_parser.add_argument(
        "--discriminator",
        choices=["patch", "features"],
        default="patch",
        help="a PatchGAN, or heads on the features of a frozen pretrained ResNet-18 (default: %(default)s)",
    )
    train_parser.add_argument(
        "--discriminator-weights",
        default="imagenet",
        metavar="WEIGHTS",
        help="of that ResNet: imagenet, or a file with torchvision's names (default: %(default)s)",
    )
    train_parser.add_argument("--init", metavar="WEIGHTS", help="start from these weights, and their network")
    train_parser.add_argument(
        "--lambda-l1", type=float, default=20.0, help="weight of L1 beside the GAN loss (%(default)s)"
    )
    train_parser.add_argument("--base-channels", type=int, default=16, help="width of the U-Net (default: %(default)s)")
    train_parser.add_argument("--n-down", type=int, default=4, help="halvings of the U-Net (default: %(default)s)")
    train_parser.add_argument("--n-blocks", type=int, default=0, help="residual blocks at its bottleneck (%(default)s)")
    train_parser.add_argument(
        "--store-size", type=int, help="px at which photos are kept to take crops from (default: 2 x size)"
    )
    train_parser.add_argument(
        "--vary-tone", action="store_true", help="vary contrast, and luma against L*: for photos that were stored gray"
    )
    train_parser.add_argument(
        "--spectral-norm", action="store_true", help="in the discriminator, in place of BatchNorm"
    )
    train_parser.add_argument(
        "--ema", type=float, default=0.99, help="share of the weights' average that a GAN step keeps (%(default)s)"
    )
    train_parser.add_argument("--arch", default="resnet18", help="encoder of the resnet models (default: %(default)s)")
    train_parser.add_argument(
        "--encoder",
        default="imagenet",
        metavar="WEIGHTS",
        help="of the resnet models: imagenet, none, or a file of --model encoder or with torchvision's names",
    )
    train_parser.add_argument(
        "--decoder",
        choices=["fastai", "slim"],
        default="fastai",
        help="of the resnet models: fastai's DynamicUnet, or a small one (default: %(default)s)",
    )
    train_parser.set_defaults(run=train)

    measure_parser = commands.add_parser("evaluate", parents=[data], help="score weights", description=measure.__doc__)
    measure_parser.add_argument(
        "--weights", required=True, help="a file written by colorlib train, or the name of a bundled one"
    )
    measure_parser.set_defaults(run=measure)
    return parser


COLORIZE_HELP = """\
examples:
  colorlib colorize grandma.jpg --out colored
      writes colored/grandma.jpg, as large as the original, with its light, EXIF data and an sRGB profile
  colorlib colorize album scans/1932.tif --out colored
      every photo below album, in the same subfolders of colored, and one more file
  colorlib colorize album --out bolder --saturation 1.3 --weights run1/gan.safetensors
      stronger colors, by a network that `colorlib train` made

A result has its photo's name and format; GIF becomes PNG, which has enough colors. Of two photos with one name the
second gets a number (1932-2.jpg). A result that exists already is left as it is and its photo counts as failed;
--overwrite replaces results, never an input. Each photo that fails is named on one line of stderr.

exit status: 0 all done, 1 some inputs failed, 2 wrong usage, 130 interrupted (no half-written file is left)
"""


def _add_colorize(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "colorize",
        help="color photos",
        description=colorize.__doc__,
        epilog=COLORIZE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=_not_empty,
        metavar="FILE_OR_FOLDER",
        help="photos, and folders of photos (searched to any depth)",
    )
    parser.add_argument("--out", required=True, type=_folder, metavar="DIR", help="folder for the results")
    parser.add_argument("--weights", metavar="W", help="a name or a file of colorlib train (default: the bundled ones)")
    parser.add_argument(
        "--render-size",
        type=_checked(int, "check_render_size"),
        metavar="N",
        help="shorter side of what the network sees, px (default: what suits the weights)",
    )
    parser.add_argument(
        "--saturation",
        type=_checked(float, "check_saturation"),
        default=1.0,
        metavar="S",
        help="strength of the colors: 0 gray, 1 as predicted (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist already")
    parser.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    parser.set_defaults(run=colorize)


def _checked(number: type, check: str) -> Callable[[str], float]:
    """Return an argument type: a number that the named check of `colorlib.colorizer` accepts."""

    def parse(text: str) -> float:
        from colorlib import colorizer

        try:
            value = number(text)
        except ValueError:
            value = text  # which the check refuses in its own words
        try:
            return getattr(colorizer, check)(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def _not_empty(text: str) -> str:
    if not text:  # Path("") would be the current folder
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def _folder(text: str) -> str:
    if os.path.exists(_not_empty(text)) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text} is a file, not a folder")
    return text


def _loaders(options: argparse.Namespace, **more) -> "Loaders":
    from colorlib.config import pick_device
    from colorlib.data import make_loaders

    return make_loaders(
        options.source,
        options.size,
        options.batch_size,
        n_train=options.n_train,
        n_test=options.n_test,
        seed=options.seed,
        device=pick_device(options.device),
        **more,
    )


def _print_scores(scores: dict[str, float]) -> None:
    for name, value in scores.items():
        print(f"  {name:24} {value:8.3f}")


if __name__ == "__main__":
    sys.exit(main())
