"""Weights as safetensors files and checkpoints as plain data: reading them never runs code."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from colorlib.files import atomic_write

MAX_WEIGHTS_BYTES = 2**31  # a weights file above 2 GiB is not one of ours


class WeightsError(ValueError):
    """A weights or checkpoint file can't be used; the message names the file and the reason."""


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says about itself; it is stored in the file's header.

    Attributes:
        render_size: shorter side of the image, pixels, at which `Colorizer` runs the network; None for its default.
        data: the images it was trained on, in words.
        commands: the commands that trained it, in order.
        seconds: duration of the training.
        scores: scores on held-out images, by name.
    """

    render_size: int | None = None
    data: str = ""
    commands: tuple[str, ...] = ()
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "commands", tuple(self.commands))  # JSON has lists only

    def to_metadata(self) -> dict[str, str]:
        """Return the info as the text metadata of a safetensors file."""
        return {"info": json.dumps(asdict(self))}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "WeightsInfo":
        """Read the info from a file's metadata; missing entries have their defaults, unknown ones are ignored."""
        known = {f.name for f in fields(cls)} if "info" in metadata else {"render_size", "data"}
        try:
            entries = json.loads(metadata.get("info") or metadata.get("notes") or "{}")  # "notes": before version 0.2
            return cls(**{name: entries[name] for name in known & entries.keys()})
        except (ValueError, AttributeError, TypeError):  # not JSON, or not a dict of such entries
            return cls()


def save_tensors(tensors: Mapping[str, torch.Tensor], path: str | os.PathLike, metadata: Mapping[str, str]) -> None:
    """Write named tensors (any shape, dtype and device) and text metadata as one safetensors file."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as file:
        file.write(save(contiguous, dict(metadata)))


def load_tensors(path: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file; return its tensors, on the CPU, and its metadata.

    Raises:
        WeightsError: the file is missing, too large, or not a safetensors file.
    """
    _check_file(path)
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}).") from error


def to_half(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights in float16, except one-dimensional ones: a BatchNorm variance can exceed float16's range."""
    return {name: t.half() if t.is_floating_point() and t.ndim > 1 else t for name, t in tensors.items()}


def to_float32(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return every floating point tensor as float32."""
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def save_checkpoint(state: dict, path: str | os.PathLike) -> None:
    """Write a training state (tensors, numbers, strings, lists, dicts); a crash leaves the previous file in place."""
    with atomic_write(path) as file:
        torch.save(state, file)


def load_checkpoint(path: str | os.PathLike) -> dict:
    """Read a file written by `save_checkpoint`, onto the CPU. Only plain data is accepted, never code.

    Raises:
        WeightsError: the file is missing, too large, or not a checkpoint.
    """
    _check_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types here, from pickle, zipfile and itself
        raise WeightsError(f"{path}: not a checkpoint of colorlib, or a damaged one.") from error


def _check_file(path: str | os.PathLike) -> None:
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file.")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise WeightsError(f"{path}: larger than {MAX_WEIGHTS_BYTES // 2**30} GiB, so not weights of colorlib.")
