"""Training: it learns, it can be interrupted, and a resumed training equals an uninterrupted one."""

import math
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from colorlib import checkpoints, config, loop, losses, training
from colorlib.data import make_loaders
from colorlib.patchgan import PatchDiscriminator
from colorlib.tensors import unpack_checkpoint as unpack
from colorlib.training import fit_gan, fit_reconstruction, reconstruction_step
from colorlib.unet import UNet


@pytest.fixture(scope="module")
def loaders():
    return make_loaders("scenes", size=32, batch_size=4, n_train=16, n_test=8)


def small_net(dropout: float = 0.2) -> UNet:
    torch.manual_seed(0)
    return UNet(base_channels=4, n_down=2, dropout=dropout)


@pytest.mark.parametrize("loss", sorted(losses.RECONSTRUCTION))
def test_steps_lower_the_loss_on_one_batch(loaders, loss):
    net, (L, ab) = small_net(dropout=0), next(iter(loaders.valid))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    values = [reconstruction_step(net, optimizer, L, ab, losses.RECONSTRUCTION[loss]).item() for _ in range(40)]
    assert values[-1] < 0.5 * values[0]


def test_a_fit_learns_and_records_its_epochs(loaders):
    net = small_net()
    history = fit_reconstruction(net, loaders, epochs=6, lr=1e-2)
    assert history["epoch"] == [1, 2, 3, 4, 5, 6] and not history.interrupted and history.seconds > 0
    assert history["train_loss"][-1] < 0.6 * history["train_loss"][0]
    assert {"valid_ab_mae", "valid_ab_mae/determined", "valid_chroma_ratio/ambiguous"} <= set(history.rows[0])
    assert len(history.previews) == 6 and history.previews[0].shape == (8, 2, 32, 32)
    assert not torch.equal(history.previews[0], history.previews[-1])
    assert not net.training
    assert "valid_ab_mae" in repr(history)


def stop_after(batches: int, monkeypatch) -> None:
    """Press Ctrl-C during the given training step."""
    real_step, calls = training.reconstruction_step, iter(range(10_000))

    def step(*arguments):
        if next(calls) == batches:
            signal.raise_signal(signal.SIGINT)
        return real_step(*arguments)

    monkeypatch.setattr(training, "reconstruction_step", step)


@pytest.mark.parametrize("batches", [1, 4, 6])  # within the first epoch, at its end, in the second
def test_a_resumed_training_equals_an_uninterrupted_one(loaders, tmp_path, monkeypatch, batches):
    whole = small_net()
    torch.manual_seed(1)
    expected = fit_reconstruction(whole, loaders, epochs=3)

    net, path = small_net(), tmp_path / "training.pt"
    torch.manual_seed(1)
    with monkeypatch.context() as patch:
        stop_after(batches, patch)
        stopped = fit_reconstruction(net, loaders, epochs=3, checkpoint=path)
    assert stopped.interrupted and len(stopped.rows) < 3

    net = UNet(base_channels=4, n_down=2, dropout=0.2)  # as in another process: other weights, another seed
    torch.manual_seed(99)
    history = fit_reconstruction(net, loaders, epochs=3, checkpoint=path, resume=True)
    assert not history.interrupted and history["epoch"] == [1, 2, 3]
    assert history["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
    for name, value in whole.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name

    done = fit_reconstruction(net, loaders, epochs=3, checkpoint=path, resume=True)
    assert done.rows == history.rows  # a finished training is not continued


def test_an_interruption_without_a_checkpoint_keeps_the_weights(loaders, monkeypatch, capsys):
    net, before = small_net(), small_net().state_dict()
    handler = signal.getsignal(signal.SIGINT)
    stop_after(2, monkeypatch)
    history = fit_reconstruction(net, loaders, epochs=3)
    assert history.interrupted and "Stopped in epoch 1 of 3" in capsys.readouterr().out
    assert any(not torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert signal.getsignal(signal.SIGINT) is handler


def test_checkpoints_are_written_during_an_epoch(loaders, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    places = []
    monkeypatch.setattr(checkpoints, "save_checkpoint", lambda kept, path: places.append(unpack(kept)["place"]))
    fit_reconstruction(small_net(), loaders, epochs=1, checkpoint=tmp_path / "c.pt")
    assert places == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0)]


def test_a_checkpoint_is_not_overwritten_or_resumed_with_other_settings(loaders, tmp_path):
    path = tmp_path / "c.pt"
    fit_reconstruction(small_net(), loaders, epochs=1, checkpoint=path)
    with pytest.raises(FileExistsError, match="resume=True"):
        fit_reconstruction(small_net(), loaders, epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match=r"\(epochs was 1, now 2\)"):
        fit_reconstruction(small_net(), loaders, epochs=2, checkpoint=path, resume=True)
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="c.pt"):
        fit_reconstruction(small_net(), loaders, epochs=1, checkpoint=path, resume=True)


