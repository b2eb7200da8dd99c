"""The lessons ring: checkers on stub, solution and slips; widgets' functions; experiments and their stored results."""

import ast
import json
import math

import nbformat
import numpy as np
import pytest
import torch

import colorlib
from colorlib import metrics
from colorlib.color import rgb_to_lab
from colorlib.lessons import experiments, tagger
from colorlib.lessons.checks import first_photo as check_first
from colorlib.lessons.checks import lab_color as check_lab
from colorlib.lessons.checks import pix2pix as check_pix2pix
from colorlib.lessons.checks import resnet_encoder as check_resnet
from colorlib.lessons.checks import unet_autoencoder as check_unet
from colorlib.lessons.checks import your_photos as check_yours
from colorlib.lessons.widgets import lab_color, pix2pix, resnet_encoder, unet_autoencoder
from colorlib.patchgan import PatchDiscriminator
from colorlib.scenes import KINDS

NOTEBOOKS = experiments.RUNS.parent
PNG = b"\x89PNG"


def cell_sources(notebook: str, kind: str) -> list[str]:
    return [c.source for c in nbformat.read(NOTEBOOKS / notebook, 4).cells if c.cell_type == kind]


def definition(notebook: str, name: str, given: dict) -> object:
    """Run the definition of `name` that a notebook shows, and nothing else of its cell; return what it defines."""
    for source in cell_sources(notebook, "code"):
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                exec(compile(ast.Module([node], type_ignores=[]), notebook, "exec"), given)
                return given[name]
    raise AssertionError(f"{notebook} defines no {name}")


def solution(notebook: str, name: str, given: dict) -> object:
    """Run the folded solution of an exercise, and return what it defines."""
    for source in cell_sources(notebook, "markdown"):
        for block in source.split("```python\n")[1:]:
            if f"def {name}(" in block:
                exec(block.split("```")[0], given)
                return given[name]
    raise AssertionError(f"{notebook} has no solution for {name}")


# --- exercises --------------------------------------------------------------------------------------------------------


def srgb_to_linear(gray):
    return torch.where(gray > 0.04045, ((gray + 0.055) / 1.055) ** 2.4, gray / 12.92)


def count_forward(layers):
    size = 1
    for kernel, stride in layers:
        size = (size - 1) * stride + kernel
    return size


def right_size(layers):
    return count_forward(layers[::-1])


def to_lab(picture):
    return rgb_to_lab(torch.from_numpy(np.array(picture)).permute(2, 0, 1))


def faded(fresh):
    return ((0.30 + 0.52 * fresh) * 255).round().astype(np.uint8)


def all_but(kept, crops, n_test):
    """Split crops: `kept` names stay in training."""
    return [name for name in crops if kept(name)], [name for name in crops if not kept(name)]


EXERCISES = [
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
            "that is an error": lambda error_at, sizes: min(map(error_at, sizes)),
            "the last size": lambda error_at, sizes: [size for size in sizes if error_at(size)][-1],
            "size 96": lambda error_at, sizes: 32,
            "it should be 32": lambda error_at, sizes: 96 if 96 in sizes else 64,
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
            "changed places": lambda rgb, amount: faded(1 - rgb / 255),
            "white should": lambda rgb, amount: rgb,
            "black should": lambda rgb, amount: (rgb * 0.82).round().astype(np.uint8),
            "amount 0 ": lambda rgb, amount: faded(rgb / 255),
            "ZeroDivisionError": lambda rgb, amount: 1 / 0,
        },
    ),
    (
        "07_your_photos.ipynb",
        check_yours.split_by_photo,
        {},
        {
            "both sides": lambda crops, n_test: (crops[n_test:], crops[:n_test]),
            "some are lost": lambda crops, n_test: (crops[n_test:], crops[: n_test - 1]),
            "2 photos": lambda crops, n_test: all_but(lambda name: not name.startswith("cat"), crops, n_test),
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
            "of the old ones": lambda old, new, share: {n: share * old[n] + (1 - share) * new[n] for n in old},
            "a quarter": lambda old, new, share: {n: (old[n] + new[n]) / 2 for n in old},
            "whole number": lambda old, new, share: {n: (1 - share) * old[n] + share * new[n] for n in old},
            "KeyError": lambda old, new, share: old["weight"],
        },
    ),
    (
        "01_lab_color.ipynb",
        check_lab.gray_to_lightness,
        {"torch": torch, "srgb_to_linear": srgb_to_linear},
        {
            "both curves": lambda gray: 100 * gray,
            "116 f": lambda gray: 100 * srgb_to_linear(gray),
            "straight part": lambda gray: 116 * srgb_to_linear(gray) ** (1 / 3) - 16,
            "shape": lambda gray: gray[:5],
            "should give L": lambda gray: 50 * gray,
            "ZeroDivisionError": lambda gray: 1 / 0,
        },
    ),
    (
        "03_unet_autoencoder.ipynb",
        check_unet.chroma_ratio,
        {"torch": torch},
        {
            "use the mask": lambda p, t, m: p.norm(dim=1).mean() / t.norm(dim=1).mean(),
            "divide": lambda p, t, m: (p.norm(dim=1) / t.norm(dim=1))[m].mean(),
            "length of": lambda p, t, m: p.abs().sum(1)[m].mean() / t.abs().sum(1)[m].mean(),
            "upside down": lambda p, t, m: t.norm(dim=1)[m].mean() / p.norm(dim=1)[m].mean(),
            "should be": lambda p, t, m: 0.5,
            "RuntimeError": lambda p, t, m: torch.zeros(2) @ torch.zeros(3),
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
        "05_resnet_encoder.ipynb",
        check_resnet.one_channel,
        {},
        {
            "a third": lambda w: w.mean(dim=1, keepdim=True),
            "channel axis": lambda w: w.sum(dim=1),
            "one color": lambda w: w[:, :1],
            "shape should be": lambda w: w,
            "same answer": lambda w: 2 * w.sum(dim=1, keepdim=True),
            "AttributeError": lambda w: w.no_such_thing,
        },
    ),
]


