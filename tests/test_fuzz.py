"""Random image files, and the files by which earlier ones showed a fault; `make fuzz` tries many more."""

import io
import random
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from colorlib.images import ImageReadError, open_image, read_image, write_image

ROOT = Path(__file__).resolve().parent.parent
PIXELS = bytes(range(12))  # of the image in `tiff`, 4 × 3 px
GRAY = {
    256: (3, [4]), 257: (3, [3]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 273: (4, PIXELS), 277: (3, [1]),
    278: (3, [3]), 279: (4, [12]),
}  # fmt: skip


@pytest.fixture
def fuzz_images(monkeypatch):
    """The module in tools/."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    import fuzz_images

    return fuzz_images


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_files_give_an_image_or_one_sentence(fuzz_images, first):
    problems = {seed: fuzz_images.problem_of(fuzz_images.make_file(seed)) for seed in range(first, first + 50)}
    assert not {seed: problem for seed, problem in problems.items() if problem}


@pytest.mark.parametrize("outcome", ["KeyError", "two\nlines", "warning", "not saved"])
def test_a_fault_is_noticed(fuzz_images, outcome, monkeypatch):
    def read(file):
        if outcome == "KeyError":
            raise KeyError("tag")
        if outcome == "two\nlines":
            raise ImageReadError("The image given is\nbroken.")
        if outcome == "warning":
            warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        image = Image.new("RGB", (2, 2))
        image.info = {"exif": b"no EXIF"} if outcome == "not saved" else {}
        return image

    monkeypatch.setattr(fuzz_images, "open_image", read)
    expected = {"KeyError": "raises KeyError", "two\nlines": "is not one sentence", "warning": "warns: overflow"}
    assert fuzz_images.problem_of(b"").startswith(expected.get(outcome, "raises "))


def test_make_fuzz_tries_files_for_some_seconds():
    command = [sys.executable, ROOT / "tools" / "fuzz_images.py", "--seconds", "6", "--first", "1000"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and " files from seed 1000 on, 0 failed" in run.stdout, run.stdout + run.stderr


def test_a_seed_always_makes_the_same_file(fuzz_images):
    assert fuzz_images.make_file(3) == fuzz_images.make_file(3) != fuzz_images.make_file(4)


# --- What random files have found ---


def tiff(fuzz_images, tags):
    """Return a gray TIFF with these tags: name -> (type, values)."""
    return io.BytesIO(fuzz_images.tag_table(random.Random(0), [], [GRAY | tags]))


@pytest.mark.parametrize(
    "tags",
    [
        {282: (2, b"300 dpi\0")},  # the resolution
        {254: (2, b"preview\0")},  # the kind of page
        {700: (4, [7, 8])},  # XMP
        {700: (2, b"<x:xmpmeta/>\0")},
        {34675: (4, [7, 8])},  # the color profile
        {34665: (9, [2**32 - 9])},  # a directory of EXIF at a negative place
        {34853: (2, b"Oslo\0")},
    ],
)
def test_odd_tags_of_a_tiff_do_not_cost_its_pixels(fuzz_images, tags):
    tags = {name: (kind, list(values)) for name, (kind, values) in tags.items()}  # bytes would be the pixels
    assert read_image(tiff(fuzz_images, tags))[..., 0].tobytes() == PIXELS


@pytest.mark.parametrize("dpi", [0, 2**32 - 1])
def test_an_impossible_resolution_is_dropped(fuzz_images, dpi):
    image = open_image(tiff(fuzz_images, {282: (4, [dpi]), 283: (4, [dpi]), 296: (3, [2])}))
    assert "dpi" not in image.info
    write_image(image, io.BytesIO(), "JPEG")


def png(*chunks):
    """Return a 2×2 PNG whose gray pixels are 77, with more chunks before them."""
    rows = zlib.compress(b"\0MM\0MM")
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return io.BytesIO(data)


@pytest.mark.parametrize("kind", [b"cHRM", b"gAMA", b"sRGB", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"bKGD", b"tIME"])
def test_a_chunk_of_a_png_that_is_too_short_does_not_cost_its_pixels(kind):
    assert (read_image(png((kind, b""))) == 77).all()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_an_unknown_compression_of_metadata_does_not_cost_the_pixels_of_a_png(kind):
    name = {b"zTXt": b"Raw profile type exif", b"iTXt": b"XML:com.adobe.xmp", b"iCCP": b"profile"}[kind]
    flag = b"\1" if kind == b"iTXt" else b""
    body = name + b"\0" + flag + b"\x07" + (b"\0\0" if flag else b"") + zlib.compress(b"x")
    assert (read_image(png((kind, body))) == 77).all()


def test_a_profile_for_an_unknown_color_space_is_ignored(fuzz_images):
    profile = bytearray(fuzz_images.ImageCms.ImageCmsProfile(fuzz_images.ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"R\xff\xfeB"
    assert (read_image(png((b"iCCP", b"name\0\0" + zlib.compress(bytes(profile))))) == 77).all()


def test_huge_floating_point_values_do_not_overflow():
    values = np.array([[-3e38, 0, 1, 3e38]], np.float32)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF")
    gray = read_image(file)[0, :, 0]  # pytest turns warnings into errors
    assert gray[0] == 0 and gray[-1] == 255 and (np.diff(gray.astype(int)) >= 0).all()


@pytest.mark.parametrize("tag, value", [(ExifTags.Base.ImageWidth, 5), (ExifTags.Base.ImageLength, 1), (262, 1)])
def test_the_size_in_the_exif_of_a_phone_does_not_shape_a_tiff(tag, value):
    exif = Image.Exif()
    exif[tag], exif[ExifTags.Base.Artist] = value, "Ada"
    image = Image.fromarray(np.arange(4 * 3 * 3, dtype=np.uint8).reshape(3, 4, 3))
    image.info["exif"] = exif.tobytes()
    file = io.BytesIO()
    write_image(image, file, "TIFF")
    assert (read_image(file) == np.asarray(image)).all()
    assert Image.open(file).getexif()[ExifTags.Base.Artist] == "Ada"


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xc0", b"GIF89a", b"II*\0", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_file_of_a_known_format_is_called_damaged(start):
    with pytest.raises(ImageReadError, match="^The image given is damaged, or of a kind that Pillow can't read.$"):
        read_image(io.BytesIO(start + bytes(20)))
