"""Weights and checkpoints: what is saved comes back, and reading a file never runs code."""

import os

import numpy as np
import pytest
import torch

import colorlib
from colorlib import WeightsInfo, zoo
from colorlib.tensors import (
    WeightsError,
    load_checkpoint,
    load_tensors,
    save_checkpoint,
    save_tensors,
    to_bits,
    to_float32,
)

INFO = WeightsInfo(render_size=64, data="photos", commands=("first", "second"), seconds=1.5, scores={"ab_mae": 9.25})


def test_tensors_come_back_even_when_not_contiguous(tmp_path):
    tensors = {"w": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last), "n": torch.tensor(7)}
    save_tensors(tensors, tmp_path / "t.safetensors", {"note": "ä"})
    back, metadata = load_tensors(tmp_path / "t.safetensors")
    assert metadata == {"note": "ä"}
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("load", [load_tensors, load_checkpoint, colorlib.load_generator, zoo.read_info])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", os.urandom(4096), None])
def test_a_file_without_weights_is_named(tmp_path, load, content):
    path = tmp_path / "strange.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="strange.safetensors"):
        load(path)


def test_a_checkpoint_with_code_is_refused(tmp_path):
    save_checkpoint({"state": {"w": torch.ones(2)}, "epoch": 3}, tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 3
    torch.save({"code": np.random.default_rng}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="evil.pt"):
        load_checkpoint(tmp_path / "evil.pt")


@pytest.mark.parametrize("skips", [True, False])
def test_a_generator_and_its_info_come_back_from_one_file(tmp_path, skips):
    net = colorlib.UNet(base_channels=4, n_down=2, skips=skips).to(memory_format=torch.channels_last).eval()
    colorlib.save_generator(net, tmp_path / "net.safetensors", INFO)
    again, info = zoo.load_with_info(tmp_path / "net.safetensors")
    L = torch.rand(1, 1, 20, 20)
    assert torch.allclose(net(L), again(L), atol=1e-6)
    assert not again.training and again.recipe == net.recipe
    assert info == zoo.read_info(tmp_path / "net.safetensors") == INFO


@pytest.mark.parametrize(
    ("metadata", "info"),
    [
        ({}, WeightsInfo()),
        ({"notes": '{"render_size": 48, "data": "photos", "seconds": {"L1": 9}}'}, WeightsInfo(48, "photos")),
        ({"info": '{"seconds": 3.0, "from_a_later_version": 1}'}, WeightsInfo(seconds=3.0)),
        ({"info": "[1]"}, WeightsInfo()),
        ({"info": '{"commands": 3}'}, WeightsInfo()),
        ({"info": "no JSON"}, WeightsInfo()),
    ],
    ids=["none", "before version 0.2", "after this version", "a list", "wrong type", "text"],
)
def test_info_of_other_versions(tmp_path, metadata, info):
    save_tensors({"w": torch.ones(1)}, tmp_path / "w.safetensors", metadata)
    assert zoo.read_info(tmp_path / "w.safetensors") == info


@pytest.mark.parametrize(("bits", "share", "off"), [(16, 0.6, 2e-3), (8, 0.4, 5e-2)])
def test_fewer_bits_take_less_space_and_load_as_float32(tmp_path, bits, share, off):
    torch.manual_seed(0)
    net = colorlib.UNet(16, 2).eval()
    net.encoder[0][1].running_var.fill_(1e6)  # float16 ends at 65,504
    for name, per_weight in (("full", 32), ("small", bits)):
        colorlib.save_generator(net, tmp_path / name, INFO, bits=per_weight)
    assert (tmp_path / "small").stat().st_size < share * (tmp_path / "full").stat().st_size
    again = colorlib.load_generator(tmp_path / "small")
    assert {value.dtype for value in again.state_dict().values() if value.is_floating_point()} == {torch.float32}
    L = torch.rand(1, 1, 32, 32)
    assert torch.allclose(again(L), net(L), atol=off) and not torch.equal(again(L), net(L))


def test_a_network_in_float16_is_loaded_as_float32(tmp_path):
    colorlib.save_generator(colorlib.UNet(4, 2).half(), tmp_path / "half.safetensors")
    assert {p.dtype for p in colorlib.load_generator(tmp_path / "half.safetensors").parameters()} == {torch.float32}


def test_weights_that_do_not_fit_their_recipe_and_foreign_weights_are_refused(tmp_path):
    net = colorlib.UNet(base_channels=4, n_down=2)
    net.recipe["base_channels"] = 8
    colorlib.save_generator(net, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError, match="wrong.safetensors.*recipe"):
        colorlib.load_generator(tmp_path / "wrong.safetensors")
    save_tensors({"w": torch.ones(1)}, tmp_path / "foreign.safetensors", {})
    with pytest.raises(WeightsError, match="foreign.safetensors.*save_generator"):
        colorlib.load_generator(tmp_path / "foreign.safetensors")
    with pytest.raises(TypeError, match="Conv2d"):
        colorlib.save_generator(torch.nn.Conv2d(1, 2, 1), tmp_path / "x.safetensors")


def test_eight_bits_are_off_by_half_a_step_per_channel_at_most(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 4, 3, 3, generator=generator) * torch.logspace(-3, 1, 6).view(-1, 1, 1, 1)
    weight[2] = 0
    tensors = {"weight": weight, "bias": torch.randn(6, generator=generator), "count": torch.tensor(7)}
    save_tensors(to_bits(tensors, 8), tmp_path / "w.safetensors", {})
    loaded, _ = load_tensors(tmp_path / "w.safetensors")
    assert loaded["weight"].dtype == torch.int8
    restored = to_float32(loaded)
    assert restored.keys() == tensors.keys() and restored["count"] == 7
    assert torch.equal(restored["bias"], tensors["bias"])
    largest = weight.flatten(1).abs().amax(1)
    error = (restored["weight"] - weight).flatten(1).abs().amax(1)
    assert (error <= largest / 127 / 2 * 1.001).all() and (error[[0, 5]] > largest[[0, 5]] / 127 / 4).all()
    with pytest.raises(ValueError, match="8, 16 or 32"):
        to_bits(tensors, 4)