def test_an_unknown_loss_is_refused(loaders):
    with pytest.raises(ValueError, match="'l3'.*l1, l2, huber"):
        fit_reconstruction(small_net(), loaders, loss="l3")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Photos of two classes that differ in lightness: horizontal stripes and vertical stripes."""
    folder = tmp_path_factory.mktemp("labeled")
    rng = np.random.default_rng(0)
    for name in ("horizontal", "vertical"):
        (folder / name).mkdir()
        for i in range(20):
            stripes = np.repeat(rng.integers(0, 256, (8, 1, 3)), 4, axis=0) * np.ones((1, 32, 1))
            rgb = stripes if name == "horizontal" else stripes.swapaxes(0, 1)
            Image.fromarray(rgb.astype(np.uint8)).save(folder / name / f"{i}.png")
    return make_loaders(folder, size=32, batch_size=4, n_test=2, labels=True)


def test_a_network_can_learn_class_labels_beside_colors(labeled, tmp_path):
    net, path = small_net(dropout=0), tmp_path / "c.pt"
    history = fit_reconstruction(net, labeled, epochs=12, lr=1e-2, label_weight=1.0, checkpoint=path)
    assert history["label_loss"][0] > 0.4 and history["label_loss"][-1] < 0.2  # by chance: log 2 = 0.69
    assert {name.split(".")[0] for name in net.state_dict()} == {"stem", "encoder", "decoder", "head"}
    again = fit_reconstruction(net, labeled, epochs=12, lr=1e-2, label_weight=1.0, checkpoint=path, resume=True)
    assert again.rows == history.rows  # the label head is part of the checkpoint


def test_labels_are_ignored_without_a_label_weight(labeled):
    assert "label_loss" not in fit_reconstruction(small_net(), labeled, epochs=1).rows[0]
    assert "loss_d_real" in fit_gan(small_net(), PatchDiscriminator(4, n_down=1), labeled, epochs=1).rows[0]


def test_a_label_weight_needs_labels_and_a_unet(loaders, labeled):
    for net, source in ((small_net(), loaders), (torch.nn.Conv2d(1, 2, 1), labeled)):
        with pytest.raises(ValueError, match="label_weight needs"):
            fit_reconstruction(net, source, label_weight=0.1)


def test_the_label_loss_is_the_mean_over_labeled_images():
    logits, labels = torch.randn(3, 4), torch.tensor([2, -100, 0])
    by_hand = -logits.log_softmax(1)[[0, 2], [2, 0]].mean()
    assert torch.allclose(losses.class_cross_entropy(logits, labels), by_hand)
    assert losses.class_cross_entropy(logits, torch.full((3,), -100)) == 0


class TwoParts(torch.nn.Module):
    """A small generator with an `encoder`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4))
        self.decoder = torch.nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, L):
        return torch.tanh(self.decoder(self.encoder(L)))


def test_the_encoder_can_have_its_own_learning_rate(loaders, monkeypatch):
    """Both rates follow the schedule, and their ratio is constant."""
    rates = []
    real_step = training.reconstruction_step

    def step(generator, optimizer, *arguments):
        rates.append([group["lr"] for group in optimizer.param_groups])
        return real_step(generator, optimizer, *arguments)

    monkeypatch.setattr(training, "reconstruction_step", step)
    fit_reconstruction(TwoParts(), loaders, epochs=25, lr=1e-2, encoder_lr=1e-3, schedule="linear")
    rest, encoder = np.array(rates).T
    assert len(rest) == 100 and rest / encoder == pytest.approx(np.full(100, 10))
    assert rest[:4] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])
    assert rest[-1] == pytest.approx(1e-2 / 97)

    net = TwoParts()
    before = weights(net.encoder), weights(net.decoder)
    fit_reconstruction(net, loaders, epochs=1, lr=1e-2, encoder_lr=0.0)
    assert same(before[0], weights(net.encoder)) and not same(before[1], weights(net.decoder))