@pytest.mark.parametrize(("notebook", "checker", "given", "slips"), EXERCISES, ids=lambda x: getattr(x, "__name__", ""))
def test_checkers_know_stub_solution_and_slips(notebook, checker, given, slips):
    name = checker.__name__
    stub = definition(notebook, name, dict(given))
    assert repr(checker(stub)).startswith("not attempted yet")
    assert checker(solution(notebook, name, dict(given))).correct
    for hint, attempt in slips.items():
        answer = checker(attempt)
        assert hint in answer and not answer.correct, f"{hint!r}: {answer}"


# --- widgets ----------------------------------------------------------------------------------------------------------


def test_the_lab_explorer_draws_what_its_sliders_say():
    panel = lab_color.lab_explorer()
    first = panel.picture.value
    assert bytes(first).startswith(PNG)
    panel.controls["L"].value = 20
    assert panel.picture.value != first

    def right_axis(*point):
        return lab_color.lab_corner(*point).axes[1]

    assert "a screen can show it" in right_axis(60, 40, 30).get_xlabel()
    assert "outside sRGB" in right_axis(60, 100, 100).get_xlabel()
    assert "128, 128, 128" in right_axis(53.585, 0, 0).get_title()


def test_the_best_guess_is_the_cheapest_of_a_fine_grid():
    axis = torch.linspace(-60, 60, 121)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    for n_hues in (2, 3, 8):
        for p_first in (0.1, 1 / n_hues, 0.45, 0.6):
            colors, p = unet_autoencoder.possible_colors(n_hues, p_first)
            assert p.sum().item() == pytest.approx(1)
            for loss in ("l1", "l2"):
                best = unet_autoencoder.best_guess(colors, p, loss)
                cheapest = unet_autoencoder.expected_error(grid, colors, p, loss).min().item()
                assert unet_autoencoder.expected_error(best, colors, p, loss).item() <= cheapest + 1e-3


def test_there_is_something_to_discover_in_the_guess_explorer():
    """L1 is gray while red is the lesser half and red beyond it; L2 slides."""

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


def test_the_patch_explorer_forges_and_judges():
    torch.manual_seed(0)
    judge = PatchDiscriminator(4)
    L, ab = torch.rand(2, 1, 64, 64) * 2 - 1, torch.rand(2, 2, 64, 64) - 0.5
    turned = pix2pix.forge(ab, 0.5, 90)
    assert torch.allclose(turned[:, 0], -0.5 * ab[:, 1], atol=1e-6)
    assert torch.allclose(turned[:, 1], 0.5 * ab[:, 0], atol=1e-6)
    figure = pix2pix.patch_map(judge, L[0], ab[0], 1.0, 0)
    expected = judge.eval()(L[:1], ab[:1]).sigmoid()
    assert f"{expected.mean():.2f}" in figure.axes[1].get_title()
    judge.train()
    panel = pix2pix.patch_explorer(judge, L, ab)
    before = panel.picture.value
    for name, value in (("picture", 1), ("saturation", 0.0), ("turn", 120)):
        panel.controls[name].value = value
        assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before
        before = panel.picture.value
        panel.controls["saturation"].value = 1.5
    assert judge.training


