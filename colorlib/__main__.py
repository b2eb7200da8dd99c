"""The command line: `colorlib train` and `colorlib evaluate`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from colorlib.config import pick_device, seed_everything
from colorlib.data import Loaders, make_loaders
from colorlib.metrics import evaluate
from colorlib.patchgan import PatchDiscriminator
from colorlib.resnet import resnet_unet
from colorlib.training import History, fit_gan, fit_reconstruction
from colorlib.unet import UNet
from colorlib.zoo import bundled_names, load_generator, save_generator

MODELS = ("unet", "pix2pix", "resnet", "resnet-pix2pix")


def train(options: argparse.Namespace) -> int:
    """Train a generator in one or two stages; write `generator.safetensors` and the checkpoints to a folder."""
    out = Path(options.out)
    checkpoints = [out / "reconstruction.pt", out / "gan.pt"]
    if not options.resume and any(path.exists() for path in checkpoints):
        raise ValueError(f"{out} holds a training already: add --resume to go on with it, or choose another --out.")
    seed_everything(options.seed)
    loaders = _loaders(options, store_size=options.store_size, vary_tone=options.vary_tone)
    print(loaders)
    if options.model.startswith("resnet"):
        generator = resnet_unet(options.arch, None if options.encoder == "none" else options.encoder)
    else:
        generator = UNet(options.base_channels, options.n_down, n_blocks=options.n_blocks)
    adversarial = options.model.endswith("pix2pix")
    stages: list[Callable[[], History]] = [
        lambda: fit_reconstruction(
            generator, loaders, epochs=options.epochs, lr=options.lr, checkpoint=checkpoints[0], resume=options.resume
        )
    ]
    if adversarial:
        stages.append(
            lambda: fit_gan(
                generator,
                PatchDiscriminator(spectral_norm=options.spectral_norm),
                loaders,
                epochs=options.gan_epochs,
                lambda_l1=options.lambda_l1,
                ema=options.ema,
                checkpoint=checkpoints[1],
                resume=options.resume,
            )
        )
    for name, fit in zip(("reconstruction", "gan"), stages):
        history = fit()
        if history.interrupted:
            print(f"The same command with --resume goes on from {out}.")
            return 130
        print(f"{name}: {history.seconds:.0f} s\n{history}")
        scores = evaluate(generator, loaders.test)
        notes = {"stage": name, "command": vars(options) | {"run": None}, "seconds": history.seconds, "test": scores}
        save_generator(generator, out / f"{name}.safetensors", notes)
        _print_scores(scores)
    print(f"saved: {', '.join(str(path) for path in sorted(out.glob('*.safetensors')))}")
    return 0


def measure(options: argparse.Namespace) -> int:
    """Score a generator on the held-out test pictures of a source."""
    generator = load_generator(options.weights).to(pick_device(options.device))
    loaders = _loaders(options)
    print(loaders)
    scores = {"grey": evaluate(lambda L: torch.zeros_like(L).expand(-1, 2, -1, -1), loaders.test)}
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
    parser = argparse.ArgumentParser(prog="colorlib", description="Learn to colour grey photos.")
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

    train_parser = commands.add_parser("train", parents=[data], help="train a generator", description=train.__doc__)
    train_parser.add_argument("--model", choices=MODELS, default="unet", help="default: %(default)s")
    train_parser.add_argument("--out", required=True, metavar="DIR", help="folder for weights and checkpoints")
    train_parser.add_argument("--resume", action="store_true", help="go on with the training in --out")
    train_parser.add_argument("--epochs", type=int, default=5, help="of the L1 stage (default: %(default)s)")
    train_parser.add_argument("--gan-epochs", type=int, default=3, help="of the GAN stage (default: %(default)s)")
    train_parser.add_argument(
        "--lr", type=float, default=2e-2, help="of the L1 stage, at its peak (default: %(default)s)"
    )
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
        "--vary-tone", action="store_true", help="vary contrast, and luma against L*: for photos that were stored grey"
    )
    train_parser.add_argument(
        "--spectral-norm", action="store_true", help="in the discriminator, in place of BatchNorm"
    )
    train_parser.add_argument(
        "--ema", type=float, default=0.99, help="share of the weights' average that a GAN step keeps (%(default)s)"
    )
    train_parser.add_argument("--arch", default="resnet18", help="encoder of the resnet models (default: %(default)s)")
    train_parser.add_argument(
        "--encoder", default="imagenet", metavar="WEIGHTS", help="of the resnet models: imagenet, none, or a file"
    )
    train_parser.set_defaults(run=train)

    measure_parser = commands.add_parser("evaluate", parents=[data], help="score weights", description=measure.__doc__)
    names = f"; bundled: {', '.join(bundled_names())}" if bundled_names() else ""
    measure_parser.add_argument("--weights", required=True, help=f"a file written by colorlib train{names}")
    measure_parser.set_defaults(run=measure)
    return parser


def _loaders(options: argparse.Namespace, **more) -> Loaders:
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
