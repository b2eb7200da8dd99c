"""The Colorizer: every pixel keeps its light, colors stop at edges, and any picture or array may come."""

import io
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms
from torch import nn

import colorlib
from colorlib import colorizer as rooms
from colorlib import images, zoo
from colorlib.colorizer import Colorizer, paint, upsample_ab
from colorlib.files import WeightsError

ORIENTATION, MAKE = 0x0112, 0x010F
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()


class Vivid(nn.Module):
    """L -> colors far outside sRGB, different everywhere; keeps the shape that it saw."""

    def forward(self, L):
        self.seen = L
        return torch.cat([torch.sin(7 * L), torch.cos(5 * L)], dim=1) * 0.8


@pytest.fixture
def vivid():
    return Colorizer(Vivid(), render_size=32, device="cpu")


@pytest.fixture
def photo():
    """A picture of 91 × 77 with every L, smooth parts and edges."""
    y, x = np.mgrid[0:77, 0:91]
    rgb = np.stack([x * 255 / 90, y * 255 / 76, (x + y) * 255 / 166], axis=-1)
    rgb[20:50, 30:60] = 255 - rgb[20:50, 30:60]
    return rgb.astype(np.uint8)


def lightness(rgb):
    return colorlib.rgb_to_lab(torch.from_numpy(np.array(rgb)).permute(2, 0, 1))[0]


def mean_change_of_light(before, after):
    return float((lightness(before) - lightness(after)).abs().mean())


def encode(image, image_format, **options):
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file


# --- Colors stop at edges ---


@pytest.mark.parametrize("seed", range(4))
def test_edges_of_painted_scenes_are_sharper_than_bilinear(seed):
    scenes = colorlib.paint_scenes(3, 256, seed)
    L, ab = colorlib.split_lab(colorlib.rgb_to_lab(scenes.rgb))
    small = F.avg_pool2d(ab, 4)  # (3, 2, 64, 64)

    def edge_error(guess):
        return (guess - ab).abs().mean(1)[scenes.edges].mean()

    ours = edge_error(upsample_ab(small, F.avg_pool2d(L, 4), L))
    assert ours <= 0.65 * edge_error(F.interpolate(small, size=(256, 256), mode="bilinear"))


@pytest.mark.parametrize(("small", "full"), [((6, 9), (40, 31)), ((7, 5), (7, 5)), ((1, 1), (5, 3)), ((1, 8), (1, 50))])
def test_where_light_is_flat_upsampling_is_bilinear(small, full):
    ab, flat = torch.randn(2, 2, *small), torch.tensor(0.3)
    ours = upsample_ab(ab, flat.expand(2, 1, *small), flat.expand(2, 1, *full))
    torch.testing.assert_close(ours, F.interpolate(ab, size=full, mode="bilinear"), atol=1e-5, rtol=1e-4)


def test_light_unlike_any_neighbor_still_gets_a_finite_color():
    ab = torch.randn(1, 2, 4, 4)
    ours = upsample_ab(ab, torch.full((1, 1, 4, 4), -1.0), torch.full((1, 1, 16, 16), 1.0))
    torch.testing.assert_close(ours, F.interpolate(ab, size=(16, 16), mode="bilinear"), atol=1e-5, rtol=1e-4)


def test_a_prediction_larger_than_the_photo_is_averaged():
    ab, L = torch.randn(1, 2, 32, 48), torch.zeros(1, 1, 32, 48)
    torch.testing.assert_close(upsample_ab(ab, L, torch.zeros(1, 1, 2, 3)), F.avg_pool2d(ab, 16))


def test_bands_leave_no_trace(photo, monkeypatch):
    L, ab = torch.rand(1, 1, 20, 24) * 2 - 1, torch.rand(1, 2, 20, 24) - 0.5
    whole = paint(photo, L, ab)
    monkeypatch.setattr(rooms, "BAND_PIXELS", 91 * 5)
    threads = torch.get_num_threads()
    np.testing.assert_array_equal(paint(photo, L, ab), whole)
    assert torch.get_num_threads() == threads


