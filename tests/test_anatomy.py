"""The stages of a U-Net, found by running it: shapes, weights and skips computed by hand."""

import pytest
import torch

import colorlib
from colorlib.anatomy import unet_stages


def table(net, size):
    return [(s.part, s.shape, s.layers, s.skip) for s in unet_stages(net, size)]


def test_stages_of_a_small_unet():
    net = colorlib.UNet(base_channels=4, n_down=2)
    assert table(net, 32) == [
        ("input", (1, 32, 32), "", None),
        ("encoder", (4, 32, 32), "conv 3×3", None),
        ("encoder", (8, 16, 16), "conv 4×4 stride 2", None),
        ("encoder", (16, 8, 8), "conv 4×4 stride 2", None),
        ("decoder", (8, 16, 16), "upsample, conv 3×3", (8, 16, 16)),
        ("decoder", (4, 32, 32), "upsample, conv 3×3", (4, 32, 32)),
        ("output", (2, 32, 32), "conv 3×3", None),
    ]
    # Weights of the last decoder stage: 3×3 from 8 + 4 to 4 channels, and BatchNorm's scale and shift.
    assert unet_stages(net, 32)[5].n_weights == 9 * (8 + 4) * 4 + 2 * 4


def test_skips_are_found_only_where_there_are_any():
    assert not any(stage.skip for stage in unet_stages(colorlib.UNet(4, 2, skips=False), 32))
    with_blocks = unet_stages(colorlib.UNet(4, 2, n_blocks=3), 32)
    assert [(s.part, s.layers) for s in with_blocks][4] == ("bottleneck", "3 residual blocks")


def test_stages_of_both_resnet_unets():
    slim = table(colorlib.resnet_unet("resnet18", None, decoder="slim"), 128)
    encoder = [
        ("encoder", (64, 64, 64), "conv 7×7 stride 2", None),
        ("encoder", (64, 32, 32), "max pool, 2 residual blocks", None),
        ("encoder", (128, 16, 16), "2 residual blocks", None),
        ("encoder", (256, 8, 8), "2 residual blocks", None),
        ("encoder", (512, 4, 4), "2 residual blocks", None),
    ]
    assert slim[1:6] == encoder
    skips = [(256, 8, 8), (128, 16, 16), (64, 32, 32), (64, 64, 64)]
    assert [skip for *_, skip in slim[6:]] == [*skips, None]
    assert [shape[0] for _, shape, *_ in slim[6:]] == [128, 64, 48, 32, 2]
    assert slim[-1][2] == "conv 3×3, upsample"

    fastai = table(colorlib.resnet_unet("resnet18", None), 128)
    assert fastai[1:6] == encoder
    assert fastai[6] == ("bottleneck", (512, 4, 4), "2 conv 3×3", None)
    assert [skip for *_, skip in fastai[7:]] == [*skips, (1, 128, 128), None]  # also the image itself
    assert fastai[-2][1:3] == ((97, 128, 128), "conv 1×1, pixel shuffle, residual block")


def test_the_network_is_unchanged_and_every_weight_is_counted():
    for net in (colorlib.UNet(4, 3), colorlib.resnet_unet("resnet34", None, decoder="slim")):
        net.requires_grad_(False)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        with torch.no_grad():
            stages = unet_stages(net, 40)  # not a multiple of 32: the networks pad it
        assert sum(stage.n_weights for stage in stages) == sum(p.numel() for p in net.parameters())
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert net.training and not any(p.requires_grad for p in net.parameters())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
        assert any(stage.skip for stage in stages), "a frozen network has skips, too"


def test_what_has_no_stages_is_refused():
    with pytest.raises(TypeError, match="Conv2d"):
        unet_stages(torch.nn.Conv2d(1, 2, 1))
    with pytest.raises(ValueError, match="32.*16"):
        unet_stages(colorlib.UNet(4, 2), 16)
