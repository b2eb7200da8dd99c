"""Read any image file as (H, W, 3) uint8 sRGB, with a single error type; find, resize and save images."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from colorlib import decoding
from colorlib.files import atomic_write
from colorlib.srgb import TIFF_TAGS, to_srgb

MAX_FILE_BYTES = 2**30
SAVE_FORMATS = {
    ".avif": "AVIF", ".bmp": "BMP", ".gif": "GIF", ".jfif": "JPEG", ".jp2": "JPEG2000", ".jpe": "JPEG",
    ".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip
READ_ONLY = {".apng", ".dib", ".j2k", ".jpf", ".jpx", ".pbm", ".pgm", ".pnm", ".ppm"}
SUFFIXES = {*SAVE_FORMATS, *READ_ONLY, *decoding.HEIF_SUFFIXES, *decoding.RAW_SUFFIXES}  # of image files
# No chroma subsampling: it would halve the resolution of the very channels that this package adds.
SAVE_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}, "AVIF": {"quality": 90},
    "TIFF": {"compression": "tiff_deflate"},
}  # fmt: skip
MAX_JPEG_SIDE, MAX_JPEG_EXIF = 65_500, 65_533  # pixels, bytes
PATH_REASONS = {
    FileNotFoundError: "does not exist",
    IsADirectoryError: "is a folder",
    PermissionError: "can't be opened: you have no permission to read it",
}


class ImageReadError(ValueError):
    """A file can't be read as an image; the message is one sentence that names the file and the reason."""


def read_image(source: str | os.PathLike | BinaryIO) -> np.ndarray:
    """Read an image file (JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, AVIF, PNM; HEIC with pillow-heif) as pixels.

    Args:
        source: a path, or a binary file object, which is read from its start.
    Returns:
        (H, W, 3) uint8, sRGB, upright; transparency on white; the first frame of an animation.
    Raises:
        ImageReadError: the file can't be opened, is not such an image, is damaged, is a camera's raw file, has several
            pages, or has over `decoding.MAX_PIXELS` pixels.
    """
    return np.array(open_image(source))


def open_image(source: str | os.PathLike | BinaryIO) -> Image.Image:
    """Read an image file as `read_image` does, but return a loaded RGB `PIL.Image`.

    Its `info` has "exif" (bytes, without the orientation, which is applied) and "dpi", if the file had them.

    Raises:
        ImageReadError: as in `read_image`.
    """
    name, data = _read_bytes(source)
    with _one_error_type(name):
        return to_srgb(decoding.decode(data, name))


def as_srgb(image: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to what `open_image` returns.

    Raises:
        ImageReadError: the image is empty or too large, or its file is damaged.
    """
    with _one_error_type("The image given"):
        decoding.check_size(image)
        image.load()
        return to_srgb(image)


def find_images(
    folder: str | os.PathLike, recursive: bool = True, on_error: Callable[[OSError], None] | None = None
) -> list[Path]:
    """List the image files in a folder, by suffix, sorted; hidden files and folders are left out.

    HEIC photos and raw files are listed even if they can't be read, so that the caller can report them by name.

    Args:
        folder: where to look.
        recursive: also search its subfolders, to any depth; links to folders are not followed.
        on_error: called with the error of each folder that can't be listed; by default such folders are skipped.
    Raises:
        ValueError: the folder is missing, or is a file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} {'is a file, not a folder' if folder.exists() else 'does not exist'}.")
    found = []
    for parent, subfolders, names in os.walk(folder, onerror=on_error):
        subfolders[:] = [name for name in subfolders if recursive and not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def save_image(
    rgb: np.ndarray | Image.Image, path: str | os.PathLike, overwrite: bool = False, exif: bytes | None = None
) -> None:
    """Save an image, atomically, in the format of its suffix.

    Args:
        rgb: (H, W, 3) uint8, sRGB; or an RGB PIL image, whose `info` entries "exif", "dpi" and "icc_profile" are kept.
        path: ends in one of the suffixes of `SAVE_FORMATS`; missing folders are created.
        overwrite: replace an existing file.
        exif: metadata to write, as in `open_image(...).info["exif"]`; formats without EXIF drop it.
    Raises:
        ValueError: unknown suffix, the array is not an image, or the image is too large for a JPEG.
        FileExistsError: the file exists and `overwrite` is False.
    """
    path = Path(path)
    image_format = SAVE_FORMATS.get(path.suffix.lower())
    if image_format is None:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(SAVE_FORMATS)}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} already exists; pass overwrite=True to replace it.")
    image = rgb if isinstance(rgb, Image.Image) and rgb.mode == "RGB" else _as_pil(rgb)
    with atomic_write(path) as file:
        write_image(image, file, image_format, exif)


