"""The ResNet U-Net: truly pretrained, rightly fed, and safe where fastai's parts are not."""

import copy

import pytest
import torch
from torchvision.models import resnet18

import colorlib
from colorlib import resnet
from colorlib.files import WeightsError, save_tensors
from colorlib.resnet import GRAY_MEAN, GRAY_STD, encoder_state, resnet_unet, save_encoder


@pytest.fixture(scope="module")
def imagenet_like() -> dict[str, torch.Tensor]:
    """The weights of a torchvision ResNet-18, random, but in the form that ImageNet's come in."""
    torch.manual_seed(1)
    return resnet18(weights=None).state_dict()


@pytest.fixture(scope="module")
def generator() -> resnet.ResNetUNet:
    torch.manual_seed(0)
    return resnet_unet("resnet18", None)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (31, 45), (96, 64)])
def test_plain_bounded_tensors_of_any_size(generator, height, width):
    ab = generator.eval()(torch.rand(2, 1, height, width) * 2 - 1)
    generator.train()
    assert type(ab) is torch.Tensor and ab.shape == (2, 2, height, width) and ab.abs().max() <= 1


def test_the_size_is_that_of_fastais(generator):
    assert sum(p.numel() for p in generator.parameters()) == 31_099_672


def test_every_batchnorm_trains(generator):
    fresh = resnet_unet("resnet18", None)
    assert all(m.training for m in fresh.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_imagenet_weights_arrive_in_the_encoder(imagenet_like, monkeypatch):
    """On R = G = B, our encoder answers as the whole ResNet's layers do on normalized RGB."""
    monkeypatch.setattr(resnet, "fetch_encoder_weights", lambda arch: imagenet_like)
    ours = resnet_unet("resnet18", "imagenet").eval()
    theirs = resnet18(weights=None)
    theirs.load_state_dict(imagenet_like)
    theirs.eval()
    L = torch.rand(1, 1, 64, 64) * 2 - 1
    gray = ((L + 1) / 2 - GRAY_MEAN) / GRAY_STD
    x = gray.expand(-1, 3, -1, -1)
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        x = getattr(theirs, name)(x)
    seen = []
    hook = ours.encoder.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    ours(L)
    hook.remove()
    assert torch.allclose(torch.as_tensor(seen[0][0]), gray, atol=1e-5), "the encoder gets gray in ImageNet's scale"
    assert torch.allclose(torch.as_tensor(seen[0][1]), x, atol=1e-3)


def test_a_file_of_an_encoder_is_used_and_a_wrong_one_named(imagenet_like, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_tensors(encoder_state(imagenet_like), path, {})
    loaded = resnet_unet("resnet18", path).encoder.state_dict()
    assert torch.equal(loaded["4.0.conv1.weight"], imagenet_like["layer1.0.conv1.weight"])
    with pytest.raises(WeightsError, match="resnet34"):
        resnet_unet("resnet34", path)
    with pytest.raises(WeightsError, match="nowhere"):
        resnet_unet("resnet18", tmp_path / "nowhere.safetensors")
    with pytest.raises(ValueError, match="'vgg16'.*resnet18"):
        resnet_unet("vgg16", None)


def test_it_copies_after_training_and_survives_channels_last(generator):
    generator.to(memory_format=torch.channels_last).train()
    generator(torch.rand(2, 1, 64, 64)).mean().backward()
    twin = copy.deepcopy(generator)
    L = torch.rand(1, 1, 64, 64)
    assert torch.allclose(twin.eval()(L), generator.eval()(L), atol=1e-5)
    generator.train()


def test_it_comes_back_from_its_file(generator, tmp_path):
    colorlib.save_generator(generator, tmp_path / "net.safetensors")
    again = colorlib.load_generator(tmp_path / "net.safetensors")
    L = torch.rand(1, 1, 64, 64)
    assert torch.allclose(again(L), generator.eval()(L), atol=1e-5)
    generator.train()


def test_a_saved_encoder_comes_back_in_half_precision(generator, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(generator.encoder, path, {"accuracy": 0.1})
    again = resnet_unet("resnet18", path).encoder.state_dict()
    for name, value in generator.encoder.state_dict().items():
        assert again[name].dtype == value.dtype and torch.allclose(again[name], value, rtol=1e-3, atol=1e-6), name
    assert path.stat().st_size < 23e6
    with pytest.raises(WeightsError, match="not the weights of a resnet34 encoder"):
        resnet_unet("resnet34", path)
