"""From the bytes of a file to a loaded PIL image: formats, size limits, damage, pages."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import PurePath

from PIL import Image, TiffTags, UnidentifiedImageError

MAX_PIXELS = int(1e6 * float(os.environ.get("COLORLIB_MAX_MEGAPIXELS", 100)))  # 100 million take 300 MB
# Photo formats only: Pillow's EPS reader, for example, would pass an untrusted file to Ghostscript.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
RAW_SUFFIXES = {
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf",
    ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
}  # fmt: skip
HEIF_SUFFIXES = {".heic", ".heif", ".hif"}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
HEIF_ADVICE = "is a HEIC photo: run pip install 'colorlib[heic]', or export it as JPEG"
RAW_ADVICE = "is a camera's raw file: export it as JPEG or TIFF"
# TIFF tags and values
SUBFILE_TYPE, SUB_IFDS, DNG_VERSION = 254, 330, 50706
REDUCED, MASK = 1, 4

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_USED = (b"tRNS", b"iCCP", b"eXIf")  # chunks beside the pixels
PNG_TEXT = (b"tEXt", b"zTXt", b"iTXt")
PNG_METADATA = (b"Raw profile type exif", b"XML:com.adobe.xmp")  # texts that may tell the orientation
MAX_PNG_TEXT = 2**20  # bytes, unpacked: Pillow's limit, above which it refuses the whole image
MAX_PROFILE = 2**24  # bytes, unpacked
SIGNATURES = (PNG_SIGNATURE, b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"RIFF", b"BM")


class UnreadableError(ValueError):
    """An image is refused; the message continues a sentence that starts with the file's name."""


def decode(data: bytes, name: str = "") -> Image.Image:
    """Decode an image file.

    Args:
        data: the bytes of the file.
        name: name of the file; its suffix identifies a camera's raw file.
    Returns:
        A loaded image with the mode and orientation stored in the file. For an animation it is the first frame, for a
        TIFF with previews the full-size page.
    Raises:
        UnreadableError: the file is a camera's raw file, is a HEIC photo and pillow-heif is not installed, has several
            pages, has no pixels, or has more than `MAX_PIXELS`.
        Exception: anything that Pillow raises for a damaged file.
    """
    if PurePath(name).suffix.lower() in RAW_SUFFIXES or data[8:10] == b"CR":
        raise UnreadableError(RAW_ADVICE)
    formats = FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        formats = _heif_formats()
    profile = None
    if data.startswith(PNG_SIGNATURE):
        data, profile = _trim_png(data)
    try:
        with Image.open(BytesIO(data), formats=formats) as image:
            check_size(image)
            image.verify()  # PNG checksums, which load() skips
    except UnidentifiedImageError as error:
        if data.startswith(SIGNATURES) or formats != FORMATS:
            raise UnreadableError("is damaged, or of a kind that Pillow can't read") from error
        raise
    image = Image.open(BytesIO(data), formats=formats)
    if image.format == "TIFF":
        _seek_main_page(image)
        check_size(image)
        _drop_broken_metadata(image)
    image.load()  # open() and verify() accept truncated files
    if profile:
        image.info["icc_profile"] = profile
    return image


def reason(error: Exception) -> str:
    """Return why an image can't be read, as the end of a sentence that starts with the file's name."""
    if isinstance(error, UnreadableError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS // 1_000_000} million pixels"
    if isinstance(error, UnidentifiedImageError):
        return "is not an image that Pillow can read"
    return f"is damaged or incomplete ({' '.join(str(error).split()) or type(error).__name__})"


def check_size(image: Image.Image) -> None:
    """Raise UnreadableError if the image has no pixels or more than `MAX_PIXELS`."""
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableError(f"has more than {MAX_PIXELS // 1_000_000} million pixels")
    if not image.width * image.height:
        raise UnreadableError("has no pixels")


def _heif_formats() -> tuple[str, ...]:
    """Register the reader of HEIC photos, if it is installed, and return its formats."""
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        raise UnreadableError(HEIF_ADVICE) from error
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _seek_main_page(image: Image.Image) -> None:
    """Seek the full-size page of a TIFF, past previews and masks."""
    pages = []  # (subfile type, pixels)
    for number in range(image.n_frames):
        image.seek(number)
        kind = image.tag_v2.get(SUBFILE_TYPE)
        pages.append((kind if isinstance(kind, int) else 0, image.width * image.height))
        raw = DNG_VERSION in image.tag_v2 or (pages[0][0] & REDUCED and SUB_IFDS in image.tag_v2)
        if raw:  # its first page is a preview
            raise UnreadableError(RAW_ADVICE)
    full = [number for number, (kind, _) in enumerate(pages) if not kind & (REDUCED | MASK)]
    if len(full) > 1:
        raise UnreadableError(f"has {len(full)} pages: save each page as a file of its own")
    image.seek(full[0] if full else max(range(len(pages)), key=lambda number: pages[number][1]))


def _drop_broken_metadata(image: Image.Image) -> None:
    """Remove metadata that would make Pillow reject a TIFF whose pixels are fine: odd XMP, directories of EXIF."""
    if not isinstance(image.info.get("xmp", b""), bytes):
        del image.info["xmp"]
    exif = image.getexif()
    for tag in TiffTags.TAGS_V2_GROUPS:
        try:
            exif.get_ifd(tag)
        except Exception:  # as in `_one_error_type` of `images`, no list is complete
            del exif[tag]


def _trim_png(data: bytes) -> tuple[bytes, bytes | None]:
    """Remove metadata that would make Pillow reject a PNG whose pixels are fine.

    These are ancillary chunks that are not used (Pillow rejects some that are too short), text that decompresses to
    over 1 MiB, and ancillary chunks with a wrong checksum.

    Returns:
        The bytes of the PNG, and its color profile if it was over 1 MiB and therefore removed, too.
    """
    kept, position, profile = [data[:8]], 8, None
    while position + 12 <= len(data):
        (length,), kind = struct.unpack_from(">I", data, position), data[position + 4 : position + 8]
        chunk = data[position : position + 12 + length]
        body, position = chunk[8:-4], position + len(chunk)
        damaged = len(chunk) < 12 + length or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big")
        if kind[0] & 0x20 and (damaged or not _is_used(kind, body)):  # 0x20: ancillary
            continue
        if kind == b"iCCP" and _unpacked(kind, body) is None:
            profile = _unpacked(kind, body, MAX_PROFILE)
            continue
        kept.append(chunk)
    return b"".join([*kept, data[position:]]), profile


def _is_used(kind: bytes, body: bytes) -> bool:
    """Return whether an ancillary chunk of a PNG has something to tell about the image."""
    if kind in PNG_TEXT:
        return body.partition(b"\0")[0] in PNG_METADATA and _unpacked(kind, body) is not None
    return kind in PNG_USED or (kind == b"pHYs" and len(body) == 9)


def _unpacked(kind: bytes, body: bytes, limit: int = MAX_PNG_TEXT) -> bytes | None:
    """Return the content of a PNG's text or profile chunk; None if it is larger than `limit` or damaged."""
    rest = body.partition(b"\0")[2]  # after the keyword
    compressed, method, content = kind != b"tEXt", rest[:1], rest if kind == b"tEXt" else rest[1:]
    if kind == b"iTXt":
        compressed, method, content = rest[:1] == b"\1", rest[1:2], rest[2:].split(b"\0", 2)[-1]
    if not compressed:
        return content if len(content) <= limit else None
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(content, limit)
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail or method != b"\0" else content
