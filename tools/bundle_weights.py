"""Add trained weights to the package: `python tools/bundle_weights.py NAME --stages L1 GAN --share S ...`

With --encoder FILE instead of --stages, add an encoder.

The weights of a generator are interpolated: (1 - S) times those of the L1 stage plus S times those of the GAN stage, as
in Wang et al. 2018 (ESRGAN). S trades ab error for colorfulness; so does --saturation, a factor for the last layer.
Choose both on the `valid` photos with `tools/measure_photos.py`. Weights are rounded to 8 bits.
"""

import argparse
import json
import sys
from pathlib import Path

from colorlib.resnet import rgb_resnet, save_encoder
from colorlib.tensors import BUNDLED, WeightsInfo
from colorlib.zoo import load_generator, save_generator


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
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--stages", nargs=2, type=Path, metavar=("L1", "GAN"))
    source.add_argument("--encoder", type=Path, help="written by colorlib train --model encoder")
    parser.add_argument("--share", type=float, default=0.5, help="fraction of the GAN stage's weights, 0 to 1")
    parser.add_argument("--saturation", type=float, default=1.0, help="factor of the last layer (default: 1)")
    parser.add_argument("--render-size", type=int, help="of a generator")
    parser.add_argument("--info", type=Path, help="JSON with entries of WeightsInfo: data, commands, seconds, scores")
    options = parser.parse_args()

    entries = json.loads(options.info.read_text()) if options.info else {}
    commands = (*entries.get("commands", ()), " ".join(["python tools/bundle_weights.py", *sys.argv[1:]]))
    info = WeightsInfo(**entries | {"render_size": options.render_size, "commands": commands})
    path = Path(options.name) if options.name.endswith(".safetensors") else BUNDLED / f"{options.name}.safetensors"
    if options.encoder:
        save_encoder(rgb_resnet("resnet18", options.encoder), path, info, bits=8)
    else:
        save_generator(mix(*options.stages, options.share, options.saturation), path, info, bits=8)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
