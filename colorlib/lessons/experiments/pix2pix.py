"""The side experiments of chapter 04. All but `gan` use small networks and images, so that many games can be played."""

import copy
import itertools

import torch
from torch import nn

from colorlib.comparison import multiplied
from colorlib.config import pick_device, seed_everything
from colorlib.data import Loaders, make_loaders
from colorlib.lessons.experiments.common import pack_ab, predict_first
from colorlib.lessons.experiments.registry import experiment
from colorlib.lessons.games import (
    UNIFORM_DIVERSITY,
    FromNoise,
    Game,
    Rules,
    WithNoise,
    ab_histogram,
    entropy_by_kind,
    hue_diversity,
    scores_of,
    variety,
)
from colorlib.metrics import evaluate, predict
from colorlib.patchgan import PatchDiscriminator
from colorlib.training import fit_gan, fit_reconstruction
from colorlib.unet import UNet

SMALL = {"size": 48, "n_train": 500, "n_test": 100, "epochs": 5, "game_epochs": 5, "base_channels": 8, "filters": 16}
TINY = {"size": 32, "n_train": 60, "n_test": 20, "epochs": 2, "game_epochs": 2, "base_channels": 4, "filters": 4}
N_SHOWN = 4  # pictures that are stored of every game


@experiment(
    settings={"seeds": [0, 1, 2], "size": 64, "n_train": 1000, "n_test": 200, "epochs": 5, "gan_epochs": 5},
    tiny={"seeds": [0], "size": 32, "n_train": 320, "n_test": 40, "epochs": 12, "gan_epochs": 2},
    holds=lambda table: all(
        rows["Pix2Pix"]["ab_mae/determined"] > 1.02 * rows["L1"]["ab_mae/determined"]  # the cost of vivid colors
        # a factor that is needed at all costs more than the game does
        and (
            rows["multiplied"]["factor"] < 1.2
            or rows["multiplied"]["ab_mae/determined"] > 1.2 * rows["Pix2Pix"]["ab_mae/determined"]
        )
        for rows in table.values()
    ),
)
def gan(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, gan_epochs: int) -> dict:
    """Chapter 04: an L1 network, the same network after the GAN stage, and its colors multiplied to be as vivid."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        seed_everything(seed)
        net = UNet()
        fit_reconstruction(net, loaders, epochs=epochs)
        l1_net = copy.deepcopy(net)
        fit_gan(net, PatchDiscriminator(), loaders, epochs=gan_epochs)
        factor = vivid_factor(l1_net, net, loaders)
        rows = table[f"seed {seed}"] = {"truth": entropy_by_kind(None, loaders.test)}
        networks = {"L1": l1_net, "multiplied": multiplied(l1_net, factor), "Pix2Pix": net}
        for name, network in networks.items():
            rows[name] = evaluate(network, loaders.test) | entropy_by_kind(network, loaders.test)
            ab.setdefault(name, predict_first(network, loaders.test))
        rows["multiplied"]["factor"] = factor
    return {"table": table, "ab": ab}


def vivid_factor(timid: nn.Module, vivid: nn.Module, loaders: Loaders) -> float:
    """Return the factor that makes a generator as vivid as another where colors can't be known, on `loaders.valid`."""
    chroma = [evaluate(net, loaders.valid, perceptual=False)["chroma_ratio/ambiguous"] for net in (vivid, timid)]
    return round(chroma[0] / chroma[1], 2)


def l1_start(seed: int, size: int, n_train: int, n_test: int, epochs: int, base_channels: int):
    """Return loaders and a `UNet` trained with L1, the start of the games with this seed."""
    loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
    seed_everything(seed)
    net = UNet(base_channels)
    fit_reconstruction(net, loaders, epochs=epochs, progress=False)
    return loaders, net


def whole_game(generator: nn.Module, loaders: Loaders, rules: Rules, epochs: int, seed: int) -> tuple[Game, dict]:
    """Play a game from a copy of a generator; return the game, and its scores with the losses of its last epoch."""
    seed_everything(seed)
    game = Game(copy.deepcopy(generator), loaders.train, rules, epochs * len(loaders.train))
    for _ in range(epochs):
        losses = game.play(len(loaders.train))
    return game, scores_of(game.averaged, loaders.test) | {name: round(loss, 3) for name, loss in losses.items()}


