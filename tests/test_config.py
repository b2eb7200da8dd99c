"""Presets, devices and seeds."""

import numpy as np
import pytest
import torch

from colorlib import config


def test_presets_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("COLORLIB_RUN", raising=False)
    monkeypatch.setenv("COLORLIB_DEVICE", "cpu")
    assert config.from_env() == config.PRESETS["quick"]
    monkeypatch.setenv("COLORLIB_RUN", "full")
    full = config.from_env()
    assert full.n_train > config.PRESETS["quick"].n_train
    assert "full run on cpu" in full.summary() and "10,000" in full.summary()


def test_the_message_names_the_wrong_setting(monkeypatch):
    monkeypatch.setenv("COLORLIB_RUN", "fast")
    with pytest.raises(ValueError, match="'fast'.*quick, full"):
        config.from_env()
    with pytest.raises(ValueError, match="'tpu'.*cpu"):
        config.pick_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda:1'"):
        config.pick_device("cuda:1")


def test_the_fastest_device_is_the_default(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for cuda, expected in ((True, "cuda"), (False, "mps")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        assert config.pick_device() == expected


def test_a_seed_makes_torch_and_numpy_repeatable():
    draws = []
    for _ in range(2):
        config.seed_everything(7)
        draws.append((torch.rand(3).tolist(), np.random.rand(3).tolist()))
    assert draws[0] == draws[1]


def test_bfloat16_on_the_cpu_only_on_request(monkeypatch):
    from colorlib.loop import mixed_precision

    matrix = torch.ones(2, 2)
    for value, dtype in {"": torch.float32, "0": torch.float32, "1": torch.bfloat16}.items():
        monkeypatch.setenv("COLORLIB_BF16", value)
        with mixed_precision(torch.device("cpu")):
            assert (matrix @ matrix).dtype == dtype


@pytest.mark.parametrize("size", [31, 2049, 64.0, "64", True, float("nan")])
def test_render_size_is_a_whole_number_in_range(size):
    assert [config.check_render_size(n) for n in (32, np.int64(64), 2048)] == [32, 64, 2048]
    with pytest.raises(ValueError, match="render_size must be a whole number of pixels from 32 to 2048, got"):
        config.check_render_size(size)


@pytest.mark.parametrize("saturation", [-0.1, 10.1, float("nan"), float("inf"), "1", None, True])
def test_saturation_is_a_number_in_range(saturation):
    assert [config.check_saturation(n) for n in (0, np.float32(0.5), 10)] == [0, 0.5, 10]
    with pytest.raises(ValueError, match="saturation must be a number from 0"):
        config.check_saturation(saturation)
