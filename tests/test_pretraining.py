"""An encoder that learns to name gray photos: it learns, is measured on others, resumes, and starts a U-Net."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import colorlib
from colorlib import __main__ as cli
from colorlib.batches import NO_LABEL, Batches
from colorlib.data import make_loaders
from colorlib.pretraining import GrayClassifier, fit_labels, label_accuracy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Made-up photos in three classes: stripes across, stripes down, and blots."""
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    shapes = {"across": (8, 1), "down": (1, 8), "blots": (8, 8)}
    for name, (rows, columns) in shapes.items():
        (folder / name).mkdir()
        for i in range(16):
            picture = rng.integers(0, 256, (rows, columns, 3)).repeat(32 // rows, 0).repeat(32 // columns, 1)
            Image.fromarray(picture.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def loaders(folder):
    return make_loaders(folder, size=32, batch_size=6, n_test=6, store_size=32, labels=True)


def small_classifier() -> GrayClassifier:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 16, 5, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 5, 2), nn.ReLU())
    return GrayClassifier(encoder, n_features=16, n_classes=3)


def test_it_learns_to_name_pictures_that_it_was_not_shown(loaders, tmp_path):
    net, path = small_classifier(), tmp_path / "c.pt"
    history = fit_labels(net, loaders, epochs=10, lr=1e-2, checkpoint=path)
    assert history["label_loss"][-1] < 0.5 * history["label_loss"][0]
    assert history["valid_accuracy"][-1] > 0.8 and label_accuracy(net, loaders.test) > 0.8  # chance: 0.33
    again = fit_labels(small_classifier(), loaders, epochs=10, lr=1e-2, checkpoint=path, resume=True)
    assert again.rows == history.rows


def test_accuracy_counts_what_has_a_label():
    loader = Batches(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), 32, 2, labels=torch.tensor([1, 0, NO_LABEL, 1]))
    says_one = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2))
    nn.init.zeros_(says_one[1].weight)
    says_one[1].bias.data = torch.tensor([0.0, 1.0])
    assert label_accuracy(says_one, loader) == pytest.approx(2 / 3)


def test_labels_are_needed(tmp_path):
    with pytest.raises(ValueError, match="labels=True"):
        fit_labels(small_classifier(), make_loaders("scenes", size=32, n_train=4, n_test=2))


def test_the_command_makes_an_encoder_that_a_resnet_starts_from(folder, tmp_path, capsys):
    common = ["train", "--source", str(folder), "--size", "32", "--n-test", "4", "--epochs", "1", "--device", "cpu"]
    out = tmp_path / "encoder"
    assert cli.main([*common, "--batch-size", "8", "--model", "encoder", "--out", str(out)]) == 0
    assert "valid_accuracy" in capsys.readouterr().out
    weights = out / "encoder.safetensors"
    assert cli.main([*common, "--model", "encoder", "--out", str(out)]) == 1
    assert "--resume" in capsys.readouterr().err

    start = ["--n-train", "4", "--lr", "0", "--model", "resnet", "--encoder", str(weights)]
    assert cli.main([*common, *start, "--out", str(tmp_path / "resnet")]) == 0
    net = colorlib.load_generator(tmp_path / "resnet" / "reconstruction.safetensors")
    given = colorlib.resnet_unet("resnet18", weights).encoder
    assert all(torch.equal(a, b) for a, b in zip(net.encoder.parameters(), given.parameters()))

    for unfit in (["--epochs", "0"], ["--init", str(weights)]):
        assert cli.main([*common, *unfit, "--model", "encoder", "--out", str(tmp_path / "none")]) == 1
        assert "--model encoder starts from random numbers" in capsys.readouterr().err

    assert cli.main(["train", "--source", "scenes", "--model", "encoder", "--out", str(tmp_path / "none")]) == 1
    assert "no class folders" in capsys.readouterr().err
