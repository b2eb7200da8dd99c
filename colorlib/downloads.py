"""Download photos and weights: COCO sample, Imagenette, ImageNet ResNets. Every failure is a `DownloadError`."""

import gzip
import os
import shutil
import socket
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath

import torch
from filelock import FileLock

from colorlib.images import find_images

TIMEOUT = 60.0  # seconds without a byte from the server


class DownloadError(RuntimeError):
    """A download is not available or not usable; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Dataset:
    """A .tgz of photos on the web."""

    name: str
    url: str
    archive_bytes: int
    n_photos: int  # at least; fewer means that the archive is incomplete


S3 = "https://s3.amazonaws.com/fast-ai-"
DATASETS = {
    "coco": Dataset("coco", S3 + "coco/coco_sample.tgz", 3_245_877_008, 21_000),
    "imagenette": Dataset("imagenette", S3 + "imageclas/imagenette2-160.tgz", 99_003_388, 13_394),
    "imagenette-320": Dataset("imagenette-320", S3 + "imageclas/imagenette2-320.tgz", 341_663_724, 13_394),
}
ENCODERS = ("resnet18", "resnet34")


def fetch_photos(name: str | Dataset, root: str | os.PathLike | None = None) -> Path:
    """Return the folder of a dataset's photos; download and unpack them first if needed.

    Args:
        name: "coco" (3.2 GB), "imagenette" (99 MB, shorter side 160 px), "imagenette-320" (342 MB), or a `Dataset`.
        root: folder for datasets, `data_root()` by default. An archive that is already in `root/archives` is used.
    Raises:
        ValueError: no such dataset.
        DownloadError: offline, not enough space, or a damaged archive.
    """
    if not isinstance(name, Dataset) and name not in DATASETS:
        raise ValueError(f"There is no dataset {name!r}; use one of: {', '.join(DATASETS)}.")
    dataset = name if isinstance(name, Dataset) else DATASETS[name]
    root = (data_root() if root is None else Path(root).expanduser()).absolute()
    archive = root / "archives" / PurePosixPath(dataset.url).name
    folder = root / archive.name.removesuffix(".tgz")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{archive}.lock"):  # the processes of a multi-GPU run start together
            if not folder.is_dir():
                _download(dataset, archive)
                _unpack(dataset, archive, folder)
    except OSError as error:
        raise DownloadError(f"The dataset {dataset.name!r} can't be stored in {root} ({error}).") from error
    return folder


def fetch_encoder_weights(arch: str, url: str | None = None) -> dict[str, torch.Tensor]:
    """Return the state dict of torchvision's ResNet trained on ImageNet, from torch's cache (`TORCH_HOME`) or the web.

    Args:
        arch: "resnet18" (45 MB) or "resnet34" (83 MB).
        url: address of the file, torchvision's by default; its name ends in "-<start of the SHA-256>.pth".
    Raises:
        ValueError: no such encoder.
        DownloadError: offline, or the file is damaged.
    """
    from torchvision.models import get_model_weights  # torchvision takes a second to import

    if arch not in ENCODERS:
        raise ValueError(f"There are no ImageNet weights for {arch!r}; use one of: {', '.join(ENCODERS)}.")
    url = url or get_model_weights(arch)["IMAGENET1K_V1"].url
    path = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(url).name)
    try:
        with _timeout():
            return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, HTTPException) as error:
        raise DownloadError(
            f"The weights of {arch} are not available from {url} ({error}): put the file at {path}, "
            "or use weights=None, which starts from random numbers."
        ) from error
    except Exception as error:  # a wrong hash is a RuntimeError; unpickling raises half a dozen types
        advice = f"delete {path} and try again" if path.exists() else "try again"
        raise DownloadError(f"The weights of {arch} from {url} are damaged: {advice}.") from error


def data_root() -> Path:
    """Return the folder for datasets: `COLORLIB_DATA` if it is set, else `data/` in the current project.

    The project is the nearest parent of the current folder that contains `data/` and `notebooks/`; a relative
    `COLORLIB_DATA` is relative to it. Outside a project, the default is `~/.cache/colorlib`.
    """
    here = Path.cwd()
    folders = (here, *here.parents)
    project = next((f for f in folders if (f / "data").is_dir() and (f / "notebooks").is_dir()), None)
    if given := os.environ.get("COLORLIB_DATA"):
        return (project or here) / Path(given).expanduser()
    return project / "data" if project else Path.home() / ".cache" / "colorlib"


def _download(dataset: Dataset, archive: Path) -> None:
    """Download under a temporary name, so that an interrupted download is never taken for the archive."""
    from torchvision.datasets.utils import download_url

    part, root = archive.with_name(f"{archive.name}.part"), archive.parent.parent
    needed = dataset.archive_bytes * (1.15 if archive.exists() else 2.15)  # photos hardly compress
    if (free := shutil.disk_usage(root).free) < needed:
        raise DownloadError(
            f"The dataset {dataset.name!r} needs {needed / 1e9:.1f} GB free in {root}, which has {free / 1e9:.1f}: "
            "make room, or set COLORLIB_DATA to a folder on a larger disk."
        )
    if not archive.exists():
        part.unlink(missing_ok=True)  # torchvision would take it for complete
        try:
            with _timeout():
                download_url(dataset.url, archive.parent, part.name)
        except (OSError, HTTPException) as error:
            raise DownloadError(
                f"The dataset {dataset.name!r} is not available from {dataset.url} ({error}): put the archive at "
                f'{archive}, or use source="scenes" or a folder of your own.'
            ) from error
        if (size := part.stat().st_size) != dataset.archive_bytes:  # torchvision does not notice a broken connection
            raise DownloadError(f"{dataset.url} sent {size:,} of {dataset.archive_bytes:,} bytes: try again.")
        part.replace(archive)
    if (size := archive.stat().st_size) != dataset.archive_bytes:
        wrong = f"{archive} has {size:,} bytes instead of {dataset.archive_bytes:,}"
        raise DownloadError(f"{wrong}: delete that file and try again.")


def _unpack(dataset: Dataset, archive: Path, folder: Path) -> None:
    """Unpack beside `folder`, then rename: an interruption never leaves a half-filled `folder`."""
    staging = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with gzip.open(archive) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            tar.extractall(staging, filter="data")  # refuses absolute paths, "..", links that lead out, and devices
            while file.read(2**20):  # the checksum is in the last bytes
                pass
        if (n := len(find_images(staging))) < dataset.n_photos:
            raise EOFError(f"{n:,} photos instead of {dataset.n_photos:,}")
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError) as error:
        raise DownloadError(f"{archive} is damaged or unsafe ({error}): delete that file and try again.") from error
    staging.rename(folder)


@contextmanager
def _timeout() -> Iterator[None]:
    """Give every new connection a timeout: torch.hub and torchvision have no argument for it and would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
