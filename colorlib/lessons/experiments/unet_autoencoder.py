"""The side experiments of chapter 03."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from colorlib.anatomy import receptive_field
from colorlib.batches import Batches
from colorlib.color import AB_SCALE, lab_to_rgb, rgb_to_lab, to_uint8
from colorlib.config import pick_device, seed_everything
from colorlib.data import Loaders, make_loaders
from colorlib.lessons.by_kind import scores_by_kind
from colorlib.lessons.experiments.common import pack_ab, predict_first
from colorlib.lessons.experiments.registry import experiment
from colorlib.lessons.more_losses import HUBER
from colorlib.metrics import evaluate, gray, predict
from colorlib.scenes import Scenes, paint_scenes
from colorlib.training import fit_reconstruction
from colorlib.unet import UNet


@experiment(
    settings={"seeds": [0, 1, 2], "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "base_channels": 16},
    tiny={"seeds": [0], "size": 32, "n_train": 300, "n_test": 60, "epochs": 5, "base_channels": 8},
    holds=lambda table: all(
        seed["without skips"]["ab_mae/edges"] > 1.1 * seed["U-Net"]["ab_mae/edges"]
        and seed["U-Net"]["chroma_ratio/ambiguous"] < 0.5
        for seed in table.values()
    ),
)
def skips(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, base_channels: int) -> dict:
    """Chapter 03: the same autoencoder with and without skip connections, trained with L1 on painted scenes."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        table[f"seed {seed}"] = {"ab = 0": evaluate(gray, loaders.test)}
        for name, with_skips in {"U-Net": True, "without skips": False}.items():
            seed_everything(seed)
            net = UNet(base_channels=base_channels, skips=with_skips)
            fit_reconstruction(net, loaders, epochs=epochs)
            table[f"seed {seed}"][name] = evaluate(net, loaders.test)
            ab.setdefault(name, predict_first(net, loaders.test))
    return {"table": table, "ab": ab}


RED_OR_BLUE = [[0.7, 20.0], [0.3, 260.0]]  # probability and hue angle, degrees


def repaint(painted: Scenes, hues: Sequence[Sequence[float]], seed: int) -> Scenes:
    """Return scenes whose balloons, cars and doors have one of a few hues; chroma and lightness stay.

    Args:
        painted: scenes.
        hues: (probability, angle in the ab plane in degrees) of each hue.
        seed: of the choice, one for every object.
    """
    lab = rgb_to_lab(painted.rgb)
    p, angles = (torch.tensor(values) for values in zip(*hues, strict=True))
    generator = torch.Generator().manual_seed(seed)
    ids = painted.objects.long()
    chosen = torch.multinomial(p.expand(len(ids), -1), 256, replacement=True, generator=generator)  # (n, 256) by id
    angle = angles.deg2rad()[chosen].gather(1, ids.flatten(1)).view_as(ids)
    chroma = torch.hypot(lab[:, 1], lab[:, 2])
    new = torch.stack([lab[:, 0], chroma * angle.cos(), chroma * angle.sin()], dim=1)
    rgb = torch.where(painted.ambiguous[:, None], to_uint8(lab_to_rgb(new)), painted.rgb)
    return dataclasses.replace(painted, rgb=rgb)


def repainted(loaders: Loaders, hues: Sequence) -> Loaders:
    """Return loaders of scenes with other hues on the ambiguous objects, see `repaint`."""
    train = loaders.train
    painted = paint_scenes(len(train.rgb), train.size, train.seed)
    parts = {"train": repaint(painted, hues, train.seed)}
    parts |= {"valid": repaint(loaders.valid.masks, hues, 1), "test": repaint(loaders.test.masks, hues, 2)}
    made = {}
    for name, scenes in parts.items():
        old = getattr(loaders, name)
        options = {"shuffled": old.shuffled, "seed": old.seed, "masks": None if name == "train" else scenes}
        made[name] = Batches(scenes.rgb, old.size, old.batch_size, device=str(old.device), **options)
    return dataclasses.replace(loaders, **made)


