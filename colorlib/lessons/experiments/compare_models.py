"""The side experiments of chapter 06."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from colorlib import comparison
from colorlib.batches import Batches
from colorlib.color import AB_SCALE
from colorlib.config import pick_device, seed_everything
from colorlib.data import Loaders, make_loaders
from colorlib.lessons.experiments.common import pack_ab, predict_first, unpack_ab
from colorlib.lessons.experiments.registry import experiment
from colorlib.lessons.games import WithNoise
from colorlib.lessons.rivals import classical_rivals
from colorlib.lessons.uncertainty import auc, fit_errors, spread
from colorlib.metrics import ab_mae, evaluate, predict
from colorlib.patchgan import PatchDiscriminator
from colorlib.resnet import resnet_unet
from colorlib.training import fit_gan, fit_reconstruction
from colorlib.unet import UNet

FACTORS = [1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0]  # of the multiplied U-Net
# Rung -> epochs of L1, epochs of the GAN stage. SAME_SECONDS is what fits into 240 seconds on one CPU core, for 1,000
# scenes of 64 px: we measured 61 scenes per second for a U-Net and 38 in its GAN stage, 18 and 16 for a ResNet U-Net.
SAME_PICTURES = {
    "no skips": [10, 0], "U-Net": [10, 0], "Pix2Pix": [5, 5], "ResNet U-Net": [10, 0], "ResNet Pix2Pix": [5, 5],
}  # fmt: skip
SAME_SECONDS = {
    "no skips": [17, 0], "U-Net": [15, 0], "Pix2Pix": [7, 5], "ResNet U-Net": [4, 0], "ResNet Pix2Pix": [2, 2],
}  # fmt: skip


def factor_for(generator: nn.Module, loader: Batches, colorfulness: float) -> float:
    """Return the factor with which a generator's pictures are as colorful as those of another model.

    Args:
        generator: its ab is multiplied.
        loader: validation images.
        colorfulness: of the other model on these images.
    Returns:
        A factor from 1 to 4, interpolated between those that were tried.
    """
    curve = comparison.multiplied_curve(generator, loader, FACTORS)
    tried = [scores["colorfulness"] for scores in curve.values()]
    for (one, low), (two, high) in zip(zip(FACTORS, tried), zip(FACTORS[1:], tried[1:])):
        if low <= colorfulness <= high:
            return one + (two - one) * (colorfulness - low) / (high - low)
    return FACTORS[0] if colorfulness < tried[0] else FACTORS[-1]


def train_rung(name: str, l1_epochs: int, gan_epochs: int, loaders: Loaders, seed: int) -> nn.Module:
    """Train one rung of the ladder from scratch; only the encoder of a ResNet is pretrained, on photos."""
    seed_everything(seed)
    if name.startswith("ResNet"):
        net = resnet_unet("resnet18", "photos-encoder", "slim")
        rates = {"lr": 3e-3, "encoder_lr": 5e-4, "schedule": "linear"}
        gan_rates = {"lr_g": 1e-4, "lr_d": 1e-4, "lambda_l1": 100.0}
    else:
        net, rates, gan_rates = UNet(skips=name != "no skips"), {}, {}
    fit_reconstruction(net, loaders, epochs=l1_epochs, progress=False, **rates)
    if gan_epochs:
        fit_gan(net, PatchDiscriminator(), loaders, epochs=gan_epochs, progress=False, **gan_rates)
    return net


def score_rungs(
    loaders: Loaders, epochs: dict[str, list[int]], seed: int
) -> tuple[dict[str, dict], dict[str, Callable]]:
    """Train all rungs and score them on the test images.

    Returns:
        The rows of the ladder, with the multiplied U-Net's for each factor, and the models by name.
    """
    models = {name: train_rung(name, *of_rung, loaders, seed) for name, of_rung in epochs.items()}
    bold = evaluate(models["Pix2Pix"], loaders.valid, perceptual=False)["colorfulness"]
    factor = factor_for(models["U-Net"], loaders.valid, bold)
    models["U-Net × factor"] = comparison.multiplied(models["U-Net"], factor)
    rows = comparison.ladder(models, loaders.test, loaders.train, seed=seed).rows
    rows["U-Net × factor"]["factor"] = factor
    curve = comparison.multiplied_curve(models["U-Net"], loaders.test, FACTORS)
    return rounded(rows | {f"× {factor:g}": row for factor, row in curve.items()}), models


def rounded(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return rows of scores with four digits after the point."""
    return {name: {key: round(value, 4) for key, value in row.items()} for name, row in rows.items()}


