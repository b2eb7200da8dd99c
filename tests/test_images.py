"""Reading, finding and saving images: every kind of image file, and everything that is not one."""

import io
import os
import struct
import tempfile
import warnings
import zlib

import numpy as np
import pytest
from image_files import encode
from PIL import Image, ImageCms, ImageFile

from colorlib import images
from colorlib.images import ImageReadError, find_images, fit_square, open_image, read_image, resize_image, save_image
from colorlib.srgb import srgb_profile

ORIENTATION, MAKE = 0x0112, 0x010F


@pytest.fixture
def photo():
    """A smooth image, 40 × 24 px, different in every corner."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, 255 - x * 3 - y * 4], axis=-1).astype(np.uint8)


def reason(source):
    with pytest.raises(ImageReadError) as error:
        read_image(source)
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message
    return message


# --- Images ---


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_are_exact(photo, image_format, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(encode(photo, image_format).read())
    for source in (path, str(path), encode(photo, image_format)):
        rgb = read_image(source)
        assert rgb.dtype == np.uint8 and rgb.flags.writeable and rgb.flags.c_contiguous
        np.testing.assert_array_equal(rgb, photo)


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF", "JPEG2000", "GIF"])
def test_lossy_formats_are_close(photo, image_format):
    rgb = read_image(encode(photo, image_format, **images.SAVE_OPTIONS.get(image_format, {})))
    assert rgb.shape == photo.shape
    assert np.abs(rgb.astype(int) - photo).mean() < (12 if image_format == "GIF" else 3)


def test_file_object_is_read_from_its_start(photo):
    file = encode(photo)
    file.seek(0, io.SEEK_END)
    np.testing.assert_array_equal(read_image(file), photo)


def test_file_object_that_cannot_seek(photo):
    read, write = os.pipe()
    with open(read, "rb") as source:
        with open(write, "wb") as sink:
            sink.write(encode(photo).read())
        np.testing.assert_array_equal(read_image(source), photo)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(photo, orientation, image_format):
    turned = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1), 6: lambda p: np.rot90(p, -1), 7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: np.rot90(p),
    }[orientation](photo)  # fmt: skip
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "Camera"
    image = open_image(encode(photo, image_format, exif=exif, **images.SAVE_OPTIONS.get(image_format, {})))
    assert image.size == turned.shape[1::-1]
    assert np.abs(np.asarray(image).astype(int) - turned).mean() < 3
    if image_format != "TIFF":  # its tags describe the file, not the photo
        kept = Image.Exif()
        kept.load(image.info["exif"])
        assert dict(kept) == {MAKE: "Camera"}


@pytest.mark.parametrize("exif", [b"Exif\0\0no tags", b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 30])
def test_broken_exif_is_ignored(photo, exif):
    assert open_image(encode(photo, "JPEG", exif=exif)).size == (40, 24)


def swapped_profile(name="swap"):
    """Return an ICC profile whose red and green are exchanged: sRGB with two tags renamed, under another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data).replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))


def gray_profile(gamma):
    """Return a minimal ICC profile for gray with a plain gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
    head = 128 + 4 + 2 * 12
    tags = struct.pack(">I4sII4sII", 2, b"kTRC", head, len(curve), b"wtpt", head + len(curve), len(white))
    header = struct.pack(">I4sI4s4s4s", head + len(curve) + len(white), bytes(4), 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    header = header + bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + tags + curve + white


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_embedded_profile_is_converted(photo, image_format):
    rgb = read_image(encode(photo, image_format, icc_profile=swapped_profile()))
    assert np.abs(rgb.astype(int) - photo[..., [1, 0, 2]]).max() <= 3


def nearly_srgb_profile():
    """Return sRGB's profile with its red primary off by one unit of its fixed-point numbers, as in some cameras."""
    data = bytearray(srgb_profile())
    place = data.index(b"rXYZ")
    offset = int.from_bytes(data[place + 4 : place + 8], "big") + 8
    data[offset + 3] ^= 1
    return bytes(data)


@pytest.mark.parametrize("profile", [srgb_profile(), nearly_srgb_profile()])
def test_srgb_profile_changes_nothing(photo, profile):
    np.testing.assert_array_equal(read_image(encode(photo, icc_profile=profile)), photo)


def test_a_profile_is_used_for_what_it_does_not_for_its_name(photo):
    rgb = read_image(encode(photo, icc_profile=swapped_profile("sRGB")))
    assert np.abs(rgb.astype(int) - photo[..., [1, 0, 2]]).max() <= 3


