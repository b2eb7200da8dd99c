"""Add trained weights to the package: `python tools/bundle_weights.py NAME --stages L1 GAN --share S ...`

The bundled weights are interpolated: (1 - S) times those of the L1 stage plus S times those of the GAN stage, as in
Wang et al. 2018 (ESRGAN). S trades ab error for colorfulness; so does --saturation, a factor for the last layer.
Choose both on the `valid` photos with `tools/measure_photos.py`. Weights are rounded to half precision.
"""

import argparse
import json
import sys
from pathlib import Path

import colorlib
from colorlib.tensors import WeightsInfo
from colorlib.zoo import load_generator, save_generator

PRETRAINED = Path(colorlib.__file__).parent / "pretrained"


def mix(first: Path, second: Path, share: float, saturation: float):
    """Return the generator of `second` with (1 - share) of the weights of `first` and `share` of its own.

    Its last layer is multiplied by `saturation`. Where ab is small, and tanh therefore nearly linear, ab is multiplied
    by the same factor.
    """
    start, generator = load_generator(first), load_generator(second)
    if start.recipe != generator.recipe:
        raise SystemExit(f"{first} and {second} are different networks: {start.recipe}, {generator.recipe}.")
    ours, theirs = generator.state_dict(), start.state_dict()
    for name, weight in ours.items():
        if weight.is_floating_point():
            weight.lerp_(theirs[name], 1 - share)
    for parameter in generator.head.parameters():
        parameter.data *= saturation
    return generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the bundled weights, or a path ending in .safetensors to try them out")
    parser.add_argument("--stages", nargs=2, type=Path, required=True, metavar=("L1", "GAN"))
    parser.add_argument("--share", type=float, required=True, help="fraction of the GAN stage's weights, 0 to 1")
    parser.add_argument("--saturation", type=float, default=1.0, help="factor of the last layer (default: 1)")
    parser.add_argument("--render-size", type=int, required=True)
    parser.add_argument("--info", type=Path, help="JSON with entries of WeightsInfo: data, commands, seconds, scores")
    options = parser.parse_args()

    entries = json.loads(options.info.read_text()) if options.info else {}
    commands = (*entries.get("commands", ()), " ".join(["python tools/bundle_weights.py", *sys.argv[1:]]))
    info = WeightsInfo(**entries | {"render_size": options.render_size, "commands": commands})
    path = Path(options.name) if options.name.endswith(".safetensors") else PRETRAINED / f"{options.name}.safetensors"
    save_generator(mix(*options.stages, options.share, options.saturation), path, info, half=True)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
