"""Training: one plain step function a stage, and the fits that repeat it over all batches."""

import os

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from colorlib.data import Loaders
from colorlib.loop import History, mixed_precision, run_epochs
from colorlib.losses import ADVERSARIAL, RECONSTRUCTION, AdversarialLoss, Loss, label_cross_entropy, pick
from colorlib.unet import LabelHead, UNet

WARM_UP = 0.03  # share of the steps in which the linear schedule rises


def reconstruction_step(
    generator: nn.Module, optimizer: torch.optim.Optimizer, L: torch.Tensor, ab: torch.Tensor, loss_fn: Loss
) -> torch.Tensor:
    """Move the generator one step toward the true ab; return the loss, detached, before the step."""
    with mixed_precision(L.device):
        ab_pred = generator(L)
    loss = loss_fn(ab_pred.float(), ab)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def joint_step(
    generator: UNet,
    label_head: LabelHead,
    optimizer: torch.optim.Optimizer,
    L: torch.Tensor,
    ab: torch.Tensor,
    labels: torch.Tensor,
    loss_fn: Loss,
    label_weight: float,
) -> dict[str, torch.Tensor]:
    """Move generator and label head one step toward the true ab and the true labels (B,); return both losses.

    Source: Iizuka, Simo-Serra and Ishikawa 2016: who must name a picture learns features that color needs, too.
    """
    with mixed_precision(L.device):
        ab_pred, features = generator.with_features(L)
        logits = label_head(features)
    loss, label_loss = loss_fn(ab_pred.float(), ab), label_cross_entropy(logits.float(), labels)
    optimizer.zero_grad(set_to_none=True)
    (loss + label_weight * label_loss).backward()
    optimizer.step()
    return {"train_loss": loss.detach(), "label_loss": label_loss.detach()}