def test_a_frozen_encoder_is_trained_after_its_share_of_the_steps(loaders, monkeypatch):
    moved, real_step = [], training.reconstruction_step

    def step(generator, *arguments):
        before = weights(generator.encoder), weights(generator.decoder)
        loss = real_step(generator, *arguments)
        moved.append([not same(b, weights(net)) for b, net in zip(before, (generator.encoder, generator.decoder))])
        return loss

    monkeypatch.setattr(training, "reconstruction_step", step)
    net = TwoParts()
    fit_reconstruction(net, loaders, epochs=2, lr=1e-2, freeze=0.5)
    assert moved == [[False, True]] * 4 + [[True, True]] * 4
    fit_reconstruction(net, loaders, epochs=1, lr=1e-2, freeze=1.0)
    assert all(p.requires_grad for p in net.parameters())


def test_a_resumed_training_has_the_same_learning_rates(loaders, tmp_path, monkeypatch):
    settings = {"epochs": 3, "lr": 1e-2, "encoder_lr": 1e-3, "freeze": 0.5, "schedule": "linear"}
    whole, net, path = TwoParts(), TwoParts(), tmp_path / "c.pt"
    expected = fit_reconstruction(whole, loaders, **settings)
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        fit_reconstruction(net, loaders, checkpoint=path, **settings)
    for change in ({"encoder_lr": 2e-3}, {"schedule": "one-cycle"}, {"freeze": 0.0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            fit_reconstruction(TwoParts(), loaders, checkpoint=path, resume=True, **settings | change)
    history = fit_reconstruction(TwoParts(), loaders, checkpoint=path, resume=True, **settings)
    assert history["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)


def test_an_unknown_schedule_and_a_generator_without_an_encoder_are_refused(loaders):
    for option in ({"encoder_lr": 1e-3}, {"freeze": 0.5}):
        with pytest.raises(ValueError, match="encoder_lr and freeze need.*Conv2d"):
            fit_reconstruction(torch.nn.Conv2d(1, 2, 1), loaders, **option)
    with pytest.raises(ValueError, match="'cosine'.*one-cycle, linear"):
        fit_reconstruction(small_net(), loaders, schedule="cosine")


def test_adversarial_losses_have_their_textbook_values():
    """A logit of 0 is random guessing: BCE log 2, LSGAN 1 or 0, hinge 1."""
    guess, sure = torch.zeros(2, 1, 3, 3), torch.full((2, 1, 3, 3), 3.0)
    assert losses.bce(guess, True).item() == pytest.approx(math.log(2))
    assert losses.bce(sure, False).item() == pytest.approx(math.log(1 + math.exp(3)))
    assert [losses.lsgan(guess, real).item() for real in (True, False)] == [1, 0]
    assert [losses.hinge(sure, real).item() for real in (True, False)] == [0, 4]
    assert losses.hinge(guess, True).item() == losses.hinge(guess, False).item() == 1
    assert losses.generator_hinge(sure, True).item() == -3


# --- The GAN stage ---


def two_networks() -> tuple[UNet, PatchDiscriminator]:
    torch.manual_seed(0)
    return UNet(base_channels=4, n_down=2, dropout=0.2), PatchDiscriminator(base_channels=4, n_down=1)


def weights(net: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other))


def test_each_step_updates_one_network(loaders):
    net, discriminator = two_networks()
    L, ab = loaders.valid.first(4)
    optimizer_g, optimizer_d = (torch.optim.Adam(n.parameters(), 1e-3) for n in (net, discriminator))
    ab_fake = net(L)
    before_g, before_d = weights(net), weights(discriminator)
    training.discriminator_step(discriminator, optimizer_d, L, ab, ab_fake, losses.bce)
    assert same(before_g, weights(net)) and not same(before_d, weights(discriminator))
    assert all(p.grad is None for p in net.parameters())

    before_d = weights(discriminator)
    for p in discriminator.parameters():
        p.grad = None
    training.generator_step(discriminator, optimizer_g, L, ab, ab_fake, losses.bce, losses.RECONSTRUCTION["l1"], 20.0)
    assert not same(before_g, weights(net)) and same(before_d, weights(discriminator))
    assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())


@pytest.mark.parametrize("adversarial", sorted(losses.ADVERSARIAL))
def test_each_network_learns_against_the_other_held_fixed(loaders, adversarial):
    loss_d, loss_g = losses.ADVERSARIAL[adversarial]
    net, discriminator = two_networks()
    L, ab = loaders.valid.first(8)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
    for _ in range(150):
        training.discriminator_step(discriminator, optimizer, L, ab, torch.zeros_like(ab), loss_d)
    discriminator.eval()
    assert discriminator(L, ab).mean() > discriminator(L, torch.zeros_like(ab)).mean() + 0.3  # in eval mode, too
    optimizer, before = torch.optim.Adam(net.parameters(), 1e-2), loss_g(discriminator(L, net(L)), True).item()
    for _ in range(30):
        training.generator_step(discriminator, optimizer, L, ab, net(L), loss_g, losses.RECONSTRUCTION["l1"], 0.0)
    assert loss_g(discriminator(L, net(L)), True).item() < before


def test_fit_gan_records_its_losses_and_ends_with_the_average(loaders):
    net, discriminator = two_networks()
    history = fit_gan(net, discriminator, loaders, epochs=2, lr_g=2e-4, ema=1.0)
    assert {"loss_d_real", "loss_d_fake", "loss_g_gan", "loss_g_l1", "valid_ab_mae"} <= set(history.rows[0])
    start, _ = two_networks()
    for (name, value), first in zip(net.named_parameters(), start.parameters()):
        # With ema=1 the average stays at the weights after the first step, a learning rate away from the start.
        assert torch.allclose(value, first, atol=5e-4), name
    moved, discriminator = two_networks()
    fit_gan(moved, discriminator, loaders, epochs=2, ema=0.0)
    assert not same(weights(moved), weights(start))
    assert not net.training


@pytest.mark.parametrize("batches", [2, 5])
def test_a_resumed_gan_stage_equals_an_uninterrupted_one(loaders, tmp_path, monkeypatch, batches):
    whole, discriminator = two_networks()
    torch.manual_seed(1)
    expected = fit_gan(whole, discriminator, loaders, epochs=2)

    net, other_discriminator = two_networks()
    torch.manual_seed(1)
    with monkeypatch.context() as patch:
        real_step, calls = training.generator_step, iter(range(10_000))

        def step(*arguments):
            if next(calls) == batches:
                signal.raise_signal(signal.SIGINT)
            return real_step(*arguments)

        patch.setattr(training, "generator_step", step)
        assert fit_gan(net, other_discriminator, loaders, epochs=2, checkpoint=tmp_path / "gan.pt").interrupted

    net = UNet(base_channels=4, n_down=2, dropout=0.2)
    other_discriminator = PatchDiscriminator(base_channels=4, n_down=1)
    torch.manual_seed(99)
    history = fit_gan(net, other_discriminator, loaders, epochs=2, checkpoint=tmp_path / "gan.pt", resume=True)
    assert history["loss_g_gan"] == pytest.approx(expected["loss_g_gan"], rel=1e-4)
    for ours, theirs in ((net, whole), (other_discriminator, discriminator)):
        for name, value in theirs.state_dict().items():
            assert torch.allclose(ours.state_dict()[name], value, atol=1e-6), name
    with pytest.raises(ValueError, match="lambda_l1"):
        fit_gan(net, other_discriminator, loaders, epochs=2, lambda_l1=5.0, checkpoint=tmp_path / "gan.pt", resume=True)
    with pytest.raises(ValueError, match="'wgan'.*bce"):
        fit_gan(net, other_discriminator, loaders, adversarial="wgan")


def test_the_full_preset_runs_through_both_stages(monkeypatch):
    """The preset for a GPU, with tiny sizes; the rest of it unchanged."""
    monkeypatch.setenv("COLORLIB_RUN", "full")
    monkeypatch.setenv("COLORLIB_DEVICE", "cpu")
    run = replace(config.from_env(), size=32, n_train=8, n_test=4, epochs=1, gan_epochs=1, base_channels=4)
    assert run.preset == "full"
    config.seed_everything(run.seed)
    loaders = make_loaders("scenes", run.size, 4, n_train=run.n_train, n_test=run.n_test, device=run.device)
    net = UNet(run.base_channels)
    history = fit_reconstruction(net, loaders, epochs=run.epochs)
    gan_history = fit_gan(net, PatchDiscriminator(), loaders, epochs=run.gan_epochs)
    for row in (*history.rows, *gan_history.rows):
        assert all(math.isfinite(value) for value in row.values())
