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


def test_wrong_settings_are_named(monkeypatch):
    monkeypatch.setenv("COLORLIB_RUN", "fast")
    with pytest.raises(ValueError, match="'fast'.*quick, full"):
        config.from_env()
    with pytest.raises(ValueError, match="'tpu'.*cpu"):
        config.pick_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda:1'"):
        config.pick_device("cuda:1")


def test_the_best_device_is_chosen(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for cuda, expected in ((True, "cuda"), (False, "mps")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        assert config.pick_device() == expected


def test_a_seed_repeats_every_kind_of_randomness():
    draws = []
    for _ in range(2):
        config.seed_everything(7)
        draws.append((torch.rand(3).tolist(), np.random.rand(3).tolist()))
    assert draws[0] == draws[1]


def test_bfloat16_on_a_cpu_is_a_wish(monkeypatch):
    from colorlib.loop import mixed_precision

    product = torch.ones(2, 2)
    for wish, dtype in {"": torch.float32, "0": torch.float32, "1": torch.bfloat16}.items():
        monkeypatch.setenv("COLORLIB_BF16", wish)
        with mixed_precision(torch.device("cpu")):
            assert (product @ product).dtype == dtype
