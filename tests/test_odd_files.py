"""Files from scanners, phones and old programs: each comes out right, or is refused in one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from image_files import encode
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from colorlib.images import ImageReadError, find_images, open_image, read_image, save_image, write_image

Base, GPS = ExifTags.Base, ExifTags.IFD.GPSInfo


def tiff(entries, pixels, pages=1):
    """Return a little-endian TIFF with one strip per page, from (tag, type, count, value) entries."""
    data = b"II*\0" + struct.pack("<I", 8)
    for page in range(pages):
        table = sorted([*entries(page), (273, 4, 1, None), (279, 4, 1, len(pixels))])
        strip = len(data) + 2 + 12 * len(table) + 4
        following = strip + len(pixels) if page + 1 < pages else 0
        data += struct.pack("<H", len(table))
        for tag, kind, count, value in table:
            value = strip if tag == 273 else value
            packed = struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value)
            data += struct.pack("<HHI", tag, kind, count) + packed
        data += struct.pack("<I", following) + pixels
    return data


def gray_tiff(values, bits, photometric=1, sample_format=1, **more):
    """Return a one-row gray TIFF of whole or floating point values."""
    kind = {8: "<u1", 16: "<u2", 32: "<f4" if sample_format == 3 else "<u4"}
    if bits == 12:  # two values in three bytes
        pairs = np.array(values).reshape(-1, 2)
        pixels = b"".join(((int(a) << 12) | int(b)).to_bytes(3, "big") for a, b in pairs)
    else:
        pixels = np.array(values, kind[bits]).tobytes()
    entries = [(256, 3, 1, len(values)), (257, 3, 1, 1), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, photometric)]
    entries += [(277, 3, 1, 1), (278, 3, 1, 1), (339, 3, 1, sample_format)]
    return io.BytesIO(tiff(lambda page: entries, pixels, **more))


def broken_tags():
    """Yield EXIF tags with values that Pillow reads and can't write back."""
    yield GPS, {6: -30.0}  # altitude below the sea, as a negative unsigned number
    yield GPS, {2: "47.5 N"}
    yield Base.XResolution, "72 dpi"
    yield ExifTags.IFD.Exif, {Base.ExposureTime: "1/60"}
    yield ExifTags.IFD.Exif, {Base.ISOSpeedRatings: -1}


@pytest.mark.parametrize("tag, value", list(broken_tags()))
def test_an_image_is_turned_and_keeps_its_good_tags_beside_a_broken_one(tag, value, monkeypatch):
    tags = {Base.Orientation: 6, Base.Artist: "Ada", tag: value}

    class Broken(Image.Exif):
        def get_ifd(self, name):
            return tags.get(name, {}) if name in (ExifTags.IFD.Exif, GPS) else super().get_ifd(name)

    exif = Broken()
    for name, content in tags.items():
        exif[name] = content
    photo = np.zeros((4, 8, 3), np.uint8)
    photo[0] = 255  # the top row
    monkeypatch.setattr(Image.Image, "getexif", lambda self: exif)
    image = open_image(encode(photo))
    assert image.size == (4, 8) and image.getpixel((3, 4)) == (255, 255, 255)  # orientation 6: top is at the right
    monkeypatch.undo()
    kept = Image.Exif()
    kept.load(image.info["exif"])
    assert kept[Base.Artist] == "Ada" and Base.Orientation not in kept


def test_white_is_the_largest_value_of_the_bit_depth():
    assert read_image(gray_tiff([0, 1024, 3071, 4095], bits=12))[0, :, 0].tolist() == [0, 64, 191, 255]
    assert read_image(gray_tiff([0, 16448, 65535], bits=16))[0, :, 0].tolist() == [0, 64, 255]


@pytest.mark.parametrize("bits, values, sample_format", [(16, [0, 16448, 65535], 1), (32, [0.0, 0.25, 1.0], 3)])
def test_white_is_zero(bits, values, sample_format):
    file = gray_tiff(values, bits, photometric=0, sample_format=sample_format)
    assert read_image(file)[0, :, 0].tolist() == [255, 191, 0]


