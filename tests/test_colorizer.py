"""The Colorizer: every pixel keeps its lightness, colors stop at edges, and every kind of image is accepted."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from image_files import encode
from PIL import Image, ImageCms
from torch import nn

import colorlib
from colorlib import WeightsInfo, images, srgb, tensors
from colorlib import colorizer as colorizer_module
from colorlib.colorizer import Colorizer, paint, upsample_ab
from colorlib.tensors import WeightsError

ORIENTATION, MAKE = 0x0112, 0x010F
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()


class Vivid(nn.Module):
    """L -> colors far outside sRGB, different everywhere; keeps its input as `seen`."""

    def forward(self, L):
        self.seen = L
        return torch.cat([torch.sin(7 * L), torch.cos(5 * L)], dim=1) * 0.8


@pytest.fixture
def vivid():
    return Colorizer(Vivid(), render_size=32, device="cpu")


@pytest.fixture
def photo():
    """An image of 91 × 77 px with every L, smooth parts and edges."""
    y, x = np.mgrid[0:77, 0:91]
    rgb = np.stack([x * 255 / 90, y * 255 / 76, (x + y) * 255 / 166], axis=-1)
    rgb[20:50, 30:60] = 255 - rgb[20:50, 30:60]
    return rgb.astype(np.uint8)


def lightness(rgb):
    return colorlib.rgb_to_lab(colorlib.to_tensor(rgb))[0]


def mean_change_of_lightness(before, after):
    return float((lightness(before) - lightness(after)).abs().mean())


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
def test_upsampling_with_a_flat_guide_is_bilinear(small, full):
    ab, flat = torch.randn(2, 2, *small), torch.tensor(0.3)
    ours = upsample_ab(ab, flat.expand(2, 1, *small), flat.expand(2, 1, *full))
    torch.testing.assert_close(ours, F.interpolate(ab, size=full, mode="bilinear"), atol=1e-5, rtol=1e-4)


def test_a_guide_unlike_all_neighbors_gives_the_bilinear_color():
    ab = torch.randn(1, 2, 4, 4)
    ours = upsample_ab(ab, torch.full((1, 1, 4, 4), -1.0), torch.full((1, 1, 16, 16), 1.0))
    torch.testing.assert_close(ours, F.interpolate(ab, size=(16, 16), mode="bilinear"), atol=1e-5, rtol=1e-4)


def test_a_prediction_larger_than_the_photo_is_averaged():
    ab, L = torch.randn(1, 2, 32, 48), torch.zeros(1, 1, 32, 48)
    torch.testing.assert_close(upsample_ab(ab, L, torch.zeros(1, 1, 2, 3)), F.avg_pool2d(ab, 16))


def test_painting_in_bands_gives_the_same_image(photo, monkeypatch):
    L, ab = torch.rand(1, 1, 20, 24) * 2 - 1, torch.rand(1, 2, 20, 24) - 0.5
    whole = paint(photo, L, ab)
    monkeypatch.setattr(colorizer_module, "BAND_PIXELS", 91 * 5)
    threads = torch.get_num_threads()
    np.testing.assert_array_equal(paint(photo, L, ab), whole)
    assert torch.get_num_threads() == threads


# --- Lightness is kept ---


def image_files():
    """Return name -> encoded file: one image in many formats, modes, orientations and shapes."""
    y, x = np.mgrid[0:77, 0:91]
    rgb = np.stack([x * 2.8, y * 3.3, 255 - x - y], axis=-1).astype(np.uint8)
    rgb[20:50, 30:60] = 255 - rgb[20:50, 30:60]
    image = Image.fromarray(rgb)
    alpha = Image.fromarray((x * 2).astype(np.uint8))
    gray16 = Image.fromarray((x * 600 + y * 100).astype(np.uint16))
    files = {
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
        files[f"turned{orientation}.jpg"] = encode(image, "JPEG", exif=exif, quality=95, subsampling=0)
    return files


@pytest.mark.parametrize("name", image_files())
def test_every_kind_of_file_keeps_its_size_and_lightness(name, vivid):
    file = image_files()[name]
    shown = images.read_image(file)
    result = vivid.colorize(file, saturation=1.5)
    assert (result.mode, result.size) == ("RGB", shown.shape[1::-1])
    assert mean_change_of_lightness(shown, result) < 0.5  # rounding to 8 bits changes L by about 0.1
    if shown.size > 3 and name != "one_bit.png":
        assert np.abs(np.asarray(result).astype(int) - shown).mean() > 5, "nothing was colored"


def test_lightness_is_kept_where_clipping_would_change_it(vivid, photo, monkeypatch):
    kept = mean_change_of_lightness(photo, vivid.colorize(photo))
    monkeypatch.setattr(colorizer_module, "lab_to_rgb_keeping_light", colorlib.lab_to_rgb)
    assert mean_change_of_lightness(photo, vivid.colorize(photo)) > 2 > 0.5 > kept


def test_only_the_lightness_of_a_color_photo_is_used(vivid, photo):
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
        ab = colorlib.rgb_to_lab(colorlib.to_tensor(result))[1:]
        assert float((ab - 5.5 * saturation).abs().max()) < 0.6


# --- Metadata and input types ---


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_and_profile_are_kept_in_the_saved_result(suffix, vivid, photo, tmp_path):
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


def test_exif_too_long_for_a_jpeg_is_dropped(photo, tmp_path):
    image = Image.fromarray(photo)
    image.info["exif"] = b"Exif\0\0" + bytes(70_000)
    images.save_image(image, tmp_path / "result.jpg")
    assert images.read_image(tmp_path / "result.jpg").shape == photo.shape


def test_a_pil_image_is_turned_and_converted_like_its_file(vivid, photo):
    swapped = bytearray(srgb.srgb_profile())
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    profile = bytes(swapped).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    exif = Image.Exif()
    exif[ORIENTATION] = 5
    file = encode(Image.fromarray(photo), "PNG", icc_profile=profile, exif=exif)
    with Image.open(file) as image:
        from_image = vivid.colorize(image)
        assert image.size == (91, 77)  # the caller's image is unchanged
    np.testing.assert_array_equal(from_image, vivid.colorize(file))
    assert mean_change_of_lightness(photo[..., [1, 0, 2]].swapaxes(0, 1), from_image) < 1.5
    assert from_image.info["icc_profile"] == srgb.srgb_profile()


def test_a_pil_image_of_a_damaged_file_is_refused(vivid, photo):
    data = encode(Image.fromarray(photo), "JPEG").getvalue()
    image = Image.open(io.BytesIO(data[: len(data) // 2]))
    with pytest.raises(colorlib.ImageReadError, match="The image given is damaged"):
        vivid.colorize(image)


def test_arrays_are_colored_and_left_unchanged(vivid, photo):
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
        (Image.new("RGB", (0, 5)), "has no pixels"),
    ],
)
def test_other_types_and_shapes_are_refused(image, words, vivid):
    with pytest.raises((ValueError, TypeError), match=words):
        vivid.colorize(image)


def test_numbers_out_of_range_are_refused(vivid, photo):
    for call in (lambda: vivid.colorize(photo, render_size=31), lambda: Colorizer(Vivid(), 31)):
        with pytest.raises(ValueError, match="render_size"):
            call()
    with pytest.raises(ValueError, match="saturation"):
        vivid.colorize(photo, saturation=-1)


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


def test_a_network_in_training_mode_is_put_into_eval_mode(photo):
    colorizer = Colorizer(colorlib.UNet(4, 2, dropout=0.5).train(), 64, "cpu")
    np.testing.assert_array_equal(colorizer.colorize(photo), colorizer.colorize(photo))


def test_weights_bring_their_render_size(tmp_path, photo):
    torch.manual_seed(0)
    generator = colorlib.UNet(4, 2)

    def colorizer_with(info):
        colorlib.save_generator(generator, tmp_path / "w.safetensors", info)
        return Colorizer.from_pretrained(tmp_path / "w.safetensors", "cpu")

    colorizer = colorizer_with(WeightsInfo(render_size=48))
    assert colorizer.render_size == 48
    np.testing.assert_array_equal(colorizer.colorize(photo), Colorizer(generator, 48, "cpu").colorize(photo))
    assert colorizer_with(WeightsInfo()).render_size == colorizer_module.RENDER_SIZE
    with pytest.raises(WeightsError, match="w.safetensors: in the file's header, render_size must be"):
        colorizer_with(WeightsInfo(render_size=9))


def test_weights_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "BUNDLED", tmp_path)
    colorlib.save_generator(colorlib.UNet(4, 2), tmp_path / "photos.safetensors", WeightsInfo(render_size=96))
    assert Colorizer.from_pretrained(device="cpu").render_size == 96
    assert Colorizer.from_pretrained("photos", "cpu").render_size == 96
    with pytest.raises(WeightsError, match="nowhere"):
        Colorizer.from_pretrained("nowhere", "cpu")
    with pytest.raises(ValueError, match="'tpu' is not available"):
        Colorizer.from_pretrained(device="tpu")
