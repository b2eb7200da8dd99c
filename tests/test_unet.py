"""The U-Net: shapes, range, gradients, and what its skips and residual blocks do."""

import pytest
import torch

from colorlib.unet import LabelHead, Residual, UNet


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 48), (31, 77), (1, 1), (100, 3)])
@pytest.mark.parametrize("skips", [True, False])
def test_the_output_has_the_size_of_the_input(height, width, skips):
    net = UNet(base_channels=4, n_down=3, skips=skips).eval()
    ab = net(torch.rand(2, 1, height, width) * 2 - 1)
    assert ab.shape == (2, 2, height, width)
    assert ab.abs().max() <= 1


@pytest.mark.parametrize("n_down", [1, 4, 6])
def test_depth_and_width(n_down):
    net = UNet(base_channels=4, n_down=n_down)
    assert len(net.encoder) == len(net.decoder) == n_down
    bottleneck = net.encoder[-1](torch.zeros(1, net.encoder[-1][0].in_channels, 8, 8))
    assert bottleneck.shape[1] == 4 * min(2**n_down, 8)


@pytest.mark.parametrize("n_blocks", [0, 2])
def test_every_parameter_gets_a_gradient(n_blocks):
    net = UNet(base_channels=4, n_down=3, n_blocks=n_blocks)
    net(torch.rand(2, 1, 16, 16)).abs().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("skips", [True, False])
def test_skips_carry_detail_past_the_bottleneck(skips):
    """With the weights of the last `down` at zero, only skips connect the input with the output."""
    net = UNet(base_channels=4, n_down=3, skips=skips).eval()
    net.encoder[-1][0].weight.data.zero_()
    one, other = net(torch.rand(1, 1, 32, 32)), net(torch.rand(1, 1, 32, 32))
    assert bool((one - other).abs().max() > 1e-6) is skips


def test_padding_changes_nothing_far_from_the_edge():
    """64 is a multiple of 2ⁿ and is not padded; 65 is padded to 68."""
    torch.manual_seed(0)
    net = UNet(base_channels=4, n_down=2).eval()
    L = torch.rand(1, 1, 64, 64)
    wider = torch.nn.functional.pad(L, (0, 1, 0, 0), mode="replicate")
    assert torch.allclose(net(L)[..., :32], net(wider)[..., :32], atol=1e-5)


def test_residual_blocks_add_to_their_input_and_enlarge_the_receptive_field():
    """A block whose last weights are zero returns its input, where that is positive."""
    block = Residual(8).eval()
    x = torch.rand(1, 8, 5, 5)
    block.block[-1].weight.data.zero_()
    assert torch.equal(block(x), x)

    def receptive_field(n_blocks: int) -> int:
        torch.manual_seed(0)
        net = UNet(base_channels=4, n_down=2, skips=False, n_blocks=n_blocks).eval()
        L = torch.zeros(1, 1, 96, 96, requires_grad=True)
        net(L)[..., 48, 48].sum().backward()
        return int((L.grad[0, 0].abs().sum(0) > 0).sum())

    added = 2 * 2 * 2 * 4  # 2 blocks × 2 convolutions × 2 sides × stride 4
    assert receptive_field(n_blocks=2) >= receptive_field(n_blocks=0) + added


def test_the_label_head_classifies_the_bottleneck_features():
    net, L = UNet(base_channels=4, n_down=3, n_blocks=1).eval(), torch.rand(2, 1, 21, 30)
    ab, features = net.with_features(L)
    assert torch.equal(ab, net(L)) and features.shape == (2, net.n_features, 3, 4)
    head = LabelHead(net.n_features, 5)
    assert head(features).shape == (2, 5)
    head(features).sum().backward()
    assert net.stem[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in net.decoder.parameters())
