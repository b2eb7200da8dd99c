"""Read random image files: each gives an image that can be saved, or `ImageReadError`, with little time and memory.

`python tools/fuzz_images.py [--seconds 60] [--first SEED]` tries seed after seed and prints those that fail.
`python tools/fuzz_images.py --seed SEED [--save FILE]` tries one seed, and writes its file.

A file is made from its seed alone: a small valid image, or a TIFF, PNG, JPEG or PNM with generated tags, chunks,
segments or numbers; many of them with changed bytes or cut short. They are read in another process, so that a crash or
an endless loop is reported with its seed as well. The exit status is 1 if a seed failed.
"""

import argparse
import io
import multiprocessing
import os
import random
import struct
import sys
import time
import warnings
import zlib
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from colorlib.images import ImageReadError, open_image, write_image

MAX_SECONDS = 60  # per file: 100 million pixels, the most that are read, take up to 10 on an idle machine
HANG_SECONDS = 180  # after which the reading process is stopped
MAX_BYTES = 5 * 2**29  # by which memory may grow: 100 million pixels take up to 2 GB while they are converted
WIDTH, HEIGHT = 12, 9  # of most images
FORMATS = [
    ("JPEG", "RGB", {}), ("JPEG", "L", {}), ("JPEG", "CMYK", {}), ("JPEG", "RGB", {"progressive": True}),
    ("PNG", "RGBA", {}), ("PNG", "P", {}), ("PNG", "1", {}), ("PNG", "LA", {}), ("PNG", "I;16", {}),
    ("PNG", "RGB", {"save_all": True}), ("GIF", "P", {"save_all": True}), ("WEBP", "RGBA", {}),
    ("WEBP", "RGB", {"save_all": True}), ("AVIF", "RGB", {}), ("BMP", "RGB", {}), ("BMP", "P", {}), ("DIB", "RGB", {}),
    ("JPEG2000", "RGB", {}), ("JPEG2000", "RGBA", {"no_jp2": True}), ("PPM", "RGB", {}), ("PPM", "1", {}),
    ("MPO", "RGB", {"save_all": True}), ("TIFF", "RGB", {}), ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "jpeg"}), ("TIFF", "1", {"compression": "group4"}), ("TIFF", "LAB", {}),
    ("TIFF", "F", {"compression": "tiff_deflate"}), ("TIFF", "I;16", {}), ("TIFF", "I", {}), ("TIFF", "CMYK", {}),
    ("TIFF", "L", {"save_all": True}), ("TIFF", "YCbCr", {"compression": "jpeg"}), ("TIFF", "RGBA", {}),
]  # fmt: skip
TIFF_PIXELS = [  # photometric interpretation, samples, bits, sample format
    (0, 1, 1, 1), (1, 1, 1, 1), (0, 1, 4, 1), (1, 1, 8, 1), (1, 1, 12, 1), (0, 1, 16, 1), (1, 1, 16, 2), (1, 1, 32, 1),
    (1, 1, 32, 2), (0, 1, 32, 3), (1, 1, 32, 3), (3, 1, 4, 1), (3, 1, 8, 1), (2, 3, 8, 1), (2, 3, 16, 1), (2, 4, 8, 1),
    (2, 4, 16, 1), (5, 4, 8, 1), (6, 3, 8, 1), (8, 3, 8, 1), (1, 2, 8, 1),
]  # fmt: skip
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
EXIF_TAGS = [270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432, 33434, 34665, 34853, 36867, 37386, 40962, 42036]
TIFF_TAGS = [
    254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 284, 292, 293, 297, 301, 317, 318, 320,
    322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 529, 530, 532, 700, 33723, 34377, 34675, 50706, 50740,
    *EXIF_TAGS,
]  # fmt: skip
PNG_CHUNKS = [
    b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL",
    b"fdAT", b"tIME", b"bKGD", b"sBIT", b"cICP", b"IDAT", b"IEND", b"XXXX", b"xxxx",
]  # fmt: skip
JPEG_SEGMENTS = [
    (0xE0, b"JFIF\0"), (0xE1, b"Exif\0\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xE2, b"ICC_PROFILE\0"),
    (0xE2, b"MPF\0"), (0xED, b"Photoshop 3.0\0"), (0xEE, b"Adobe"), (0xFE, b""), (0xDD, b""), (0xDB, b""), (0xC4, b""),
    (0xC0, b""), (0xC2, b""), (0xDC, b""),
]  # fmt: skip


def make_file(seed: int) -> bytes:
    """Return the bytes of an image file, most often a damaged one."""
    rng = random.Random(seed)
    make, damaged = rng.choice([(valid, 0.8), (tiff, 0.3), (png, 0.3), (jpeg, 0.3), (pnm, 0.2), (opening, 0.2)])
    data = make(rng)
    while rng.random() < damaged:
        data, damaged = damage(rng, data), damaged / 2
    return data


def number(rng: random.Random) -> int:
    """Return an unsigned number of 32 bits, most often a small one or one near a limit."""
    edges = (0, 1, 255, 256, 65_500, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)
    return rng.choice([rng.randrange(16), rng.randrange(300), rng.choice(edges), rng.getrandbits(32)])


def damage(rng: random.Random, data: bytes) -> bytes:
    """Return the bytes with some of them changed, cut off, left out, doubled or moved."""
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    kind = rng.randrange(7)
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + data[stop:]
    if kind == 2:
        return data[:stop] + data[start:]
    if kind == 3:
        return data[:start] + rng.randbytes(rng.randrange(1, 20)) + data[start:]
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 9)):
        value = rng.choice([rng.randbytes(1), number(rng).to_bytes(4, rng.choice(["big", "little"]))])
        place = rng.randrange(min(len(data), rng.choice([64, 512, 2**30])) + 1)
        changed[place : place + len(value)] = value
    return bytes(changed)


