"""Training: it learns, it stops where it is told, and it goes on as if it had never stopped."""

import math
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from colorlib import loop, losses, training
from colorlib.batches import NO_LABEL
from colorlib.data import make_loaders
from colorlib.loop import History
from colorlib.patchgan import PatchDiscriminator
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


def test_a_fit_learns_and_writes_it_down(loaders):
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
    """Send this process a Ctrl-C during the given training step."""
    real_step, calls = training.reconstruction_step, iter(range(10_000))

    def step(*arguments):
        if next(calls) == batches:
            os.kill(os.getpid(), signal.SIGINT)
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

    net = UNet(base_channels=4, n_down=2, dropout=0.2)  # another process would start from anything
    torch.manual_seed(99)
    history = fit_reconstruction(net, loaders, epochs=3, checkpoint=path, resume=True)
    assert not history.interrupted and history["epoch"] == [1, 2, 3]
    assert history["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
    for name, value in whole.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name

    done = fit_reconstruction(net, loaders, epochs=3, checkpoint=path, resume=True)
    assert done.rows == history.rows, "resuming what is finished trains no further"


def test_an_interruption_without_a_checkpoint_keeps_what_was_learned(loaders, monkeypatch, capsys):
    net, before = small_net(), small_net().state_dict()
    handler = signal.getsignal(signal.SIGINT)
    stop_after(2, monkeypatch)
    history = fit_reconstruction(net, loaders, epochs=3)
    assert history.interrupted and "Stopped in epoch 1 of 3" in capsys.readouterr().out
    assert any(not torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert signal.getsignal(signal.SIGINT) is handler


def test_checkpoints_are_written_along_the_way(loaders, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    written = []
    monkeypatch.setattr(loop, "_save", lambda path, state, settings, history, place, sums: written.append(dict(place)))
    fit_reconstruction(small_net(), loaders, epochs=1, checkpoint=tmp_path / "c.pt")
    assert [place["batch"] for place in written[:3]] == [1, 2, 3]


def test_a_checkpoint_is_never_overwritten_or_mixed_up(loaders, tmp_path):
    path = tmp_path / "c.pt"
    fit_reconstruction(small_net(), loaders, epochs=1, checkpoint=path)
    with pytest.raises(FileExistsError, match="resume=True"):
        fit_reconstruction(small_net(), loaders, epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match="'epochs': 1.*'epochs': 2"):
        fit_reconstruction(small_net(), loaders, epochs=2, checkpoint=path, resume=True)
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="c.pt"):
        fit_reconstruction(small_net(), loaders, epochs=1, checkpoint=path, resume=True)


def test_an_unknown_loss_is_answered_with_the_known_ones(loaders):
    with pytest.raises(ValueError, match="'l3'.*l1, l2, huber"):
        fit_reconstruction(small_net(), loaders, loss="l3")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Made-up photos of two classes that light alone tells apart: stripes across, and stripes down."""
    folder = tmp_path_factory.mktemp("labeled")
    rng = np.random.default_rng(0)
    for name in ("across", "down"):
        (folder / name).mkdir()
        for i in range(20):
            stripes = np.repeat(rng.integers(0, 256, (8, 1, 3)), 4, axis=0) * np.ones((1, 32, 1))
            picture = stripes if name == "across" else stripes.swapaxes(0, 1)
            Image.fromarray(picture.astype(np.uint8)).save(folder / name / f"{i}.png")
    return make_loaders(folder, size=32, batch_size=4, n_test=2, labels=True)


def test_a_network_learns_to_name_what_it_colors(labeled, tmp_path):
    net, path = small_net(dropout=0), tmp_path / "c.pt"
    history = fit_reconstruction(net, labeled, epochs=12, lr=1e-2, label_weight=1.0, checkpoint=path)
    assert history["label_loss"][0] > 0.4 and history["label_loss"][-1] < 0.2  # log 2 = 0.69 is a coin's
    assert {name.split(".")[0] for name in net.state_dict()} == {"stem", "encoder", "decoder", "head"}
    again = fit_reconstruction(net, labeled, epochs=12, lr=1e-2, label_weight=1.0, checkpoint=path, resume=True)
    assert again.rows == history.rows, "the label head is part of the checkpoint"


def test_labels_do_not_disturb_a_training_that_does_not_ask_for_them(labeled):
    assert "label_loss" not in fit_reconstruction(small_net(), labeled, epochs=1).rows[0]
    assert "loss_d_real" in fit_gan(small_net(), PatchDiscriminator(4, n_down=1), labeled, epochs=1).rows[0]


def test_a_label_weight_needs_labels_and_a_unet(loaders, labeled):
    for net, source in ((small_net(), loaders), (torch.nn.Conv2d(1, 2, 1), labeled)):
        with pytest.raises(ValueError, match="label_weight needs"):
            fit_reconstruction(net, source, label_weight=0.1)


def test_the_label_loss_is_the_mean_over_the_pictures_that_have_one():
    logits, labels = torch.randn(3, 4), torch.tensor([2, NO_LABEL, 0])
    by_hand = -logits.log_softmax(1)[[0, 2], [2, 0]].mean()
    assert torch.allclose(losses.label_cross_entropy(logits, labels), by_hand)
    assert losses.label_cross_entropy(logits, torch.full((3,), NO_LABEL)) == 0


class TwoParts(torch.nn.Module):
    """A generator whose encoder is named so."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4))
        self.decoder = torch.nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, L):
        return torch.tanh(self.decoder(self.encoder(L)))


def test_an_encoder_gets_its_own_rate(loaders, monkeypatch):
    """Rates rise, fall to zero, and keep their ratio."""
    rates = []
    real_step = training.reconstruction_step

    def step(generator, optimizer, *arguments):
        rates.append([group["lr"] for group in optimizer.param_groups])
        return real_step(generator, optimizer, *arguments)

    monkeypatch.setattr(training, "reconstruction_step", step)
    net = TwoParts()
    fit_reconstruction(net, loaders, epochs=25, lr=1e-2, encoder_lr=1e-3, schedule="linear")
    rest, encoder = np.array(rates).T
    assert len(rest) == 100 and rest / encoder == pytest.approx(np.full(100, 10))
    assert rest[:4] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2 * 97 / 97]) and rest[-1] == pytest.approx(
        1e-2 / 97
    )

    frozen = TwoParts()
    before = weights(frozen.encoder), weights(frozen.decoder)
    fit_reconstruction(frozen, loaders, epochs=1, lr=1e-2, encoder_lr=0.0)
    assert same(before[0], weights(frozen.encoder)) and not same(before[1], weights(frozen.decoder))


