"""The discriminators: what their logits depend on, and which of their weights are trained."""

import copy

import pytest
import torch
from torchvision.models import resnet18
from torchvision.transforms.functional import normalize

from colorlib.color import rgb_to_lab, split_lab
from colorlib.data import make_loaders
from colorlib.patchgan import FeatureDiscriminator, PatchDiscriminator
from colorlib.tensors import WeightsError, load_checkpoint, load_tensors, save_tensors
from colorlib.training import fit_gan
from colorlib.unet import UNet


@pytest.mark.parametrize(("n_down", "patch_size"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_patch_sizes_are_those_of_the_paper(n_down, patch_size):
    assert PatchDiscriminator(4, n_down).patch_size == patch_size


@pytest.mark.parametrize("n_down", [1, 2, 3])
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_the_patch_size_is_what_gradients_reach(n_down, spectral_norm):
    """The gradient of one logit, far from the border, covers exactly patch_size² pixels."""
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(4, n_down, spectral_norm=spectral_norm).eval()
    ab = torch.rand(1, 2, 160, 160, requires_grad=True)
    logits = discriminator(torch.rand(1, 1, 160, 160), ab)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    reached = ab.grad[0].abs().sum(0) > 0
    rows, columns = reached.any(1).nonzero(), reached.any(0).nonzero()
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == discriminator.patch_size


def test_only_a_conditional_discriminator_sees_lightness():
    L, other, ab = torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64), torch.rand(1, 2, 64, 64)
    for conditional in (True, False):
        torch.manual_seed(0)
        discriminator = PatchDiscriminator(4, conditional=conditional).eval()
        assert bool((discriminator(L, ab) != discriminator(other, ab)).any()) is conditional


def test_spectral_norm_bounds_every_layer():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(8, spectral_norm=True)
    for _ in range(30):  # each forward pass in training mode improves the estimate
        discriminator(torch.rand(2, 1, 64, 64), torch.rand(2, 2, 64, 64))
    discriminator.eval()
    for layer in discriminator.layers:
        if isinstance(layer, torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in discriminator.layers)


# --- Heads on the features of a frozen ResNet ---


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    torch.manual_seed(0)
    net = resnet18(weights=None)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics that training would change
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "rgb.safetensors"
    save_tensors({name: value for name, value in net.state_dict().items() if "fc" not in name}, path, {})
    return path


@pytest.fixture(scope="module")
def other_file(weights_file):
    """The same ResNet with another first layer."""
    tensors, _ = load_tensors(weights_file)
    path = weights_file.with_name("other.safetensors")
    save_tensors(tensors | {"conv1.weight": tensors["conv1.weight"] * 2}, path, {})
    return path


@pytest.fixture
def discriminator(weights_file) -> FeatureDiscriminator:
    torch.manual_seed(0)
    return FeatureDiscriminator(weights_file, channels=8)


def frozen_values(discriminator: FeatureDiscriminator) -> list[torch.Tensor]:
    return [value.clone() for value in discriminator._frozen[0].state_dict().values()]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 70)])
