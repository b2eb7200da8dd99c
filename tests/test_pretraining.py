"""Pretraining of an encoder on gray images: it generalizes, can be resumed, and starts a ResNet U-Net."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import colorlib
from colorlib import __main__ as cli
from colorlib.batches import Batches
from colorlib.data import Loaders, make_loaders
from colorlib.lessons.scene_labels import LABELS, labels_of, scene_label_loaders
from colorlib.pretraining import GrayClassifier, PhotoClassifier, fit_classifier, label_accuracy
from colorlib.resnet import IMAGENET_MEAN, IMAGENET_STD, frozen_resnet, normalize_gray, rgb_resnet
from colorlib.scenes import KINDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of three classes: horizontal stripes, vertical stripes, and spots."""
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    shapes = {"horizontal": (8, 1), "vertical": (1, 8), "spots": (8, 8)}
    for name, (rows, columns) in shapes.items():
        (folder / name).mkdir()
        for i in range(16):
            rgb = rng.integers(0, 256, (rows, columns, 3)).repeat(32 // rows, 0).repeat(32 // columns, 1)
            Image.fromarray(rgb.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def loaders(folder):
    return make_loaders(folder, size=32, batch_size=6, n_test=6, store_size=32, labels=True)


def small_classifier(n_classes: int = 3) -> GrayClassifier:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 16, 5, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 5, 2), nn.ReLU())
    return GrayClassifier(encoder, n_features=16, n_classes=n_classes)


def test_it_classifies_images_that_it_was_not_trained_on(loaders, tmp_path):
    net, path = small_classifier(), tmp_path / "c.pt"
    history = fit_classifier(net, loaders, epochs=10, lr=1e-2, checkpoint=path)
    assert history["label_loss"][-1] < 0.5 * history["label_loss"][0]
    assert history["valid_accuracy"][-1] > 0.8 and label_accuracy(net, loaders.test) > 0.8  # by chance: 0.33
    again = fit_classifier(small_classifier(), loaders, epochs=10, lr=1e-2, checkpoint=path, resume=True)
    assert again.rows == history.rows


def test_the_encoder_gets_the_normalized_input_of_a_resnet_unet():
    L = torch.rand(2, 1, 8, 8) * 2 - 1
    classifier = GrayClassifier(nn.Identity(), n_features=1, n_classes=1)
    nn.init.ones_(classifier[2][-1].weight), nn.init.zeros_(classifier[2][-1].bias)
    assert torch.allclose(classifier(L)[:, 0], normalize_gray(L).mean((1, 2, 3)), atol=1e-6)


def test_accuracy_leaves_out_images_without_a_label():
    loader = Batches(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), 32, 2, labels=torch.tensor([1, 0, -100, 1]))
    always_one = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2))
    nn.init.zeros_(always_one[1].weight)
    always_one[1].bias.data = torch.tensor([0.0, 1.0])
    assert label_accuracy(always_one, loader) == pytest.approx(2 / 3)


class MeanOfChannels(nn.Module):
    """In place of a ResNet: the mean of each RGB channel, in as many features as a ResNet has."""

    def forward(self, x):
        return x.mean((2, 3)).repeat(1, 171)[:, :512]


def test_a_photo_classifier_learns_from_color_and_from_gray_versions(loaders):
    """In training every second image is gray; in eval mode none is, unless ab is left out."""
    net = PhotoClassifier(MeanOfChannels(), 3)
    net.head = nn.Identity()
    L, ab = loaders.valid.first(6)
    rgb = loaders.valid.rgb[:6] / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    in_color = ((rgb - mean) / std).mean((2, 3))
    gray = net.eval()(L)[:, :3]
    assert torch.allclose(net(L, ab)[:, :3], in_color, atol=1e-3)
    raw = gray * std.flatten() + mean.flatten()
    assert torch.allclose(raw, raw.mean(1, keepdim=True).expand(-1, 3), atol=1e-3)  # R = G = B
    trained = net.train()(L, ab)[:, :3]
    assert torch.allclose(trained[1::2], in_color[1::2], atol=1e-3)
    assert torch.allclose(trained[::2], gray[::2], atol=1e-3)


def test_a_photo_classifier_is_scored_in_color_and_in_gray(loaders):
    history = fit_classifier(PhotoClassifier(MeanOfChannels(), 3), loaders, epochs=1)
    assert {"valid_accuracy", "valid_accuracy/color"} <= history.rows[0].keys()


def test_labels_and_a_known_loss_are_needed(loaders):
    with pytest.raises(ValueError, match="labels=True"):
        fit_classifier(small_classifier(), make_loaders("scenes", size=32, n_train=4, n_test=2))
    with pytest.raises(ValueError, match="'l1'.*classes, multilabel"):
        fit_classifier(small_classifier(), loaders, loss="l1")