def test_a_frozen_encoder_keeps_its_weights_until_its_share_of_the_steps_is_over(loaders, monkeypatch):
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


def test_a_resumed_training_keeps_both_rates(loaders, tmp_path, monkeypatch):
    settings = {"epochs": 3, "lr": 1e-2, "encoder_lr": 1e-3, "schedule": "linear"}
    whole, net, path = TwoParts(), TwoParts(), tmp_path / "c.pt"
    expected = fit_reconstruction(whole, loaders, **settings)
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        fit_reconstruction(net, loaders, checkpoint=path, **settings)
    for change in ({"encoder_lr": 2e-3}, {"schedule": "one-cycle"}):
        with pytest.raises(ValueError, match=next(iter(change))):
            fit_reconstruction(TwoParts(), loaders, checkpoint=path, resume=True, **settings | change)
    history = fit_reconstruction(TwoParts(), loaders, checkpoint=path, resume=True, **settings)
    assert history["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)


def test_a_rate_for_an_encoder_needs_one_and_an_unknown_schedule_is_named(loaders):
    for option in ({"encoder_lr": 1e-3}, {"freeze": 0.5}):
        with pytest.raises(ValueError, match="encoder_lr and freeze need.*Conv2d"):
            fit_reconstruction(torch.nn.Conv2d(1, 2, 1), loaders, **option)
    with pytest.raises(ValueError, match="'cosine'.*one-cycle, linear"):
        fit_reconstruction(small_net(), loaders, schedule="cosine")


def test_an_empty_history_can_be_shown():
    assert repr(History()) == "no epoch finished yet"


def test_adversarial_losses_have_their_textbook_values():
    """At logit 0 a discriminator is a coin: BCE log 2, LSGAN 1 or 0, hinge 1."""
    coin, sure = torch.zeros(2, 1, 3, 3), torch.full((2, 1, 3, 3), 3.0)
    assert losses.bce(coin, True).item() == pytest.approx(math.log(2))
    assert losses.bce(sure, False).item() == pytest.approx(math.log(1 + math.exp(3)))
    assert (losses.lsgan(coin, True).item(), losses.lsgan(coin, False).item()) == (1, 0)
    assert (losses.hinge(sure, True).item(), losses.hinge(sure, False).item(), losses.hinge(coin, True).item()) == (
        0,
        4,
        1,
    )
    assert losses.generator_hinge(sure, True).item() == -3


# --- the game ---------------------------------------------------------------------------------------------------------


def players() -> tuple[UNet, PatchDiscriminator]:
    torch.manual_seed(0)
    return UNet(base_channels=4, n_down=2, dropout=0.2), PatchDiscriminator(base_channels=4, n_down=1)


def weights(net: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other))