@experiment(
    settings={"seeds": [0, 1, 2]} | SMALL,
    tiny={"seeds": [0]} | TINY,
    holds=lambda table: all(
        rows["no L1"]["ab_mae/determined"] > rows["both"]["ab_mae/determined"] for rows in table.values()
    ),
)
def in_check(seeds: list[int], game_epochs: int, filters: int, **settings) -> dict:
    """Chapter 04: what keeps the generator in check? The L1 term, the condition, a slow discriminator; each taken away.

    A row for the generator without the average of its weights is there, too; it is from the game with both.
    """
    variants = {
        "both": Rules(filters=filters),
        "no L1": Rules(filters=filters, lambda_l1=0.0),
        "no condition": Rules(filters=filters, conditional=False),
        "fast discriminator": Rules(filters=filters, lr_d=4e-3),
        "all three": Rules(filters=filters, lambda_l1=0.0, conditional=False, lr_d=4e-3),
    }
    table, ab = {}, {}
    for seed in seeds:
        loaders, net = l1_start(seed, **settings)
        rows = table[f"seed {seed}"] = {"L1": scores_of(net, loaders.test)}
        for name, rules in variants.items():
            game, rows[name] = whole_game(net, loaders, rules, game_epochs, seed)
            ab.setdefault(name, predict_first(game.averaged, loaders.test, 6))
            if name == "both":
                rows["both, no average"] = scores_of(game.generator, loaders.test)
    return {"table": table, "ab": ab}


@experiment(
    settings={"seeds": [0, 1, 2]} | SMALL,
    tiny={"seeds": [0]} | TINY,
    holds=lambda table: all(
        rows["from random weights"]["ab_mae/determined"] > rows["spectral norm"]["ab_mae/determined"]
        for rows in table.values()
    ),
)
def toggles(seeds: list[int], game_epochs: int, filters: int, **settings) -> dict:
    """Chapter 04: the game with one of its settings changed; `in_check` has the game as it is."""
    variants = {
        "from random weights": Rules(filters=filters),
        "beta1 0.9": Rules(filters=filters, beta1=0.9),
        "rates do not fall": Rules(filters=filters, falling=False),
        "spectral norm": Rules(filters=filters, spectral_norm=True),
    }
    table, ab = {}, {}
    for seed in seeds:
        loaders, net = l1_start(seed, **settings)
        seed_everything(seed)
        untrained = UNet(settings["base_channels"])
        rows = table[f"seed {seed}"] = {}
        for name, rules in variants.items():
            start = untrained if name == "from random weights" else net
            game, rows[name] = whole_game(start, loaders, rules, game_epochs, seed)
            ab.setdefault(name, predict_first(game.averaged, loaders.test, N_SHOWN))
    return {"table": table, "ab": ab}


@experiment(
    settings={"seeds": [0, 1, 2]} | SMALL,
    tiny={"seeds": [0]} | TINY | {"n_train": 120, "epochs": 3, "game_epochs": 4},
    holds=lambda table: all(rows["z"]["diversity"] < 0.75 * UNIFORM_DIVERSITY for rows in table.values()),
)
def noise(seeds: list[int], game_epochs: int, filters: int, **settings) -> dict:
    """Chapter 04: does a generator use noise? As extra input channels, and as dropout, before and after the game."""
    table, ab = {}, {}
    for seed in seeds:
        loaders, net = l1_start(seed, **settings)
        rows = table[f"seed {seed}"] = {}
        for kind in ("z", "dropout"):
            seed_everything(seed)
            noisy = WithNoise(net, kind)
            rows[f"{kind}, before"] = {"diversity": round(hue_diversity(noisy, loaders.test), 3)}
            game, scores = whole_game(noisy, loaders, Rules(filters=filters), game_epochs, seed)
            rows[kind] = scores | {"diversity": round(hue_diversity(game.averaged, loaders.test), 3)}
            if seed == seeds[0]:
                L, _ = loaders.test.first(3)
                draws = [predict(game.averaged, L) for _ in range(4)]
                ab |= {f"{kind} {i}": pack_ab(draw) for i, draw in enumerate(draws)}
    return {"table": table, "ab": ab}