def write_image(image: Image.Image, file: BinaryIO, image_format: str, exif: bytes | None = None, **options) -> None:
    """Write an RGB image to an open file, with its metadata and the package's quality settings.

    Args:
        image: RGB; its `info` entries "exif", "dpi" and "icc_profile" are written where the format can hold them.
        file: open for writing.
        image_format: one of the values of `SAVE_FORMATS`.
        exif: metadata to write instead of the image's own.
        options: options for Pillow's writer; they override those in `SAVE_OPTIONS`.
    Raises:
        ValueError: the image is too large for a JPEG.
    """
    kept = {name: image.info[name] for name in ("exif", "icc_profile", "dpi") if image.info.get(name)}
    kept |= {"exif": exif} if exif else {}
    if image_format == "JPEG":
        if max(image.size) > MAX_JPEG_SIDE:
            raise ValueError(f"A JPEG has at most {MAX_JPEG_SIDE:,} pixels per side; save the image as PNG or TIFF.")
        if len(kept.get("exif", b"")) > MAX_JPEG_EXIF:
            del kept["exif"]
    options = SAVE_OPTIONS.get(image_format, {}) | kept | options
    if image_format == "TIFF" and "exif" in kept:
        tags = options["exif"] = _tiff_tags(kept["exif"])
        if not {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}.isdisjoint(tags):
            options["compression"] = "raw"  # libtiff, which compresses, can't write nested directories
    image.save(file, format=image_format, **options)


def resize_image(rgb: np.ndarray, shorter_side: int) -> np.ndarray:
    """Resize an image so that its shorter side has `shorter_side` pixels; the aspect ratio is kept.

    Args:
        rgb: (H, W, 3) uint8.
        shorter_side: pixels, at least 1.
    Returns:
        (H', W', 3) uint8.
    Raises:
        ValueError: `rgb` is not an (H, W, 3) uint8 array.
    """
    image = _as_pil(rgb)
    scale = shorter_side / min(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return np.array(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def fit_square(rgb: np.ndarray, side: int) -> np.ndarray:
    """Resize an image so that its shorter side has `side` pixels, and crop the central square.

    Args:
        rgb: (H, W, 3) uint8.
        side: pixels, at least 1.
    Returns:
        (side, side, 3) uint8.
    Raises:
        ValueError: `rgb` is not an (H, W, 3) uint8 array.
    """
    image = _as_pil(rgb)
    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)  # crops and resizes in one step
    return np.array(image.resize((side, side), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0))


def _tiff_tags(exif: bytes) -> Image.Exif:
    """Return EXIF data without the tags that would describe the pixels of a TIFF, like the width of the original."""
    tags = Image.Exif()
    tags.load(exif)
    for tag in set(tags) - set(TIFF_TAGS):
        del tags[tag]
    return tags


def _as_pil(rgb: np.ndarray) -> Image.Image:
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"rgb must be uint8 of shape (H, W, 3), got {rgb.dtype} of shape {rgb.shape}.")
    return Image.fromarray(np.ascontiguousarray(rgb))


@contextmanager
def _one_error_type(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises in the block into `ImageReadError`, and silence its warnings."""
    try:
        with warnings.catch_warnings():  # of large images and odd metadata
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    # Malformed files make Pillow raise a dozen exception types (SyntaxError, struct.error, EOFError,
    # ZeroDivisionError, MemoryError ...); no list is complete.
    except Exception as error:
        raise ImageReadError(f"{name} {decoding.reason(error)}.") from error


def _read_bytes(source: str | os.PathLike | BinaryIO) -> tuple[str, bytes]:
    """Return the name of a source, for messages, and its bytes."""
    if hasattr(source, "read"):
        name = source.name if isinstance(getattr(source, "name", None), str) else "The image given"
        with suppress(AttributeError, OSError):  # a pipe can't be rewound
            source.seek(0)
        data = source.read(MAX_FILE_BYTES + 1)
    else:
        name = os.fspath(source)
        data = _read_path(Path(name), name)
    if not data:
        raise ImageReadError(f"{name} is empty.")
    if len(data) > MAX_FILE_BYTES:
        raise ImageReadError(f"{name} is larger than {MAX_FILE_BYTES // 2**30} GiB.")
    return name, data


def _read_path(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            raise IsADirectoryError
        if path.exists() and not path.is_file():  # opening a pipe would block
            raise OSError("it is not an ordinary file")
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        detail = f"can't be opened ({getattr(error, 'strerror', None) or error})"
        raise ImageReadError(f"{name} {PATH_REASONS.get(type(error), detail)}.") from error
