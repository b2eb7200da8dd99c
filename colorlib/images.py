"""Any image file as (H, W, 3) uint8 sRGB, with one error type; finding, resizing and saving images."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from colorlib.files import atomic_write

MAX_PIXELS = 100_000_000  # 300 MB when decoded
MAX_FILE_BYTES = 2**30
# Photo formats only: Pillow's EPS reader, for example, would pass an untrusted file to Ghostscript.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
SAVE_FORMATS = {
    ".avif": "AVIF", ".bmp": "BMP", ".gif": "GIF", ".jfif": "JPEG", ".jp2": "JPEG2000", ".jpe": "JPEG",
    ".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip
# No chroma subsampling: it would halve the resolution of the very channels that this package adds.
SAVE_OPTIONS = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}, "AVIF": {"quality": 90}}
MAX_JPEG_EXIF = 65533
PATH_REASONS = {
    FileNotFoundError: "does not exist",
    IsADirectoryError: "is a folder",
    PermissionError: "can't be opened: you have no permission to read it",
}


class ImageReadError(ValueError):
    """A file can't be read as an image; the message is one sentence that names the file and the reason."""


def read_image(source: str | os.PathLike | BinaryIO) -> np.ndarray:
    """Read an image file (JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, AVIF, PNM) as pixels.

    Args:
        source: a path, or a binary file object, which is read from its start.
    Returns:
        (H, W, 3) uint8, sRGB, upright; transparency on white; the first frame of an animation.
    Raises:
        ImageReadError: the file can't be opened, is not such an image, is damaged, or has over `MAX_PIXELS` pixels.
    """
    return np.array(open_image(source))


def open_image(source: str | os.PathLike | BinaryIO) -> Image.Image:
    """Read an image file as `read_image` does, but return a loaded RGB `PIL.Image`.

    Its `info` has "exif" (bytes, without the orientation, which is applied) if the file had it.

    Raises:
        ImageReadError: as in `read_image`.
    """
    name, data = _read_bytes(source)
    with _one_error_type(name, data):
        _check_before_decoding(data)
        return _decode(data)