def test_all_levels_have_the_same_number_of_logits(discriminator, height, width):
    logits = discriminator(torch.rand(2, 1, height, width), torch.rand(2, 2, height, width))
    assert logits.shape == (2, 3, -(-height // 4), -(-width // 4))
    if height == 64:  # one score at 1/16 is repeated for 4×4 scores at 1/4
        coarse = logits[:, 2, ::4, ::4].repeat_interleave(4, 1).repeat_interleave(4, 2)
        assert torch.equal(logits[:, 2], coarse)


def test_the_features_are_those_of_the_complete_resnet_on_normalized_rgb(discriminator, weights_file):
    theirs = resnet18(weights=None)
    theirs.load_state_dict(load_tensors(weights_file)[0], strict=False)
    theirs.eval()
    rgb = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    x = normalize(rgb / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"):
        x = getattr(theirs, name)(x)
    seen = []
    discriminator.heads[2].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    discriminator(*split_lab(rgb_to_lab(rgb)))
    assert torch.allclose(seen[0], x, atol=1e-3)


def test_gradients_reach_ab_and_the_heads_but_not_the_resnet(discriminator):
    discriminator.requires_grad_(True).train()
    before = frozen_values(discriminator)
    ab = torch.full((2, 2, 64, 64), 0.9, requires_grad=True)  # far outside of the sRGB gamut
    optimizer = torch.optim.AdamW(discriminator.parameters(), 1e-2)
    discriminator(torch.rand(2, 1, 64, 64), ab).mean().backward()
    optimizer.step()
    assert ab.grad.isfinite().all() and (ab.grad != 0).any(dim=1).float().mean() > 0.9
    assert all(p.grad is not None and p.requires_grad for p in discriminator.parameters())
    assert len(list(discriminator.parameters())) == 3 * 3 * 2
    frozen = discriminator._frozen[0]
    assert not any(p.requires_grad or p.grad is not None for p in frozen.parameters())
    assert not any(module.training for module in frozen.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, frozen_values(discriminator)))  # BatchNorm statistics, too


def test_it_trains_and_resumes_without_its_resnet_in_the_checkpoint(weights_file, other_file, tmp_path):
    loaders, path = make_loaders("scenes", size=32, batch_size=4, n_train=8, n_test=2), tmp_path / "gan.pt"

    def networks(weights):
        torch.manual_seed(0)
        return UNet(base_channels=4, n_down=2), FeatureDiscriminator(weights, channels=8)

    def fit(net, discriminator, **more):
        options = {"adversarial": "hinge", "lr_g": 1e-4, "lr_d": 4e-4, "betas": (0, 0.99), "epochs": 2} | more
        return fit_gan(net, discriminator, loaders, checkpoint=path, **options)

    net, discriminator = networks(weights_file)
    history = fit(net, discriminator)
    saved = load_checkpoint(path)
    names = saved["state"]["discriminator"]
    assert all(name.startswith("heads.") or name == "_extra_state" for name in names)
    assert names["_extra_state"]["weights"] == "rgb.safetensors" and saved["settings"]["fit"]["betas"] == (0, 0.99)
    assert path.stat().st_size < 2e6

    again, discriminator_again = networks(weights_file)
    assert fit(again, discriminator_again, resume=True).rows == history.rows
    for one, other in ((net, again), (discriminator, discriminator_again)):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))

    changes = [(other_file, {}, "hash of the ResNet was"), (weights_file, {"betas": (0.5, 0.9)}, "betas was")]
    for weights, more, words in changes:
        net, discriminator = networks(weights)
        before = copy.deepcopy(net.state_dict())
        with pytest.raises(ValueError, match=words):
            fit(net, discriminator, resume=True, **more)
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_heads_can_not_be_loaded_for_another_resnet(discriminator, weights_file, other_file, tmp_path):
    other = FeatureDiscriminator(other_file, channels=8)
    with pytest.raises(ValueError, match="'rgb.safetensors', not of 'other.safetensors'"):
        other.load_state_dict(discriminator.state_dict())
    save_tensors({"0.weight": load_tensors(weights_file)[0]["conv1.weight"]}, tmp_path / "gray.safetensors", {})
    with pytest.raises(WeightsError, match="resnet18 for RGB"):
        FeatureDiscriminator(tmp_path / "gray.safetensors")


def test_the_resnet_is_copied_and_moved_with_the_heads(discriminator):
    twin = copy.deepcopy(discriminator).double()
    L, ab = torch.rand(1, 1, 64, 64), torch.rand(1, 2, 64, 64)
    assert twin._frozen[0][0][0].weight.dtype == torch.float64
    assert torch.allclose(twin.float().eval()(L, ab), discriminator.eval()(L, ab), atol=1e-4)
