"""Exercise checkers, widgets of chapters 01 to 05, stored experiments, and the code that the notebooks show."""

import ast
import copy
import json
import math
import warnings

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

import colorlib
from colorlib import albums, images, losses, metrics, training
from colorlib.color import lab_to_rgb, rgb_to_lab, rgb_to_luma, to_tensor
from colorlib.lessons import aging, experiments, fingerprints, scene_labels
from colorlib.lessons.checks import compare_models as check_compare
from colorlib.lessons.checks import first_photo as check_first
from colorlib.lessons.checks import lab_color as check_lab
from colorlib.lessons.checks import pix2pix as check_pix2pix
from colorlib.lessons.checks import resnet_encoder as check_resnet
from colorlib.lessons.checks import unet_autoencoder as check_unet
from colorlib.lessons.checks import your_photos as check_yours
from colorlib.lessons.uncertainty import auc
from colorlib.lessons.widgets import lab_color, one_dimension, pix2pix, resnet_encoder, unet_autoencoder
from colorlib.lessons.widgets.photo_panel import color_error_map
from colorlib.pretraining import GrayClassifier, fit_classifier, label_accuracy
from colorlib.resnet import N_FEATURES
from colorlib.scenes import KINDS

AB = {"zeros": torch.zeros(1, 2, 4, 4, dtype=torch.int8)}
NOTEBOOKS = experiments.registry.RUNS.parent
PNG = b"\x89PNG"


def cell_sources(notebook: str, kind: str) -> list[str]:
    return [c.source for c in nbformat.read(NOTEBOOKS / notebook, 4).cells if c.cell_type == kind]


def definition(notebook: str, name: str, given: dict) -> object:
    """Run the definition of `name` in a notebook, without the rest of its cell; return what it defines."""
    for source in cell_sources(notebook, "code"):
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                exec(compile(ast.Module([node], type_ignores=[]), notebook, "exec"), given)
                return given[name]
    raise AssertionError(f"{notebook} defines no {name}")


def solution(notebook: str, name: str, given: dict) -> object:
    """Run the folded solution of an exercise; return what it defines."""
    for source in cell_sources(notebook, "markdown"):
        for block in source.split("```python\n")[1:]:
            if f"def {name}(" in block:
                exec(block.split("```")[0], given)
                return given[name]
    raise AssertionError(f"{notebook} has no solution for {name}")


# --- exercises --------------------------------------------------------------------------------------------------------


def srgb_to_linear(gray):
    return torch.where(gray > 0.04045, ((gray + 0.055) / 1.055) ** 2.4, gray / 12.92)