@experiment(
    settings={"seeds": [0, 1, 2], "lambdas": [0, 20, 500], "losses": ["bce", "lsgan", "hinge"], "n_downs": [1, 2, 3]}
    | SMALL
    | {"game_epochs": 3},
    tiny={"seeds": [0], "lambdas": [0, 500], "losses": ["bce"], "n_downs": [2]} | TINY,
    holds=lambda table: all(
        row["ab_mae/determined"] < rows[name.replace("lambda 500", "lambda 0")]["ab_mae/determined"]
        for rows in table.values()
        for name, row in rows.items()
        if name.startswith("lambda 500")
    ),
)
def playground(
    seeds: list[int],
    lambdas: list[float],
    losses: list[str],
    n_downs: list[int],
    game_epochs: int,
    filters: int,
    **settings,
) -> dict:
    """Chapter 04: games for every λ, adversarial loss and patch size."""
    table, ab = {}, {}
    for seed in seeds:
        loaders, net = l1_start(seed, **settings)
        rows = table[f"seed {seed}"] = {}
        for loss, n_down, lambda_l1 in itertools.product(losses, n_downs, lambdas):
            rules = Rules(loss, float(lambda_l1), filters=filters, n_down=n_down)
            name = f"lambda {lambda_l1}, {loss}, patch {PatchDiscriminator(1, n_down).patch_size}"
            game, rows[name] = whole_game(net, loaders, rules, game_epochs, seed)
            ab.setdefault(name, predict_first(game.averaged, loaders.test, N_SHOWN))
    return {"table": table, "ab": ab}


@experiment(
    settings={"seeds": [0, 1, 2]} | SMALL,
    tiny={"seeds": [0]} | TINY | {"n_train": 120, "epochs": 3, "game_epochs": 4},
    holds=lambda table: all(
        list(rows["collapsed, from noise"].values())[-1]["variety"]
        < 0.5 * list(rows["healthy"].values())[-1]["variety"]
        for rows in table.values()
    ),
)
def games(seeds: list[int], game_epochs: int, filters: int, **settings) -> dict:
    """Chapter 04: a healthy, an overpowered and two collapsed games, epoch by epoch; pictures of the first seed."""
    table, ab = {}, {}
    unheld = {"lambda_l1": 0.0, "conditional": False, "filters": filters}
    all_rules = {
        "healthy": Rules(filters=filters),
        "overpowered": Rules(filters=filters, lr_g=8e-5, lr_d=4e-3),
        "collapsed": Rules(lr_g=4e-3, lr_d=1e-4, **unheld),
        "collapsed, from noise": Rules(lr_g=4e-3, lr_d=1e-4, **unheld),
    }
    for seed in seeds:
        loaders, net = l1_start(seed, **settings)
        seed_everything(seed)
        from_noise = FromNoise(UNet(settings["base_channels"]))
        of_seed = table[f"seed {seed}"] = {}
        for name, rules in all_rules.items():
            start = from_noise if name == "collapsed, from noise" else net
            seed_everything(seed)
            game = Game(copy.deepcopy(start), loaders.train, rules, game_epochs * len(loaders.train))
            rows = of_seed[name] = {}
            for epoch in range(game_epochs + 1):
                losses = game.play(len(loaders.train)) if epoch else {}
                scores, shown = _look_at(game, loaders)
                rows[f"epoch {epoch}"] = {key: round(loss, 4) for key, loss in losses.items()} | scores
                if seed == seeds[0]:
                    ab |= {f"{name} {epoch} {kind}": tensor for kind, tensor in shown.items()}
    return {"table": table, "ab": ab}


def _look_at(game: Game, loaders: Loaders) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Return the scores of a game as it stands, and its pictures, patch map and histogram, packed."""
    for net in (game.averaged, game.discriminator):
        net.eval()
    L, _ = loaders.test.first(N_SHOWN)
    ab = predict(game.averaged, L)
    with torch.no_grad():
        p_real = game.discriminator(L, ab.to(L.device)).sigmoid().cpu()
    shown = {
        "ab": pack_ab(ab),
        "p_real": (100 * p_real).round().to(torch.int8),
        "histogram": ab_histogram(predict(game.averaged, loaders.test)),
    }
    return scores_of(game.averaged, loaders.test) | {"variety": round(variety(game.averaged, loaders.test), 3)}, shown