def off_the_mean(rows: dict[str, dict[str, float]], name: str) -> float:
    """Return how far the mean ab of a network's ambiguous pixels is from that of the truth, Lab units."""
    return math.dist(*([rows[row][key] for key in ("mean a", "mean b")] for row in (name, "truth")))


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "n_train": 1000, "n_test": 100, "epochs": 5, "base_channels": 8,
        "losses": ["l1", "l2", HUBER], "hues": RED_OR_BLUE,
    },
    tiny={"seeds": [0], "size": 32, "n_train": 240, "n_test": 40, "epochs": 5, "losses": ["l1", "l2"]},
    holds=lambda table: all(
        off_the_mean(rows, "L2") < 0.9 * off_the_mean(rows, "L1") for rows in table.values()
    ),
)  # fmt: skip
def reconstruction_losses(
    seeds: list[int],
    size: int,
    n_train: int,
    n_test: int,
    epochs: int,
    base_channels: int,
    losses: list[str],
    hues: list[list[float]],
) -> dict:
    """Chapter 03: three losses in a painted world whose balloons, cars and doors are red or blue."""
    table, ab = {}, {}
    for seed in seeds:
        painted = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        loaders = repainted(painted, hues)
        rows = table[f"seed {seed}"] = {"truth": mean_ab(None, loaders.test)}
        for loss in losses:
            seed_everything(seed)
            net = UNet(base_channels=base_channels)
            fit_reconstruction(net, loaders, loss, epochs=epochs)
            name = "Huber" if loss == HUBER else loss.upper()
            rows[name] = evaluate(net, loaders.test, perceptual=False) | mean_ab(net, loaders.test)
            ab.setdefault(name, predict_first(net, loaders.test, 4))
    return {"table": table, "ab": ab}


