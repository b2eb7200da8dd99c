"""From a decoded image of any kind to 8-bit sRGB: bit depth, profile, transparency, orientation, metadata."""

from contextlib import suppress
from functools import cache
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

TURNS = {  # EXIF orientation -> operation that turns the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# Copy only these tags from a TIFF. Its other tags describe how its pixels are stored.
TIFF_TAGS = (
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software,
    ExifTags.Base.DateTime, ExifTags.Base.Artist, ExifTags.Base.Copyright, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo,
)  # fmt: skip
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags
WHITES = {"F": (1, 255, 4095, 65535), "I": (255, 4095, 65535)}  # the usual values of white
MAX_DPI = 65_535  # that a JPEG can hold
SLACK = 1.02  # values up to 1.02 × white still count as white: a few brighter pixels are noise
MAX_FLOAT = 1e30  # of gray values, so that differences can't overflow
SAME = 2  # a profile that changes no color by more than this (of 255) is treated as sRGB


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to an upright RGB image in sRGB; transparent parts become white.

    Returns:
        A new image. Its `info` contains only "exif" (bytes, without the orientation) and "dpi", if the file had them.
    """
    exif, turn = _metadata(image)
    profile, dpi = image.info.get("icc_profile"), _dpi(image)
    alpha = _alpha(image)
    rgb = _apply_profile(_to_8_bits(image), profile)
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    rgb = rgb.transpose(turn) if turn is not None else rgb
    rgb.info = {"exif": exif} if exif else {}
    if dpi:
        rgb.info["dpi"] = dpi if turn in (None, *list(TURNS.values())[:3]) else dpi[::-1]
    return rgb


@cache
def srgb_profile() -> bytes:
    """Return the ICC profile of sRGB, to embed in saved images."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _metadata(image: Image.Image) -> tuple[bytes | None, Image.Transpose | None]:
    """Return the EXIF data of an image, without the orientation and unwritable tags, and the operation from `TURNS`."""
    tags, turn = {}, None
    with suppress(Exception):  # damaged metadata makes Pillow raise all kinds of errors
        exif = image.getexif()
        turn = TURNS.get(exif.get(ExifTags.Base.Orientation))
        names = TIFF_TAGS if image.format == "TIFF" else tuple(exif)
        for name in names:
            with suppress(Exception):
                value = exif.get_ifd(name) if name in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) else exif.get(name)
                if value not in (None, {}) and name != ExifTags.Base.Orientation:
                    tags[name] = value
    written = Image.Exif()
    for name, value in _writable(tags).items():
        written[name] = value
    return (written.tobytes() if len(written) else None), turn


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    """Return the resolution of an image in pixels per inch; None if there is none, or an impossible one."""
    with suppress(TypeError, ValueError, ZeroDivisionError):  # a TIFF may have text in its place
        across, down = (float(value) for value in image.info.get("dpi", ()))
        if 0 < across <= MAX_DPI and 0 < down <= MAX_DPI:
            return across, down
    return None


def _writable(tags: dict) -> dict:
    """Return the tags that can be written as EXIF, also within nested directories."""
    kept = {}
    for tag, value in tags.items():
        value = _writable(value) if isinstance(value, dict) else value
        with suppress(Exception):  # text in a number's place, a negative unsigned number ...
            directory = TiffImagePlugin.ImageFileDirectory_v2()
            directory[tag] = value
            directory.tobytes(8)
            kept[tag] = value
    return kept


def _alpha(image: Image.Image) -> Image.Image | None:
    """Return the opacity of an image, mode "L"; None if it has no transparency."""
    transparent = image.info.get("transparency")
    if image.mode.startswith("I;16") and isinstance(transparent, int):
        return Image.fromarray(np.where(np.asarray(image) == transparent, 0, 255).astype(np.uint8))
    return image.convert("RGBA").getchannel("A") if image.has_transparency_data else None


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and floating point gray to mode "L", where Pillow would clip; return others unchanged."""
    if image.mode[0] not in "IF":  # I, I;16, I;16B, F
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    np.clip(values, -MAX_FLOAT, MAX_FLOAT, out=values)
    tags = getattr(image, "tag_v2", {})
    low, high = np.percentile(values, (0.1, 99.9))
    black = min(0.0, float(low)) if low < -0.02 * high else 0.0
    if image.mode.startswith("I;16"):
        white = 2 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    else:
        usual = [white for white in WHITES[image.mode] if black == 0 and high <= SLACK * white]
        white = usual[0] if usual else float(high)
    shares = ((values - black) / max(white - black, 1e-12)).clip(0, 1)
    shares = 1 - shares if tags.get(PHOTOMETRIC) == 0 else shares  # white is zero, which Pillow knows for 8 bits only
    return Image.fromarray((shares * 255 + 0.5).astype(np.uint8))


def _apply_profile(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Convert any 8-bit mode to RGB, using the embedded profile if it is valid and fits the image."""
    # A broken or unknown profile is ignored: also one that is not bytes, or names its color space in no known letters.
    with suppress(ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError):
        profile = ImageCms.ImageCmsProfile(BytesIO(icc_profile or b""))
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}[profile.profile.xcolor_space.strip()]
        fits = {"L": _is_gray(image), "RGB": image.mode != "CMYK", "CMYK": image.mode == "CMYK"}[mode]
        if fits:
            transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
            if mode != "RGB" or not _is_srgb(transform):
                return ImageCms.applyTransform(image.convert(mode), transform)
    return image.convert("RGB")


def _is_gray(image: Image.Image) -> bool:
    """Return whether an image is gray; for a palette image, whether all palette colors are."""
    if image.mode == "P":
        colors = np.reshape(image.getpalette("RGB"), (-1, 3))
        return not np.ptp(colors, axis=1).any()
    return image.mode in ("1", "L", "LA", "La")


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a transform from RGB to sRGB changes grays and strong colors by no more than rounding does."""
    ramp = np.arange(256, dtype=np.uint8)
    colors = np.stack([ramp, 0 * ramp, 0 * ramp], axis=1)
    probe = np.concatenate([np.repeat(ramp[:, None], 3, axis=1), colors, np.roll(colors, 1, 1), np.roll(colors, 2, 1)])
    after = np.asarray(ImageCms.applyTransform(Image.fromarray(probe[None]), transform))
    return np.abs(after[0].astype(int) - probe).max() <= SAME
