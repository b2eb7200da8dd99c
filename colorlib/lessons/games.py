"""Chapter 04: adversarial training one step at a time, with noise for the generator, and measures of variety.

`training.fit_gan` plays a whole game. Here a game can be stopped after every step, to look at both networks.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from colorlib import scenes
from colorlib.batches import Batches
from colorlib.color import AB_SCALE
from colorlib.losses import ADVERSARIAL, RECONSTRUCTION, pick
from colorlib.metrics import evaluate, hue_entropy, object_hues, predict
from colorlib.patchgan import PatchDiscriminator
from colorlib.training import discriminator_step, generator_step
from colorlib.unet import UNet

KINDS = ("balloon", "car", "door")  # whose color can't be known
HISTOGRAM_SIDE, HISTOGRAM_STEP = 22, 10.0  # squares per axis; Lab units per square
UNIFORM_DIVERSITY = 0.68  # `hue_diversity` of 8 independent hues, uniform on the wheel


@dataclass(frozen=True)
class Rules:
    """The rules of a game. The defaults are those of `fit_gan`.

    Attributes:
        adversarial, lambda_l1, lr_g, lr_d, ema: as in `training.fit_gan`.
        beta1: the first of Adam's betas, for both networks.
        falling: let both learning rates fall to zero over the second half of the game.
        filters: base channels of the discriminator.
        n_down, conditional, spectral_norm: as in `PatchDiscriminator`.
    """

    adversarial: str = "bce"
    lambda_l1: float = 20.0
    lr_g: float = 8e-4
    lr_d: float = 8e-4
    ema: float = 0.99
    beta1: float = 0.5
    falling: bool = True
    filters: int = 32
    n_down: int = 2
    conditional: bool = True
    spectral_norm: bool = False


class Game:
    """A game between a generator and a new discriminator, played step by step as `fit_gan` plays it.

    Args:
        generator: L (B, 1, H, W) -> ab (B, 2, H, W), trained in place.
        train: shuffled batches; the game goes through them again and again.
        rules: see `Rules`.
        steps: length of the game.
    Raises:
        ValueError: there is no adversarial loss of that name.
    Attributes:
        discriminator: the opponent.
        averaged: the generator with the moving average of its weights.
        played: number of steps so far.
    """

    def __init__(self, generator: nn.Module, train: Batches, rules: Rules, steps: int):
        self.generator, self.train, self.rules, self.steps, self.played = generator, train, rules, steps, 0
        self._losses = pick(ADVERSARIAL, rules.adversarial)
        self.discriminator = PatchDiscriminator(rules.filters, rules.n_down, rules.conditional, rules.spectral_norm)
        for net in (generator, self.discriminator):
            net.to(train.device, memory_format=torch.channels_last).train()
        self._average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(rules.ema), use_buffers=True)
        self.averaged = self._average.module
        nets = ((generator, rules.lr_g), (self.discriminator, rules.lr_d))
        self._optimizers = [torch.optim.Adam(net.parameters(), lr, betas=(rules.beta1, 0.999)) for net, lr in nets]
        self._schedules = [
            LambdaLR(adam, lambda step: min(1.0, 2 - 2 * step / steps) if rules.falling else 1.0)
            for adam in self._optimizers
        ]
        self._batches = iter(())

    def step(self) -> dict[str, float]:
        """Play one step: the discriminator moves, then the generator. Return the losses before it.

        Raises:
            ArithmeticError: a loss is not finite; the game is over.
        """
        if self.played % len(self.train) == 0:
            self._batches = self.train.epoch(self.played // len(self.train))
        L, ab, *_ = next(self._batches)
        self.generator.train()
        self.discriminator.train()
        loss_d, loss_g = self._losses
        ab_fake = self.generator(L)
        losses = discriminator_step(self.discriminator, self._optimizers[1], L, ab, ab_fake, loss_d)
        losses |= generator_step(
            self.discriminator, self._optimizers[0], L, ab, ab_fake, loss_g, RECONSTRUCTION["l1"], self.rules.lambda_l1
        )
        self._average.update_parameters(self.generator)
        for schedule in self._schedules:
            schedule.step()
        self.played += 1
        losses = {name: loss.item() for name, loss in losses.items()}
        if not all(map(math.isfinite, losses.values())):
            raise ArithmeticError(f"a loss is no longer finite after {self.played} steps: lower the learning rates")
        return losses

    def play(self, steps: int) -> dict[str, float]:
        """Play some steps; return the mean of each loss. Both networks are in eval mode afterwards."""
        rows = [self.step() for _ in range(steps)]
        for net in (self.generator, self.discriminator, self.averaged):
            net.eval()
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


class WithNoise(nn.Module):
    """A U-Net with a source of noise: the same gray picture can get different colors.

    Args:
        net: a trained `UNet`; its weights are copied.
        kind: "z" adds input channels that hold one random number each, the same for all pixels of an image. Their
            weights begin as large as those of L. "dropout" drops half of the decoder's channels at random, also in
            eval mode.
        channels: number of channels of z.
    Raises:
        ValueError: another kind.
    Source: Isola et al. 2017, section 3.1.
    """

    def __init__(self, net: UNet, kind: str, channels: int = 8):
        super().__init__()
        if kind not in ("z", "dropout"):
            raise ValueError(f"kind is 'z' or 'dropout', got {kind!r}.")
        self.channels = channels if kind == "z" else 0
        self.net = UNet(**(net.recipe | {"dropout": 0.5 if kind == "dropout" else 0.0}))
        self.net.load_state_dict(net.state_dict())
        if self.channels:
            of_L = net.stem[0]
            wider = nn.Conv2d(1 + channels, of_L.out_channels, of_L.kernel_size, padding=of_L.padding)
            with torch.no_grad():
                wider.weight.normal_(std=of_L.weight.std().item())
                wider.weight[:, :1], wider.bias[:] = of_L.weight, of_L.bias
            self.net.stem[0] = wider

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        if self.channels:
            z = torch.randn(len(L), self.channels, 1, 1, device=L.device).expand(-1, -1, *L.shape[-2:])
            L = torch.cat([L, z], dim=1)
        return self.net(L)

    def train(self, mode: bool = True) -> "WithNoise":
        """Set the mode, except for dropout, which always drops."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.Dropout2d):
                part.training = True
        return self