def test_the_feature_explorer_goes_down_the_encoder():
    torch.manual_seed(0)
    net = colorlib.resnet_unet("resnet18", None)
    L = torch.rand(2, 1, 64, 64) * 2 - 1
    for (stage, _), side in zip(resnet_encoder.STAGES.items(), (32, 16, 8, 4, 2), strict=True):
        assert resnet_encoder.features(net, L[0], stage).shape[1:] == (side, side)
    panel = resnet_encoder.feature_explorer({"one": net}, L)
    before = panel.picture.value
    panel.controls["stage"].value = "1/16"
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before


# --- the tagger -------------------------------------------------------------------------------------------------------


def test_tags_say_what_is_in_a_scene():
    scenes = colorlib.paint_scenes(30, 64, 3)
    tags = tagger.tags_of(scenes.objects)
    assert tags.shape == (30, len(tagger.TAGS))
    for ids, row in zip(scenes.objects, tags.tolist(), strict=True):
        kinds = {KINDS[i] for i in ids.unique().tolist()}
        assert {tag for tag, there in zip(tagger.TAGS, row, strict=True) if there} == kinds & set(tagger.TAGS)
    assert tags.mean(dim=0).min() > 0.02
    assert not tagger.tags_of(scenes.objects[:, -4:])[:, tagger.TAGS.index("sky")].any(), "no sky at the bottom"


@pytest.mark.slow
def test_the_tagger_learns_more_than_what_is_frequent():
    torch.manual_seed(0)
    encoder = colorlib.resnet_unet("resnet18", None).encoder
    known, new = colorlib.paint_scenes(400, 32, 0), colorlib.paint_scenes(100, 32, 1)
    fitted = tagger.fit_tagger(encoder, known, crop=32, batch_size=16)
    frequent = tagger.tags_of(known.objects).mean(dim=0) > 0.5
    rival = ((tagger.tags_of(new.objects) > 0.5) == frequent).float().mean().item()
    assert fitted[1] is encoder and not fitted.training
    assert tagger.tag_accuracy(fitted, new, crop=32) > rival + 0.03


def test_the_tagger_refuses_crops_larger_than_the_scenes():
    with pytest.raises(ValueError, match="crop is 64.*32"):
        tagger.fit_tagger(torch.nn.Identity(), colorlib.paint_scenes(40, 32, 0), crop=64)


# --- experiments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(experiments.EXPERIMENTS))
def test_a_stored_result_belongs_to_todays_code(name):
    record, pictures = experiments.stored(name)
    chosen = experiments.EXPERIMENTS[name]
    assert record["fingerprint"] == chosen.fingerprint(), f"run again: {record['command']}"
    assert record["settings"] == chosen.settings and record["seconds"] > 0
    assert chosen.holds(record["table"])
    assert all(tensor.dtype in (torch.uint8, torch.int8) for tensor in pictures.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(experiments.EXPERIMENTS))
def test_an_experiment_in_its_tiny_form_points_the_same_way(name):
    chosen = experiments.EXPERIMENTS[name]
    table = chosen.run(**{**chosen.settings, **chosen.tiny})["table"]
    assert chosen.holds(table), json.dumps(table, indent=1)


def test_a_fingerprint_changes_with_code_and_settings_not_with_comments():
    strip = experiments._without_comments
    assert strip("x = 1  # why\n\ny = '#2'\n") == "x = 1\ny = '#2'"
    chosen = experiments.EXPERIMENTS["skips"]
    changed = experiments.Experiment(chosen.run, chosen.settings | {"epochs": 6}, chosen.tiny, chosen.holds)
    assert changed.fingerprint() != chosen.fingerprint()


def test_an_unknown_or_missing_experiment_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'skip'.*skips"):
        experiments.stored("skip")
    monkeypatch.setattr(experiments, "RUNS", tmp_path)
    with pytest.raises(FileNotFoundError, match="make experiments ARGS=skips"):
        experiments.stored("skips")


def test_running_an_experiment_stores_what_it_gave(tmp_path, monkeypatch):
    def little() -> dict:
        return {"table": {"x": 1}, "pictures": {"p": experiments.pack_ab(torch.rand(2, 2, 4, 4))}}

    monkeypatch.setattr(experiments, "RUNS", tmp_path)
    monkeypatch.setitem(experiments.EXPERIMENTS, "little", experiments.Experiment(little, {}, {}, lambda table: True))
    experiments.main(["little"])
    record, pictures = experiments.stored("little")
    assert record["table"] == {"x": 1} and record["command"].endswith("little") and pictures["p"].shape == (2, 2, 4, 4)


def test_packed_ab_is_within_half_a_lab_unit():
    ab = torch.rand(2, 2, 4, 4) * 1.8 - 0.9
    assert (experiments.unpack_ab(experiments.pack_ab(ab)) - ab).abs().max() * 110 <= 0.501


# --- what a notebook builds in the open is what the package has -------------------------------------------------------