def mean_ab(generator: torch.nn.Module | None, loader: Batches) -> dict[str, float]:
    """Return the mean a and b of the ambiguous pixels, Lab units; of the truth if `generator` is None."""
    ab = torch.cat([ab for _, ab in loader]).cpu() if generator is None else predict(generator, loader)
    inside = ab.movedim(1, -1)[loader.masks.ambiguous.cpu()] * AB_SCALE
    return dict(zip(("mean a", "mean b"), inside.mean(0).tolist(), strict=True))


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "numbers": [6, 60, 600], "n_test": 100, "steps": 750, "base_channels": 8,
    },
    tiny={"seeds": [0], "size": 32, "numbers": [6, 60], "n_test": 30, "steps": 150},
    holds=lambda table: all(
        row["6 scenes"]["ab_mae/determined"] > 1.2 * row["6 scenes"]["seen: ab_mae/determined"]
        and row["6 scenes"]["ab_mae/determined"] > 1.05 * row["60 scenes"]["ab_mae/determined"]
        for row in table.values()
    ),
)  # fmt: skip
def data_size(seeds: list[int], size: int, numbers: list[int], n_test: int, steps: int, base_channels: int) -> dict:
    """Chapter 03: the same number of training steps on few and on many scenes."""
    table, ab = {}, {}
    for seed in seeds:
        rows = table[f"seed {seed}"] = {}
        for n in numbers:
            loaders = make_loaders("scenes", size, n_train=n, n_test=n_test, seed=seed, device=pick_device())
            loaders.train.repeats = -(-4 * steps // 5 // n)  # five epochs of about steps / 5 batches of four
            seed_everything(seed)
            net = UNet(base_channels=base_channels)
            fit_reconstruction(net, loaders, epochs=5)
            known = paint_scenes(min(n, n_test), size, seed)  # the first of the scenes it was trained on
            seen = Batches(known.rgb, size, 4, masks=known, device=pick_device())
            row = rows[f"{n} scenes"] = evaluate(net, loaders.test, perceptual=False)
            row["seen: ab_mae/determined"] = evaluate(net, seen, perceptual=False)["ab_mae/determined"]
            ab_true = torch.cat([ab for _, ab in loaders.test]).cpu()
            for kind, scores in scores_by_kind(predict(net, loaders.test), ab_true, loaders.masks).items():
                row |= {f"{name}/{kind}": value for name, value in scores.items()}
            ab.setdefault(f"{n} scenes", predict_first(net, loaders.test, 4))
    return {"table": table, "ab": ab}


@experiment(
    settings={"seeds": [0, 1, 2], "size": 64, "n_train": 1000, "n_test": 100, "epochs": 4, "base_channels": 8},
    tiny={"seeds": [0], "size": 32, "n_train": 200, "n_test": 30, "epochs": 4},
    holds=lambda table: all(
        rows[coarse]["ab_mae/edges"] > 1.2 * rows[fine]["ab_mae/edges"]
        for rows in table.values()
        for coarse, fine in itertools.pairwise([name for name in rows if name.startswith("U-Net")])
    ),
)
def low_resolution(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, base_channels: int) -> dict:
    """Chapter 03: networks that see the scenes at a quarter, half and full resolution, compared at full resolution.

    The rows "truth at …" are the true colors at that resolution: the error that is left for a perfect network.
    """
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        rows = table[f"seed {seed}"] = {}
        for factor, n_down in ((4, 2), (2, 3), (1, 4)):  # 4 × 4 values in each bottleneck of the stored run
            small = dataclasses.replace(
                loaders,
                **{
                    name: Batches(
                        shrunk(part.rgb, factor), size // factor, part.batch_size,
                        shuffled=part.shuffled, seed=part.seed, device=str(part.device),
                    )
                    for name, part in (("train", loaders.train), ("valid", loaders.valid))
                },
            )  # fmt: skip
            seed_everything(seed)
            net = UNet(base_channels=base_channels, n_down=n_down)
            fit_reconstruction(net, small, epochs=epochs)
            name = f"U-Net at {size // factor} px"
            rows[name] = evaluate(
                lambda L, net=net, k=factor: at_low_resolution(net, L, k), loaders.test, perceptual=False
            )
            ab.setdefault(name, pack_ab(at_low_resolution(net, loaders.test.first(4)[0], factor).cpu()))
            truth = [enlarged(F.avg_pool2d(ab, factor), factor) for _, ab in loaders.test]
            rows[f"truth at {size // factor} px"] = evaluate(
                lambda L, left=truth: left.pop(0), loaders.test, perceptual=False
            )
    return {"table": table, "ab": ab}


def shrunk(rgb: torch.Tensor, factor: int) -> torch.Tensor:
    """Average squares of `factor` × `factor` pixels: uint8 (N, 3, H, W) -> uint8."""
    return F.avg_pool2d(rgb.float(), factor).round().to(torch.uint8)


def enlarged(ab: torch.Tensor, factor: int) -> torch.Tensor:
    """Enlarge ab bilinearly."""
    return F.interpolate(ab, scale_factor=factor, mode="bilinear", align_corners=False) if factor > 1 else ab


@torch.no_grad()
def at_low_resolution(net: torch.nn.Module, L: torch.Tensor, factor: int) -> torch.Tensor:
    """Predict ab at 1 / `factor` of the resolution and enlarge it."""
    return enlarged(net(F.avg_pool2d(L, factor)), factor)


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "n_train": 1500, "n_test": 80, "epochs": 5,
        "networks": {"2": [2, 8], "3": [3, 8], "4": [4, 8], "5": [5, 8], "3, wide": [3, 12]},
    },
    tiny={"seeds": [0], "n_train": 240, "n_test": 30, "epochs": 4, "networks": {"1": [1, 8], "3": [3, 8]}},
    holds=lambda table: all(
        next(iter(rows.values()))["ab_mae/determined"] > 1.05 * rows["3"]["ab_mae/determined"]
        and ("4" not in rows or rows["3"]["ab_mae/context"] > 1.1 * rows["4"]["ab_mae/context"])
        for rows in table.values()
    ),
)  # fmt: skip
def context(
    seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, networks: dict[str, list[int]]
) -> dict:
    """Chapter 03: U-Nets that halve the resolution two to five times, and so see more or less around a pixel."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        for name, (n_down, base_channels) in networks.items():
            seed_everything(seed)
            net = UNet(base_channels=base_channels, n_down=n_down)
            row = {"weights": sum(p.numel() for p in net.parameters()), "receptive field": receptive_field(net)}
            fit_reconstruction(net, loaders, epochs=epochs)
            row |= evaluate(net, loaders.test, perceptual=False)
            table.setdefault(f"seed {seed}", {})[name] = row
            ab.setdefault(name, predict_first(net, loaders.test, 4))
    return {"table": table, "ab": ab}
