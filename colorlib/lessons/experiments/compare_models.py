"""The side experiment of chapter 06."""

import torch

from colorlib import comparison
from colorlib.batches import Batches
from colorlib.config import pick_device, seed_everything
from colorlib.data import make_loaders
from colorlib.lessons.experiments.common import predict_first
from colorlib.lessons.experiments.registry import experiment
from colorlib.metrics import evaluate
from colorlib.patchgan import PatchDiscriminator
from colorlib.training import fit_gan, fit_reconstruction
from colorlib.unet import UNet

FACTORS = [1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0]  # of the multiplied U-Net


def factor_for(generator: torch.nn.Module, loader: Batches, colorfulness: float) -> float:
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


@experiment(
    settings={"seeds": [0, 1, 2], "size": 48, "n_train": 300, "n_test": 60, "epochs": 6, "gan_epochs": 3},
    tiny={"seeds": [0], "size": 32, "n_train": 240, "n_test": 24, "epochs": 5, "gan_epochs": 2},
    holds=lambda table: all(
        rows["U-Net"]["ab_mae"] < 0.9 * rows["no skips"]["ab_mae"]
        and rows["no skips"]["ab_mae"] < 0.8 * rows["gray"]["ab_mae"]
        and rows["U-Net"]["ab_mae"] < rows["Pix2Pix"]["ab_mae"]
        for rows in table.values()
    ),
)
def ladder(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, gan_epochs: int) -> dict:
    """Chapter 06: the models of the series on the same painted scenes, each trained on the same number of pictures.

    Pix2Pix is the U-Net after `epochs` - `gan_epochs` epochs of L1, and then `gan_epochs` of the GAN stage. The factor
    of the multiplied U-Net is the one that makes validation scenes as colorful as Pix2Pix does.
    """
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        models = {}
        for name, skips, n_epochs in (
            ("no skips", False, epochs),
            ("U-Net", True, epochs),
            ("Pix2Pix", True, epochs - gan_epochs),
        ):
            seed_everything(seed)
            models[name] = UNet(skips=skips)
            fit_reconstruction(models[name], loaders, epochs=n_epochs)
        fit_gan(models["Pix2Pix"], PatchDiscriminator(), loaders, epochs=gan_epochs)
        bold = evaluate(models["Pix2Pix"], loaders.valid, perceptual=False)["colorfulness"]
        factor = factor_for(models["U-Net"], loaders.valid, bold)
        rivals = models | {"U-Net × factor": comparison.multiplied(models["U-Net"], factor)}
        scored = comparison.ladder(rivals, loaders.test, loaders.train, seed=seed)
        curve = comparison.multiplied_curve(models["U-Net"], loaders.test, FACTORS)
        table[f"seed {seed}"] = scored.rows | {f"× {factor:g}": row for factor, row in curve.items()}
        table[f"seed {seed}"]["U-Net × factor"]["factor"] = factor
        for name, model in rivals.items():
            ab.setdefault(name, predict_first(model, loaders.test))
    return {"table": table, "ab": ab}
