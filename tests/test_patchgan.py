"""The PatchGAN discriminator: what each logit depends on."""

import pytest
import torch

from colorlib.patchgan import PatchDiscriminator


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
