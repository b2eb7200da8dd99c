"""The command line: it trains, measures, refuses to lose work, and answers wrong input with one sentence."""

import subprocess
import sys

import pytest
import torch
import torchvision

import colorlib
from colorlib import __main__ as cli
from colorlib.files import save_tensors

SMALL = ["--source", "scenes", "--size", "32", "--n-train", "8", "--n-test", "4", "--device", "cpu"]
TRAIN = ["train", *SMALL, "--epochs", "1", "--gan-epochs", "1", "--base-channels", "4", "--n-down", "2"]


@pytest.mark.parametrize(("model", "stages"), [("unet", ["reconstruction"]), ("pix2pix", ["reconstruction", "gan"])])
def test_training_leaves_weights_that_can_be_measured(tmp_path, capsys, model, stages):
    out = tmp_path / "run"
    assert cli.main([*TRAIN, "--model", model, "--out", str(out)]) == 0
    assert sorted(path.stem for path in out.glob("*.safetensors")) == sorted(stages)
    assert isinstance(colorlib.load_generator(out / f"{stages[-1]}.safetensors"), colorlib.UNet)
    assert "ab_mae/determined" in capsys.readouterr().out
    assert colorlib.Colorizer.from_pretrained(out / f"{stages[-1]}.safetensors").render_size == 32
    assert cli.main(["evaluate", *SMALL, "--weights", str(out / f"{stages[-1]}.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert printed.index("gray") < printed.index("psnr")


def test_a_finished_training_is_not_overwritten_and_can_be_resumed(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert cli.main([*TRAIN, "--out", out]) == 0
    capsys.readouterr()
    assert cli.main([*TRAIN, "--out", out]) == 1
    assert "--resume" in capsys.readouterr().err
    assert cli.main([*TRAIN, "--out", out, "--resume"]) == 0


def test_a_training_can_start_from_weights_and_skip_a_stage(tmp_path, capsys):
    """Without a step of the L1 stage, and with a GAN stage that takes none either, the weights are those given."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli.main([*TRAIN, "--n-blocks", "1", "--out", str(first)]) == 0
    start = str(first / "reconstruction.safetensors")
    more = ["--init", start, "--epochs", "0", "--model", "pix2pix", "--gan-lr", "0", "--ema", "0"]
    assert cli.main([*TRAIN, *more, "--out", str(second)]) == 0
    assert [path.name for path in second.glob("*.safetensors")] == ["gan.safetensors"]
    before, after = (colorlib.load_generator(path) for path in (start, second / "gan.safetensors"))
    assert after.recipe == before.recipe and before.recipe["n_blocks"] == 1
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters()))
    assert cli.main([*TRAIN, "--epochs", "0", "--out", str(tmp_path / "third")]) == 1
    assert "--epochs 0 leaves nothing to train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", *SMALL, "--weights", "nowhere.safetensors"], "nowhere.safetensors: there is no such file"),
        (["train", "--source", "no/such/folder", "--out", "x"], "no/such/folder"),
        ([*TRAIN, "--device", "tpu", "--out", "x"], "'tpu' is not available"),
    ],
)
def test_wrong_input_is_one_line_and_status_1(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    printed = capsys.readouterr().err.strip()
    assert words in printed and printed.startswith("colorlib: ") and "\n" not in printed


def test_wrong_usage_is_status_2_and_help_teaches():
    for arguments, status, words in (
        ([], 2, "COMMAND"),
        (["train"], 2, "--source"),
        (["train", "--help"], 0, "--resume"),
    ):
        done = subprocess.run([sys.executable, "-m", "colorlib", *arguments], capture_output=True, text=True)
        assert done.returncode == status and words in done.stdout + done.stderr


def test_a_resnet_can_have_a_slim_decoder_two_rates_and_a_pretrained_discriminator(tmp_path, capsys):
    """Both stages run, and resume from their checkpoints with the same settings only."""
    weights = tmp_path / "rgb.safetensors"
    torch.manual_seed(0)
    save_tensors(torchvision.models.resnet18(weights=None).state_dict(), weights, {})
    first = ["--decoder", "slim", "--encoder", str(weights), "--encoder-lr", "0", "--schedule", "linear"]
    gan = ["--discriminator", "features", "--discriminator-weights", str(weights), "--adversarial", "hinge"]
    gan += ["--betas", "0", "0.99", "--gan-lr", "1e-4", "--gan-lr-d", "4e-4"]
    command = [*TRAIN, "--model", "resnet-pix2pix", *first, *gan, "--out", str(tmp_path / "run")]
    assert cli.main(command) == 0
    net = colorlib.load_generator(tmp_path / "run" / "reconstruction.safetensors")
    given = colorlib.resnet_unet("resnet18", weights, decoder="slim")
    assert type(net) is type(given)
    assert all(torch.equal(a, b) for a, b in zip(net.encoder.parameters(), given.encoder.parameters()))
    assert "loss_d_fake" in capsys.readouterr().out
    assert cli.main([*command, "--resume"]) == 0
    assert cli.main([*command, "--resume", "--betas", "0.5", "0.99"]) == 1
    assert "betas" in capsys.readouterr().err