def fit_reconstruction(
    generator: nn.Module,
    loaders: Loaders,
    loss: str = "l1",
    *,
    epochs: int = 5,
    lr: float = 2e-2,
    encoder_lr: float | None = None,
    freeze: float = 0.0,
    schedule: str = "one-cycle",
    label_weight: float = 0.0,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a generator to rebuild ab from L, with AdamW.

    Args:
        generator: L (B, 1, H, W) -> ab (B, 2, H, W), network-scaled. Trained in place, on the loaders' device.
        loaders: from `make_loaders`; `train` is learned from, `valid` measured after every epoch.
        loss: "l1", "l2" or "huber".
        epochs: times through `loaders.train`.
        lr: the highest learning rate of the schedule. 0.02 is high, and suits networks with BatchNorm from random
            numbers; a pretrained encoder needs 0.001.
        encoder_lr: instead of `lr` for the parameters of `generator.encoder`: less, for an encoder that knows something
            beside a decoder that does not.
        freeze: share of the steps, from the first on, in which `generator.encoder` keeps its weights. Its BatchNorm
            statistics follow the images all the same.
        schedule: "one-cycle" (Smith 2018), or "linear": up in the first 3 % of the steps, then down to zero.
        label_weight: weight of naming the class of each picture beside the loss, see `joint_step`. For a `UNet`, and
            loaders made with `labels=True`. The head that names is thrown away afterwards.
        checkpoint: file for the whole state of the training, written every minute and at the end.
        resume: go on from that file, if it is there, at the very batch where it was written.
        progress: show a progress bar.
    Returns:
        A `History`. An interruption (Ctrl-C, Jupyter's ■) ends the training after the current batch, keeps what was
        learned, writes the checkpoint and sets `history.interrupted`.
    Raises:
        ValueError: unknown loss or schedule, a label weight without labels, `encoder_lr` or `freeze` for a generator
            without an encoder, or the checkpoint belongs to a training with other settings.
        FileExistsError: the checkpoint is there and `resume` is not asked for.
    """
    loss_fn = pick(RECONSTRUCTION, loss)
    if label_weight and not (loaders.classes and isinstance(generator, UNet)):
        raise ValueError("label_weight needs a UNet, and loaders made with labels=True.")
    if (encoder_lr is not None or freeze) and not hasattr(generator, "encoder"):
        raise ValueError(f"encoder_lr and freeze need a generator with an encoder, not a {type(generator).__name__}.")
    device = loaders.train.rgb.device
    generator.to(device, memory_format=torch.channels_last)
    learners = {"generator": generator}
    if label_weight:
        learners["label_head"] = LabelHead(generator.n_features, len(loaders.classes)).to(device)
    groups = _parameter_groups(generator, lr, encoder_lr)
    if label_weight:
        groups[0]["params"] += learners["label_head"].parameters()
    optimizer = torch.optim.AdamW(groups)
    steps = max(1, epochs * len(loaders.train))
    scheduler = _scheduler(optimizer, schedule, steps)

    def step(L: torch.Tensor, ab: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if freeze:
            generator.encoder.requires_grad_(scheduler.last_epoch >= freeze * steps)  # last_epoch counts steps
        if label_weight:
            losses = joint_step(generator, learners["label_head"], optimizer, L, ab, labels, loss_fn, label_weight)
        else:
            losses = {"train_loss": reconstruction_step(generator, optimizer, L, ab, loss_fn)}
        scheduler.step()
        return losses

    settings = {"stage": "reconstruction", "loss": loss, "epochs": epochs, "lr": lr, "label_weight": label_weight}
    history = run_epochs(
        step,
        generator,
        loaders,
        epochs,
        state=learners | {"optimizer": optimizer, "schedule": scheduler},
        settings=settings | {"encoder_lr": encoder_lr, "freeze": freeze, "schedule": schedule},
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )
    if freeze:
        generator.encoder.requires_grad_(True)
    return history


def _parameter_groups(generator: nn.Module, lr: float, encoder_lr: float | None) -> list[dict]:
    """Return what an optimizer takes: one group with `lr`, and with `encoder_lr` a second one for the encoder."""
    if encoder_lr is None:
        return [{"params": list(generator.parameters()), "lr": lr}]
    encoder = list(generator.encoder.parameters())
    known = {id(p) for p in encoder}
    rest = [p for p in generator.parameters() if id(p) not in known]
    return [{"params": rest, "lr": lr}, {"params": encoder, "lr": encoder_lr}]


def _scheduler(optimizer: torch.optim.Optimizer, name: str, steps: int) -> LRScheduler:
    """Return what changes the learning rate of each group, whose highest is the one it has now, over `steps` steps."""
    if name == "one-cycle":
        return OneCycleLR(optimizer, max_lr=[group["lr"] for group in optimizer.param_groups], total_steps=steps)
    if name == "linear":
        rise = max(1, round(WARM_UP * steps))
        return LambdaLR(optimizer, lambda step: min((step + 1) / rise, max(0, steps - step) / max(1, steps - rise)))
    raise ValueError(f"There is no schedule {name!r}; choose one of: one-cycle, linear.")


def discriminator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    L: torch.Tensor,
    ab: torch.Tensor,
    ab_fake: torch.Tensor,
    loss_fn: AdversarialLoss,
) -> dict[str, torch.Tensor]:
    """Move the discriminator one step toward "real" on ab and "fake" on ab_fake; the generator is left alone."""
    with mixed_precision(L.device):
        # One forward for both: BatchNorm would otherwise give each its own statistics, and the judge another problem
        # in training than afterwards.
        logits = discriminator(torch.cat([L, L]), torch.cat([ab, ab_fake.detach()]))
    real_logits, fake_logits = logits.chunk(2)
    loss_d_real, loss_d_fake = loss_fn(real_logits.float(), True), loss_fn(fake_logits.float(), False)
    optimizer.zero_grad(set_to_none=True)
    ((loss_d_real + loss_d_fake) / 2).backward()
    optimizer.step()
    return {"loss_d_real": loss_d_real.detach(), "loss_d_fake": loss_d_fake.detach()}


def generator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    L: torch.Tensor,
    ab: torch.Tensor,
    ab_fake: torch.Tensor,
    adversarial: AdversarialLoss,
    reconstruction: Loss,
    lambda_l1: float,
) -> dict[str, torch.Tensor]:
    """Move the generator, whose output `ab_fake` still has its graph, one step toward fooling and rebuilding.

    The discriminator is frozen meanwhile, its BatchNorm statistics too: gradients pass through it, none is kept.
    """
    was_training = discriminator.training
    discriminator.requires_grad_(False).eval()
    with mixed_precision(L.device):
        fake_logits = discriminator(L, ab_fake)
    loss_g_gan = adversarial(fake_logits.float(), True)
    loss_g_l1 = reconstruction(ab_fake, ab)
    optimizer.zero_grad(set_to_none=True)
    (loss_g_gan + lambda_l1 * loss_g_l1).backward()
    optimizer.step()
    discriminator.requires_grad_(True).train(was_training)
    return {"loss_g_gan": loss_g_gan.detach(), "loss_g_l1": loss_g_l1.detach()}


def fit_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    loaders: Loaders,
    *,
    adversarial: str = "bce",
    lambda_l1: float = 20.0,
    epochs: int = 5,
    lr_g: float = 8e-4,
    lr_d: float = 8e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    ema: float = 0.99,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a generator against a discriminator (Pix2Pix), usually from a generator that knows reconstruction already.

    Every step makes one fake: the discriminator judges it detached, the generator learns through it. Both use Adam
    with betas (0.5, 0.999), and a learning rate that falls to zero over the second half. The generator ends with the
    exponential moving average (EMA) of its weights. No epoch is picked: by ab error, the grayest would win.

    Args:
        generator: L -> ab, trained in place.
        discriminator: (L, ab) -> logits, trained in place.
        loaders: from `make_loaders`; small batches (4) suit the game.
        adversarial: "bce", "lsgan" or "hinge".
        lambda_l1: weight of the L1 term beside the adversarial one. 100 in the paper; 20 suits the painted world.
        epochs: times through `loaders.train`.
        lr_g, lr_d: learning rates of generator and discriminator. 2e-4 in the paper; 8e-4 learns more in a short game.
        betas: of both Adams. (0.5, 0.999) in the paper; (0, 0.99) suits a `FeatureDiscriminator`, with rates of 1e-4
            and 4e-4 and the hinge loss.
        ema: share of the average that each step keeps.
        checkpoint, resume, progress: as in `fit_reconstruction`; everything that learns is saved.
    Returns:
        A `History` with the mean loss_d_real, loss_d_fake, loss_g_gan and loss_g_l1 of every epoch. Its held-out
        numbers and previews are those of the averaged generator.
    Raises:
        ValueError, FileExistsError: as `fit_reconstruction`.
    """
    loss_d, loss_g = pick(ADVERSARIAL, adversarial)
    betas = tuple(float(beta) for beta in betas)  # Adam refuses (0, 0.99)
    for net in (generator, discriminator):
        net.to(loaders.train.rgb.device, memory_format=torch.channels_last).train()
    averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr, betas=betas) for net, lr in ((generator, lr_g), (discriminator, lr_d))
    ]
    steps = max(1, epochs * len(loaders.train))
    schedules = [LambdaLR(optimizer, lambda step: min(1.0, 2 - 2 * step / steps)) for optimizer in optimizers]

    def step(L: torch.Tensor, ab: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        generator.train()
        with mixed_precision(L.device):
            ab_fake = generator(L)
        ab_fake = ab_fake.float()
        losses = discriminator_step(discriminator, optimizers[1], L, ab, ab_fake, loss_d)
        losses |= generator_step(discriminator, optimizers[0], L, ab, ab_fake, loss_g, RECONSTRUCTION["l1"], lambda_l1)
        averaged.update_parameters(generator)
        for schedule in schedules:
            schedule.step()
        return losses

    names = ("optimizer_g", "optimizer_d", "schedule_g", "schedule_d")
    settings = {"stage": "gan", "adversarial": adversarial, "lambda_l1": lambda_l1, "epochs": epochs}
    history = run_epochs(
        step,
        averaged.module,
        loaders,
        epochs,
        state={"generator": generator, "discriminator": discriminator, "averaged": averaged}
        | dict(zip(names, [*optimizers, *schedules], strict=True)),
        settings=settings | {"lr_g": lr_g, "lr_d": lr_d, "betas": betas, "ema": ema},
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )
    generator.load_state_dict(averaged.module.state_dict())
    generator.eval()
    return history