def as_srgb(image: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to what `open_image` returns: loaded RGB, sRGB, upright, its EXIF in `info`.

    Raises:
        ImageReadError: the image is empty or too large, or its file is damaged.
    """
    with _one_error_type("The image given"):
        _check_size(image)
        image.load()
        return _to_plain_rgb(image)


@cache
def srgb_profile() -> bytes:
    """Return the ICC profile of sRGB, to embed in saved images."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def find_images(
    folder: str | os.PathLike, recursive: bool = True, on_error: Callable[[OSError], None] | None = None
) -> list[Path]:
    """List the image files in a folder, by suffix, sorted; hidden files and folders are left out.

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
    return sorted(path for path in found if path.suffix.lower() in SAVE_FORMATS)


def save_image(
    rgb: np.ndarray | Image.Image, path: str | os.PathLike, overwrite: bool = False, exif: bytes | None = None
) -> None:
    """Save an image, atomically, in the format of its suffix.

    Args:
        rgb: (H, W, 3) uint8, sRGB; or an RGB PIL image, whose `info` entries "exif" and "icc_profile" are kept.
        path: ends in one of the suffixes of `SAVE_FORMATS`; missing folders are created.
        overwrite: replace an existing file.
        exif: metadata to write, as in `open_image(...).info["exif"]`; formats without EXIF drop it.
    Raises:
        ValueError: the suffix has no format, or the array is not an image.
        FileExistsError: the file exists and `overwrite` is False.
    """
    path = Path(path)
    image_format = SAVE_FORMATS.get(path.suffix.lower())
    if image_format is None:
        raise ValueError(f"{path}: images are saved with one of the suffixes {', '.join(SAVE_FORMATS)}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; pass overwrite=True to replace it.")
    image = rgb if isinstance(rgb, Image.Image) and rgb.mode == "RGB" else _as_pil(rgb)
    kept = {"exif": exif or image.info.get("exif"), "icc_profile": image.info.get("icc_profile")}
    if image_format == "JPEG" and kept["exif"] and len(kept["exif"]) > MAX_JPEG_EXIF:
        del kept["exif"]  # EXIF from another format can be too large for a JPEG
    options = SAVE_OPTIONS.get(image_format, {}) | {key: value for key, value in kept.items() if value}
    with atomic_write(path) as file:
        image.save(file, format=image_format, **options)


def resize_image(rgb: np.ndarray, shorter_side: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 so that its shorter side has `shorter_side` pixels, keeping its proportions."""
    image = _as_pil(rgb)
    scale = shorter_side / min(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return np.array(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def fit_square(rgb: np.ndarray, side: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 to `side` pixels on its shorter side and crop the central (side, side, 3)."""
    image = _as_pil(rgb)
    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)  # crops and resizes in one step
    return np.array(image.resize((side, side), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0))


def _as_pil(rgb: np.ndarray) -> Image.Image:
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"rgb must be uint8 of shape (H, W, 3), got {rgb.dtype} of shape {rgb.shape}.")
    return Image.fromarray(np.ascontiguousarray(rgb))


@contextmanager
def _one_error_type(name: str, data: bytes = b"") -> Iterator[None]:
    """Turn whatever Pillow raises in the block into `ImageReadError`, and silence its warnings."""
    try:
        with warnings.catch_warnings():  # of large images and odd metadata
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    # Malformed files make Pillow raise a dozen exception types (SyntaxError, struct.error, EOFError,
    # ZeroDivisionError, MemoryError ...); no list is complete.
    except Exception as error:
        raise ImageReadError(f"{name} {_reason(error, data)}.") from error


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


def _check_before_decoding(data: bytes) -> None:
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        _check_size(image)
        image.verify()  # PNG checksums, which load() skips


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{image.width}×{image.height} pixels")
    if not image.width * image.height:
        raise ValueError("it has no pixels")


def _decode(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data), formats=FORMATS)
    image.load()  # open() and verify() accept truncated files
    return _to_plain_rgb(image)


def _to_plain_rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image as RGB, sRGB and upright, with nothing but EXIF in its `info`."""
    image, exif = _turn_upright(image)
    icc_profile = image.info.get("icc_profile")
    image = _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image = _to_srgb(image, icc_profile)
    image.info = {"exif": exif} if exif else {}
    return image


def _turn_upright(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """Apply the EXIF orientation; return the image and its EXIF bytes without that tag."""
    exif = None
    with suppress(Exception):  # damaged metadata makes Pillow raise all kinds of errors
        image = ImageOps.exif_transpose(image)
        if "exif" in image.info:  # a TIFF's own tags are no EXIF block
            tags = image.getexif()
            tags.pop(ExifTags.Base.Orientation, None)
            exif = tags.tobytes()
    return image, exif


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and floating point gray to mode "L", where Pillow would clip; return others unchanged."""
    if image.mode[0] not in "IF":  # I, I;16, I;16B, F
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    black, highest = min(0, values.min()), max(0, values.max())
    whites = {"I": (255, 65535), "F": (1, 255, 65535)}.get(image.mode, (65535,))
    white = next(
        (white for white in whites if black == 0 and highest <= white), highest
    )  # else the range found
    return Image.fromarray(((values - black) * (255 / (white - black)) + 0.5).astype(np.uint8))


def _to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Convert any 8-bit mode to RGB, using the embedded profile if it is valid and fits the image."""
    image = image if image.mode in ("L", "CMYK") else image.convert("RGB")
    if not icc_profile:
        return image.convert("RGB")
    with suppress(ImageCms.PyCMSError, OSError):  # a broken profile, or one of another mode, is ignored
        profile = ImageCms.ImageCmsProfile(BytesIO(icc_profile))
        if "sRGB" not in (profile.profile.profile_description or ""):
            image = image.convert("RGB") if profile.profile.xcolor_space.strip() == "RGB" else image
            return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return image.convert("RGB")


def _reason(error: Exception, data: bytes) -> str:
    """Return, as the end of a sentence that starts with the file's name, why Pillow failed."""
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS // 1_000_000} million pixels"
    if data[4:11] in (b"ftyphei", b"ftyphev", b"ftypmif"):
        return "is a HEIC photo, which Pillow can't read: export it as JPEG"
    if isinstance(error, UnidentifiedImageError):
        return "is not an image that Pillow can read"
    return f"is damaged or incomplete ({' '.join(str(error).split()) or type(error).__name__})"
