"""Train Pix2Pix for colorization in one file: data, two networks, two steps, one loop, a sample sheet.

    python examples/train_pix2pix.py                  # painted scenes, about a minute on two CPU cores
    python examples/train_pix2pix.py --source my_photos --size 128 --l1-epochs 20 --gan-epochs 10

The method is that of Isola et al. 2017, with three changes that chapter 04 explains: an L1 stage comes first, the
weight of L1 is 20 instead of 100, and the result has averaged weights. `colorlib.fit_reconstruction` and
`colorlib.fit_gan` do the same, and can be interrupted and resumed.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import colorlib
from colorlib import show

parser = argparse.ArgumentParser(description="Train Pix2Pix for colorization.")
parser.add_argument("--source", default="scenes", help="scenes, bundled, imagenette, coco, or a folder of photos")
parser.add_argument("--size", type=int, default=64, help="side of the training images, pixels")
parser.add_argument("--n-train", type=int, default=500, help="number of training images")
parser.add_argument("--n-test", type=int, default=100, help="number of held-out images")
parser.add_argument("--batch-size", type=int, default=4, help="images per batch")
parser.add_argument("--l1-epochs", type=int, default=3, help="epochs of the L1 stage")
parser.add_argument("--gan-epochs", type=int, default=3, help="epochs of the GAN stage")
parser.add_argument("--base-channels", type=int, default=16, help="width of the U-Net")
parser.add_argument("--lambda-l1", type=float, default=20.0, help="weight of L1 in the GAN stage")
parser.add_argument("--seed", type=int, default=0, help="random seed")
parser.add_argument("--device", help="cpu, cuda or mps; the fastest available by default")
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the weights and the sample sheet")
options = parser.parse_args()

device = colorlib.config.pick_device(options.device)
colorlib.config.seed_everything(options.seed)
amp = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")  # losses stay in float32

# ---------------------------------------------------------------------------------------------------------------------
# Data: batches of L (B, 1, H, W) and ab (B, 2, H, W), both scaled to [-1, 1].

loaders = colorlib.make_loaders(
    options.source, options.size, options.batch_size, n_train=options.n_train, n_test=options.n_test, device=device
)
print(loaders)

# ---------------------------------------------------------------------------------------------------------------------
# Networks: the generator predicts ab from L. The discriminator scores patches of (L, ab): logits (B, 1, h, w).

generator = colorlib.UNet(options.base_channels).to(device, memory_format=torch.channels_last)
discriminator = colorlib.PatchDiscriminator().to(device, memory_format=torch.channels_last)
averaged = torch.optim.swa_utils.AveragedModel(
    generator, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
)
print(f"generator: {sum(p.numel() for p in generator.parameters()):,} parameters")
print(f"discriminator: {sum(p.numel() for p in discriminator.parameters()):,} parameters, "
      f"one logit per {discriminator.patch_size} px patch")  # fmt: skip


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


# ---------------------------------------------------------------------------------------------------------------------
# Steps.


def l1_step(L, ab):
    """Move the predicted ab toward the true ab."""
    with amp:
        ab_pred = generator(L)
    loss = F.l1_loss(ab_pred.float(), ab)
    update(optimizer_l1, loss)
    schedule_l1.step()
    return {"loss_l1": loss.detach()}


def gan_step(L, ab):
    """Train the discriminator to tell real from fake; then train the generator toward "real" and toward the true ab."""
    with amp:
        ab_fake = generator(L)  # one prediction for both updates

    with amp:  # one forward pass for real and fake, so that both get the same BatchNorm statistics
        logits = discriminator(torch.cat([L, L]), torch.cat([ab, ab_fake.detach()]))
    real_logits, fake_logits = logits.float().chunk(2)
    loss_d = F.softplus(-real_logits).mean() / 2 + F.softplus(fake_logits).mean() / 2  # BCE; random guessing: log 2
    update(optimizer_d, loss_d)

    discriminator.requires_grad_(False).eval()
    with amp:
        fake_logits = discriminator(L, ab_fake)
    loss_g_gan = F.softplus(-fake_logits.float()).mean()  # BCE against "real"
    loss_g_l1 = F.l1_loss(ab_fake.float(), ab)
    update(optimizer_g, loss_g_gan + options.lambda_l1 * loss_g_l1)
    discriminator.requires_grad_(True).train()

    averaged.update_parameters(generator)
    return {"loss_d": loss_d.detach(), "loss_g_gan": loss_g_gan.detach(), "loss_g_l1": loss_g_l1.detach()}


# ---------------------------------------------------------------------------------------------------------------------
# The loop.

optimizer_l1 = torch.optim.AdamW(generator.parameters(), lr=2e-2)
total_steps = max(1, options.l1_epochs * len(loaders.train))
schedule_l1 = torch.optim.lr_scheduler.OneCycleLR(optimizer_l1, max_lr=2e-2, total_steps=total_steps)
optimizer_g = torch.optim.Adam(generator.parameters(), lr=8e-4, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=8e-4, betas=(0.5, 0.999))


def run_epoch(number: int, step) -> None:
    """Call `step` on every batch; print the mean losses."""
    start, sums = time.monotonic(), {}
    generator.train()
    for L, ab in loaders.train.epoch(number):
        for name, loss in step(L, ab).items():
            sums[name] = sums.get(name, 0) + loss
    means = "  ".join(f"{name} {float(total) / len(loaders.train):.3f}" for name, total in sums.items())
    print(f"epoch {number + 1}: {means}  ({time.monotonic() - start:.0f} s)", flush=True)


for epoch in range(options.l1_epochs):
    run_epoch(epoch, l1_step)
ab_l1 = colorlib.predict(generator, loaders.test)  # (N, 2, H, W)
averaged.update_parameters(generator)  # the average starts at the L1 stage
for epoch in range(options.l1_epochs, options.l1_epochs + options.gan_epochs):
    run_epoch(epoch, gan_step)
generator.load_state_dict(averaged.module.state_dict())

# ---------------------------------------------------------------------------------------------------------------------
# Results, on images that were never trained on.

for name, predict in {"gray": colorlib.gray, "Pix2Pix": generator}.items():
    scores = colorlib.evaluate(predict, loaders.test)
    print(f"{name:8} ab MAE {scores['ab_mae']:.1f}  colorfulness {scores['colorfulness']:.0f} "
          f"(truth {scores['colorfulness_true']:.0f})")  # fmt: skip

colorlib.save_generator(generator, options.out / "pix2pix.safetensors")
L, ab = loaders.test.first(6)
figure = show.predictions(L, ab, L1=ab_l1[:6], Pix2Pix=colorlib.predict(generator, L))
figure.savefig(options.out / "pix2pix.png")
print(f"saved: {options.out / 'pix2pix.safetensors'}, {options.out / 'pix2pix.png'}")