class FromNoise(nn.Module):
    """A generator that ignores its gray picture and colors from noise, like that of an ordinary GAN.

    Args:
        net: L -> ab; in place of L it gets a coarse pattern of random numbers, 6 × 6 for the whole image, enlarged.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        z = torch.randn(len(L), 1, 6, 6, device=L.device)
        return self.net(F.interpolate(z, L.shape[-2:], mode="bilinear"))


def hue_diversity(generator: nn.Module, loader: Batches, draws: int = 8) -> float:
    """Return how much the hue of an ambiguous object changes when its picture is colored again.

    Returns:
        1 − |mean of the unit vectors of its hues|, the mean over all objects: 0 if an object always gets the same hue;
        `UNIFORM_DIVERSITY` for 8 draws of any hue.
    """
    masks = loader.masks
    hues = torch.stack([object_hues(predict(generator, loader), masks.objects, masks.ambiguous) for _ in range(draws)])
    return (1 - torch.polar(torch.ones_like(hues), hues).mean(dim=0).abs()).mean().item()


def variety(generator: nn.Module, loader: Batches) -> float:
    """Return how much the colors of a place differ between pictures, over the same of the true colors.

    Returns:
        Ratio of the standard deviations of ab over the pictures, each the mean over all places: 0 if all pictures get
        the same colors, 1 if they differ as much as the true ones.
    """
    true = torch.cat([ab for _, ab in loader]).cpu()
    return (predict(generator, loader).std(dim=0).mean() / true.std(dim=0).mean()).item()


def entropy_by_kind(generator: nn.Module | None, loader: Batches) -> dict[str, float]:
    """Return the hue entropy of the predicted balloons, cars and doors, as "hue_entropy/<kind>".

    If `generator` is None, return that of the true colors.
    """
    masks = loader.masks
    ab = torch.cat([ab for _, ab in loader]).cpu() if generator is None else predict(generator, loader)
    scores = {}
    for kind in KINDS:
        ids = torch.tensor([i for i in scenes.KINDS if scenes.KINDS[i] == kind])
        where = masks.ambiguous & torch.isin(masks.objects, ids)
        scores[f"hue_entropy/{kind}"] = hue_entropy(ab, masks.objects, where)
    return scores


def scores_of(generator: nn.Module, loader: Batches) -> dict[str, float]:
    """Return the scores of a generator that this chapter uses, rounded to three digits after the point."""
    scores = evaluate(generator, loader, perceptual=False) | entropy_by_kind(generator, loader)
    keys = [key for key in scores if key.startswith(("ab_mae/", "chroma_ratio/ambiguous", "hue_"))]
    return {key: round(scores[key], 3) for key in keys}


def ab_histogram(ab: torch.Tensor) -> torch.Tensor:
    """Count the pixels of ab (N, 2, H, W), network-scaled, in squares of 10 × 10 Lab units.

    Returns:
        int8 (22, 22), row = b, column = a, from −110 to 110: 7 times the binary logarithm of 1 + count, rounded. That
        holds up to 260,000 pixels in a square. `histogram_counts` undoes it.
    """
    bins = (ab * AB_SCALE / HISTOGRAM_STEP + HISTOGRAM_SIDE / 2).long().clamp(0, HISTOGRAM_SIDE - 1)
    a, b = bins.movedim(1, -1).reshape(-1, 2).unbind(1)
    counts = torch.bincount(b * HISTOGRAM_SIDE + a, minlength=HISTOGRAM_SIDE**2).reshape(HISTOGRAM_SIDE, -1)
    return (7 * (1 + counts).double().log2()).round().clamp(max=127).to(torch.int8)


def histogram_counts(packed: torch.Tensor) -> torch.Tensor:
    """Undo `ab_histogram`, except for the rounding."""
    return 2 ** (packed.double() / 7) - 1