# --- The light stays ---


def odd_pictures():
    """Return name -> encoded file of the kinds a reader may bring, all of one picture, and its tiny relatives."""
    y, x = np.mgrid[0:77, 0:91]
    rgb = np.stack([x * 2.8, y * 3.3, 255 - x - y], axis=-1).astype(np.uint8)
    rgb[20:50, 30:60] = 255 - rgb[20:50, 30:60]
    image = Image.fromarray(rgb)
    alpha = Image.fromarray((x * 2).astype(np.uint8))
    gray16 = Image.fromarray((x * 600 + y * 100).astype(np.uint16))
    pictures = {
        "plain.png": encode(image, "PNG"),
        "cmyk.jpg": encode(image.convert("CMYK"), "JPEG", quality=95),
        "palette.png": encode(image.convert("P"), "PNG"),
        "rgba.png": encode(Image.merge("RGBA", [*image.split(), alpha]), "PNG"),
        "la.png": encode(Image.merge("LA", [image.convert("L"), alpha]), "PNG"),
        "one_bit.png": encode(image.convert("1"), "PNG"),
        "gray.jpg": encode(image.convert("L"), "JPEG", quality=95),
        "gray16.png": encode(gray16, "PNG"),
        "gray16.tif": encode(gray16, "TIFF"),
        "animated.gif": encode(image, "GIF", save_all=True, append_images=[image.rotate(180)]),
        "tiny.png": encode(image.crop((0, 0, 3, 2)), "PNG"),
        "pixel.png": encode(image.crop((0, 0, 1, 1)), "PNG"),
        "strip.png": encode(image.resize((400, 1)), "PNG"),
        "pole.png": encode(image.resize((1, 400)), "PNG"),
        "photo.webp": encode(image, "WEBP", lossless=True),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION], exif[MAKE] = orientation, "Camera"
        pictures[f"turned{orientation}.jpg"] = encode(image, "JPEG", exif=exif, quality=95, subsampling=0)
    return pictures


@pytest.mark.parametrize("name", odd_pictures())
def test_odd_pictures_keep_size_and_light(name, vivid):
    file = odd_pictures()[name]
    shown = images.read_image(file)
    result = vivid.colorize(file, saturation=1.5)
    assert (result.mode, result.size) == ("RGB", shown.shape[1::-1])
    # Rounding to 8 bits moves L by 0.1 or so; the limit that counts is 1.5.
    assert mean_change_of_light(shown, result) < 0.5
    if shown.size > 3 and name != "one_bit.png":
        assert np.abs(np.asarray(result).astype(int) - shown).mean() > 5, "nothing was colored"


def test_light_is_kept_where_clipping_would_change_it(vivid, photo, monkeypatch):
    kept = mean_change_of_light(photo, vivid.colorize(photo))
    monkeypatch.setattr(rooms, "lab_to_rgb_keeping_light", colorlib.lab_to_rgb)
    assert mean_change_of_light(photo, vivid.colorize(photo)) > 2 > 0.5 > kept


def test_only_the_light_of_a_colored_photo_is_used(vivid, photo):
    gray = vivid.colorize(photo, saturation=0)
    assert np.ptp(np.asarray(gray).astype(int), axis=2).max() <= 1
    difference = np.abs(np.asarray(vivid.colorize(photo)).astype(int) - np.asarray(vivid.colorize(gray)))
    assert difference.mean() < 2  # not 0: the gray has 256 values


def test_saturation_multiplies_ab(photo):
    class Weak(nn.Module):
        def forward(self, L):
            return torch.full_like(L, 0.05).expand(-1, 2, -1, -1)  # 5.5 Lab units, inside sRGB at medium L

    gray = np.full((40, 40), 120, np.uint8)
    colorizer = Colorizer(Weak(), render_size=32, device="cpu")
    for saturation in (0, 1, 2.5):
        result = np.asarray(colorizer.colorize(gray, saturation=saturation))
        ab = colorlib.rgb_to_lab(torch.from_numpy(result.copy()).permute(2, 0, 1))[1:]
        assert float((ab - 5.5 * saturation).abs().max()) < 0.6