def test_an_rgb_profile_in_a_cmyk_image_is_ignored(photo):
    cmyk = Image.fromarray(photo).convert("CMYK")
    rgb = read_image(encode(cmyk, "TIFF", icc_profile=swapped_profile()))
    assert rgb.shape == photo.shape


def test_profile_of_a_gray_image(photo):
    gray = photo[..., 0]
    steeper = swapped_profile().replace(struct.pack(">i", int(2.4 * 65536)), struct.pack(">i", 3 * 65536))
    assert gray.mean() > read_image(encode(gray, icc_profile=steeper)).mean() + 5
    dark = read_image(encode(gray, icc_profile=gray_profile(1.0)))[..., 0]
    linear = gray.astype(float) / 255
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(dark - expected).mean() < 1


@pytest.mark.parametrize("kind", ["text", "cut", "gray", "XYZ"])
def test_a_profile_that_does_not_fit_is_ignored(photo, kind):
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    profile = {"text": b"no profile", "cut": swapped_profile()[:200], "gray": gray_profile(1.0), "XYZ": xyz}[kind]
    np.testing.assert_array_equal(read_image(encode(photo, icc_profile=profile)), photo)


def ramp():
    return np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM"])
def test_16_bit_gray_is_scaled(image_format):
    rgb = read_image(encode(ramp(), image_format))
    assert (rgb[..., 0] == rgb[..., 2]).all()
    assert np.abs(rgb[..., 1] - ramp() / 257).max() <= 0.51
    assert len(np.unique(rgb)) == 256


def test_16_bit_big_endian_tiff():
    little = encode(Image.fromarray(ramp()), "TIFF").getvalue()
    image = Image.frombytes("I;16B", (256, 256), ramp().astype(">u2").tobytes())
    assert encode(image, "TIFF").getvalue() != little
    assert np.abs(read_image(encode(image, "TIFF"))[..., 1] - ramp() / 257).max() <= 0.51


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.array([[0, 128, 255]], np.int32), [0, 128, 255]),
        (np.array([[0, 257 * 100, 65535]], np.int32), [0, 100, 255]),
        (np.array([[0, 400_000, 1_000_000]], np.int32), [0, 102, 255]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[-5, -5, -5]], np.int32), [0, 0, 0]),
        (np.array([[0, 0, 0]], np.int32), [0, 0, 0]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[-1, 0, 1]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, np.inf, 1]], np.float32), [0, 0, 255]),
        (np.array([[np.nan, -np.inf, np.inf]], np.float32), [0, 0, 0]),
    ],
)
def test_32_bit_and_floating_point_gray(values, expected):
    assert read_image(encode(values, "TIFF"))[0, :, 1].tolist() == expected


def test_transparency_is_on_white():
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 128]]], np.uint8)
    rgb = read_image(encode(rgba))
    assert rgb[0, :2].tolist() == [[200, 0, 0], [255, 255, 255]]
    assert np.abs(rgb[0, 2].astype(int) - [227, 127, 127]).max() <= 1
    gray = Image.fromarray(np.array([[[0, 255], [0, 0]]], np.uint8), "LA")
    assert read_image(encode(gray))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("transparency", [None, 1, b"\xff\x00\xff"], ids=["opaque", "index", "bytes"])
def test_palette(transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.putdata([0, 1, 2])
    options = {} if transparency is None else {"transparency": transparency}
    middle = [0, 200, 0] if transparency is None else [255, 255, 255]
    assert read_image(encode(image, **options))[0].tolist() == [[200, 0, 0], middle, [0, 0, 200]]


def test_color_key_transparency():
    image = Image.fromarray(np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8))
    assert read_image(encode(image, transparency=(1, 2, 3)))[0].tolist() == [[255, 255, 255], [9, 9, 9]]


def test_cmyk_one_bit_and_lab(photo):
    cmyk = read_image(encode(Image.fromarray(photo).convert("CMYK"), "TIFF"))
    assert np.abs(cmyk.astype(int) - photo).max() <= 2
    assert read_image(encode(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=95)).shape == photo.shape
    bits = np.eye(9, dtype=bool)
    np.testing.assert_array_equal(read_image(encode(bits))[..., 1], bits * np.uint8(255))
    lab = read_image(encode(Image.fromarray(photo).convert("LAB"), "TIFF"))
    assert np.abs(lab.astype(int) - photo).mean() < 3


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(image_format):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    file = encode(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert np.abs(read_image(file)[4, 4].astype(int) - [255, 0, 0]).max() < 8


def test_mpo_photos_of_phones_give_the_first_image(photo):
    file = encode(photo, "MPO", save_all=True, append_images=[Image.fromarray(255 - photo)])
    assert Image.open(file).format == "MPO"
    assert np.abs(read_image(file).astype(int) - photo).mean() < 6


# --- Other files ---


def test_missing_empty_folder_and_text(tmp_path):
    assert reason(tmp_path / "gone.jpg") == f"{tmp_path / 'gone.jpg'} does not exist."
    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "empty.jpg").endswith("empty.jpg is empty.")
    (tmp_path / "x.jpg").mkdir()
    assert reason(tmp_path / "x.jpg").endswith("x.jpg is a folder.")
    (tmp_path / "page.png").write_text("<!doctype html><title>404</title>" * 50)
    assert reason(tmp_path / "page.png").endswith("page.png is not an image that Pillow can read.")
    (tmp_path / "notes.jpg").write_bytes(os.urandom(3000))
    assert "is not an image" in reason(tmp_path / "notes.jpg")