def rotated(lab, degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    L, a, b = lab
    return torch.stack([L, c * a - s * b, s * a + c * b])


def numbered(ab, bins=23):
    i, j = (ab / 10).round().long() + 11
    return bins * i + j


def lab_curve(t):
    return torch.where(t > 0.008856, t ** (1 / 3), 7.787 * t + 16 / 116)


def count_forward(layers):
    size = 1
    for kernel, stride in layers:
        size = (size - 1) * stride + kernel
    return size


def right_size(layers):
    return count_forward(layers[::-1])


def unit(hues):
    return torch.polar(torch.ones_like(hues), hues)


def to_lab(image):
    return rgb_to_lab(to_tensor(image))


def faded(rgb, amount=1.0):
    """The values of a faded image, not yet rounded."""
    return (1 - amount) * rgb + amount * (0.30 * 255 + 0.52 * rgb)


def split_by(name_of, crops, n_test):
    """Hold out all crops of the first `n_test` names."""
    held_out = sorted({name_of(crop) for crop in crops})[:n_test]
    return [c for c in crops if name_of(c) not in held_out], [c for c in crops if name_of(c) in held_out]


def blended(old, new, share):
    return {name: (1 - share) * old[name] + share * new[name] for name in old}


def split_rates(net: nn.Module, encoder_lr: float, lr: float) -> list[dict]:
    encoder = list(net.encoder.parameters())
    rest = [p for p in net.parameters() if id(p) not in {id(q) for q in encoder}]
    return [{"params": encoder, "lr": encoder_lr}, {"params": rest, "lr": lr}]


def centered_correlation(pred, true, mean, power=0.5):
    p, t = (ab - mean(ab) for ab in (pred, true))
    return (p * t).sum() / ((p**2).sum() * (t**2).sum()) ** power


def resampled(errors, n_samples, cut=0.025):
    means = np.random.default_rng(3).choice(errors, (n_samples, len(errors))).mean(axis=1)
    return np.quantile(means, cut), np.quantile(means, 1 - cut)


EXERCISES = [
    (
        "06_compare_models.ipynb",
        check_compare.worse_than_gray,
        {},
        {
            "not worse": lambda errors, gray: (errors >= gray).float().mean(),
            "divide it": lambda errors, gray: (errors > gray).sum(),
            "one number": lambda errors, gray: float(errors.mean() > gray.mean()),
            "ratio of the mean": lambda errors, gray: errors.mean() / gray.mean(),
            "should be 0.4": lambda errors, gray: 0.7,
            "TypeError": lambda errors, gray: errors > None,
        },
    ),
    (
        "06_compare_models.ipynb",
        check_compare.correlation_inside,
        {},
        {
            "subtract means": lambda pred, true: centered_correlation(pred, true, lambda ab: 0),
            "whole set": lambda pred, true: centered_correlation(pred, true, torch.mean),
            "of each image: mean": lambda pred, true: centered_correlation(
                pred, true, lambda ab: ab.mean((0, 2, 3), keepdim=True)
            ),
            "leave axis 1 out": lambda pred, true: centered_correlation(
                pred, true, lambda ab: ab.mean((1, 2, 3), keepdim=True)
            ),
            "covariance": lambda pred, true: torch.cov(
                torch.stack([(ab - ab.mean((2, 3), keepdim=True)).flatten() for ab in (pred, true)]), correction=0
            )[0, 1],
            "should be": lambda pred, true: 0,
            "AttributeError": lambda pred, true: pred.corr(true),
        },
    ),
    (
        "06_compare_models.ipynb",
        check_compare.bootstrap_interval,
        {"np": np},
        {
            "replacement": lambda errors, n: (errors.mean(), errors.mean()),
            "lower end": lambda errors, n: resampled(errors, n)[::-1],
            "of the errors": lambda errors, n: np.quantile(errors, [0.025, 0.975]),
            "90%": lambda errors, n: resampled(errors, n, 0.05),
            "should be about": lambda errors, n: (0, 100),
            "TypeError": lambda errors, n: errors.mean(),
        },
    ),
    (
        "06_compare_models.ipynb",
        check_compare.error_on_curve,
        {"np": np},
        {
            "nearest": lambda color, errors, at: errors[int(np.abs(np.array(color) - at).argmin())],
            "second": lambda color, errors, at: np.interp(at, errors, color),
            "should be 11.5": lambda color, errors, at: 0,
            "ValueError": lambda color, errors, at: errors[color.index(at)],
        },
    ),
    (
        "06_compare_models.ipynb",
        check_compare.auc,
        {},
        {
            "counts half.": lambda score, mask: (score[mask][:, None] > score[~mask]).float().mean(),
            "not whole": lambda score, mask: (score[mask][:, None] >= score[~mask]).float().mean(),
            "other way round": lambda score, mask: 1 - auc(score, mask),
            "number of pairs": lambda score, mask: 16 * auc(score, mask),
            "the means": lambda score, mask: score[mask].mean() - score[~mask].mean(),
            "should be": lambda score, mask: 0,
            "RuntimeError": lambda score, mask: score[mask] > score[mask][:3],
        },
    ),
    (
        "00_first_photo.ipynb",
        check_first.color_error,
        {"to_lab": to_lab},
        {
            "counts L": lambda one, two: (to_lab(one) - to_lab(two)).abs().mean(),
            "cancel": lambda one, two: (to_lab(one) - to_lab(two))[1:].mean(),
            "the sum": lambda one, two: (to_lab(one) - to_lab(two))[1:].abs().sum(),
            "compares RGB": lambda one, two: np.abs(one.astype(float) - two).mean(),
            "should be": lambda one, two: 0,
            "RuntimeError": lambda one, two: to_lab(one) @ torch.zeros(3),
        },
    ),
    (
        "00_first_photo.ipynb",
        check_first.best_size,
        {},
        {
            "smallest error": lambda error_at, sizes: min(map(error_at, sizes)),
            "largest error": lambda error_at, sizes: max(sizes, key=error_at),
            "the last size": lambda error_at, sizes: [size for size in sizes if error_at(size)][-1],
            "160 has": lambda error_at, sizes: 64,
            "it should be 32": lambda error_at, sizes: 160 if 160 in sizes else 64,
            "TypeError": lambda error_at, sizes: min(sizes, error_at),
        },
    ),
    (
        "07_your_photos.ipynb",
        check_yours.fade,
        {"np": np},
        {
            "shape": lambda rgb, amount: rgb[:4],
            "uint8": lambda rgb, amount: rgb / 255,
            "swapped": lambda rgb, amount: faded(255 - rgb).round().astype(np.uint8),
            "white should": lambda rgb, amount: rgb,
            "black should": lambda rgb, amount: (rgb * 0.82).round().astype(np.uint8),
            "not only the ends": lambda rgb, amount: rgb.clip(76, 209),
            "Blend with the original": lambda rgb, amount: faded(rgb).round().astype(np.uint8),
            "round()": lambda rgb, amount: faded(rgb, amount).clip(0, 255).astype(np.uint8),
            "use clip(0, 255)": lambda rgb, amount: faded(rgb, amount).round().astype(int).astype(np.uint8),
            "ZeroDivisionError": lambda rgb, amount: 1 / 0,
        },
    ),
    (
        "07_your_photos.ipynb",
        check_yours.split_by_photo,
        {},
        {
            "both parts": lambda crops, n_test: (crops[n_test:], crops[:n_test]),
            "some are missing": lambda crops, n_test: (crops[n_test:], crops[: n_test - 1]),
            "2 photos": lambda crops, n_test: split_by(lambda name: name.rpartition("-")[0], crops, n_test - 1),
            "last hyphen": lambda crops, n_test: split_by(lambda name: name.split("-")[0], crops, n_test),
            "Cut at the last": lambda crops, n_test: split_by(lambda name: name.split("-")[0], crops, n_test // 2 or 1),
            "3 photos": lambda crops, n_test: split_by(lambda name: name.rpartition("-")[0], crops, min(n_test, 2)),
            "IndexError": lambda crops, n_test: crops[99],
        },
    ),
    (
        "07_your_photos.ipynb",
        check_yours.blend_weights,
        {},
        {
            "in place": lambda old, new, share: {name: t.copy_(new[name]) for name, t in old.items()},
            "names should": lambda old, new, share: {"w": old["w"]},
            "of the old ones": lambda old, new, share: blended(new, old, share),
            "a quarter": lambda old, new, share: {n: (old[n] + new[n]) / 2 for n in old},
            "whole number": blended,
            "floating point": lambda old, new, share: {n: t.int() for n, t in blended(old, new, share).items()},
            "of type int": lambda old, new, share: blended(old, new, share) | {"steps": 7},
            "of type list": lambda old, new, share: blended(old, new, share) | {"w": [1.0, 1.5]},
            "new one, 7": lambda old, new, share: {n: t.to(old[n].dtype) for n, t in blended(old, new, share).items()},
            "KeyError": lambda old, new, share: old["weight"],
        },
    ),
    (
        "01_lab_color.ipynb",
        check_lab.gray_to_lightness,
        {"torch": torch, "srgb_to_linear": srgb_to_linear, "f": lab_curve},
        {
            "both curves": lambda gray: 100 * gray,
            "116 f": lambda gray: 100 * srgb_to_linear(gray),
            "Lab's f to the stored": lambda gray: (
                116 * torch.where(gray > 0.008856, gray ** (1 / 3), 7.787 * gray + 16 / 116) - 16
            ),
            "0 to 1": lambda gray: rgb_to_lab(gray.expand(3, 1, 101))[0, 0] / 100,
            "straight part": lambda gray: 116 * srgb_to_linear(gray) ** (1 / 3) - 16,
            "shape": lambda gray: gray[:5],
            "should give L": lambda gray: 50 * gray,
            "ZeroDivisionError": lambda gray: 1 / 0,
        },
    ),
    (
        "01_lab_color.ipynb",
        check_lab.borrow_color,
        {"torch": torch, "colorlib": colorlib},
        {
            "swapped": lambda rgb, other: lab_color.mix_channels(other, rgb, swap=True),
            "that is Lab": lambda rgb, other: torch.cat([rgb_to_lab(rgb)[:1], rgb_to_lab(other)[1:]]),
            "Clip them": lambda rgb, other: lab_to_rgb(
                torch.cat([rgb_to_lab(rgb)[:1], rgb_to_lab(other)[1:]]), clip=False
            ),
            "only b": lambda rgb, other: lab_to_rgb(torch.cat([rgb_to_lab(rgb)[:2], rgb_to_lab(other)[2:]])),
            "channels of RGB": lambda rgb, other: torch.cat([rgb[:1], other[1:]]),
            "shape": lambda rgb, other: rgb[:1],
            "take channel 0": lambda rgb, other: rgb,
            "TypeError": lambda rgb, other: rgb_to_lab(rgb, other),
        },
    ),
    (
        "01_lab_color.ipynb",
        check_lab.turn_hue,
        {"torch": torch},
        {
            "the other way": lambda lab, degrees: rotated(lab, -degrees),
            "radians": lambda lab, degrees: rotated(lab, math.degrees(degrees)),
            "L must stay": lambda lab, degrees: lab + degrees,
            "must stay. Compute": lambda lab, degrees: torch.cat([lab[:1], lab[1:] * 0.9]),
            "should be (34.6": lambda lab, degrees: lab,
            "shape": lambda lab, degrees: lab[1:],
            "ValueError": lambda lab, degrees: rotated(lab[:, 0, 0, None], math.sqrt(-degrees)),
        },
    ),
    (
        "01_lab_color.ipynb",
        check_lab.in_gamut,
        {"torch": torch, "colorlib": colorlib},
        {
            "clip=False": lambda lab: ((lab_to_rgb(lab) >= 0) & (lab_to_rgb(lab) <= 1)).all(dim=0),
            "one answer per channel": lambda lab: lab_to_rgb(lab, clip=False) <= 1,
            "one end": lambda lab: (lab_to_rgb(lab, clip=False) < 1.001).all(dim=0),
            "one fitting": lambda lab: (lab_to_rgb(lab, clip=False) - 0.5).abs().amin(dim=0) < 0.501,
            "a bool": lambda lab: lab_to_rgb(lab, clip=False).mean(dim=0),
            "shape": lambda lab: torch.tensor(True),
            "are wrong": lambda lab: lab[1].abs() < 50,
            "RuntimeError": lambda lab: lab.view(-1, 7, 11).all(),
        },
    ),
    (
        "01_lab_color.ipynb",
        check_lab.bin_number,
        {"torch": torch},
        {
            "other way round": lambda ab: numbered(ab.flip(0)),
            "use round()": lambda ab: numbered(ab - 5),
            "below 0": lambda ab: numbered(ab) - 264,
            "not 22": lambda ab: numbered(ab, bins=22),
            "whole numbers": lambda ab: numbered(ab).float(),
            "shape": lambda ab: (ab / 10).round().long() + 11,
            "should have number": lambda ab: 0 * numbered(ab),
            "AttributeError": lambda ab: ab.rounded(),
        },
    ),
    (
        "03_unet_autoencoder.ipynb",
        check_unet.chroma_ratio,
        {"torch": torch},
        {
            "use the mask": lambda p, t, m: p.norm(dim=1).mean() / t.norm(dim=1).mean(),
            "then divide": lambda p, t, m: (p.norm(dim=1) / t.norm(dim=1))[m].mean(),
            "length of": lambda p, t, m: p.abs().sum(1)[m].mean() / t.abs().sum(1)[m].mean(),
            "upside down": lambda p, t, m: t.norm(dim=1)[m].mean() / p.norm(dim=1)[m].mean(),
            "take the means": lambda p, t, m: p.norm(dim=1)[m] / t.norm(dim=1)[m],
            "should be": lambda p, t, m: 0.5,
            "RuntimeError": lambda p, t, m: torch.zeros(2) @ torch.zeros(3),
        },
    ),
    (
        "03_unet_autoencoder.ipynb",
        check_unet.bottleneck_sees,
        {},
        {
            "comes first": lambda n: 3 * 2**n - 2,
            "step doubles": lambda n: 3 + 3 * n,
            "distance between": lambda n: 2**n,
            "Stop at the bottleneck": lambda n: 5 * 2**n,
            "6, 12 and 48": lambda n: 7,
            "TypeError": lambda n: n + "px",
        },
    ),
    (
        "03_unet_autoencoder.ipynb",
        check_unet.weighted_l1,
        {},
        {
            "sum of the weights. Otherwise": lambda p, t, w: ((p - t).abs().mean(1) * w).mean(),
            "that is a sum": lambda p, t, w: ((p - t).abs().mean(1) * w).sum(),
            "not their sum": lambda p, t, w: ((p - t).abs().sum(1) * w).sum() / w.sum(),
            "wrong axis": lambda p, t, w: ((p - t).abs() * w).sum() / w.sum(),
            "not used": lambda p, t, w: (p - t).abs().mean(),
            "one number": lambda p, t, w: (p - t).abs().mean(1) * w,
            "should be": lambda p, t, w: w.mean(),
            "RuntimeError": lambda p, t, w: p @ torch.zeros(3, 3),
        },
    ),
    (
        "04_pix2pix.ipynb",
        check_pix2pix.patch_size,
        {},
        {
            "go back from the last": count_forward,
            "one less": lambda layers: right_size(layers) - 1,
            "it should be 16": lambda layers: 5,
            "TypeError": lambda layers: layers + 1,
        },
    ),
    (
        "04_pix2pix.ipynb",
        check_pix2pix.best_discriminator,
        {"torch": torch},
        {
            "ratio of the densities": lambda p, q: p / q,
            "probability of “fake”": lambda p, q: q / (p + q),
            "that is the logit": lambda p, q: (p / q).log(),
            "difference": lambda p, q: p - q,
            "log(p / q)": lambda p, q: torch.sigmoid(p - q),
            "four of five": lambda p, q: 0.5,
            "TypeError": lambda p, q: p / "q",
        },
    ),
    (
        "04_pix2pix.ipynb",
        check_pix2pix.discriminator_loss,
        {"torch": torch},
        {
            "weight ½": lambda real, fake: losses.bce(real, True) + losses.bce(fake, False),
            "swapped": lambda real, fake: (losses.bce(real, False) + losses.bce(fake, True)) / 2,
            "log(1 − D)": lambda real, fake: (losses.bce(real, True) + losses.bce(fake, True)) / 2,
            "not the sum": lambda real, fake: 9 * (losses.bce(real, True) + losses.bce(fake, False)),
            "sign is missing": lambda real, fake: -(losses.bce(real, True) + losses.bce(fake, False)) / 2,
            "logarithm is missing": lambda real, fake: (1 - real.sigmoid().mean() + fake.sigmoid().mean()) / 2,
            "it should be": lambda real, fake: 0.0,
            "ValueError": lambda real, fake: real,
        },
    ),
    (
        "04_pix2pix.ipynb",
        check_pix2pix.diversity,
        {"torch": torch},
        {
            "average unit vectors": lambda hues: hues.std(dim=0).mean(),
            "subtract it from 1": lambda hues: unit(hues).mean(dim=0).abs().mean(),
            "dim=0": lambda hues: 1 - unit(hues).mean(dim=1).abs().mean(),
            "mix all objects": lambda hues: 1 - unit(hues).mean().abs(),
            "return the mean": lambda hues: 1 - unit(hues).mean(dim=0).abs(),
            "return one number": lambda hues: hues,
            "it should be": lambda hues: 0.5,
            "RuntimeError": lambda hues: hues @ torch.zeros(7),
        },
    ),
    (
        "05_resnet_encoder.ipynb",
        check_resnet.one_channel,
        {},
        {
            "a third": lambda w: w.mean(dim=1, keepdim=True),
            "channel axis": lambda w: w.sum(dim=1),
            "weights of one color": lambda w: w[:, :1],
            "shape should be": lambda w: w,
            "must equal": lambda w: 2 * w.sum(dim=1, keepdim=True),
            "AttributeError": lambda w: w.no_such_thing,
        },
    ),
    (
        "05_resnet_encoder.ipynb",
        check_resnet.residual,
        {"torch": torch},
        {
            "identity path is missing": lambda x, f: torch.relu(f(x)),
            "can be negative": lambda x, f: x + f(x),
            "after the sum": lambda x, f: x + torch.relu(f(x)),
            "shape should be": lambda x, f: f(x)[0],
            "ReLU(x + f(x))": lambda x, f: x,
            "TypeError": lambda x, f: f(),
        },
    ),
    (
        "05_resnet_encoder.ipynb",
        check_resnet.two_groups,
        {},
        {
            "in two groups": lambda net, slow, fast: [
                {"params": list(net.encoder.parameters()), "lr": slow},
                {"params": list(net.parameters()), "lr": fast},
            ],
            "in no group": lambda net, slow, fast: [
                {"params": list(net.encoder.parameters()), "lr": slow},
                {"params": list(net.head.parameters()), "lr": fast},
            ],
            "exactly the encoder's": lambda net, slow, fast: [{"params": list(net.parameters()), "lr": fast}],
            "swapped": lambda net, slow, fast: split_rates(net, fast, slow),
            "gets `lr`": lambda net, slow, fast: split_rates(net, slow, slow / 2),
            "AttributeError": lambda net, slow, fast: net.body,
        },
    ),
    (
        "05_resnet_encoder.ipynb",
        check_resnet.silent_depth,
        {},
        {
            "pass `False`": lambda left: next(d for d in range(1, 99) if left(d, True) < 1e-6),
            "before or after": lambda left: next(d for d in range(1, 99) if left(d, False) < 1e-6) - 1,
            "should be 9": lambda left: 3,
            "TypeError": lambda left: left(1),
        },
    ),
]


@pytest.mark.parametrize(
    ("notebook", "checker", "given", "mistakes"), EXERCISES, ids=lambda x: getattr(x, "__name__", "")
)
def test_a_checker_tells_stub_solution_and_typical_mistakes_apart(notebook, checker, given, mistakes):
    name = checker.__name__
    stub = definition(notebook, name, dict(given))
    assert repr(checker(stub)).startswith("not attempted yet")
    assert checker(solution(notebook, name, dict(given))).correct
    for hint, attempt in mistakes.items():
        answer = checker(attempt)
        assert hint in answer and not answer.correct, f"{hint!r}: {answer}"


def test_the_answer_of_chapter_05():
    assert repr(check_resnet.photos_needed(None)).startswith("not attempted")
    assert check_resnet.photos_needed("more than 16000").correct and check_resnet.photos_needed(50_000).correct
    assert "other curve" in check_resnet.photos_needed(3200)


# --- widgets ----------------------------------------------------------------------------------------------------------


def redraws(panel, **values) -> bool:
    """Move the named controls of a panel; return whether it shows another picture afterward."""
    before = panel.picture.value
    for name, value in values.items():
        panel.controls[name].value = value
    return bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before


def test_lab_explorer():
    panel = lab_color.lab_explorer()
    first = panel.picture.value
    assert bytes(first).startswith(PNG)
    panel.controls["L"].value = 20
    assert panel.picture.value != first

    def right_axis(*point):
        return lab_color.lab_corner(*point).axes[1]

    assert "inside sRGB" in right_axis(60, 40, 30).get_xlabel()
    assert "outside sRGB" in right_axis(60, 100, 100).get_xlabel()
    assert "128, 128, 128" in right_axis(53.585, 0, 0).get_title()


def test_light_dimmer():
    """Half the light leaves the cube root of it of the chroma, and the hue; R, G and B fall alike for a gray."""
    rgb = torch.tensor([0.8, 0.6, 0.5]).view(3, 1, 1).expand(3, 4, 6).contiguous()
    left = lab_color.what_is_left(rgb, 0.5)
    assert left["chroma"] == pytest.approx(0.5 ** (1 / 3), abs=1e-3)
    assert left["hue"] < 0.05
    assert left["L"] == pytest.approx(
        ((rgb_to_lab(rgb)[0, 0, 0] + 16) * 0.5 ** (1 / 3) - 16) / rgb_to_lab(rgb)[0, 0, 0]
    )
    assert all(
        value == pytest.approx(1, abs=1e-4) for name, value in lab_color.what_is_left(rgb, 1).items() if name != "hue"
    )
    assert lab_color.dim(rgb, 100).max() == 1
    assert "hues turn by 0.0°" in lab_color.light_balance(rgb, 0.5).axes[2].get_title()
    assert redraws(lab_color.light_dimmer(rgb), light=0.05)


def test_channel_mixer():
    scenes = colorlib.paint_scenes(2, 48, 0).rgb.float() / 255
    rgb, other = scenes
    mix = lab_color.mix_channels
    assert torch.allclose(mix(rgb, other), rgb, atol=1e-3)
    assert rgb_to_lab(mix(rgb, other, chroma=0))[1:].abs().max() < 0.1
    pale, pale_other = (
        mix(image, image, chroma=0.2) for image in scenes
    )  # far inside the gamut, so nothing is clipped
    mixed = rgb_to_lab(mix(pale, pale_other, swap=True))
    assert torch.allclose(mixed[0], rgb_to_lab(pale)[0], atol=0.1)
    assert torch.allclose(mixed[1:], rgb_to_lab(pale_other)[1:], atol=0.1)
    for name, changed, kept in (("blur_light", [0], [1, 2]), ("blur_color", [1, 2], [0])):
        blurred, sharp = rgb_to_lab(mix(pale, pale, **{name: 3.0})), rgb_to_lab(pale)
        assert (blurred - sharp)[kept].abs().max() < 0.1 < blurred[changed].std() < sharp[changed].std()
    panel = lab_color.channel_mixer(rgb, other)
    assert redraws(panel, chroma=2.0) and redraws(panel, swap=True)
    assert redraws(panel, blur_light=2.0) and redraws(panel, blur_color=8.0)


def test_hue_turner():
    """The gray by L stays still, also where a color had to be made paler; the gray by luma moves."""
    rgb = torch.tensor([[0.9, 0.6], [0.2, 0.5], [0.1, 0.45]]).view(3, 1, 2)
    new, outside = lab_color.turned(rgb, 180)
    assert outside.tolist() == [[True, False]]
    assert torch.allclose(rgb_to_lab(new)[0], rgb_to_lab(rgb)[0], atol=0.1)
    expected = -rgb_to_lab(rgb)[1:, 0, 1]
    assert torch.allclose(rgb_to_lab(new)[1:, 0, 1], expected, atol=0.1)
    assert torch.allclose(lab_color.turned(rgb, 0)[0], rgb, atol=1e-3)
    moved = rgb_to_lab(rgb_to_luma(new).expand(3, -1, -1))[0] - rgb_to_lab(rgb_to_luma(rgb).expand(3, -1, -1))[0]
    titles = [ax.get_title() for ax in lab_color.same_gray(rgb, 180).axes]
    assert titles == [
        "turned 180°, 50% made paler", "gray by L: moved by 0.0", f"gray by luma: moved by {moved.abs().mean():.1f}",
    ]  # fmt: skip
    assert redraws(lab_color.hue_turner(rgb), turn=-60)


def test_gray_explorer():
    pixels = torch.tensor([[50.0, 50.4, 49.5, 50, 70], [0, 1, 31, 29, 0], [0, -4, -22, -18, 0]])
    counts = lab_color.bins_at(pixels, 50)
    middle = lab_color.BINS // 2
    assert counts.sum() == 4 and counts[middle, middle] == 2 and counts[middle - 2, middle + 3] == 2
    assert "2 colors" in lab_color.colors_of_one_gray(pixels, 50).axes[0].get_title()
    assert "as varied as 2 equally" in lab_color.colors_of_one_gray(pixels, 50).axes[0].get_title()
    assert "0 colors" in lab_color.colors_of_one_gray(pixels, 10).axes[0].get_title()
    assert redraws(lab_color.gray_explorer(pixels), L=70)


def test_no_guess_on_a_fine_grid_has_a_smaller_expected_error_than_the_best_guess():
    axis = torch.linspace(-60, 60, 121)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    for n_hues in (2, 3, 8):
        for p_first in (0.1, 1 / n_hues, 0.45, 0.6):
            colors, p = unet_autoencoder.possible_colors(n_hues, p_first)
            assert p.sum().item() == pytest.approx(1)
            for loss in ("l1", "l2"):
                best = unet_autoencoder.best_guess(colors, p, loss)
                smallest = unet_autoencoder.expected_error(grid, colors, p, loss).min().item()
                assert unet_autoencoder.expected_error(best, colors, p, loss).item() <= smallest + 1e-3


def test_guess_explorer():
    """With L1 the best guess is gray while red is unlikely, and fully red above one half. With L2 it changes slowly."""

    def chroma(p_first, loss):
        return unet_autoencoder.best_guess(*unet_autoencoder.possible_colors(8, p_first), loss).norm().item()

    assert chroma(1 / 8, "l1") < 1e-3 and chroma(1 / 8, "l2") < 1e-3
    assert chroma(0.55, "l1") == pytest.approx(unet_autoencoder.CHROMA, abs=0.01)
    assert 5 < chroma(0.4, "l2") < chroma(0.6, "l2") < 30
    panel = unet_autoencoder.guess_explorer()
    first = panel.picture.value
    panel.controls["loss"].value = "l2"
    panel.controls["p_first"].value = 0.6
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != first


def test_patch_explorer():
    torch.manual_seed(0)
    discriminator = colorlib.PatchDiscriminator(4)
    L, ab = torch.rand(2, 1, 64, 64) * 2 - 1, torch.rand(2, 2, 64, 64) - 0.5
    turned = pix2pix.forge(ab, 0.5, 90)
    assert torch.allclose(turned, 0.5 * torch.stack([-ab[:, 1], ab[:, 0]], dim=1), atol=1e-6)
    expected = discriminator.eval()(L[:1], ab[:1]).sigmoid()
    discriminator.train()
    figure = pix2pix.patch_map(discriminator, L[0], ab[0], 1.0, 0)
    assert f"{expected.mean():.2f}" in figure.axes[1].get_title()
    both = pix2pix.patch_maps(discriminator, L[0], {"gray": 0 * ab[0], "true": ab[0]})
    assert [both.axes[i].get_title() for i in (0, 2)] == ["gray", "true"]
    assert f"{expected.mean():.2f}" in both.axes[3].get_title()
    panel = pix2pix.patch_explorer(discriminator, L, ab)
    before = panel.picture.value
    for name, value in (("image", 1), ("saturation", 0.5), ("turn", 120)):
        panel.controls[name].value = value
        assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before
        before = panel.picture.value
    assert discriminator.training


def test_feature_explorer():
    torch.manual_seed(0)
    net = colorlib.resnet_unet("resnet18", None)
    L = torch.rand(2, 1, 64, 64) * 2 - 1
    for stage, side in zip(resnet_encoder.STAGES, (32, 16, 8, 4, 2), strict=True):
        assert resnet_encoder.features(net, L[0], stage).shape[1:] == (side, side)
    panel = resnet_encoder.feature_explorer({"one": net}, L)
    before = panel.picture.value
    panel.controls["stage"].value = "1/16"
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before


# --- scene labels -----------------------------------------------------------------------------------------------------


def test_scene_labels_name_the_kinds_in_a_scene():
    objects = colorlib.paint_scenes(30, 64, 3).objects
    labels = scene_labels.labels_of(objects)
    assert labels.shape == (30, len(scene_labels.LABELS))
    for ids, row in zip(objects, labels.tolist(), strict=True):
        kinds = {KINDS[i] for i in ids.unique().tolist()}
        assert {name for name, there in zip(scene_labels.LABELS, row) if there} == kinds & set(scene_labels.LABELS)
    assert labels.mean(dim=0).min() > 0.02, "a label that hardly ever occurs can't be learned"


def test_crops_larger_than_the_scenes_are_refused():
    scenes = colorlib.paint_scenes(4, 32, 0)
    with pytest.raises(ValueError, match="crop is 64.*32"):
        scene_labels.scene_label_loaders(scenes, scenes, crop=64)


@pytest.mark.slow
def test_a_scene_classifier_learns_more_than_label_frequencies():
    torch.manual_seed(0)
    known, held_out = colorlib.paint_scenes(400, 32, 0), colorlib.paint_scenes(200, 32, 1)
    loaders = scene_labels.scene_label_loaders(known, held_out, crop=32, batch_size=16)
    encoder = colorlib.resnet_unet("resnet18", None).encoder
    classifier = GrayClassifier(encoder, N_FEATURES, len(scene_labels.LABELS))
    fit_classifier(classifier, loaders, loss="multilabel", epochs=3)
    frequent = scene_labels.labels_of(known.objects).mean(dim=0) > 0.5
    baseline = ((loaders.test.labels > 0.5) == frequent).float().mean().item()
    assert label_accuracy(classifier, loaders.test) > baseline + 0.03


# --- experiments ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default::colorlib.lessons.experiments.StaleRun")
@pytest.mark.parametrize("name", sorted(experiments.EXPERIMENTS))
def test_a_stored_run_supports_the_claim_of_its_chapter(name):
    record, predicted = experiments.stored(name)
    assert experiments.EXPERIMENTS[name].holds(record["table"])
    assert all(ab.dtype == torch.int8 for ab in predicted.values())
    if changed := experiments.stale(name):
        message = f"the stored run {name} is out of date ({', '.join(changed)}); run again: {record['command']}"
        warnings.warn(message, experiments.StaleRun, stacklevel=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(experiments.EXPERIMENTS))
def test_a_tiny_run_supports_the_same_claim(name):
    chosen = experiments.EXPERIMENTS[name]
    table = chosen.run(**{**chosen.settings, **chosen.tiny})["table"]
    assert chosen.holds(table), json.dumps(table, indent=1)


CODE = "@cached\ndef f(x: int = 0) -> str:\n    return f'{x!r:>4}' if x else None\n"


def test_hashes_ignore_prose_and_formatting_but_nothing_else():
    def hash_of(source):
        return fingerprints._hash(ast.parse(source))

    prose = '"""A module."""\n' + CODE.replace("    return", '    """Return."""\n\n    # why\n    return')
    assert hash_of(prose) == hash_of(CODE) != hash_of(CODE.replace("else None", "else 0"))
    assert hash_of(CODE) == "699871f6465a", "hashes must be the same for every version of Python"


def test_code_of_an_experiment_is_its_function_and_what_it_draws_on():
    code = {name: set(fingerprints.code_of(chosen.run)) for name, chosen in experiments.EXPERIMENTS.items()}
    used_by_all = {"batches", "color", "data", "loop", "losses", "metrics", "scenes", "training", "unet"}
    assert all({f"{name}()"} | used_by_all <= modules for name, modules in code.items())
    assert code["gan"] - code["skips"] == {"gan()", "patchgan", "resnet", "comparison", "lessons.games"}
    assert {"pretraining", "lessons.scene_labels"} <= code["pretraining"] - code["gan"]
    assert not fingerprints.LEFT_OUT & set().union(*code.values())


def test_missing_runs_are_explained(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'skip'.*skips"):
        experiments.stored("skip")
    monkeypatch.setattr(experiments.registry, "RUNS", tmp_path)
    with pytest.raises(FileNotFoundError, match="make experiments ARGS=skips"):
        experiments.stored("skips")
    monkeypatch.setattr(experiments.registry, "RUNS", tmp_path / "as in an installed wheel")
    for read in (experiments.stored, experiments.stored_training, experiments.run_and_store):
        with pytest.raises(FileNotFoundError, match="come with the notebooks"):
            read("skips")


def test_an_experiment_is_stored_and_run_again_when_code_or_settings_change(tmp_path, monkeypatch, capsys):
    def little(x) -> dict:
        return {"table": {"mean": metrics.ab_mae(torch.full((1, 2, 4, 4), x), torch.zeros(1, 2, 4, 4))}, "ab": AB}

    def check():
        experiments.main(["little", "--check"])
        return capsys.readouterr().out.strip()

    def register(x):
        chosen = experiments.Experiment(little, {"x": x}, {}, lambda table: True)
        monkeypatch.setitem(experiments.EXPERIMENTS, "little", chosen)

    monkeypatch.setattr(experiments.registry, "RUNS", tmp_path)
    register(x=0.5)
    assert check() == "little: no stored run"
    experiments.main(["little"])
    record, predicted = experiments.stored("little")
    assert record["table"] == {"mean": 55.0} and record["code"].keys() == {"little()", "metrics", "color"}
    assert torch.equal(predicted["zeros"], AB["zeros"])
    assert capsys.readouterr() and check() == "little: current"
    experiments.main(["little", "--stale"])
    assert not capsys.readouterr().out, "nothing to run"

    register(x=0.25)
    changed = tmp_path / "metrics.py"
    changed.write_text(fingerprints.MODULES["metrics"].read_text() + "\nHUE_BINS = 9\n")
    monkeypatch.setitem(fingerprints.MODULES, "metrics", changed)
    assert check() == "little: metrics, settings"
    experiments.main(["little", "--stale"])
    assert experiments.stored("little")[0]["table"] == {"mean": 27.5}


@pytest.mark.parametrize("name", ["photos_resnet"])
def test_the_scores_of_a_stored_training_are_those_of_its_stored_ab(name):
    """Only for the photos that libraries ship: the others can't be committed."""
    record, predicted = experiments.stored_training(name)
    assert any("colorlib train --source photos" in command for command in record["commands"])
    shipped = experiments.library_photos()
    _, ab = shipped.first(7)
    assert predicted.keys() == record["table"].keys()
    for label, packed in predicted.items():
        ratio = (experiments.unpack_ab(packed) - ab).abs().mean() / ab.abs().mean()
        assert ratio == pytest.approx(record["table"][label]["library: ab MAE / gray"], abs=0.01)


def test_packed_ab_is_within_half_a_lab_unit():
    ab = torch.rand(2, 2, 4, 4) * 1.8 - 0.9
    assert (experiments.unpack_ab(experiments.pack_ab(ab)) - ab).abs().max() * 110 <= 0.501


# --- the code that notebooks show is the code of the package ----------------------------------------------------------


def test_chapter_00_colors_by_hand_as_the_package_does():
    """Same network, same steps: the colors differ only because the package follows edges."""
    torch.manual_seed(0)
    colorizer = colorlib.Colorizer(colorlib.UNet(base_channels=8, n_down=2), render_size=64, device="cpu")
    given = {"np": np, "torch": torch, "F": torch.nn.functional, "colorlib": colorlib, "color": colorlib.color}
    by_hand = definition("00_first_photo.ipynb", "colorize_by_hand", given)
    gray = aging.to_luma(colorlib.paint_scenes(1, 96, 3).rgb[0, :, :64].permute(1, 2, 0).numpy())
    ours, packaged = by_hand(colorizer.generator, gray, 64), colorizer.colorize(gray)
    assert color_error_map(ours, packaged).mean() < 0.1 * color_error_map(gray, packaged).mean()


def test_chapter_01_builds_rgb_to_lab():
    given = {"torch": torch, "color": colorlib.color}
    for name in ("srgb_to_linear", "f"):
        definition("01_lab_color.ipynb", name, given)
    by_hand = definition("01_lab_color.ipynb", "rgb_to_lab", given)
    rgb = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(by_hand(rgb).float(), rgb_to_lab(rgb), atol=1e-3)


def test_chapter_01_builds_lab_to_rgb_and_dims_the_light():
    given = {"torch": torch, "color": colorlib.color}
    for name in ("srgb_to_linear", "linear_to_srgb"):
        definition("01_lab_color.ipynb", name, given)
    by_hand = definition("01_lab_color.ipynb", "lab_to_rgb", given)
    rgb = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0)) ** 3
    lab = rgb_to_lab(rgb) * torch.tensor([1.0, 1.5, 1.5]).view(3, 1, 1)  # some of them outside sRGB
    assert torch.allclose(by_hand(lab).float(), lab_to_rgb(lab, clip=False), atol=1e-4)
    dim = definition("01_lab_color.ipynb", "dim", given)
    assert torch.allclose(dim(rgb, 0.3), lab_color.dim(rgb, 0.3), atol=1e-6)


@pytest.mark.parametrize("skips", [True, False])
def test_chapter_03_builds_unet(skips):
    given = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    for name in ("Down", "Up"):
        definition("03_unet_autoencoder.ipynb", name, given)
    torch.manual_seed(0)
    by_hand = definition("03_unet_autoencoder.ipynb", "UNet", given)(skips=skips)
    packaged = colorlib.UNet(skips=skips)
    packaged.load_state_dict(by_hand.state_dict())
    L = torch.rand(2, 1, 64, 64)
    assert torch.equal(by_hand(L), packaged(L))


def test_chapter_03_builds_reconstruction_step():
    by_hand = definition("03_unet_autoencoder.ipynb", "reconstruction_step", {})
    weights, seen = [], []
    L, ab = torch.rand(2, 1, 8, 8), torch.rand(2, 2, 8, 8)
    for step in (by_hand, training.reconstruction_step):
        torch.manual_seed(0)
        net = torch.nn.Conv2d(1, 2, 3, padding=1)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
        seen.append([step(net, optimizer, L, ab, torch.nn.functional.l1_loss).item() for _ in range(3)])
        weights.append(net.weight.detach())
    assert seen[0] == seen[1] and torch.equal(*weights)


def test_chapter_03_measures_influence_and_texture():
    influence = definition("03_unet_autoencoder.ipynb", "influence", {"torch": torch})
    torch.manual_seed(0)
    net, L = colorlib.UNet(4, 2), torch.rand(2, 1, 32, 32)
    assert torch.allclose(influence(net, L, 9, 20), colorlib.anatomy.influence(net, L, 9, 20))
    texture_error = definition("03_unet_autoencoder.ipynb", "texture_error", {})
    ab, left = torch.arange(6.0).expand(1, 2, 4, 6) / 110, (torch.arange(6) < 3).expand(1, 4, 6)
    assert texture_error(ab, ab, left) == 0 and texture_error(0 * ab, ab, left) == pytest.approx(1)
    assert texture_error(1.5 * ab + 0.1, ab, left) == pytest.approx(0.5)


def test_chapter_03_computes_the_cost_of_a_vivid_guess():
    """Rotating the hues keeps the chroma, and the L1 error is about 4/π of that of gray."""
    turn = definition("03_unet_autoencoder.ipynb", "vivid_guess", {"torch": torch})
    angle = torch.rand(4000, generator=torch.Generator().manual_seed(1)) * math.tau
    ab = torch.stack([angle.cos(), angle.sin()], dim=1)[:, :, None, None] / 3
    assert torch.allclose(turn(ab).norm(dim=1), ab.norm(dim=1), atol=1e-5)
    ratio = metrics.ab_mae(turn(ab), ab) / metrics.ab_mae(torch.zeros_like(ab), ab)
    assert ratio == pytest.approx(4 / math.pi, abs=0.05)


def test_chapter_04_builds_discriminator_and_steps():
    given = {"torch": torch, "nn": torch.nn}
    torch.manual_seed(0)
    by_hand = definition("04_pix2pix.ipynb", "PatchDiscriminator", given)()
    packaged = colorlib.PatchDiscriminator()
    packaged.load_state_dict(by_hand.state_dict())
    L, ab, net = torch.rand(2, 1, 64, 64), torch.rand(2, 2, 64, 64), torch.nn.Conv2d(1, 2, 3, padding=1)
    assert torch.equal(by_hand(L, ab), packaged(L, ab))

    for name in ("discriminator_step", "generator_step"):
        definition("04_pix2pix.ipynb", name, given)
    results = []
    for discriminator, steps in ((by_hand, given), (packaged, vars(training))):
        torch.manual_seed(1)
        net.reset_parameters()
        adam_g, adam_d = (torch.optim.Adam(part.parameters(), 1e-3) for part in (net, discriminator))
        batch = L, ab, net(L)
        row = steps["discriminator_step"](discriminator, adam_d, *batch, losses.bce)
        row |= steps["generator_step"](discriminator, adam_g, *batch, losses.bce, losses.RECONSTRUCTION["l1"], 20)
        results.append(({k: v.item() for k, v in row.items()}, [p.detach().clone() for p in net.parameters()]))
    assert results[0][0] == pytest.approx(results[1][0])
    assert all(torch.allclose(a, b) for a, b in zip(results[0][1], results[1][1]))


def test_chapter_04_builds_the_game_on_one_dimension():
    given = {"torch": torch, "losses": losses}
    by_hand, packaged = definition("04_pix2pix.ipynb", "ShiftGame", given)(), one_dimension.ShiftGame()
    for _ in range(40):
        by_hand.step(lr_d=1.0)
        packaged.step(lr_d=1.0)
    assert by_hand.rows == packaged.rows and torch.equal(by_hand.weights, packaged.weights)


def test_chapter_07_colors_a_folder_and_goes_on_after_a_failure(tmp_path):
    from tqdm import tqdm

    colorizer = colorlib.Colorizer(colorlib.UNet(base_channels=8, n_down=2), render_size=64, device="cpu")
    given = {"colorlib": colorlib, "albums": albums, "tqdm": tqdm}
    color_folder = definition("07_your_photos.ipynb", "color_folder", given)
    photo = colorlib.paint_scenes(1, 64, 3).rgb[0].permute(1, 2, 0).numpy()
    for name in ("scan.jpg", "scan.tif", "inner/b.png"):
        images.save_image(photo, tmp_path / "in" / name)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    images.save_image(np.zeros((1, 65_501, 3), np.uint8), tmp_path / "panorama.png")
    (tmp_path / "panorama.png").rename(tmp_path / "in" / "panorama.jpg")  # too wide for a result in this format
    for done, n_failed in ((3, 2), (0, 5)):  # the second time, all results exist, and none is replaced
        count, failed = color_folder(colorizer, tmp_path / "in", tmp_path / "out", saturation=0.0)
        assert (count, len(failed)) == (done, n_failed)
        assert "broken.jpg: it is not an image that Pillow can read." in failed
    results = [path.relative_to(tmp_path / "out").as_posix() for path in images.find_images(tmp_path / "out")]
    assert results == ["inner/b.png", "scan.jpg", "scan.tif"]
    assert np.ptp(colorlib.read_image(tmp_path / "out" / "inner" / "b.png").astype(int), axis=2).max() < 3


def test_chapter_07_blends_networks_without_changing_them():
    before, after = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    after.weight.data.fill_(3.0)
    blend = definition("07_your_photos.ipynb", "blend", {"copy": copy, "torch": torch})
    assert blend(before, after, 0.25).weight.tolist() == [1.5, 1.5] and before.weight.tolist() == [1.0, 1.0]
