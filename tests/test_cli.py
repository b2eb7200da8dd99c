"""The command line: training, evaluation, and one sentence for wrong input."""

import csv
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from skimage.color import rgb2lab

import colorlib
from colorlib import __main__ as cli
from colorlib import training
from colorlib.images import fit_square
from colorlib.tensors import WeightsInfo, save_tensors
from colorlib.zoo import read_info

SMALL = ["--source", "scenes", "--size", "32", "--n-train", "8", "--n-test", "4", "--device", "cpu"]
TRAIN = ["train", *SMALL, "--epochs", "1", "--gan-epochs", "1", "--base-channels", "4", "--n-down", "2"]


def read_table(path):
    """Return a CSV file of scores as model -> score -> value."""
    with open(path, newline="", encoding="utf-8") as file:
        return {row.pop("model"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def two_weights(tmp_path_factory):
    """Return the names of two files of weights of small networks that were not trained."""
    names = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        names.append(str(tmp_path_factory.mktemp("weights") / f"net{seed}.safetensors"))
        colorlib.save_generator(colorlib.UNet(4, 2), names[-1], WeightsInfo(render_size=48))
    return names


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Return a folder of 12 photos, painted scenes of 80 px, saved without loss."""
    folder = tmp_path_factory.mktemp("album")
    for i, rgb in enumerate(colorlib.paint_scenes(12, 80, 3).rgb):
        colorlib.save_image(rgb.permute(1, 2, 0).numpy(), folder / f"{i}.png")
    return folder


def test_evaluate_scores_several_weights_on_every_photo_of_a_folder(album, two_weights, tmp_path, capsys):
    """The errors are those that scikit-image and numpy compute from the photos, shrunk to the size of the weights."""
    out, figure = tmp_path / "s.csv", tmp_path / "s.png"
    options = ["--all", "--csv", str(out), "--figure", str(figure), "--device", "cpu"]
    assert cli.main(["evaluate", "--source", str(album), "--weights", *two_weights, *options]) == 0
    printed = capsys.readouterr()
    assert "all 12 photos are scored, 48×48 px" in printed.out and str(out) in printed.out
    rows = read_table(out)
    assert list(rows) == ["gray", "mean ab", *two_weights]

    photos = [fit_square(colorlib.read_image(path), 48) for path in sorted(album.iterdir())]
    lab = np.stack([rgb2lab(photo / 255.0) for photo in photos]).transpose(0, 3, 1, 2)  # (12, 3, 48, 48)
    L = torch.from_numpy(lab[:, :1] / 50 - 1).float()
    expected = {"gray": 0 * lab[:, 1:], "mean ab": lab[:, 1:].mean((0, 2, 3), keepdims=True)}
    expected |= {name: 110 * colorlib.predict(colorlib.load_generator(name), L).numpy() for name in two_weights}
    for name, ab in expected.items():
        error = np.abs(ab - lab[:, 1:]).mean((1, 2, 3))
        assert rows[name]["ab_mae"] == pytest.approx(error.mean(), rel=1e-3)
        assert rows[name]["ab_mae_low"] < rows[name]["ab_mae"] < rows[name]["ab_mae_high"]
        assert rows[name]["images"] == 12
    with Image.open(figure) as image:
        assert min(image.size) > 300


def test_evaluate_scores_the_photos_that_train_holds_out(album, two_weights, tmp_path):
    out = tmp_path / "s.csv"
    common = ["--source", str(album), "--size", "32", "--n-test", "3", "--device", "cpu"]
    assert cli.main(["evaluate", *common, "--weights", two_weights[0], "--csv", str(out)]) == 0
    held_out = colorlib.make_loaders(album, 32, n_test=3).test
    assert read_table(out)["gray"]["images"] == 3
    expected = colorlib.evaluate(colorlib.load_generator(two_weights[0]), held_out)
    assert read_table(out)[two_weights[0]]["ab_mae"] == pytest.approx(expected["ab_mae"])


def test_evaluate_replaces_a_file_only_if_asked_to_and_scores_nothing_before(album, two_weights, tmp_path, capsys):
    out = tmp_path / "s.csv"
    out.write_text("mine")
    command = ["evaluate", *SMALL, "--weights", two_weights[0], "--csv", str(out)]
    assert cli.main(command) == 1
    printed = capsys.readouterr()
    assert "--overwrite" in printed.err and printed.out == "" and out.read_text() == "mine"
    assert cli.main([*command, "--overwrite"]) == 0
    assert list(read_table(out)) == ["gray", "mean ab", two_weights[0]]
    assert cli.main([*command[:-1], str(tmp_path / "no" / "s.csv")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert cli.main(["evaluate", *SMALL, "--all", "--weights", two_weights[0]]) == 1
    assert "--all is for photos" in capsys.readouterr().err


def test_a_figure_without_matplotlib_is_one_sentence_before_anything_is_scored(two_weights, tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None; from colorlib.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "evaluate", *SMALL, "--weights", two_weights[0]]
    done = subprocess.run([*command, "--figure", str(tmp_path / "s.png")], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.strip() == (
        "colorlib: matplotlib is not installed; install it with: pip install 'colorlib[notebooks]'."
    )


@pytest.mark.parametrize(("option", "name"), [("--csv", "scores.txt"), ("--figure", "photo.jpg"), ("--figure", "s")])
def test_results_of_evaluate_have_their_own_kinds_of_files(two_weights, capsys, option, name):
    with pytest.raises(SystemExit) as status:
        cli.main(["evaluate", *SMALL, "--weights", *two_weights, option, name])
    assert status.value.code == 2 and "the name must end in" in capsys.readouterr().err.splitlines()[-1]


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
    table = tmp_path / "scores.csv"
    assert cli.main(["evaluate", *SMALL, "--weights", str(weights), "--csv", str(table)]) == 0
    assert "determined" in capsys.readouterr().out
    rows = read_table(table)
    assert list(rows) == ["gray", "mean ab", str(weights)]
    ours = {key: rows[str(weights)][key] for key in info.scores}
    assert ours == pytest.approx(info.scores, rel=1e-5)


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
