"""Weights as safetensors files and checkpoints as plain data: reading them never runs code.

Both are checked against a stored checksum: torch and safetensors would load a file with a wrong bit without an error.
"""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from colorlib.files import atomic_write

BUNDLED = Path(__file__).parent / "pretrained"  # weights that come with the package
STEP = ":step"  # ending of the name of a tensor with the steps of int8 weights
MAX_WEIGHTS_BYTES = 2**31  # a weights file above 2 GiB is not one of ours
CHECKPOINT_FORMAT = 2  # increase when training can't be resumed exactly from older checkpoints


class WeightsError(ValueError):
    """A weights or checkpoint file can't be used; the message names the file and the reason."""


@dataclass(frozen=True)
class WeightsInfo:
    """Metadata of a weights file, stored in its header.

    Attributes:
        render_size: shorter side, in pixels, of the input on which `Colorizer` runs the network; None for its default.
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


def find_weights(path_or_name: str | os.PathLike) -> Path:
    """Return the path of a weights file; a name without a file of that name stands for bundled weights."""
    bundled = BUNDLED / f"{os.fspath(path_or_name)}.safetensors"
    return bundled if bundled.is_file() and not Path(path_or_name).is_file() else Path(path_or_name)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: str | os.PathLike, metadata: Mapping[str, str]) -> None:
    """Write named tensors (any shape, dtype and device) and text metadata as one safetensors file.

    Raises:
        OSError: the file can't be written; the message says why.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(save(contiguous, {**metadata, "crc32": _checksum(contiguous, metadata)}), path)


def load_tensors(path: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file; return its tensors, on the CPU, and its metadata.

    Raises:
        WeightsError: the file is missing, too large, damaged, or not a safetensors file.
    """
    _check_file(path)
    if Path(path).stat().st_size > MAX_WEIGHTS_BYTES:
        raise WeightsError(f"{path}: larger than {MAX_WEIGHTS_BYTES // 2**30} GiB, so not weights of colorlib.")
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}).") from error
    checksum = metadata.pop("crc32", None)  # files from before version 0.2 have none
    if checksum is not None and checksum != _checksum(tensors, metadata):
        raise WeightsError(f"{path}: damaged, its contents don't have the checksum that was stored with them.")
    return tensors, metadata


def _checksum(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """Return the CRC-32 of names, metadata and bytes, whatever their order."""
    crc = zlib.crc32(json.dumps([sorted(tensors), sorted(metadata.items())]).encode())
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy(), crc)
    return f"{crc:08x}"


def to_bits(tensors: Mapping[str, torch.Tensor], bits: int) -> dict[str, torch.Tensor]:
    """Round floating point weights to save space; `to_float32` undoes it, except for the rounding.

    One-dimensional tensors stay as they are: they are small, and a BatchNorm variance can exceed float16's range.

    Args:
        tensors: named weights.
        bits: 32 changes nothing; 16 is float16; 8 is int8, with one float32 step per output channel in an added tensor
            "<name>:step".
    Raises:
        ValueError: another number of bits.
    """
    if bits not in (8, 16, 32):
        raise ValueError(f"bits is 8, 16 or 32, got {bits}.")
    rounded = {}
    for name, value in tensors.items():
        if bits == 32 or value.ndim < 2 or not value.is_floating_point():
            rounded[name] = value
        elif bits == 16:
            rounded[name] = value.half()
        else:
            step = value.detach().float().flatten(1).abs().amax(dim=1) / 127
            rounded[name] = (value / _per_channel(step.clamp(min=1e-12), value)).round().to(torch.int8)
            rounded[name + STEP] = step
    return rounded


def to_float32(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return every floating point tensor as float32, and int8 weights from `to_bits` multiplied by their steps."""
    restored = {}
    for name, value in tensors.items():
        if name.endswith(STEP):
            continue
        step = tensors.get(name + STEP)
        if step is not None:
            value = value.float() * _per_channel(step, value)
        restored[name] = value.float() if value.is_floating_point() else value
    return restored


def _per_channel(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return values.view(-1, *[1] * (weights.ndim - 1))


def pack_checkpoint(state: dict) -> bytes:
    """Return a training state (tensors, numbers, strings, lists, dicts) as the bytes of a checkpoint file."""
    file = io.BytesIO()
    torch.save(state | {"format": CHECKPOINT_FORMAT}, file)
    return file.getvalue()


def unpack_checkpoint(content: bytes) -> dict:
    """Undo `pack_checkpoint`, onto the CPU. For bytes of this process."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def save_checkpoint(state: dict | bytes, path: str | os.PathLike) -> None:
    """Write a training state, packed or not, as a file; a crash leaves the previous file in place.

    Raises:
        OSError: the file can't be written; the message says why.
    """
    # Packed in memory first: torch says "file write failed" of a full disk, the system says why.
    write_bytes(state if isinstance(state, bytes) else pack_checkpoint(state), path)


def load_checkpoint(path: str | os.PathLike) -> dict:
    """Read a file written by `save_checkpoint`, onto the CPU. Only plain data is accepted, never code.

    Raises:
        WeightsError: the file is missing, damaged, not a checkpoint, or one of another version.
    """
    _check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes a zip file, uncompressed, and reads it unchecked
            if any(record.compress_type for record in archive.infolist()) or archive.testzip():
                raise zipfile.BadZipFile("compressed, so it could unpack to any size, or a wrong checksum")
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a dozen types, from zipfile, pickle and torch
        raise WeightsError(f"{path}: not a checkpoint of colorlib, or a damaged one.") from error
    version = saved.get("format", 1 if "settings" in saved else None) if isinstance(saved, dict) else None
    if not isinstance(version, int):
        raise WeightsError(f"{path}: not a checkpoint of colorlib.")
    if version != CHECKPOINT_FORMAT:
        advice = (
            "a later version of colorlib: update colorlib to continue it."
            if version > CHECKPOINT_FORMAT
            else "an earlier version of colorlib: continue it with that version, or start again with another file."
        )
        raise WeightsError(f"{path}: a checkpoint of {advice}")
    return saved


def write_bytes(content: bytes, path: str | os.PathLike) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it can't be written; the message is one sentence with the path and the reason.
    """
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise OSError(f"{path} can't be written: {error.strerror or error}.") from error


def _check_file(path: str | os.PathLike) -> None:
    if not Path(path).is_file():
        raise WeightsError(f"{path}: there is no such file.")