def test_chapter_01_builds_the_packages_lab():
    from colorlib import color

    given = {"torch": torch, "color": color}
    definition("01_lab_color.ipynb", "srgb_to_linear", given)
    by_hand = definition("01_lab_color.ipynb", "rgb_to_lab", given)
    rgb = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(by_hand(rgb).float(), color.rgb_to_lab(rgb), atol=1e-3)


@pytest.mark.parametrize("skips", [True, False])
def test_chapter_03_builds_the_packages_unet(skips):
    from colorlib.unet import UNet

    given = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    for name in ("Down", "Up"):
        definition("03_unet_autoencoder.ipynb", name, given)
    torch.manual_seed(0)
    by_hand = definition("03_unet_autoencoder.ipynb", "UNet", given)(skips=skips)
    packaged = UNet(skips=skips)
    packaged.load_state_dict(by_hand.state_dict())
    L = torch.rand(2, 1, 64, 64)
    assert torch.equal(by_hand(L), packaged(L))


@pytest.mark.parametrize("name", ["photos_resnet"])
def test_a_stored_training_has_the_numbers_of_its_pictures(name):
    """The photos that it was reported on are not here; those that libraries ship are, and the stored ab for them."""
    record, pictures = experiments.stored_training(name)
    assert any("colorlib train --source photos" in command for command in record["commands"])
    shipped = experiments.library_photos()
    _, ab = shipped.first(7)
    assert pictures.keys() == record["table"].keys()
    for label, packed in pictures.items():
        ratio = (experiments.unpack_ab(packed) - ab).abs().mean() / ab.abs().mean()
        assert ratio == pytest.approx(record["table"][label]["library: ab MAE / gray"], abs=0.01)


def test_chapter_03_builds_the_packages_step():
    from colorlib.training import reconstruction_step as packaged

    by_hand = definition("03_unet_autoencoder.ipynb", "reconstruction_step", {})
    weights, losses = [], []
    L, ab = torch.rand(2, 1, 8, 8), torch.rand(2, 2, 8, 8)
    for step in (by_hand, packaged):
        torch.manual_seed(0)
        net = torch.nn.Conv2d(1, 2, 3, padding=1)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
        losses.append([step(net, optimizer, L, ab, torch.nn.functional.l1_loss).item() for _ in range(3)])
        weights.append(net.weight.detach())
    assert losses[0] == losses[1] and torch.equal(*weights)


def test_chapter_03_prices_a_vivid_guess_rightly():
    """Turning hues keeps the chroma, and costs about 4/π of gray in L1."""
    turn = definition("03_unet_autoencoder.ipynb", "vivid_guess", {"torch": torch})
    angle = torch.rand(4000, generator=torch.Generator().manual_seed(1)) * math.tau
    ab = torch.stack([angle.cos(), angle.sin()], dim=1)[:, :, None, None] / 3
    assert torch.allclose(turn(ab).norm(dim=1), ab.norm(dim=1), atol=1e-5)
    ratio = metrics.ab_mae(turn(ab), ab) / metrics.ab_mae(torch.zeros_like(ab), ab)
    assert ratio == pytest.approx(4 / math.pi, abs=0.05)


def test_chapter_04_builds_the_packages_judge_and_steps():
    from colorlib import losses, training

    given = {"torch": torch, "nn": torch.nn}
    torch.manual_seed(0)
    by_hand = definition("04_pix2pix.ipynb", "PatchDiscriminator", given)()
    packaged = PatchDiscriminator()
    packaged.load_state_dict(by_hand.state_dict())
    L, ab, net = torch.rand(2, 1, 64, 64), torch.rand(2, 2, 64, 64), torch.nn.Conv2d(1, 2, 3, padding=1)
    assert torch.equal(by_hand(L, ab), packaged(L, ab))

    results = []
    for judge, module in ((by_hand, given), (packaged, vars(training))):
        if module is given:
            for name in ("discriminator_step", "generator_step"):
                definition("04_pix2pix.ipynb", name, given)
        torch.manual_seed(1)
        net.reset_parameters()
        optimizers = [torch.optim.Adam(player.parameters(), 1e-3) for player in (net, judge)]
        ab_fake = net(L)
        row = module["discriminator_step"](judge, optimizers[1], L, ab, ab_fake, losses.bce)
        row |= module["generator_step"](
            judge, optimizers[0], L, ab, ab_fake, losses.bce, losses.RECONSTRUCTION["l1"], 20
        )
        results.append(({k: v.item() for k, v in row.items()}, [p.detach().clone() for p in net.parameters()]))
    assert results[0][0] == pytest.approx(results[1][0])
    assert all(torch.allclose(a, b) for a, b in zip(results[0][1], results[1][1]))