def test_each_player_moves_only_itself(loaders):
    net, judge = players()
    L, ab = loaders.valid.first(4)
    optimizer_g, optimizer_d = (torch.optim.Adam(n.parameters(), 1e-3) for n in (net, judge))
    ab_fake = net(L)
    before_g, before_d = weights(net), weights(judge)
    training.discriminator_step(judge, optimizer_d, L, ab, ab_fake, losses.bce)
    assert same(before_g, weights(net)) and not same(before_d, weights(judge))
    assert all(p.grad is None for p in net.parameters())

    before_d = weights(judge)
    for p in judge.parameters():
        p.grad = None
    training.generator_step(judge, optimizer_g, L, ab, ab_fake, losses.bce, losses.RECONSTRUCTION["l1"], 20.0)
    assert not same(before_g, weights(net)) and same(before_d, weights(judge))
    assert all(p.grad is None and p.requires_grad for p in judge.parameters())


@pytest.mark.parametrize("adversarial", sorted(losses.ADVERSARIAL))
def test_a_judge_learns_to_tell_and_a_generator_to_fool(loaders, adversarial):
    loss_d, loss_g = losses.ADVERSARIAL[adversarial]
    net, judge = players()
    L, ab = loaders.valid.first(8)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(150):
        training.discriminator_step(judge, optimizer, L, ab, torch.zeros_like(ab), loss_d)
    judge.eval()
    assert judge(L, ab).mean() > judge(L, torch.zeros_like(ab)).mean() + 0.3, "also outside of training"
    optimizer, before = torch.optim.Adam(net.parameters(), 1e-2), loss_g(judge(L, net(L)), True).item()
    for _ in range(30):
        training.generator_step(judge, optimizer, L, ab, net(L), loss_g, losses.RECONSTRUCTION["l1"], 0.0)
    assert loss_g(judge(L, net(L)), True).item() < before


def test_a_game_is_written_down_and_ends_with_the_average(loaders):
    net, judge = players()
    history = fit_gan(net, judge, loaders, epochs=2, lr_g=2e-4, ema=1.0)
    assert {"loss_d_real", "loss_d_fake", "loss_g_gan", "loss_g_l1", "valid_ab_mae"} <= set(history.rows[0])
    start, _ = players()
    for (name, value), first in zip(net.named_parameters(), start.parameters()):
        # torch's average begins with the weights after the first step, one learning rate from the start
        assert torch.allclose(value, first, atol=5e-4), f"an average that keeps everything stays there: {name}"
    moved, judge = players()
    fit_gan(moved, judge, loaders, epochs=2, ema=0.0)
    assert not same(weights(moved), weights(start))
    assert not net.training


@pytest.mark.parametrize("batches", [2, 5])
def test_a_resumed_game_equals_an_uninterrupted_one(loaders, tmp_path, monkeypatch, batches):
    whole, judge = players()
    torch.manual_seed(1)
    expected = fit_gan(whole, judge, loaders, epochs=2)

    net, other_judge = players()
    torch.manual_seed(1)
    with monkeypatch.context() as patch:
        real_step, calls = training.generator_step, iter(range(10_000))

        def step(*arguments):
            if next(calls) == batches:
                os.kill(os.getpid(), signal.SIGINT)
            return real_step(*arguments)

        patch.setattr(training, "generator_step", step)
        assert fit_gan(net, other_judge, loaders, epochs=2, checkpoint=tmp_path / "gan.pt").interrupted

    net, other_judge = UNet(base_channels=4, n_down=2, dropout=0.2), PatchDiscriminator(base_channels=4, n_down=1)
    torch.manual_seed(99)
    history = fit_gan(net, other_judge, loaders, epochs=2, checkpoint=tmp_path / "gan.pt", resume=True)
    assert history["loss_g_gan"] == pytest.approx(expected["loss_g_gan"], rel=1e-4)
    for ours, theirs in ((net, whole), (other_judge, judge)):
        for name, value in theirs.state_dict().items():
            assert torch.allclose(ours.state_dict()[name], value, atol=1e-6), name
    with pytest.raises(ValueError, match="lambda_l1"):
        fit_gan(net, other_judge, loaders, epochs=2, lambda_l1=5.0, checkpoint=tmp_path / "gan.pt", resume=True)
    with pytest.raises(ValueError, match="'wgan'.*bce"):
        fit_gan(net, other_judge, loaders, adversarial="wgan")
