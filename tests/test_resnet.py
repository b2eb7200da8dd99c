"""The ResNet U-Net: its pretrained weights, its input, and the problems of fastai's parts that it avoids."""

import copy
import subprocess
import sys

import pytest
import torch
from torchvision.models import resnet18

import colorlib
from colorlib import WeightsInfo, resnet
from colorlib.resnet import GRAY_MEAN, GRAY_STD, encoder_state, resnet_unet, save_encoder
from colorlib.tensors import WeightsError, load_tensors, save_tensors, to_bits, to_float32
from colorlib.zoo import read_info


@pytest.fixture(scope="module")
def imagenet_like() -> dict[str, torch.Tensor]:
    """Random weights of a torchvision ResNet-18, in the format of ImageNet's."""
    torch.manual_seed(1)
    return resnet18(weights=None).state_dict()


@pytest.fixture(scope="module")
def generator() -> resnet.ResNetUNet:
    torch.manual_seed(0)
    return resnet_unet("resnet18", None)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (31, 45), (96, 64)])
def test_the_output_is_a_plain_tensor_of_the_size_of_the_input(generator, height, width):
    ab = generator.eval()(torch.rand(2, 1, height, width) * 2 - 1)
    generator.train()
    assert type(ab) is torch.Tensor and ab.shape == (2, 2, height, width) and ab.abs().max() <= 1


def test_the_number_of_parameters_is_that_of_fastais(generator):
    assert sum(p.numel() for p in generator.parameters()) == 31_099_672


def test_every_batchnorm_is_in_training_mode():
    fresh = resnet_unet("resnet18", None)
    assert all(m.training for m in fresh.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_the_encoder_computes_what_the_imagenet_resnet_does(imagenet_like, monkeypatch):
    """On R = G = B, its features are those of torchvision's layers on normalized RGB."""
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
    assert torch.allclose(torch.as_tensor(seen[0][0]), gray, atol=1e-5)
    assert torch.allclose(torch.as_tensor(seen[0][1]), x, atol=1e-3)


def test_the_encoder_can_start_from_a_file(imagenet_like, tmp_path):
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


def test_it_can_be_copied_after_training_in_channels_last(generator):
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
    assert torch.allclose(again(L), generator.eval()(L), atol=1e-4)  # memory formats round differently
    generator.train()


def test_a_saved_encoder_comes_back_in_half_precision(generator, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(generator.encoder, path, WeightsInfo(scores={"valid_accuracy": 0.1}))
    assert read_info(path).scores == {"valid_accuracy": 0.1}
    again = resnet_unet("resnet18", path).encoder.state_dict()
    for name, value in generator.encoder.state_dict().items():
        assert again[name].dtype == value.dtype and torch.allclose(again[name], value, rtol=1e-3, atol=1e-6), name
    assert path.stat().st_size < 23e6
    with pytest.raises(WeightsError, match="not the weights of a resnet34 encoder"):
        resnet_unet("resnet34", path)


# --- The slim decoder ---


@pytest.fixture(scope="module")
def slim() -> resnet.SlimResNetUNet:
    torch.manual_seed(0)
    return resnet_unet("resnet18", None, decoder="slim")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 45), (97, 33), (33, 128)])
def test_a_slim_network_gives_bounded_ab_for_any_size(slim, height, width):
    ab = slim.eval()(torch.rand(2, 1, height, width) * 2 - 1)
    assert ab.shape == (2, 2, height, width) and ab.abs().max() <= 1


def test_a_slim_network_has_12_million_parameters_and_needs_no_fastai(slim):
    assert sum(p.numel() for p in slim.parameters()) == 12_291_106
    code = "import sys, colorlib; colorlib.resnet_unet('resnet18', None, 'slim'); assert 'fastai' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(ValueError, match="'fat'.*fastai, slim"):
        resnet_unet("resnet18", None, decoder="fat")


def test_sizes_that_are_not_multiples_of_32_are_padded_by_replication(slim):
    L = torch.rand(1, 1, 64, 80) * 2 - 1
    padded = torch.cat([L, L[..., -1:].expand(-1, -1, -1, 16)], dim=3)
    assert torch.allclose(slim.eval()(L), slim(padded)[..., :80], atol=1e-6)


def test_a_slim_network_comes_back_from_its_file_and_can_be_copied(slim, tmp_path):
    colorlib.save_generator(slim, tmp_path / "net.safetensors")
    again = colorlib.load_generator(tmp_path / "net.safetensors")
    L = torch.rand(1, 1, 64, 64)
    assert torch.allclose(again(L), slim.eval()(L), atol=1e-5)
    assert torch.equal(copy.deepcopy(slim)(L), slim(L))


@pytest.fixture(scope="module")
def rgb_file(imagenet_like, tmp_path_factory):
    """A file as published by others: torchvision's names, half precision, an extra block, no batch counts."""
    state = {name: value for name, value in imagenet_like.items() if not name.endswith("num_batches_tracked")}
    extra = {name.replace("layer4.1", "layer4.2"): value.clone() for name, value in state.items() if "layer4.1" in name}
    path = tmp_path_factory.mktemp("weights") / "rgb.safetensors"
    save_tensors(to_bits({k: v for k, v in (state | extra).items() if not k.startswith("fc")}, 16), path, {})
    return path


@pytest.mark.parametrize("decoder", ["slim", "fastai"])
def test_the_encoder_can_start_from_a_file_with_torchvisions_names(rgb_file, decoder):
    """On R = G = B, its first layer, summed over RGB, and its features are those of torchvision's ResNet."""
    net = resnet_unet("resnet18", rgb_file, decoder=decoder)
    assert all(value.dtype in (torch.float32, torch.int64) for value in net.state_dict().values())
    theirs = resnet18(weights=None)
    theirs.load_state_dict(to_float32(load_tensors(rgb_file)[0]), strict=False)
    gray = torch.randn(2, 1, 64, 64)
    x = theirs.eval().conv1(gray.expand(-1, 3, -1, -1))
    assert torch.allclose(net.eval().encoder[0](gray), x, atol=1e-4)
    for name in ("bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        x = getattr(theirs, name)(x)
    assert torch.allclose(net.encoder(gray), x, atol=1e-2)
    with pytest.raises(WeightsError, match="resnet34"):
        resnet_unet("resnet34", rgb_file, decoder=decoder)


def test_networks_with_either_decoder_read_the_same_encoder_files(slim, tmp_path):
    save_encoder(slim.encoder, tmp_path / "encoder.safetensors")
    theirs = resnet_unet("resnet18", tmp_path / "encoder.safetensors", decoder="fastai").encoder.state_dict()
    for name, value in slim.encoder.state_dict().items():
        assert torch.allclose(theirs[name], value, rtol=1e-3, atol=1e-6), name