def linear_profile(space):
    """Return an ICC profile of linear gray, or of linear RGB with sRGB's primaries and its name."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2)
    if space == "GRAY":
        white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
        head = 128 + 4 + 2 * 12
        tags = struct.pack(">I4sII4sII", 2, b"kTRC", head, len(curve), b"wtpt", head + len(curve), len(white))
        header = struct.pack(">I4sI4s4s4s", head + 36, bytes(4), 0x02100000, b"mntr", b"GRAY", b"XYZ ")
        header = header + bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
        return header.ljust(128, b"\0") + tags + curve + white
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag in (b"rTRC", b"gTRC", b"bTRC"):
        place = data.index(tag)
        data[place + 4 : place + 12] = struct.pack(">II", len(data), len(curve))
    data += curve
    data[:4] = struct.pack(">I", len(data))
    return bytes(data)


LINEAR_64 = 137  # sRGB of linear 64/255


def test_a_linear_rgb_profile_with_the_name_of_srgb_is_applied():
    gray = np.full((2, 2, 3), 64, np.uint8)
    assert abs(int(read_image(encode(gray, icc_profile=linear_profile("RGB")))[0, 0, 0]) - LINEAR_64) <= 1


def gray_images():
    gray = Image.new("L", (2, 2), 64)
    yield gray
    yield Image.merge("LA", (gray, Image.new("L", (2, 2), 255)))
    palette = Image.new("P", (2, 2), 64)
    palette.putpalette([value for value in range(256) for _ in range(3)])
    yield palette


@pytest.mark.parametrize("image", list(gray_images()), ids=lambda image: image.mode)
def test_a_gray_profile_is_applied_to_every_kind_of_gray(image):
    rgb = read_image(encode(image, icc_profile=linear_profile("GRAY")))
    assert np.abs(rgb.astype(int) - LINEAR_64).max() <= 1


def test_a_gray_profile_with_a_transparent_value():
    image = Image.fromarray(np.array([[64, 10]], np.uint8))
    rgb = read_image(encode(image, transparency=10, icc_profile=linear_profile("GRAY")))
    assert abs(int(rgb[0, 0, 0]) - LINEAR_64) <= 1 and rgb[0, 1].tolist() == [255, 255, 255]


def test_a_16_bit_gray_png_keeps_its_transparent_value():
    image = Image.fromarray(np.array([[0, 30000]], np.uint16))
    assert read_image(encode(image, transparency=30000))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("white", [1.0, 255.0, 4095.0, 65535.0])
def test_a_few_pixels_above_white_do_not_darken_floating_point_gray(white):
    values = np.linspace(0, white, 4096, dtype=np.float32).reshape(64, 64)
    values[0, 0] = 1.5 * white
    rgb = read_image(encode(values, "TIFF"))
    assert rgb[0, 0, 0] == 255 and abs(int(rgb[32, 0, 0]) - 128) <= 1


def test_several_pages_are_refused_and_a_preview_is_passed_over():
    pages = [Image.new("L", (8, 8), value) for value in (10, 20, 30)]
    with pytest.raises(ImageReadError, match="has 3 pages: save each page as a file of its own"):
        read_image(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))

    def page(number):
        preview = [(254, 4, 1, 1)] if number == 0 else []
        return [*preview, (256, 3, 1, 4 + 4 * number), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
                (277, 3, 1, 1), (278, 3, 1, 4)]  # fmt: skip

    assert read_image(io.BytesIO(tiff(page, bytes(32), pages=2))).shape == (4, 8, 3)


def test_raw_files_are_refused_by_name_and_by_content(tmp_path):
    def raw(number):
        return [(254, 4, 1, 1), (256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
                (277, 3, 1, 1), (278, 3, 1, 4), (330, 4, 1, 8)]  # fmt: skip

    (tmp_path / "raw.tif").write_bytes(tiff(raw, bytes(16)))
    Image.new("RGB", (4, 4)).save(tmp_path / "x.nef", "TIFF")
    for name in ("raw.tif", "x.nef"):
        with pytest.raises(ImageReadError, match=f"{name} is a camera's raw file: export it as JPEG or TIFF"):
            read_image(tmp_path / name)


def test_a_tiff_keeps_its_description_and_every_format_its_resolution(tmp_path):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[Base.Artist], info[Base.DateTime], info[Base.ImageDescription] = "Ada", "1932:05:12 00:00:00", "The harbor"
    exif = Image.Exif()
    exif.update(info)
    exif[GPS] = {1: "N"}
    file = encode(np.zeros((4, 4, 3), np.uint8), "TIFF", exif=exif.tobytes(), dpi=(600, 600))
    for suffix in (".tif", ".jpg", ".png"):
        save_image(open_image(file), tmp_path / f"result{suffix}")
        with Image.open(tmp_path / f"result{suffix}") as result:
            kept = result.getexif()
            assert result.info["dpi"] == pytest.approx((600, 600), abs=0.1), suffix
            assert (kept[Base.Artist], kept[Base.ImageDescription]) == ("Ada", "The harbor"), suffix
            assert kept.get_ifd(GPS)[1] == "N", suffix


def with_chunk(kind, body, damaged=False):
    """Return a 2×2 PNG with one more chunk before its pixels."""
    data = encode(np.full((2, 2, 3), 77, np.uint8)).getvalue()
    checksum = zlib.crc32(kind + body) ^ damaged
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
    place = data.index(b"IDAT") - 4
    return io.BytesIO(data[:place] + chunk + data[place:])


@pytest.mark.parametrize(
    "kind, body",
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3 * 2**20))),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(3 * 2**20))),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * (3 * 2**20)),
        (b"tEXt", b"Comment\0" + b"x" * (3 * 2**20)),
        (b"iCCP", b"name\0\0" + zlib.compress(bytes(3 * 2**20))),
    ],
)
def test_a_png_with_long_metadata_is_read(kind, body):
    assert (read_image(with_chunk(kind, body)) == 77).all()


@pytest.mark.parametrize("kind, body", [(b"pHYs", bytes(9)), (b"tEXt", b"a\0b"), (b"tIME", bytes(7))])
def test_a_wrong_checksum_beside_the_pixels_is_harmless(kind, body):
    assert (read_image(with_chunk(kind, body, damaged=True)) == 77).all()


def test_a_large_profile_of_a_png_is_applied():
    profile = linear_profile("GRAY").ljust(2**20 + 10, b"\0")
    info = PngImagePlugin.PngInfo()
    file = encode(Image.new("L", (2, 2), 64), pnginfo=info, icc_profile=profile)
    assert abs(int(read_image(file)[0, 0, 0]) - LINEAR_64) <= 1


def test_folders_list_what_can_be_read_and_what_must_be_reported(tmp_path):
    names = ["a.pgm", "b.PPM", "c.pbm", "d.j2k", "e.apng", "f.heic", "g.NEF", "h.txt", "i.psd"]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == names[:7]


def test_heic_photos_are_read():
    pytest.importorskip("pillow_heif").register_heif_opener()
    photo = np.full((64, 64, 3), (200, 90, 30), np.uint8)
    assert np.abs(read_image(encode(photo, "HEIF")).astype(int) - photo).max() <= 8


def test_heic_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(ImageReadError, match=r"HEIC photo: run pip install 'colorlib\[heic\]'"):
        read_image(io.BytesIO(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)))


def test_a_jpeg_that_is_too_wide_is_one_sentence_and_long_exif_is_dropped(tmp_path):
    with pytest.raises(ValueError, match="at most 65,500 pixels per side; save the image as PNG or TIFF"):
        save_image(np.zeros((1, 65_501, 3), np.uint8), tmp_path / "wide.jpg")
    assert not list(tmp_path.iterdir())
    file = io.BytesIO()
    write_image(Image.new("RGB", (2, 2)), file, "JPEG", exif=b"Exif\0\0" + bytes(70_000))
    assert "exif" not in Image.open(file).info


def test_tiff_results_are_compressed(tmp_path):
    save_image(np.zeros((500, 500, 3), np.uint8), tmp_path / "fax.tif")
    assert (tmp_path / "fax.tif").stat().st_size < 20_000
