"""Save and load generators. A weights file also contains the recipe for building its network."""

import json
import os

from torch import nn

from colorlib.resnet import ResNetUNet, SlimResNetUNet
from colorlib.tensors import (
    BUNDLED,
    WeightsError,
    WeightsInfo,
    find_weights,
    load_tensors,
    save_tensors,
    to_bits,
    to_float32,
)
from colorlib.unet import UNet

# class name in a recipe -> what builds it
BUILDERS = {"UNet": UNet, "ResNetUNet": ResNetUNet, "SlimResNetUNet": SlimResNetUNet}
FORMAT = "colorlib generator 1"


def save_generator(
    generator: nn.Module, path: str | os.PathLike, info: WeightsInfo | None = None, bits: int = 32
) -> None:
    """Write a generator's weights and recipe as one safetensors file, atomically.

    Args:
        generator: a network of colorlib; its class and its `recipe` (keyword arguments) go into the header.
        path: file to write; usually ends in `.safetensors`.
        info: metadata for the header: render size, data, commands, seconds, scores.
        bits: per weight: 32, or 16 or 8 to save space; see `tensors.to_bits`.
    Raises:
        ValueError: another number of bits.
        TypeError: the network's class is not one that `load_generator` can build.
        OSError: the file can't be written.
    """
    name = type(generator).__name__
    if name not in BUILDERS:
        raise TypeError(f"{name} is not a generator of colorlib; those are: {', '.join(BUILDERS)}.")
    metadata = {"format": FORMAT, "class": name, "recipe": json.dumps(generator.recipe)}
    metadata |= (info or WeightsInfo()).to_metadata()
    save_tensors(to_bits(generator.state_dict(), bits), path, metadata)


def load_generator(path_or_name: str | os.PathLike) -> nn.Module:
    """Build the generator that a file describes and load the file's weights.

    Args:
        path_or_name: a file written by `save_generator`, or the name of a bundled one (see `bundled_names`).
    Returns:
        The network, float32, on the CPU, in eval mode.
    Raises:
        WeightsError: no such file or name, or the file does not contain a generator of colorlib.
    """
    return load_with_info(path_or_name)[0]


def load_with_info(path_or_name: str | os.PathLike) -> tuple[nn.Module, WeightsInfo]:
    """Load a generator as `load_generator` does, and return it together with the file's info."""
    path = find_weights(path_or_name)
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT or metadata.get("class") not in BUILDERS:
        raise WeightsError(f"{path}: these weights were not saved by colorlib.save_generator.")
    try:
        generator = BUILDERS[metadata["class"]](**json.loads(metadata["recipe"]))
        generator.load_state_dict(to_float32(tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: the weights don't fit the recipe in the file's header.") from error
    return generator.eval(), WeightsInfo.from_metadata(metadata)


def read_info(path_or_name: str | os.PathLike) -> WeightsInfo:
    """Return the info that `save_generator` or `save_encoder` wrote into a file.

    Raises:
        WeightsError: no such file or name, or not a safetensors file.
    """
    return WeightsInfo.from_metadata(load_tensors(find_weights(path_or_name))[1])


def bundled_names() -> list[str]:
    """Return the names of the generators that come with the package."""
    return sorted(file.stem for file in BUNDLED.glob("*.safetensors") if not file.stem.endswith("-encoder"))
