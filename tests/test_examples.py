"""The example script trains, gives the same weights for the same seed, is short, and uses only public names."""

import ast
import runpy
import sys
from pathlib import Path

import pytest
import torch

import colorlib

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "train_pix2pix.py"
TINY = ["--size", "32", "--n-train", "8", "--n-test", "4", "--l1-epochs", "1", "--gan-epochs", "1",
        "--base-channels", "4", "--device", "cpu"]  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs the script with tiny options and returns the weights that it saves."""

    def run(seed: int) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *TINY, "--seed", str(seed), "--out", str(tmp_path)])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        printed = capsys.readouterr().out
        assert "epoch 1: loss_l1" in printed and "epoch 2: loss_d" in printed
        assert (tmp_path / "pix2pix.png").stat().st_size > 1000
        return colorlib.load_generator(tmp_path / "pix2pix.safetensors").state_dict()

    return run


def test_it_trains_and_a_seed_makes_it_repeatable(run):
    first, again, other = run(seed=0), run(seed=0), run(seed=1)
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert not torch.equal(other["head.weight"], first["head.weight"])


def test_it_is_short_and_uses_only_public_names():
    source = SCRIPT.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 150
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "colorlib":
            assert node.module == "colorlib"
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "colorlib":
            names.add(node.attr)
    assert names <= {*colorlib.__all__, "config", "show"}