def score_classical(loaders: Loaders) -> dict[str, dict[str, float]]:
    """Return the rows of the classical methods on the test images."""
    colored = classical_rivals(loaders.test, loaders.train)
    n = len(loaders.test.rgb)
    whole = Batches(loaders.test.rgb.cpu(), loaders.test.size, n, masks=loaders.test.masks)  # all images in one batch
    models = {name: lambda L, ab=ab: ab for name, ab in colored.items()}
    rows = comparison.ladder(models, whole).rows
    return rounded({name: rows[name] for name in colored})


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "n_train": 1000, "n_test": 200, "n_stored": 40,
        "budgets": {"pictures": SAME_PICTURES, "seconds": SAME_SECONDS},
    },
    tiny={
        "seeds": [0], "size": 32, "n_train": 240, "n_test": 24, "n_stored": 2,
        "budgets": {"pictures": {"no skips": [5, 0], "U-Net": [5, 0], "Pix2Pix": [3, 2], "ResNet U-Net": [1, 0]}},
    },
    holds=lambda table: all(
        rows["U-Net"]["ab_mae"] < 0.9 * rows["no skips"]["ab_mae"]
        and rows["no skips"]["ab_mae"] < 0.8 * rows["gray"]["ab_mae"]
        and rows["U-Net"]["ab_mae"] < rows["Pix2Pix"]["ab_mae"]
        for name, rows in table.items()
        if name.startswith("pictures")
    ),
)  # fmt: skip
def ladder(
    seeds: list[int], size: int, n_train: int, n_test: int, n_stored: int, budgets: dict[str, dict[str, list[int]]]
) -> dict:
    """Chapter 06: the models of the series on the same painted scenes, with the same pictures and the same seconds.

    Pix2Pix is the U-Net after some epochs of L1 and then some of the GAN stage. The factor of the multiplied U-Net is
    the one that makes validation scenes as colorful as Pix2Pix does. The first predictions for the budget of pictures
    and the first seed are stored, and their error as "ab_mae_stored".
    """
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        for budget, epochs in budgets.items():
            rows, models = score_rungs(loaders, epochs, seed)
            table[f"{budget}, seed {seed}"] = rows
            if not ab:
                ab = {name: predict_first(model, loaders.test, n_stored) for name, model in models.items()}
                truth = loaders.test.first(n_stored)[1].cpu()
                for name, known in ab.items():
                    rows[name]["ab_mae_stored"] = round(ab_mae(unpack_ab(known), truth), 4)
                rows |= score_classical(loaders)
    return {"table": table, "ab": ab}


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "n_train": 500, "n_test": 100, "members": 5, "epochs": 5, "gan_epochs": 3,
        "draws": 8,
    },
    tiny={"seeds": [0], "size": 32, "n_train": 120, "n_test": 12, "members": 2, "epochs": 3, "gan_epochs": 1},
    holds=lambda table: all(
        rows["second network"]["auc"] > rows["U-Nets"]["auc"] + 0.02 for rows in table.values()
    ),
)  # fmt: skip
def uncertainty(
    seeds: list[int], size: int, n_train: int, n_test: int, members: int, epochs: int, gan_epochs: int, draws: int
) -> dict:
    """Chapter 06: does a model know where it can't know? Ensembles, dropout, and a network that predicts errors.

    Each way gives every pixel a number in Lab units. It is compared with the true mask of ambiguous pixels, and with
    the error of the first U-Net.
    """
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        timid, bold = [], []
        for member in range(members):
            seed_everything(100 * seed + member)
            net = UNet()
            fit_reconstruction(net, loaders, epochs=epochs, progress=False)
            if member == 0:
                first = copy.deepcopy(net).eval()
            timid.append(predict(net, loaders.test))
            fit_gan(net, PatchDiscriminator(), loaders, epochs=gan_epochs, progress=False)
            bold.append(predict(net, loaders.test))
        seed_everything(seed)
        dropped = UNet(dropout=0.5)
        fit_reconstruction(dropped, loaders, epochs=epochs, progress=False)
        noisy = WithNoise(dropped.cpu(), "dropout").to(loaders.test.device)
        seed_everything(seed)
        judge = fit_errors(first, loaders, epochs)
        maps = {
            "U-Nets": spread(torch.stack(timid)),
            "dropout": spread(torch.stack([predict(noisy, loaders.test) for _ in range(draws)])),
            "games": spread(torch.stack(bold)),
            "second network": predict(judge, loaders.test).abs().mean(dim=1) * AB_SCALE,
            "low chroma": -timid[0].norm(dim=1) * AB_SCALE,
        }
        masks = loaders.test.masks
        truth = torch.cat([known for _, known in loaders.test]).cpu()
        error = (timid[0] - truth).abs().mean(dim=1) * AB_SCALE
        table[f"seed {seed}"] = rounded({name: _knows(known, masks.ambiguous, error) for name, known in maps.items()})
        if not ab:
            shown = {f"{name} map": known[:6] / AB_SCALE for name, known in maps.items()} | {
                "error": error[:6] / AB_SCALE
            }
            shown |= {f"U-Net {i}": known[:6] for i, known in enumerate(timid)}
            shown |= {f"game {i}": known[:6] for i, known in enumerate(bold)}
            ab = {name: pack_ab(known) for name, known in shown.items()}
    return {"table": table, "ab": ab}


def _knows(score: torch.Tensor, ambiguous: torch.Tensor, error: torch.Tensor) -> dict[str, float]:
    """Return how well a score finds ambiguous pixels and large errors, and its mean in both kinds of pixels."""
    large = error > 10  # Lab units
    return {
        "auc": auc(score, ambiguous),
        "auc_large_errors": auc(score, large),
        "determined": score[~ambiguous].mean().item(),
        "ambiguous": score[ambiguous].mean().item(),
    }