def profile(rng: random.Random) -> bytes:
    """Return a color profile: for RGB, gray or another space, intact or damaged."""
    space = rng.choice(["sRGB", "sRGB", "LAB", "XYZ", "gray"])
    if space == "gray":
        curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, rng.choice([256, 461, number(rng) % 2**16]), 0)
        white = struct.pack(">iii", 63190, 65536, 54061)
        tags = struct.pack(">I4sII4sII", 2, b"kTRC", 156, 16, b"wtpt", 172, 20) + curve + b"XYZ " + bytes(4) + white
        head = struct.pack(">I4xI4s4s4s12x4s28x", 192, 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp") + white
        data = head.ljust(128, b"\0") + tags
    else:
        data = ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()
    if rng.random() < 0.1:
        data = data.ljust(2**20 + rng.randrange(2**20), b"\0")
    return damage(rng, data) if rng.random() < 0.4 else data


def valid(rng: random.Random) -> bytes:
    """Return a small image of a random format and mode, with metadata."""
    image_format, mode, options = rng.choice(FORMATS)
    pixels = np.frombuffer(rng.randbytes(WIDTH * HEIGHT * 3), np.uint8).reshape(HEIGHT, WIDTH, 3)
    if mode in ("I;16", "I", "F"):
        gray = pixels[..., 0].astype(np.uint16) * rng.choice([1, 16, 257])
        image = Image.fromarray(gray.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        image = Image.fromarray(pixels)
        image = Image.merge("LAB", image.split()) if mode == "LAB" else image.convert(mode)
    options = dict(options)
    if options.get("save_all"):
        options["append_images"] = [image] * rng.randrange(3)
    if image_format in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "MPO") and rng.random() < 0.5:
        options["icc_profile"] = profile(rng)[:60_000]
    if image_format in ("JPEG", "PNG", "WEBP", "MPO") and rng.random() < 0.5:
        options["exif"] = b"Exif\0\0" + tag_table(rng, EXIF_TAGS)
    if image_format == "PNG" and mode in ("P", "RGB", "I;16") and rng.random() < 0.3:
        options["transparency"] = (1, 2, 3) if mode == "RGB" else 1
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def tag_table(rng: random.Random, names: list[int], pages: list[dict[int, tuple]] = ({},)) -> bytes:
    """Return a TIFF, or the content of EXIF, with tables of random tags.

    Args:
        names: to choose from.
        pages: the tags of each page, name -> (type, values), or bytes: pixels, stored in one strip. Some are replaced.
    """
    order, long = rng.choice("<>"), rng.random() < 0.1  # long: BigTIFF
    offset = "Q" if long else "I"
    magic = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if long else 42)
    data = magic + (struct.pack(order + "HHQ", 8, 0, 16) if long else struct.pack(order + "I", 8))
    for page, given in enumerate(pages):
        table = dict(given)
        for _ in range(rng.choice([0, 0, 1, 2, 6]) if names else 0):
            kind = rng.choice([*TYPE_BYTES])
            table[rng.choice(names)] = (kind, [number(rng) for _ in range(rng.choice([1, 1, 2, 3, 40]))])
        inline = 8 if long else 4
        rest = len(data) + (8 if long else 2) + (12 + inline - 4 if not long else 20) * len(table) + inline
        entries, body = b"", b""
        for name, (kind, values) in sorted(table.items()):
            if isinstance(values, bytes):
                values, body = [rest + len(body)], body + values
            packed = b"".join(_packed(order, kind, value) for value in values)
            if len(packed) > inline:
                packed, body = struct.pack(order + offset, rest + len(body)), body + packed
            entries += struct.pack(order + "HH" + offset, name, kind, len(values)) + packed.ljust(inline, b"\0")
        following = (
            rest + len(body)
            if page + 1 < len(pages)
            else (0 if rng.random() < 0.9 else rng.choice([8, 16, number(rng)]))
        )
        data += struct.pack(order + ("Q" if long else "H"), len(table)) + entries
        data += struct.pack(order + offset, following) + body
    return data


