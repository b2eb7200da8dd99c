"""The bundled weights: small, described, unchanged, and of use on photos that they were not trained on."""

import re

import pytest
import torch

import colorlib
from colorlib import resnet
from colorlib.color import AB_SCALE, rgb_to_lab, split_lab
from colorlib.colorizer import DEFAULT_WEIGHTS
from colorlib.data import bundled_photo
from colorlib.images import fit_square
from colorlib.metrics import colorfulness
from colorlib.patchgan import FeatureDiscriminator
from colorlib.tensors import BUNDLED, load_tensors
from colorlib.zoo import bundled_names, load_generator, read_info

FOLDER = BUNDLED
PHOTOS = ("china", "flower", "coffee", "chelsea", "astronaut", "rocket", "motorcycle_left")
# Mean a, b and chroma, Lab units, that each predicts for the cat at 64 px. New weights need new numbers.
GOLDEN = {"photos": (4.18, 14.22, 14.93), "photos-l1": (3.53, 13.44, 13.96)}
ENCODER = "photos-encoder"


def test_there_are_two_generators_and_an_encoder_and_they_are_small():
    assert bundled_names() == ["photos", "photos-l1"] and DEFAULT_WEIGHTS == "photos"
    for name in bundled_names():
        assert sum(p.numel() for p in load_generator(name).parameters()) <= 13e6
    sizes = {file.stem: file.stat().st_size for file in FOLDER.glob("*.safetensors")}
    assert sizes.keys() == {*bundled_names(), ENCODER}
    assert max(sizes.values()) <= 16e6 and sum(sizes.values()) <= 40e6


def test_the_encoder_serves_gray_and_color_without_a_download(monkeypatch):
    monkeypatch.setattr(resnet, "fetch_encoder_weights", lambda arch: pytest.fail("a download"))
    gray_net = resnet.resnet_unet(weights=ENCODER, decoder="slim")
    color_net = resnet.rgb_resnet(weights=ENCODER).eval()
    summed = color_net.conv1.weight.sum(dim=1, keepdim=True)  # (64, 1, 7, 7)
    assert torch.allclose(next(gray_net.encoder.parameters()), summed)
    cat = colorlib.to_tensor(fit_square(bundled_photo("chelsea"), 64))[None]  # (1, 3, 64, 64)
    L, ab = split_lab(rgb_to_lab(cat))
    with torch.no_grad():
        assert color_net(resnet.normalized_rgb(L, ab)).shape == (1, resnet.N_FEATURES)
        assert FeatureDiscriminator(weights=ENCODER)(L, ab).isfinite().all()
    assert read_info(ENCODER).data


@pytest.mark.parametrize("name", ["photos", "photos-l1"])
def test_the_file_and_the_model_card_say_the_same(name):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    info = read_info(name)
    assert info.data and f"`{name}`" in card and f"{info.render_size} px" in card
    for value in info.scores.values():
        assert f"{value:.2f}" in card
    _, metadata = load_tensors(FOLDER / f"{name}.safetensors")
    assert not re.search(r"/(home|root|work|tmp|var|Users)/", str(metadata))


@pytest.mark.parametrize("name", GOLDEN)
def test_they_still_predict_the_same_colors(name):
    cat = colorlib.to_tensor(fit_square(bundled_photo("chelsea"), 64))
    L, _ = split_lab(rgb_to_lab(cat[None]))
    ab = colorlib.predict(load_generator(name), L)[0] * AB_SCALE  # (2, 64, 64)
    assert (*ab.mean((1, 2)).tolist(), ab.norm(dim=0).mean().item()) == pytest.approx(GOLDEN[name], abs=0.1)


@pytest.fixture(scope="module")
def ratios():
    """Name -> ab MAE relative to gray's, and colorfulness relative to the truth's, on seven photos."""
    truth = torch.stack([colorlib.to_tensor(fit_square(bundled_photo(name), 256)) for name in PHOTOS])
    ab_true = rgb_to_lab(truth)[:, 1:]
    ratios = {}
    for name in bundled_names():
        colorizer = colorlib.Colorizer.from_pretrained(name, device="cpu")
        result = torch.stack([colorlib.to_tensor(colorizer.colorize(rgb.permute(1, 2, 0).numpy())) for rgb in truth])
        error = (rgb_to_lab(result)[:, 1:] - ab_true).abs().mean() / ab_true.abs().mean()
        ratios[name] = error.item(), (colorfulness(result / 255).mean() / colorfulness(truth / 255).mean()).item()
    return ratios


def test_l1_has_a_smaller_error_than_gray(ratios):
    assert ratios["photos-l1"][0] < 1


def test_the_gan_stage_made_the_colors_stronger(ratios):
    assert ratios["photos-l1"][1] < ratios["photos"][1] < 1.2