def test_file_objects_without_an_image():
    assert reason(io.BytesIO()) == "The image given is empty."
    assert reason(io.BytesIO(b"text")) == "The image given is not an image that Pillow can read."
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        assert reason(file) == f"{file.name} is empty."


def test_no_permission(photo, tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):  # root may read everything, so chmod has no effect
        raise PermissionError(13, "Permission denied", str(path))

    save_image(photo, tmp_path / "secret.png")
    monkeypatch.setattr("builtins.open", refuse)
    assert "no permission" in reason(tmp_path / "secret.png")


def test_odd_paths(tmp_path):
    assert "can't be opened" in reason("null\0byte.jpg")
    assert "can't be opened" in reason("x" * 300 + ".jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        assert "not an ordinary file" in reason(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_truncated(image_format):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(pixels, image_format).getvalue()
    for keep in (0.9, 0.5, 0.05):
        assert "damaged" in (message := reason(io.BytesIO(data[: int(len(data) * keep)]))) or "not an image" in message
    if image_format in ("JPEG", "PNG"):
        assert "is damaged or incomplete (" in reason(io.BytesIO(data[: len(data) // 2]))


@pytest.mark.parametrize("chunk", [b"IHDR", b"IDAT", b"IEND"])
def test_flipped_png_checksum(photo, chunk):
    data = bytearray(encode(photo).getvalue())
    start = data.index(chunk)
    length = int.from_bytes(data[start - 4 : start], "big")
    data[start + 4 + length] ^= 0x01
    if chunk == b"IEND":  # the pixels are complete
        np.testing.assert_array_equal(read_image(io.BytesIO(data)), photo)
    else:
        assert "damaged" in (message := reason(io.BytesIO(data))) or "not an image" in message


def png_header(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


@pytest.mark.parametrize("side", [60_000, 12_000, 10_001])
def test_huge_header_is_refused_before_decoding(side, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    (tmp_path / "huge.png").write_bytes(png_header(side, side))
    assert reason(tmp_path / "huge.png").endswith("huge.png has more than 100 million pixels.")


def test_too_large_a_file(photo, monkeypatch):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)
    assert "is larger than" in reason(encode(photo))


def test_a_large_image_gives_no_warning(photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # Pillow warns above this, and raises above twice this
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(encode(photo)), photo)


def test_eps_is_refused(photo):
    eps = encode(photo, "EPS")
    assert "is not an image that Pillow can read" in reason(eps)


FUZZED = [
    ("JPEG", "RGB", {}), ("JPEG", "CMYK", {}), ("PNG", "RGBA", {}), ("PNG", "P", {}), ("PNG", "I;16", {}),
    ("GIF", "P", {}), ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("TIFF", "RGB", {}), ("TIFF", "F", {}),
    ("WEBP", "RGB", {}), ("BMP", "RGB", {}), ("JPEG2000", "RGB", {}),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(FUZZED)))
def test_fuzzed_files_give_an_image_or_the_one_error_type(index, photo):
    image_format, mode, options = FUZZED[index]
    image = Image.fromarray(ramp()[:24, :40]) if mode == "I;16" else Image.fromarray(photo).convert(mode)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    if image_format in ("JPEG", "PNG", "WEBP"):
        options = {**options, "exif": exif, "icc_profile": swapped_profile()}
    data = np.frombuffer(encode(image, image_format, **options).getvalue(), np.uint8)
    rng = np.random.default_rng(index)
    for _ in range(30):
        broken = data.copy()
        places = rng.integers(0, len(data), rng.integers(1, 9))
        broken[places] = rng.integers(0, 256, len(places))
        try:
            rgb = read_image(io.BytesIO(broken.tobytes()))
        except ImageReadError as error:
            assert str(error).startswith("The image given ")
        else:
            assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size


# --- Finding, saving, resizing ---


def test_find_images(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.webp", "notes.txt", ".hidden.jpg", ".cache/d.jpg", "sub/._c.webp", "e.eps"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert find_images(tmp_path) == [tmp_path / name for name in ("a.png", "b.JPG", "sub/c.webp")]
    assert find_images(str(tmp_path), recursive=False) == [tmp_path / "a.png", tmp_path / "b.JPG"]
    assert find_images(tmp_path / "folder.jpg") == []
    assert find_images(tmp_path / ".cache") == [tmp_path / ".cache" / "d.jpg"]


def test_find_images_without_a_folder(tmp_path):
    with pytest.raises(ValueError, match="gone does not exist"):
        find_images(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file, not a folder"):
        find_images(tmp_path / "file")


@pytest.mark.parametrize("suffix", images.SAVE_FORMATS)
def test_saved_images_come_back(suffix, photo, tmp_path):
    path = tmp_path / "new" / f"photo{suffix.upper()}"
    save_image(photo, path)
    rgb = read_image(path)
    if suffix in (".png", ".bmp", ".tif", ".tiff", ".jp2"):
        np.testing.assert_array_equal(rgb, photo)
    assert np.abs(rgb.astype(int) - photo).mean() < (12 if suffix == ".gif" else 3)
    assert [path.name for path in path.parent.iterdir()] == [path.name]
    assert find_images(path.parent) == [path]


def test_jpeg_has_no_chroma_subsampling(tmp_path):
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    save_image(stripes, tmp_path / "stripes.jpg")
    assert np.abs(read_image(tmp_path / "stripes.jpg").astype(int) - stripes).mean() < 10


@pytest.mark.parametrize("suffix", images.SAVE_FORMATS)
def test_exif_is_kept_on_saving(suffix, photo, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Camera"
    image = open_image(encode(photo, "JPEG", exif=exif))
    save_image(np.asarray(image), tmp_path / f"kept{suffix}", exif=image.info["exif"])
    with Image.open(tmp_path / f"kept{suffix}") as kept:
        assert kept.size == image.size
        assert kept.getexif().get(MAKE) == ("Camera" if suffix not in (".bmp", ".gif", ".jp2") else None)
        assert kept.getexif().get(ORIENTATION, 1) == 1


def test_save_refuses_to_overwrite(photo, tmp_path):
    path = tmp_path / "photo.png"
    save_image(photo, path)
    with pytest.raises(FileExistsError, match="photo.png already exists; pass overwrite=True"):
        save_image(255 - photo, path)
    np.testing.assert_array_equal(read_image(path), photo)
    save_image(255 - photo, path, overwrite=True)
    np.testing.assert_array_equal(read_image(path), 255 - photo)


def test_failed_save_leaves_the_old_file(photo, tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    save_image(photo, path)

    def fail(self, file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_image(photo, path, overwrite=True)
    np.testing.assert_array_equal(read_image(path), photo)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["photo.xyz", "photo", "photo.eps", ".png"])
def test_save_needs_a_known_suffix(name, photo, tmp_path):
    with pytest.raises(ValueError, match=name):
        save_image(photo, tmp_path / name)


@pytest.mark.parametrize("rgb", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((3, 4, 4), np.uint8),
                                 np.zeros((0, 4, 3), np.uint8)])  # fmt: skip
def test_other_arrays_are_refused(rgb, tmp_path):
    for use in (lambda rgb: save_image(rgb, tmp_path / "x.png"), lambda rgb: fit_square(rgb, 8)):
        with pytest.raises(ValueError, match=r"uint8 of shape \(H, W, 3\)"):
            use(rgb)


def test_resize_keeps_proportions(photo):
    assert resize_image(photo, 12).shape == (12, 20, 3)
    assert resize_image(photo.swapaxes(0, 1), 12).shape == (20, 12, 3)
    assert resize_image(photo, 48).shape == (48, 80, 3)
    assert resize_image(np.zeros((1, 900, 3), np.uint8), 2).shape == (2, 1800, 3)
    np.testing.assert_array_equal(resize_image(photo, 24), photo)


@pytest.mark.parametrize("side", [12, 24, 48])
def test_fit_square_is_resize_then_center_crop(photo, side):
    for rgb in (photo, photo.swapaxes(0, 1)):
        resized = resize_image(rgb, side)
        top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
        expected = resized[top : top + side, left : left + side]
        fitted = fit_square(rgb, side)
        assert fitted.shape == (side, side, 3)
        assert np.abs(fitted.astype(int) - expected).mean() < 2


def test_fit_square_averages_fine_detail():
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    small = fit_square(np.repeat(checks[..., None], 3, axis=2), 32)
    assert np.abs(small[4:-4, 4:-4].astype(int) - 127).max() < 6
