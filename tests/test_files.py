"""Weights and checkpoints: whole or not there, and read without trust."""

import json
import os
import stat

import numpy as np
import pytest
import torch

import colorlib
from colorlib import zoo
from colorlib.files import WeightsError, atomic_write, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from colorlib.unet import UNet


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    for trouble in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(trouble), atomic_write(path) as file:
            file.write(b"half of the new")
            raise trouble
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights.bin"]


def test_a_finished_write_is_there_with_ordinary_rights(tmp_path):
    with atomic_write(tmp_path / "new" / "file") as file:
        file.write(b"new")
    assert (tmp_path / "new" / "file").read_bytes() == b"new"
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_tensors_come_back_even_when_not_contiguous(tmp_path):
    tensors = {"w": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last), "n": torch.tensor(7)}
    save_tensors(tensors, tmp_path / "t.safetensors", {"note": "ä"})
    back, metadata = load_tensors(tmp_path / "t.safetensors")
    assert metadata == {"note": "ä"}
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("load", [load_tensors, load_checkpoint, colorlib.load_generator])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", os.urandom(4096), None])
def test_what_is_no_weights_file_is_named(tmp_path, load, content):
    path = tmp_path / "strange.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="strange.safetensors"):
        load(path)


def test_a_checkpoint_holds_data_never_code(tmp_path):
    save_checkpoint({"state": {"w": torch.ones(2)}, "epoch": 3}, tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 3
    torch.save({"code": np.random.default_rng}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="evil.pt"):
        load_checkpoint(tmp_path / "evil.pt")


@pytest.mark.parametrize("skips", [True, False])
def test_a_generator_comes_back_from_its_file_alone(tmp_path, skips):
    net = UNet(base_channels=4, n_down=2, skips=skips).to(memory_format=torch.channels_last).eval()
    colorlib.save_generator(net, tmp_path / "net.safetensors", notes={"seconds": 3})
    again = colorlib.load_generator(tmp_path / "net.safetensors")
    L = torch.rand(1, 1, 20, 20)
    assert torch.allclose(net(L), again(L), atol=1e-6)
    assert not again.training and again.recipe == net.recipe
    assert json.loads(load_tensors(tmp_path / "net.safetensors")[1]["notes"]) == {"seconds": 3}


def test_half_precision_weights_load_as_float32(tmp_path):
    net = UNet(base_channels=4, n_down=2).half()
    colorlib.save_generator(net, tmp_path / "half.safetensors")
    assert {p.dtype for p in colorlib.load_generator(tmp_path / "half.safetensors").parameters()} == {torch.float32}


def test_weights_of_another_shape_or_maker_are_refused(tmp_path):
    net = UNet(base_channels=4, n_down=2)
    net.recipe["base_channels"] = 8
    colorlib.save_generator(net, tmp_path / "lie.safetensors")
    with pytest.raises(WeightsError, match="lie.safetensors.*recipe"):
        colorlib.load_generator(tmp_path / "lie.safetensors")
    save_tensors({"w": torch.ones(1)}, tmp_path / "foreign.safetensors", {})
    with pytest.raises(WeightsError, match="foreign.safetensors.*save_generator"):
        colorlib.load_generator(tmp_path / "foreign.safetensors")
    with pytest.raises(TypeError, match="Conv2d"):
        colorlib.save_generator(torch.nn.Conv2d(1, 2, 1), tmp_path / "x.safetensors")


def test_half_precision_weights_take_half_the_space_and_load_as_float32(tmp_path):
    torch.manual_seed(0)
    net = colorlib.UNet(16, 2).eval()
    net.encoder[0][1].running_var.fill_(1e6)  # half precision ends at 65,504
    for name, half in (("whole", False), ("half", True)):
        colorlib.save_generator(net, tmp_path / name, {"seed": 3}, half=half)
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "whole").stat().st_size
    again = colorlib.load_generator(tmp_path / "half")
    assert {value.dtype for value in again.state_dict().values() if value.is_floating_point()} == {torch.float32}
    L = torch.rand(1, 1, 32, 32)
    assert torch.allclose(again(L), net(L), atol=2e-3) and not torch.equal(again(L), net(L))
    assert zoo.read_notes(tmp_path / "half") == {"seed": 3}