# --- What comes with a photo ---


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_and_profile_travel_into_the_file(suffix, vivid, photo, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Camera"
    source = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(source, exif=exif)
    images.save_image(vivid.colorize(source), tmp_path / f"result{suffix}")
    with Image.open(tmp_path / f"result{suffix}") as result:
        assert result.size == (77, 91)  # turned
        profile = ImageCms.ImageCmsProfile(io.BytesIO(result.info["icc_profile"]))
        assert "sRGB" in profile.profile.profile_description
        kept = result.getexif()
        assert kept[MAKE] == "Camera" and ORIENTATION not in kept


def test_exif_too_long_for_a_jpeg_costs_no_picture(photo, tmp_path):
    image = Image.fromarray(photo)
    image.info["exif"] = b"Exif\0\0" + bytes(70_000)
    images.save_image(image, tmp_path / "result.jpg")
    assert images.read_image(tmp_path / "result.jpg").shape == photo.shape


def test_a_pil_image_is_turned_and_converted_like_its_file(vivid, photo):
    swapped = bytearray(images.srgb_profile())
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    profile = bytes(swapped).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    exif = Image.Exif()
    exif[ORIENTATION] = 5
    file = encode(Image.fromarray(photo), "PNG", icc_profile=profile, exif=exif)
    with Image.open(file) as image:
        from_image = vivid.colorize(image)
        assert image.size == (91, 77), "the caller's image is left alone"
    np.testing.assert_array_equal(from_image, vivid.colorize(file))
    assert mean_change_of_light(photo[..., [1, 0, 2]].swapaxes(0, 1), from_image) < 1.5
    assert from_image.info["icc_profile"] == images.srgb_profile()


def test_a_lazy_pil_image_of_a_damaged_file(vivid, photo):
    data = encode(Image.fromarray(photo), "JPEG").getvalue()
    image = Image.open(io.BytesIO(data[: len(data) // 2]))
    with pytest.raises(colorlib.ImageReadError, match="The picture given is damaged"):
        vivid.colorize(image)


def test_arrays(vivid, photo):
    gray = photo[..., 0]
    np.testing.assert_array_equal(vivid.colorize(gray), vivid.colorize(np.stack([gray] * 3, axis=-1)))
    frozen = photo[::2, ::-1]
    frozen.flags.writeable = False
    before = frozen.copy()
    assert vivid.colorize(frozen).size == frozen.shape[1::-1]
    np.testing.assert_array_equal(frozen, before)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"uint8 of shape \(H, W, 3\) or \(H, W\), got uint8 \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "got float32"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        ([[1, 2]], "PIL image or a uint8 array, got list"),
        (Image.new("RGB", (0, 5)), "it has no pixels"),
    ],
)
def test_what_is_no_picture(image, words, vivid):
    with pytest.raises((ValueError, TypeError), match=words):
        vivid.colorize(image)


@pytest.mark.parametrize("size", [0, -1, 31, 2049, 64.0, "64", True, float("nan")])
def test_wrong_render_size(size, vivid, photo):
    for call in (lambda: vivid.colorize(photo, render_size=size), lambda: Colorizer(Vivid(), size)):
        with pytest.raises(ValueError, match="render_size must be a whole number of pixels from 32 to 2048, got"):
            call()


@pytest.mark.parametrize("saturation", [-0.1, float("nan"), float("inf"), "1", None, True])
def test_wrong_saturation(saturation, vivid, photo):
    with pytest.raises(ValueError, match="saturation must be a number from 0"):
        vivid.colorize(photo, saturation=saturation)


# --- The network and its weights ---


def test_the_network_sees_the_render_size(vivid, photo):
    for size, shape in ((None, (32, 38)), (64, (64, 76)), (200, (200, 236))):
        vivid.colorize(photo, render_size=size)
        assert vivid.generator.seen.shape[-2:] == shape
    seen = vivid.generator.seen
    assert seen.min() >= -1 and seen.max() <= 1 and seen.dtype == torch.float32
    vivid.colorize(np.zeros((1, 400), np.uint8))
    assert vivid.generator.seen.shape[-2:] == (32, 8 * 32)


@pytest.mark.parametrize("device", DEVICES)
def test_devices_agree(device, photo):
    torch.manual_seed(0)
    generator = colorlib.UNet(4, 2).eval()
    expected = np.asarray(Colorizer(generator, 64, "cpu").colorize(photo)).astype(int)
    assert np.abs(np.asarray(Colorizer(generator, 64, device).colorize(photo)) - expected).max() <= 2


def test_a_network_in_training_mode_is_switched_to_use(photo):
    colorizer = Colorizer(colorlib.UNet(4, 2, dropout=0.5).train(), 64, "cpu")
    np.testing.assert_array_equal(colorizer.colorize(photo), colorizer.colorize(photo))


def test_the_slow_half_and_the_quick_half(vivid, photo):
    prediction = vivid.predict_ab(photo)
    for saturation in (0.5, 2):
        np.testing.assert_array_equal(
            paint(*prediction, saturation), np.asarray(vivid.colorize(photo, saturation=saturation))
        )


def test_weights_bring_their_render_size(tmp_path, photo):
    torch.manual_seed(0)
    generator = colorlib.UNet(4, 2)
    colorlib.save_generator(generator, tmp_path / "w.safetensors", {"render_size": 48})
    colorizer = Colorizer.from_pretrained(tmp_path / "w.safetensors", "cpu")
    assert colorizer.render_size == 48
    np.testing.assert_array_equal(colorizer.colorize(photo), Colorizer(generator, 48, "cpu").colorize(photo))
    for notes, size in (({}, rooms.RENDER_SIZE), ({"render_size": 9}, None)):
        colorlib.save_generator(generator, tmp_path / "w.safetensors", notes)
        if size:
            assert Colorizer.from_pretrained(tmp_path / "w.safetensors", "cpu").render_size == size
        else:
            with pytest.raises(WeightsError, match="w.safetensors: in the file's notes, render_size must be"):
                Colorizer.from_pretrained(tmp_path / "w.safetensors", "cpu")


def test_bundled_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "_bundled_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match="colorlib train"):
        Colorizer.from_pretrained(device="cpu")
    with pytest.raises(WeightsError, match="nowhere"):
        Colorizer.from_pretrained("nowhere", device="cpu")
    with pytest.raises(ValueError, match="'tpu' is not available"):
        Colorizer.from_pretrained(device="tpu")
    colorlib.save_generator(colorlib.UNet(4, 2), tmp_path / "photos.safetensors", {"render_size": 96})
    assert Colorizer.from_pretrained(device="cpu").render_size == 96
    assert Colorizer.from_pretrained("photos", "cpu").render_size == 96


# --- Stranger's files ---


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_flipped_bytes_give_a_picture_or_the_one_error(image_format, photo, vivid):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options = {"exif": exif} if image_format in ("JPEG", "PNG", "WEBP") else {}
    whole = encode(Image.fromarray(photo[:24, :40]), image_format, **options).getvalue()
    chance = random.Random(image_format)
    read = 0
    for _ in range(50):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 3, 20])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            result = vivid.colorize(io.BytesIO(bytes(data)))
        except colorlib.ImageReadError as error:
            assert "\n" not in str(error)
        else:
            read += 1
            assert (
                result.mode == "RGB" and mean_change_of_light(images.read_image(io.BytesIO(bytes(data))), result) < 1.5
            )
    # Checksums give away every flip in a PNG's chunks.
    assert read < 50 and (read > 0 or image_format == "PNG")
