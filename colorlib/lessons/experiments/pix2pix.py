"""The side experiments of chapter 04."""

import torch

from colorlib import scenes
from colorlib.batches import Batches
from colorlib.config import pick_device, seed_everything
from colorlib.data import make_loaders
from colorlib.lessons.experiments.common import predict_first
from colorlib.lessons.experiments.registry import experiment
from colorlib.metrics import evaluate, hue_entropy, predict
from colorlib.patchgan import PatchDiscriminator
from colorlib.training import fit_gan, fit_reconstruction
from colorlib.unet import UNet


def entropy_by_kind(generator: torch.nn.Module | None, loader: Batches) -> dict[str, float]:
    """Return the hue entropy of the predicted balloons, cars and doors, as "hue_entropy/<kind>".

    If `generator` is None, return that of the true colors.
    """
    masks = loader.masks
    ab = torch.cat([ab for _, ab in loader]).cpu() if generator is None else predict(generator, loader)
    scores = {}
    for kind in ("balloon", "car", "door"):
        ids = torch.tensor([i for i in scenes.KINDS if scenes.KINDS[i] == kind])
        where = masks.ambiguous & torch.isin(masks.objects, ids)
        scores[f"hue_entropy/{kind}"] = hue_entropy(ab, masks.objects, where)
    return scores


@experiment(
    settings={"seeds": [0, 1, 2], "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "gan_epochs": 5},
    tiny={"seeds": [0], "size": 32, "n_train": 240, "n_test": 60, "epochs": 5, "gan_epochs": 4},
    holds=lambda table: all(
        rows["Pix2Pix"]["ab_mae/determined"] > 1.02 * rows["L1"]["ab_mae/determined"]  # the cost of vivid colors
        for rows in table.values()
    ),
)
def gan(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, gan_epochs: int) -> dict:
    """Chapter 04: an L1 network, and the same network after the GAN stage, on painted scenes."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        seed_everything(seed)
        net = UNet()
        fit_reconstruction(net, loaders, epochs=epochs)
        rows = table[f"seed {seed}"] = {"truth": entropy_by_kind(None, loaders.test)}
        rows["L1"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
        ab.setdefault("L1", predict_first(net, loaders.test))
        fit_gan(net, PatchDiscriminator(), loaders, epochs=gan_epochs)
        rows["Pix2Pix"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
        ab.setdefault("Pix2Pix", predict_first(net, loaders.test))
    return {"table": table, "ab": ab}


@experiment(
    settings={"seed": 0, "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "gan_epochs": 5},
    tiny={"seed": 0, "size": 32, "n_train": 300, "n_test": 60, "epochs": 2, "gan_epochs": 1},
    holds=lambda table: table["unheld"]["ab_mae/determined"] > table["L1"]["ab_mae/determined"],
)
def unheld(seed: int, size: int, n_train: int, n_test: int, epochs: int, gan_epochs: int) -> dict:
    """Chapter 04: a GAN stage without the L1 term, with an unconditional, fast-learning discriminator."""
    loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
    seed_everything(seed)
    net = UNet()
    fit_reconstruction(net, loaders, epochs=epochs)
    table = {"L1": evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)}
    discriminator = PatchDiscriminator(conditional=False)
    fit_gan(net, discriminator, loaders, epochs=gan_epochs, lambda_l1=0.0, lr_d=4e-3)
    table["unheld"] = evaluate(net, loaders.test) | entropy_by_kind(net, loaders.test)
    return {"table": table, "ab": {"unheld": predict_first(net, loaders.test)}}
