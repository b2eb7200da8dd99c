"""Training: one plain step function per stage, and the `fit_*` functions that call it on every batch."""

import os

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from colorlib.data import Loaders
from colorlib.loop import History, mixed_precision, run_epochs
from colorlib.losses import ADVERSARIAL, RECONSTRUCTION, AdversarialLoss, Loss, class_cross_entropy, pick
from colorlib.unet import LabelHead, UNet

WARM_UP = 0.03  # share of the steps in which the linear schedule rises


def reconstruction_step(
    generator: nn.Module, optimizer: torch.optim.Optimizer, L: torch.Tensor, ab: torch.Tensor, loss_fn: Loss
) -> torch.Tensor:
    """Update the generator toward the true ab; return the loss before the update, detached.

    Args:
        generator: L -> ab, in training mode.
        optimizer: optimizer of the generator's parameters.
        L, ab: (B, 1, H, W) and (B, 2, H, W), network-scaled.
        loss_fn: (ab_pred, ab) -> scalar loss, as in `losses.RECONSTRUCTION`.
    """
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
    """Update generator and label head toward the true ab and the class labels (B,); return both losses, detached.

    Source: Iizuka, Simo-Serra and Ishikawa 2016: features learned for classification also help to predict color.
    """
    with mixed_precision(L.device):
        ab_pred, features = generator.with_features(L)
        logits = label_head(features)
    loss, label_loss = loss_fn(ab_pred.float(), ab), class_cross_entropy(logits.float(), labels)
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
    """Train a generator to predict ab from L, with AdamW.

    Args:
        generator: L (B, 1, H, W) -> ab (B, 2, H, W), network-scaled. Trained in place, on the loaders' device.
        loaders: from `make_loaders`; `train` for the steps, `valid` for the scores after every epoch.
        loss: "l1", "l2" or "huber".
        epochs: passes over `loaders.train`.
        lr: peak of the learning rate. 0.02 suits networks with BatchNorm that start from random numbers; a pretrained
            encoder needs about 0.001.
        encoder_lr: peak of the learning rate for the parameters of `generator.encoder`, `lr` by default. A lower one
            suits a pretrained encoder with a random decoder.
        freeze: share of the steps, at the start, in which the weights of `generator.encoder` are not updated. The
            statistics of its BatchNorms are.
        schedule: "one-cycle" (Smith 2018), or "linear": the learning rate rises for 3 % of the steps, then falls to
            zero.
        label_weight: weight of a classification loss added to the reconstruction loss, see `joint_step`. For a `UNet`
            and loaders made with `labels=True`. The label head is discarded afterwards.
        checkpoint: file for the complete state of the training, written before the first step, every minute and at
            the end. If that fails later than at the first step, a warning says so and the training goes on.
        resume: continue from that file, if it exists, at the batch where it was written.
        progress: show a progress bar.
    Returns:
        A `History`. An interruption (Ctrl-C, Jupyter's ■) ends the training after the current batch, keeps the
        weights, writes the checkpoint and sets `history.interrupted`. A loss or weight that is not finite ends it too:
        the networks get their last good weights back, a warning and `history.diverged` say where it happened.
    Raises:
        ValueError: unknown loss or schedule, a label weight without labels or for a network other than `UNet`,
            `encoder_lr` or `freeze` for a generator without an encoder, batches too small for the network, or a
            checkpoint that is damaged or was written with different settings.
        FileExistsError: the checkpoint exists and `resume` is False.
        OSError: the checkpoint can't be written.
    """
    loss_fn = pick(RECONSTRUCTION, loss)
    if label_weight and not (loaders.classes and isinstance(generator, UNet)):
        raise ValueError("label_weight needs a UNet, and loaders made with labels=True.")
    if (encoder_lr is not None or freeze) and not hasattr(generator, "encoder"):
        raise ValueError(f"encoder_lr and freeze need a generator with an encoder, not a {type(generator).__name__}.")
    device = loaders.train.device
    generator.to(device, memory_format=torch.channels_last)
    trained = {"generator": generator}
    if label_weight:
        trained["label_head"] = LabelHead(generator.n_features, len(loaders.classes)).to(device)
    groups = _parameter_groups(trained, lr, encoder_lr)
    optimizer = torch.optim.AdamW(groups)
    steps = max(1, epochs * len(loaders.train))
    scheduler = _scheduler(optimizer, schedule, steps)

    def step(L: torch.Tensor, ab: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if freeze:
            generator.encoder.requires_grad_(scheduler.last_epoch >= freeze * steps)  # last_epoch counts steps
        if label_weight:
            losses = joint_step(generator, trained["label_head"], optimizer, L, ab, labels, loss_fn, label_weight)
        else:
            losses = {"train_loss": reconstruction_step(generator, optimizer, L, ab, loss_fn)}
        scheduler.step()
        return losses

    settings = {"stage": "reconstruction", "loss": loss, "epochs": epochs, "lr": lr, "label_weight": label_weight}
    try:
        return run_epochs(
            step,
            generator,
            loaders,
            epochs,
            state=trained | {"optimizer": optimizer, "schedule": scheduler},
            settings=settings | {"encoder_lr": encoder_lr, "freeze": freeze, "schedule": schedule},
            checkpoint=checkpoint,
            resume=resume,
            progress=progress,
        )
    finally:
        if freeze:
            generator.encoder.requires_grad_(True)


def _parameter_groups(trained: dict[str, nn.Module], lr: float, encoder_lr: float | None) -> list[dict]:
    """Return the parameters for an optimizer: one group, or with `encoder_lr` a second one for the encoder."""
    parameters = [p for net in trained.values() for p in net.parameters()]
    if encoder_lr is None:
        return [{"params": parameters, "lr": lr}]
    encoder = list(trained["generator"].encoder.parameters())
    in_encoder = {id(p) for p in encoder}
    rest = [p for p in parameters if id(p) not in in_encoder]
    return [{"params": rest, "lr": lr}, {"params": encoder, "lr": encoder_lr}]


def _scheduler(optimizer: torch.optim.Optimizer, name: str, steps: int) -> LRScheduler:
    """Return the schedule of that name. The present learning rate of each parameter group is its peak."""
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
    """Update the discriminator toward "real" for ab and "fake" for ab_fake; no gradient reaches the generator.

    Args:
        discriminator: (L, ab) -> logits (B, C, h, w), in training mode.
        optimizer: optimizer of the discriminator's parameters.
        L, ab, ab_fake: (B, 1, H, W), (B, 2, H, W) and (B, 2, H, W), network-scaled.
        loss_fn: (logits, real) -> scalar loss, the first of a pair in `losses.ADVERSARIAL`.
    Returns:
        "loss_d_real" and "loss_d_fake" before the update, detached.
    """
    with mixed_precision(L.device):
        # One forward pass for both: in separate passes, BatchNorm would normalize real and fake images with separate
        # statistics, and the discriminator would learn a task that it does not face in eval mode.
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
    """Update the generator toward "real" and the true ab.

    The discriminator, including its BatchNorm statistics, is not changed: gradients only pass through it.

    Args:
        discriminator: (L, ab) -> logits (B, C, h, w).
        optimizer: optimizer of the generator's parameters.
        L, ab: (B, 1, H, W) and (B, 2, H, W), network-scaled.
        ab_fake: (B, 2, H, W), the generator's output for L, with its autograd graph.
        adversarial: (logits, real) -> scalar loss, the second of a pair in `losses.ADVERSARIAL`.
        reconstruction: (ab_fake, ab) -> scalar loss.
        lambda_l1: weight of the reconstruction loss.
    Returns:
        "loss_g_gan" and "loss_g_l1" before the update, detached.
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
    """Train a generator against a discriminator (Pix2Pix), usually after `fit_reconstruction`.

    Each step predicts ab once, for both updates. Both networks use Adam with a learning rate that falls linearly to
    zero over the second half. At the end, the generator gets the exponential moving average (EMA) of its weights. The
    epoch with the lowest ab error is not selected, because ab error favors gray results.

    Args:
        generator: L -> ab, trained in place.
        discriminator: (L, ab) -> logits, trained in place: a `PatchDiscriminator` or a `FeatureDiscriminator`.
        loaders: from `make_loaders`; small batches (4) work best.
        adversarial: "bce", "lsgan" or "hinge".
        lambda_l1: weight of the L1 term beside the adversarial one. 100 in the paper; 20 suits the painted world.
        epochs: passes over `loaders.train`.
        lr_g, lr_d: learning rates of generator and discriminator. 2e-4 in the paper; 8e-4 suits short trainings.
        betas: of Adam, for both networks. (0.5, 0.999) in the paper; (0, 0.99) suits a `FeatureDiscriminator`, with the
            hinge loss, lr_g 1e-4 and lr_d 4e-4.
        ema: decay of the average per step.
        checkpoint, resume, progress: as in `fit_reconstruction`; the complete state of both networks is saved.
    Returns:
        A `History` with the mean loss_d_real, loss_d_fake, loss_g_gan and loss_g_l1 of every epoch. Its validation
        scores and previews are those of the averaged generator.
    Raises:
        ValueError, FileExistsError, OSError: as in `fit_reconstruction`.
    """
    loss_d, loss_g = pick(ADVERSARIAL, adversarial)
    betas = tuple(float(beta) for beta in betas)  # Adam refuses (0, 0.99)
    for net in (generator, discriminator):
        net.to(loaders.train.device, memory_format=torch.channels_last).train()
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
    discriminator.eval()
    return history