# --- Multi-label classification ---


def test_it_learns_several_labels_per_image():
    """Images are light or dark, and rough or smooth, independently."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (96, 2), generator=generator).float()
    noise = torch.rand(96, 1, 32, 32, generator=generator) - 0.5
    L = (90 + 60 * labels[:, 0].view(-1, 1, 1, 1) + 120 * labels[:, 1].view(-1, 1, 1, 1) * noise).expand(-1, 3, -1, -1)
    parts = [
        Batches(L[part].to(torch.uint8), 32, 8, labels=labels[part], shuffled=part.start == 32)
        for part in (slice(32, 96), slice(0, 16), slice(16, 32))
    ]
    loaders = Loaders(*parts, source="made", classes=("light", "rough"))
    history = fit_classifier(small_classifier(2), loaders, "multilabel", epochs=6, lr=1e-2)
    assert history["valid_accuracy"][-1] > 0.9  # by chance: 0.5


@pytest.fixture(scope="module")
def scenes():
    return colorlib.paint_scenes(24, 64, 1), colorlib.paint_scenes(9, 64, 2)


def test_scene_labels_are_the_kinds_among_the_object_ids(scenes):
    labels = labels_of(scenes[0].objects)
    for row, objects in zip(labels, scenes[0].objects, strict=True):
        kinds = {KINDS[i] for i in objects.unique().tolist()}
        assert [LABELS[i] for i in row.nonzero().flatten()] == [label for label in LABELS if label in kinds]
    assert labels.mean() not in (0, 1)


def test_scene_label_loaders_cut_windows_with_their_labels(scenes):
    train, held_out = scenes
    loaders = scene_label_loaders(train, held_out, crop=32, batch_size=8, seed=3)
    assert [len(part.rgb) for part in (loaders.train, loaders.valid, loaders.test)] == [24, 4, 5]
    assert torch.equal(loaders.valid.rgb, held_out.rgb[:4, :, 16:48, 16:48])
    assert torch.equal(loaders.test.labels, labels_of(held_out.objects[4:, 16:48, 16:48]))

    L, ab, labels = next(loaders.train.epoch(0))
    assert L.shape == (8, 1, 32, 32) and ab.shape == (8, 2, 32, 32) and labels.shape == (8, len(LABELS))
    rgb = colorlib.color.to_uint8(colorlib.lab_to_rgb(colorlib.join_lab(L, ab)))
    everywhere = train.rgb.unfold(2, 32, 1).unfold(3, 32, 1)  # (24, 3, 33, 33, 32, 32)
    ((_, top, left),) = (everywhere == rgb[0][:, None, None]).all(dim=5).all(dim=4).all(dim=1).nonzero().tolist()
    window = (..., slice(top, top + 32), slice(left, left + 32))  # one position per batch
    for image, row in zip(rgb, labels, strict=True):
        (scene,) = (train.rgb[window] == image).flatten(1).all(dim=1).nonzero()
        assert torch.equal(row, labels_of(train.objects[window][scene])[0])
    assert not torch.equal(next(loaders.train.epoch(1))[0], L)
    assert torch.equal(list(loaders.train.epoch(0))[2][0], next(loaders.train.epoch(0, start=2))[0])
    with pytest.raises(ValueError, match="crop is 65"):
        scene_label_loaders(train, held_out, crop=65)


# --- The command ---


def test_the_command_trains_an_encoder_that_a_resnet_starts_from(folder, tmp_path, capsys):
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

    # One file serves gray images, with its first layer summed, and RGB images. A second training starts from it.
    rgb = rgb_resnet("resnet18", weights)
    assert torch.allclose(rgb.conv1.weight.sum(1, keepdim=True), net.encoder[0].weight, atol=1e-3)
    assert torch.equal(frozen_resnet("resnet18", weights)[0][0].weight, rgb.conv1.weight)
    again = ["--model", "encoder", "--encoder", str(weights), "--lr", "0", "--out", str(tmp_path / "again")]
    assert cli.main([*common, *again]) == 0
    same = rgb_resnet("resnet18", tmp_path / "again" / "encoder.safetensors")
    assert torch.equal(same.conv1.weight, rgb.conv1.weight)

    for arguments in (["--epochs", "0"], ["--init", str(weights)]):
        assert cli.main([*common, *arguments, "--model", "encoder", "--out", str(tmp_path / "none")]) == 1
        assert "--model encoder starts from --encoder" in capsys.readouterr().err
    assert cli.main(["train", "--source", "scenes", "--model", "encoder", "--out", str(tmp_path / "none")]) == 1
    assert "no class folders" in capsys.readouterr().err
