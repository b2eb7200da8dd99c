"""Generators by name: a weights file carries the recipe that builds its network again."""

import json
import os
from importlib.resources import files as package_files
from pathlib import Path

from torch import nn

from colorlib.files import WeightsError, in_half_precision, in_whole_precision, load_tensors, save_tensors
from colorlib.resnet import ResNetUNet, SlimResNetUNet
from colorlib.unet import UNet

# class name in a recipe -> what builds it
BUILDERS = {"UNet": UNet, "ResNetUNet": ResNetUNet, "SlimResNetUNet": SlimResNetUNet}
FORMAT = "colorlib generator 1"


def save_generator(
    generator: nn.Module, path: str | os.PathLike, notes: dict | None = None, half: bool = False
) -> None:
    """Write a generator's weights and recipe as one safetensors file, whole or not at all.

    Args:
        generator: a network of colorlib; its class and its `recipe` (keyword arguments) go into the header.
        path: where to; usually ends in `.safetensors`.
        notes: anything JSON can hold that a later reader should know: data, seconds, seed, scores. "render_size" is
            the size at which `Colorizer` then runs the network.
        half: store the weights in half precision, in half the space; see `files.in_half_precision`.
    Raises:
        TypeError: the network's class is not one that `load_generator` can build.
        OSError: the file can't be written.
    """
    name = type(generator).__name__
    if name not in BUILDERS:
        raise TypeError(f"{name} is not a generator of colorlib; it knows: {', '.join(BUILDERS)}.")
    metadata = {
        "format": FORMAT,
        "class": name,
        "recipe": json.dumps(generator.recipe),
        "notes": json.dumps(notes or {}),
    }
    tensors = generator.state_dict()
    save_tensors(in_half_precision(tensors) if half else tensors, path, metadata)


def load_generator(path_or_name: str | os.PathLike) -> nn.Module:
    """Build the generator that a file describes and give it the file's weights.

    Args:
        path_or_name: a file that `save_generator` wrote, or the name of a bundled one (see `bundled_names`).
    Returns:
        The network, float32, on the CPU, in eval mode.
    Raises:
        WeightsError: no such file or name, or the file does not hold a generator of colorlib.
    """
    path = _find(path_or_name)
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT or metadata.get("class") not in BUILDERS:
        raise WeightsError(f"{path}: these weights were not saved by colorlib.save_generator.")
    try:
        generator = BUILDERS[metadata["class"]](**json.loads(metadata["recipe"]))
        generator.load_state_dict(in_whole_precision(tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: the weights don't fit the recipe in the file's header.") from error
    return generator.eval()


def read_notes(path_or_name: str | os.PathLike) -> dict:
    """Return the notes that `save_generator` put into a file, {} where there are none.

    Raises:
        WeightsError: no such file or name, or not a safetensors file.
    """
    _, metadata = load_tensors(_find(path_or_name))
    try:
        notes = json.loads(metadata.get("notes", "{}"))
    except ValueError:
        return {}
    return notes if isinstance(notes, dict) else {}


def bundled_names() -> list[str]:
    """Return the names of the generators that come with the package."""
    return sorted(file.stem for file in _bundled_folder().glob("*.safetensors"))


def _bundled_folder() -> Path:
    return Path(str(package_files("colorlib"))) / "pretrained"


def _find(path_or_name: str | os.PathLike) -> Path:
    bundled = _bundled_folder() / f"{os.fspath(path_or_name)}.safetensors"
    if Path(path_or_name).exists() or not bundled.is_file():
        return Path(path_or_name)
    return bundled
