"""Files that are either whole or not there: atomic writes, weights as safetensors, checkpoints."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

MAX_WEIGHTS_BYTES = 2**31  # a weights file above 2 GiB is not one of ours


class WeightsError(ValueError):
    """A weights or checkpoint file can't be used; the message names the file and the reason."""


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a binary file that appears under `path` only when the block ends without an error.

    The bytes go to a temporary file in the same folder, which is synced and renamed over `path`;
    an interruption leaves what was there before.

    Raises:
        OSError: the folder can't be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files; ours are ordinary
        os.replace(temporary, path)
    except BaseException:  # also KeyboardInterrupt: no half-written file stays behind
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_tensors(tensors: Mapping[str, torch.Tensor], path: str | os.PathLike, metadata: Mapping[str, str]) -> None:
    """Write named tensors (any shape and dtype, any device) and text metadata as one safetensors file."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as file:
        file.write(save(contiguous, dict(metadata)))


def load_tensors(path: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file; return its tensors, on the CPU, and its metadata.

    Raises:
        WeightsError: the file is missing, too large, or not a safetensors file.
    """
    _check_readable(path)
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}).") from error


def in_half_precision(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights in half precision. The normalizations' few numbers stay whole: a variance may be too large."""
    return {name: t.half() if t.is_floating_point() and t.ndim > 1 else t for name, t in tensors.items()}


def in_whole_precision(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return every floating point tensor as float32."""
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def save_checkpoint(state: dict, path: str | os.PathLike) -> None:
    """Write a training state (tensors, numbers, strings, lists, dicts) so that a crash can't spoil the old one."""
    with atomic_write(path) as file:
        torch.save(state, file)


def load_checkpoint(path: str | os.PathLike) -> dict:
    """Read what `save_checkpoint` wrote, onto the CPU. Only plain data is accepted, never code.

    Raises:
        WeightsError: the file is missing, too large, or not a checkpoint.
    """
    _check_readable(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types here, from pickle, zipfile and itself
        raise WeightsError(f"{path}: not a checkpoint of colorlib, or a damaged one.") from error


def _check_readable(path: str | os.PathLike) -> None:
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file.")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise WeightsError(f"{path}: larger than {MAX_WEIGHTS_BYTES // 2**30} GiB, so not weights of colorlib.")
