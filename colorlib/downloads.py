"""Photos and weights from the web (COCO sample, Imagenette, ImageNet ResNets): checked, or one sentence why not."""

import gzip
import hashlib
import os
import re
import shutil
import socket
import tarfile
import tempfile
import time
import warnings
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath

import torch
from filelock import FileLock

from .images import find_images

TIMEOUT = 60.0  # seconds without a byte from the server
UNPACKED_RATIO = 1.15  # photos hardly compress: unpacked they take what the archive takes, plus rounding


class DownloadError(RuntimeError):
    """A download can't be had or used; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Dataset:
    """A .tgz of photos on the web, with what is known of it beforehand."""

    name: str
    url: str
    archive_bytes: int
    n_photos: int  # at least so many; fewer means that the archive or its unpacking is incomplete


# The addresses and sizes are those of fastai, which takes seconds to import.
S3 = "https://s3.amazonaws.com/fast-ai-"
DATASETS = {
    "coco": Dataset("coco", S3 + "coco/coco_sample.tgz", 3_245_877_008, 21_000),
    "imagenette": Dataset("imagenette", S3 + "imageclas/imagenette2-160.tgz", 99_003_388, 13_394),
    "imagenette-320": Dataset("imagenette-320", S3 + "imageclas/imagenette2-320.tgz", 341_663_724, 13_394),
}
ENCODERS = ("resnet18", "resnet34", "resnet50")


def fetch_photos(name: str | Dataset, root: str | os.PathLike | None = None) -> Path:
    """Return the folder of a data set's photos; download, check and unpack it first where it is not there yet.

    Args:
        name: "coco" (3.2 GB), "imagenette" (99 MB, shorter side 160 px), "imagenette-320" (342 MB), or a `Dataset`.
        root: the folder that holds data sets, `data_root()` by default. An archive put under `root/archives`
            by hand is used.
    Raises:
        ValueError: no such data set.
        DownloadError: offline, no space, or what came is damaged.
    """
    if not isinstance(name, Dataset) and name not in DATASETS:
        raise ValueError(f"There is no data set {name!r}; use one of: {', '.join(DATASETS)}.")
    dataset = name if isinstance(name, Dataset) else DATASETS[name]
    root = (data_root() if root is None else Path(root).expanduser()).absolute()
    archive = root / "archives" / PurePosixPath(dataset.url).name
    folder = root / archive.name.removesuffix(".tgz").removesuffix(".tar.gz")
    if _is_whole(folder, dataset):
        return folder
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(archive.with_name(archive.name + ".use")):  # the processes of a multi-GPU run arrive together
            if not _is_whole(folder, dataset):
                _check_space(dataset, root, archive)
                _download(dataset, archive)
                _check_archive(dataset, archive)
                _unpack(dataset, archive, folder)
    except OSError as error:
        raise DownloadError(f"The data set {dataset.name!r} can't be stored under {_shown(root)} ({error}).") from error
    return folder


def fetch_encoder_weights(arch: str, url: str | None = None) -> dict[str, torch.Tensor]:
    """Return the state dict of torchvision's ResNet trained on ImageNet, from `TORCH_HOME` or the web.

    Args:
        arch: "resnet18" (45 MB), "resnet34" (83 MB) or "resnet50" (98 MB).
        url: where the file lies, torchvision's address by default; its name ends in "-<start of the SHA-256>.pth".
    Raises:
        ValueError: no such encoder.
        DownloadError: offline, or the file is damaged.
    """
    if arch not in ENCODERS:
        raise ValueError(f"There are no ImageNet weights for {arch!r}; use one of: {', '.join(ENCODERS)}.")
    url = url or _encoder_url(arch)
    path = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(url).name)
    damaged = f"The weights {path} are damaged: delete that file and try again."
    if path.exists() and not _hash_matches(path):  # torch.hub checks what it downloads, not what it finds
        raise DownloadError(damaged)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torch.hub has no argument for it, and would wait for ever
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, HTTPException) as error:
        reason = f"The weights of {arch} can't be had from {url} ({_first_line(error)})"
        advice = f'put the file at {_shown(path)}, or use weights="tiny-imagenet" or None'
        raise DownloadError(f"{reason}: {advice}.") from error
    except Exception as error:  # a wrong hash is a RuntimeError; unpickling raises half a dozen types
        raise DownloadError(damaged if path.exists() else f"{url} sent damaged weights: try again.") from error
    finally:
        socket.setdefaulttimeout(timeout)


def data_root() -> Path:
    """Return the folder for data sets: `COLORLIB_DATA`, else `data/` of the project around the current folder.

    The project is the nearest folder upward with `data/` and `notebooks/` in it; a relative `COLORLIB_DATA` counts
    from there. Outside a project it is `~/.cache/colorlib`.
    """
    here = Path.cwd()
    projects = (folder for folder in (here, *here.parents) if (folder / "data").is_dir())
    project = next((folder for folder in projects if (folder / "notebooks").is_dir()), None)
    if given := os.environ.get("COLORLIB_DATA"):
        return (project or here) / Path(given).expanduser()
    return project / "data" if project else Path.home() / ".cache" / "colorlib"


def _is_whole(folder: Path, dataset: Dataset) -> bool:
    return folder.is_dir() and len(find_images(folder)) >= dataset.n_photos


def _check_space(dataset: Dataset, root: Path, archive: Path) -> None:
    """Refuse before the download what would fail after it. fastai unpacks in $TMPDIR, then moves."""
    unpacked = UNPACKED_RATIO * dataset.archive_bytes
    at_root = unpacked if archive.exists() else 2 * unpacked
    for folder, needed, variable in ((root, at_root, "COLORLIB_DATA"), (tempfile.gettempdir(), unpacked, "TMPDIR")):
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise DownloadError(
                f"The data set {dataset.name!r} needs {needed / 1e9:.1f} GB free in {folder}, which has "
                f"{free / 1e9:.1f}: make room, or set {variable} to a folder on a larger disk."
            )


def _download(dataset: Dataset, archive: Path) -> None:
    if archive.exists():
        return
    from fastdownload import download_url  # what untar_data calls, but there without a timeout

    try:
        download_url(dataset.url, archive, timeout=TIMEOUT)
    except (OSError, HTTPException) as error:
        raise DownloadError(
            f"The data set {dataset.name!r} can't be had from {dataset.url} ({_first_line(error)}): put the archive at "
            f'{_shown(archive)}, or use source="scenes" or a folder of your own.'
        ) from error


def _check_archive(dataset: Dataset, archive: Path) -> None:
    """Read the archive to its end, because fastai verifies the first megabyte only and unpacks whatever paths it has.

    Before Python 3.14 unpacking follows "../", absolute paths and links out of the folder; 3.11.0 has no filter for it.
    """
    advice = "delete that file and try again"
    size = archive.stat().st_size
    if size != dataset.archive_bytes:
        raise DownloadError(f"{_shown(archive)} has {size:,} bytes instead of {dataset.archive_bytes:,}: {advice}.")
    try:
        with gzip.open(archive) as file, tarfile.open(fileobj=file, mode="r:") as members:
            unsafe = [member.name for member in members if not _is_safe(member)]
            while file.read(2**20):  # the checksum is behind the last byte
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DownloadError(f"{_shown(archive)} is damaged ({_first_line(error)}): {advice}.") from error
    if unsafe:
        raise DownloadError(f"{_shown(archive)} is not safe to unpack (it holds {unsafe[0]!r}): {advice}.")


def _is_safe(member: tarfile.TarInfo) -> bool:
    """Accept plain files and folders whose path stays inside, on every system."""
    parts = PurePosixPath(member.name).parts
    inside = ".." not in parts and not member.name.startswith("/") and not set(member.name) & set("\\:")
    return inside and (member.isfile() or member.isdir())


def _unpack(dataset: Dataset, archive: Path, folder: Path) -> None:
    """Unpack beside `folder` and rename, so that an interruption never leaves a half-filled `folder`."""
    with (
        warnings.catch_warnings()
    ):  # fastai's deprecations and unclosed files, tarfile's advice on what is checked here
        for category in (DeprecationWarning, FutureWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        from fastai.data.external import untar_data

        staging = folder.with_name(f".{folder.name}.unpacking")
        shutil.rmtree(staging, ignore_errors=True)  # what an interrupted call left
        # Without `base`, untar_data would redirect fastai's own data folder for the rest of the process.
        try:
            unpacked = untar_data(dataset.url, archive=f"../{archive.parent.name}", data="data", base=str(staging))
        except OSError:
            raise
        except Exception as error:  # a bare Exception is what fastai raises when its own check fails
            raise DownloadError(f"{_shown(archive)} is damaged ({error}): delete it and try again.") from error
    n_photos = len(find_images(unpacked))
    if n_photos < dataset.n_photos:
        raise DownloadError(
            f"{_shown(archive)} holds {n_photos:,} photos instead of {dataset.n_photos:,}: delete it and try again."
        )
    if folder.exists():  # incomplete, but perhaps with something of the reader's own in it: keep it
        folder.rename(folder.with_name(f"{folder.name}.incomplete-{time.time_ns()}"))
    unpacked.rename(folder)
    shutil.rmtree(staging, ignore_errors=True)


def _encoder_url(arch: str) -> str:
    from torchvision.models import get_model_weights  # torchvision takes a second to import

    return get_model_weights(arch)["IMAGENET1K_V1"].url


def _hash_matches(path: Path) -> bool:
    """Compare a file with the start of its SHA-256, which its name carries."""
    expected = re.search(r"-([0-9a-f]{8,})\.", path.name)
    with open(path, "rb") as file:
        return expected is None or hashlib.file_digest(file, "sha256").hexdigest().startswith(expected[1])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _shown(path: Path) -> Path:
    """Shorten a path for a message where it lies below the current folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
