"""The command line: training, evaluation, and one sentence for wrong input."""

import signal
import subprocess
import sys

import pytest
import torch
import torchvision

import colorlib
from colorlib import __main__ as cli
from colorlib import training
from colorlib.tensors import save_tensors
from colorlib.zoo import read_info

SMALL = ["--source", "scenes", "--size", "32", "--n-train", "8", "--n-test", "4", "--device", "cpu"]
TRAIN = ["train", *SMALL, "--epochs", "1", "--gan-epochs", "1", "--base-channels", "4", "--n-down", "2"]


@pytest.mark.parametrize(("model", "stages"), [("unet", ["reconstruction"]), ("pix2pix", ["reconstruction", "gan"])])
def test_train_writes_weights_that_evaluate_scores(tmp_path, capsys, model, stages):
    out = tmp_path / "run"
    arguments = [*TRAIN, "--model", model, "--out", str(out)]
    assert cli.main(arguments) == 0
    assert sorted(path.stem for path in out.glob("*.safetensors")) == sorted(stages)
    weights = out / f"{stages[-1]}.safetensors"
    assert isinstance(colorlib.load_generator(weights), colorlib.UNet)
    info = read_info(weights)
    assert (info.render_size, info.data, info.commands) == (32, "scenes", (" ".join(["colorlib", *arguments]),))
    assert info.seconds > 0
    capsys.readouterr()
    assert cli.main(["evaluate", *SMALL, "--weights", str(weights)]) == 0
    gray, ours = capsys.readouterr().out.split(f"{weights}\n")
    assert "ab_mae/determined" in gray
    printed = {line.split()[0]: float(line.split()[1]) for line in ours.splitlines()}
    assert printed == pytest.approx(info.scores, abs=6e-4)


def test_a_finished_training_is_not_overwritten_and_can_be_resumed(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert cli.main([*TRAIN, "--out", out]) == 0
    capsys.readouterr()
    assert cli.main([*TRAIN, "--out", out]) == 1
    assert "--resume" in capsys.readouterr().err
    assert cli.main([*TRAIN, "--out", out, "--resume"]) == 0


def test_a_training_can_start_from_weights_and_skip_a_stage(tmp_path, capsys):
    """Without an L1 stage, and with a learning rate of 0 in the GAN stage, the weights are those given."""
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


def test_an_interrupted_training_is_status_130_and_can_be_resumed(tmp_path, monkeypatch, capsys):
    real_step = training.reconstruction_step

    def step(*arguments):
        signal.raise_signal(signal.SIGINT)
        return real_step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "reconstruction_step", step)
        assert cli.main([*TRAIN, "--out", str(tmp_path)]) == 130
    assert "--resume" in capsys.readouterr().out and not list(tmp_path.glob("*.safetensors"))
    assert cli.main([*TRAIN, "--out", str(tmp_path), "--resume"]) == 0


def test_wrong_usage_is_status_2():
    for arguments, words in (([], "COMMAND"), (["train"], "--source")):
        done = subprocess.run([sys.executable, "-m", "colorlib", *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and words in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--size", "0"), ("--n-test", "-1"), ("--n-train", "-3"), ("--epochs", "-1"), ("--base-channels", "0"),
     ("--size", "8"), ("--batch-size", "x"), ("--lr", "nan"), ("--ema", "1.5"), ("--lambda-l1", "-1"),
     ("--freeze", "1.5"), ("--encoder-lr", "-1")],
)  # fmt: skip
def test_a_number_out_of_range_is_refused_before_anything_is_read(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as status:
        cli.main([*TRAIN, "--out", str(tmp_path / "run"), option, value])
    assert status.value.code == 2 and not (tmp_path / "run").exists()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"colorlib train: error: argument {option}: it must be a") and repr(value) in last


def test_a_slim_resnet_trains_against_heads_on_frozen_features(tmp_path, capsys):
    """Both stages use the options, and can be resumed only with the same ones."""
    weights = tmp_path / "rgb.safetensors"
    torch.manual_seed(0)
    save_tensors(torchvision.models.resnet18(weights=None).state_dict(), weights, {})
    first = ["--decoder", "slim", "--encoder", str(weights), "--encoder-lr", "0", "--schedule", "linear"]
    gan = ["--discriminator", "features", "--discriminator-weights", str(weights), "--adversarial", "hinge"]
    gan += ["--betas", "0", "0.99", "--gan-lr", "1e-4", "--gan-lr-d", "4e-4"]
    command = [*TRAIN, "--model", "resnet-pix2pix", *first, *gan, "--out", str(tmp_path / "run")]
    assert cli.main(command) == 0
    net = colorlib.load_generator(tmp_path / "run" / "reconstruction.safetensors")
    start = colorlib.resnet_unet("resnet18", weights, decoder="slim")
    assert type(net) is type(start)
    assert all(torch.equal(a, b) for a, b in zip(net.encoder.parameters(), start.encoder.parameters()))
    assert "loss_d_fake" in capsys.readouterr().out
    assert cli.main([*command, "--resume"]) == 0
    assert cli.main([*command, "--resume", "--betas", "0.5", "0.99"]) == 1
    assert "betas" in capsys.readouterr().err