def _packed(order: str, kind: int, value: int) -> bytes:
    size = TYPE_BYTES[kind]
    if kind in (5, 10):
        return struct.pack(order + "II", value, value % 7)
    if kind in (11, 12):
        return struct.pack(order + {11: "f", 12: "d"}[kind], value / 255)
    return (value % 256**size).to_bytes(size, "little" if order == "<" else "big")


def tiff(rng: random.Random) -> bytes:
    """Return a TIFF of a random kind of pixels, on one page or a few."""
    pages = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.8:
            photometric, samples, bits, sample_format = rng.choice(TIFF_PIXELS)
        else:
            photometric, samples, bits, sample_format = (rng.choice(column) for column in zip(*TIFF_PIXELS))
        pixels = rng.randbytes(HEIGHT * ((WIDTH * samples * bits + 7) // 8))
        compression = rng.choice([1, 8, 32946, 32773, 5, 7, 2, 3, 4, 34712, 50000, number(rng) % 2**16])
        compression = compression if rng.random() < 0.3 else rng.choice([1, 1, 8])
        size = len(pixels)
        if compression in (8, 32946):
            pixels, size = (packed := zlib.compress(pixels)), len(packed)
        page = {
            256: (3, [WIDTH]), 257: (3, [HEIGHT]), 258: (3, [bits] * samples), 259: (3, [compression]),
            262: (3, [photometric]), 273: (4, pixels), 277: (3, [samples]), 278: (3, [HEIGHT]), 279: (4, [size]),
            284: (3, [rng.choice([1, 1, 2])]), 339: (3, [sample_format] * samples),
        }  # fmt: skip
        if rng.random() < 0.3:
            page[254] = (4, [rng.randrange(8)])
        if photometric == 3:
            page[320] = (3, [number(rng) % 2**16 for _ in range(3 * 2 ** min(bits, 8))])
        if samples in (2, 4):
            page[338] = (3, [rng.randrange(3)])
        if rng.random() < 0.2:
            page[34675] = (7, list(profile(rng)[:4000]))
        pages.append(page)
    return tag_table(rng, rng.choice([[], EXIF_TAGS, TIFF_TAGS]), pages)


def png(rng: random.Random) -> bytes:
    """Return a PNG of a random kind of pixels with random chunks."""
    color, channels = rng.choice([(0, 1), (2, 3), (3, 1), (4, 2), (6, 4)])
    depth = rng.choice({0: [1, 2, 4, 8, 16], 3: [1, 2, 4, 8]}.get(color, [8, 16]))
    if rng.random() < 0.01:  # a bomb: many pixels in few bytes
        width, height = rng.choice([(3000, 2000), (20_000, 400), (12_000, 9000), (40_000, 40_000), (5, 2**31 - 1)])
        rows = bytes(min(height * (1 + width * channels * depth // 8), 2**26))
    else:
        width, height = WIDTH, HEIGHT
        rows = b"".join(b"\0" + rng.randbytes((width * channels * depth + 7) // 8) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, rng.random() < 0.1)
    chunks = [(kind, _png_body(rng, kind)) for kind in rng.choices(PNG_CHUNKS, k=rng.choice([0, 1, 2, 4, 8]))]
    if color == 3:
        chunks.insert(0, (b"PLTE", rng.randbytes(3 * 2**depth)))
    chunks = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        checksum = zlib.crc32(kind + body) ^ (rng.random() < 0.05)
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
    return data


def _png_body(rng: random.Random, kind: bytes) -> bytes:
    packed = zlib.compress(bytes(rng.choice([10, 10, 2**20 + 1, 3 * 2**20])))
    packed = damage(rng, packed) if rng.random() < 0.2 else packed
    texts = {
        b"iCCP": b"profile\0\0" + zlib.compress(profile(rng)),
        b"eXIf": rng.choice([b"", b"Exif\0\0"]) + tag_table(rng, EXIF_TAGS),
        b"tEXt": b"Comment\0" + bytes(rng.choice([10, 2**20 + 1])),
        b"zTXt": b"Comment\0\0" + packed,
        b"iTXt": b"XML:com.adobe.xmp\0" + rng.choice([b"\0\0", b"\1\0", b"\1\1"]) + b"\0\0" + packed,
    }
    body = texts.get(kind, rng.randbytes(rng.choice([0, 1, 2, 3, 6, 8, 9, 26, 32, 48])))
    return damage(rng, body) if body and rng.random() < 0.1 else body


def jpeg(rng: random.Random) -> bytes:
    """Return a JPEG with random segments before its pixels."""
    image = Image.frombytes("RGB", (WIDTH, HEIGHT), rng.randbytes(WIDTH * HEIGHT * 3))
    file = io.BytesIO()
    image.convert(rng.choice(["RGB", "L", "CMYK"])).save(file, "JPEG", quality=rng.choice([5, 95]))
    segments = b""
    for _ in range(rng.choice([0, 1, 2, 4])):
        marker, start = rng.choice(JPEG_SEGMENTS)
        body = rng.randbytes(rng.choice([0, 2, 4, 9, 65]))
        if start in (b"Exif\0\0", b"MPF\0"):
            body = tag_table(rng, EXIF_TAGS if start == b"Exif\0\0" else [45056, 45057, 45058])
        elif start == b"ICC_PROFILE\0":
            body = bytes([rng.randrange(3), rng.randrange(3)]) + profile(rng)
        body = (start + body)[:65_000]
        segments += bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    data = file.getvalue()
    return data[:2] + segments + data[2:]


def pnm(rng: random.Random) -> bytes:
    """Return a PNM: a header of text, and pixels."""
    magic = rng.choice([b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF", b"Py", b"P0CMYK", b"PyRGBA"])
    width, height = rng.choice([(WIDTH, HEIGHT), (number(rng), number(rng)), (WIDTH, 0)])
    white = rng.choice([b"255", b"1", b"65535", b"1.0", b"-1", b"0", b"", b"99999"])
    values = b" ".join(str(rng.randrange(300)).encode() for _ in range(WIDTH * HEIGHT * 3))
    pixels = rng.choice([values, rng.randbytes(WIDTH * HEIGHT * 12)])
    return magic + b"\n" + rng.choice([b"", b"# note\n"]) + b"%d %d\n" % (width, height) + white + b"\n" + pixels


def opening(rng: random.Random) -> bytes:
    """Return the first bytes of a format, and random ones."""
    size = number(rng).to_bytes(4, rng.choice(["big", "little"]))
    known = rng.choice([
        b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"%!PS-Adobe",
        b"II*\0\x10\0\0\0CR\2\0", b"GIF89a" + size, b"BM" + size + bytes(4), b"RIFF" + size + b"WEBPVP8 ", b"",
    ])  # fmt: skip
    return known + rng.randbytes(rng.randrange(200))


def problem_of(data: bytes) -> str | None:
    """Read a file; return what is wrong with the outcome, or None."""
    start, memory = time.monotonic(), _reset_peak()
    try:
        with warnings.catch_warnings(record=True, action="always") as caught:
            image = open_image(io.BytesIO(data))
            rgb = np.asarray(image)
            for image_format in ("JPEG", "PNG", "TIFF") if rgb.size < 2**20 else ():  # its metadata can be written
                write_image(image, io.BytesIO(), image_format)
    except ImageReadError as error:
        message = str(error)
        if not (message.startswith("The image given ") and message.endswith(".") and message.isprintable()):
            return f"is not one sentence: {message!r}"
    except Exception as error:  # anything else is the bug that we look for
        return f"raises {type(error).__name__}: {error}"
    else:
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            return f"gives {rgb.dtype} {rgb.shape}"
    if caught:  # it would be printed beside the progress of a command
        return f"warns: {caught[0].message}"
    if (seconds := time.monotonic() - start) > MAX_SECONDS:
        return f"takes {seconds:.0f} s"
    if (grown := _peak() - memory) > MAX_BYTES:
        return f"takes {grown / 2**20:,.0f} MiB of memory"
    return None


def _reset_peak() -> int:
    """Start to measure the largest memory of this process anew, and return it; Linux only, elsewhere 0."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    if sys.platform != "linux":
        return 0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _read_files(first: int, current, problems) -> None:
    """Try seed after seed, in a process of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff writes about damaged files to stderr
    for seed in count(first):
        current.value = seed
        if problem := problem_of(make_file(seed)):
            problems.put((seed, problem))


def fuzz(first: int, seconds: float) -> int:
    """Try seeds for some time and print those that fail; return how many did."""
    context = multiprocessing.get_context("spawn")
    current, problems, failed = context.Value("q", first), context.Queue(), 0
    end, reader, last, since = time.monotonic() + seconds, None, first, time.monotonic()

    def report(seed: int, problem: str) -> None:
        nonlocal failed
        failed += 1
        print(f"seed {seed}: {problem}", flush=True)

    while time.monotonic() < end:
        if reader is None:
            since = time.monotonic()
            reader = context.Process(target=_read_files, args=(current.value, current, problems), daemon=True)
            reader.start()
        reader.join(0.2)
        while not problems.empty():
            report(*problems.get())
        seed = current.value
        if seed != last:
            last, since = seed, time.monotonic()
        hangs = time.monotonic() - since > HANG_SECONDS
        if hangs or not reader.is_alive():
            reader.kill()
            reader.join()
            report(seed, f"does not end within {HANG_SECONDS} s" if hangs else f"ends the process ({reader.exitcode})")
            current.value, reader = seed + 1, None
    if reader:
        reader.kill()
        reader.join()
    while not problems.empty():
        report(*problems.get())
    print(f"{current.value - first:,} files from seed {first} on, {failed} failed")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="try only this one")
    parser.add_argument("--save", type=Path, help="write the file of that seed here")
    options = parser.parse_args()
    if options.seed is None:
        raise SystemExit(fuzz(options.first, options.seconds) > 0)
    data = make_file(options.seed)
    if options.save:
        options.save.write_bytes(data)
    problem = problem_of(data)
    print(f"seed {options.seed}: {problem or 'ok'}")
    raise SystemExit(problem is not None)


if __name__ == "__main__":
    main()
