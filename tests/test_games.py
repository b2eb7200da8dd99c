"""Chapter 04: games step by step, noise, the game on one dimension, the quiz, the time machine and the playground."""

import copy
import math

import pytest
import torch

import colorlib
from colorlib import comparison
from colorlib.data import make_loaders
from colorlib.lessons import experiments, games
from colorlib.lessons.checks import pix2pix as check
from colorlib.lessons.seeds import mean_over_seeds
from colorlib.lessons.widgets import as_jpeg, judge_quiz, one_dimension, playground, time_machine, to_png
from colorlib.losses import ADVERSARIAL
from colorlib.metrics import evaluate, predict
from colorlib.training import fit_gan

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def loaders():
    return make_loaders("scenes", 32, n_train=12, n_test=8)


def small_net() -> colorlib.UNet:
    torch.manual_seed(0)
    return colorlib.UNet(base_channels=4, n_down=2)


# --- games ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adversarial", ADVERSARIAL)
def test_a_game_by_the_default_rules_is_fit_gan(loaders, adversarial):
    whole, by_steps = small_net(), small_net()
    rules = games.Rules(adversarial, lambda_l1=5.0, filters=4, n_down=1)
    torch.manual_seed(1)
    game = games.Game(by_steps, loaders.train, rules, steps=2 * len(loaders.train))
    rows = [game.play(len(loaders.train)) for _ in range(2)]
    torch.manual_seed(1)
    discriminator = colorlib.PatchDiscriminator(4, n_down=1)
    again = make_loaders("scenes", 32, n_train=12, n_test=8)
    history = fit_gan(whole, discriminator, again, adversarial=adversarial, lambda_l1=5.0, epochs=2, progress=False)
    for name in ("loss_d_real", "loss_d_fake", "loss_g_gan", "loss_g_l1"):
        assert [row[name] for row in rows] == pytest.approx(history[name], rel=1e-5)
    for one, other in ((game.averaged, whole), (game.discriminator, discriminator)):
        assert all(torch.allclose(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        assert not one.training


def test_rules_reach_the_players(loaders):
    rules = games.Rules(filters=4, n_down=3, conditional=False, spectral_norm=True, beta1=0.9, falling=False, lr_d=1e-3)
    game = games.Game(small_net(), loaders.train, rules, steps=4)
    assert game.discriminator.patch_size == 70 and not game.discriminator.conditional
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in game.discriminator.modules())
    game = games.Game(small_net(), loaders.train, games.Rules(filters=4, n_down=1, falling=False, beta1=0.9), steps=4)
    game.play(4)
    assert [adam.param_groups[0]["lr"] for adam in game._optimizers] == [8e-4, 8e-4]
    assert game._optimizers[0].param_groups[0]["betas"] == (0.9, 0.999)
    with pytest.raises(ValueError, match="wgan"):
        games.Game(small_net(), loaders.train, games.Rules("wgan"), steps=1)


def test_a_game_that_diverges_says_so(loaders):
    game = games.Game(small_net(), loaders.train, games.Rules(filters=4, n_down=1, lr_g=1e30, lr_d=1e30), steps=50)
    with pytest.raises(ArithmeticError, match="lower the learning rates"):
        game.play(50)


def test_noise_changes_the_colors_and_nothing_else_does(loaders):
    L, _ = loaders.test.first(2)
    net = small_net()
    for kind in ("z", "dropout"):
        noisy = games.WithNoise(net, kind)
        assert not torch.equal(predict(noisy, L), predict(noisy, L)), kind
        torch.manual_seed(0)
        one = predict(noisy, L)
        torch.manual_seed(0)
        assert torch.equal(one, predict(noisy, L))
    noisy = games.WithNoise(net, "z")
    with torch.no_grad():
        noisy.net.stem[0].weight[:, 1:] = 0
    assert torch.allclose(predict(noisy, L), predict(net, L), atol=1e-6), "without z it is the network that it copies"
    with pytest.raises(ValueError, match="'salt'"):
        games.WithNoise(net, "salt")


def test_a_generator_from_noise_does_not_see_its_picture(loaders):
    L, _ = loaders.test.first(2)
    net = games.FromNoise(small_net())
    torch.manual_seed(0)
    one = predict(net, L)
    torch.manual_seed(0)
    assert torch.equal(one, predict(net, -L)) and not torch.equal(one[0], one[1])


class Painter(torch.nn.Module):
    """Paints every picture in one hue, the next of a list at every call."""

    def __init__(self, hues):
        super().__init__()
        self.hues = iter(hues)

    def forward(self, L):
        hue = next(self.hues)
        color = torch.tensor([math.cos(hue), math.sin(hue)]) / 3
        return color.view(1, 2, 1, 1).expand(len(L), 2, *L.shape[-2:])


def test_diversity_is_0_for_one_hue_1_for_opposite_ones_and_068_for_any():
    loader = make_loaders("scenes", 32, batch_size=8, n_train=1, n_test=8).test
    assert games.hue_diversity(Painter([1.0] * 8), loader) == pytest.approx(0, abs=1e-5)
    assert games.hue_diversity(Painter([3.1, -3.1] * 4), loader) == pytest.approx(0, abs=1e-2)
    assert games.hue_diversity(Painter([0, math.pi] * 4), loader) == pytest.approx(1, abs=1e-5)
    angles = torch.rand(20_000, 8, generator=torch.Generator().manual_seed(0)) * math.tau
    expected = 1 - torch.polar(torch.ones_like(angles), angles).mean(dim=1).abs().mean().item()
    assert pytest.approx(expected, abs=0.01) == games.UNIFORM_DIVERSITY


def test_variety_is_0_for_equal_colors_and_1_for_the_true_ones(loaders):
    assert games.variety(Painter([1.0] * 9), loaders.test) == pytest.approx(0, abs=1e-6)
    truth = torch.cat([ab for _, ab in loaders.test])
    batches = iter(truth.split(loaders.test.batch_size))
    assert games.variety(lambda L: next(batches), loaders.test) == pytest.approx(1)


def test_entropy_by_kind_looks_at_one_kind_at_a_time():
    loader = make_loaders("scenes", 32, batch_size=40, n_train=1, n_test=40).test
    of_truth = games.entropy_by_kind(None, loader)
    assert set(of_truth) == {"hue_entropy/balloon", "hue_entropy/car", "hue_entropy/door"}
    assert min(of_truth.values()) > 0.8
    assert set(games.entropy_by_kind(Painter([1.0]), loader).values()) == {0.0}


def test_histograms_count_pixels():
    ab = torch.tensor([[34.0, -21.0], [34.0, -21.0], [-75.0, 5.0]]).T.reshape(1, 2, 1, 3) / 110
    packed = games.ab_histogram(ab)
    counts = games.histogram_counts(packed)
    assert packed.dtype == torch.int8 and counts.shape == (22, 22)
    row, column = int((-21 + 110) // 10), int((34 + 110) // 10)
    assert counts[row, column] == pytest.approx(2, rel=0.1) and counts[11, 3] == pytest.approx(1, rel=0.1)
    assert (counts > 0).sum() == 2
    many = games.histogram_counts(games.ab_histogram(torch.zeros(5, 2, 100, 100)))
    assert many.max() == pytest.approx(50_000, rel=0.06)


def test_a_multiplied_generator_is_as_vivid_as_it_should_be(loaders):
    timid = small_net().eval()
    vivid = comparison.multiplied(timid, 3.0)
    assert experiments.vivid_factor(timid, vivid, loaders) == 3.0
    L, _ = loaders.test.first(2)
    assert torch.allclose(predict(vivid, L), 3 * predict(timid, L))


# --- one dimension ----------------------------------------------------------------------------------------------------


def test_the_best_discriminator_is_the_best_of_many():
    p, q = torch.tensor([0.3, 0.1, 0.2]), torch.tensor([0.1, 0.4, 0.2])
    answers = torch.linspace(0.001, 0.999, 999)[:, None]
    cost = -p * answers.log() - q * (1 - answers).log()
    assert torch.allclose(one_dimension.best_discriminator(p, q), answers[cost.argmin(dim=0), 0], atol=2e-3)
    x = torch.linspace(-8, 8, 1601)
    assert one_dimension.density(x, 1.0).sum() * 0.01 == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("lr_d", [0.03, 0.3, 3.0])
def test_the_generator_reaches_the_real_mean_and_the_loss_log_2(lr_d):
    game = one_dimension.ShiftGame()
    for _ in range(600):
        game.step(lr_d, 0.3)
    assert game.shift.item() == pytest.approx(2, abs=0.1)
    assert game.rows[-1]["loss_d"] == pytest.approx(math.log(2), abs=0.02)


def test_the_panel_plays_and_starts_again():
    panel = one_dimension.ShiftPanel()
    first = panel.picture.value
    panel.lr_d.value = 1.0
    panel.buttons["one"].click()
    panel.buttons["ten"].click()
    assert len(panel.game.rows) == 11 and "Step 11" in panel.status.value
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != first
    panel.buttons["hundred"].click()
    assert len(panel.game.rows) == 111
    panel.buttons["reset"].click()
    assert panel.game.rows == [] and panel.game.shift.item() == one_dimension.START


@pytest.mark.parametrize("rate", one_dimension.RATES)
def test_no_choice_of_rates_breaks_the_game(rate):
    for other in one_dimension.RATES:
        game = one_dimension.ShiftGame()
        for _ in range(300):
            game.step(rate, other)
        assert math.isfinite(game.shift.item()) and abs(game.shift.item()) < 10


# --- the quiz ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_down", [1, 2])
def test_a_patch_is_what_its_logit_depends_on(n_down):
    discriminator = colorlib.PatchDiscriminator(4, n_down).eval()
    start, step = judge_quiz.patch_start(discriminator)
    ab = torch.zeros(1, 2, 64, 64, requires_grad=True)
    discriminator(torch.zeros(1, 1, 64, 64), ab)[0, 0, 6, 7].backward()
    rows = ab.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    columns = ab.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    side = discriminator.patch_size
    assert [rows[0], rows[-1]] == [start + 6 * step, start + 6 * step + side - 1]
    assert [columns[0], columns[-1]] == [start + 7 * step, start + 7 * step + side - 1]


@pytest.fixture(scope="module")
def questions():
    loader = make_loaders("scenes", 64, n_train=1, n_test=30).test
    L, ab = loader.first(30)
    discriminator = colorlib.PatchDiscriminator(4).train()
    found = judge_quiz.quiz_questions(discriminator, L, ab, 0 * ab, loader.masks, n=12)
    assert discriminator.training
    with pytest.raises(ValueError, match="of 30 images"):
        judge_quiz.quiz_questions(discriminator, L, ab, 0 * ab, loader.masks, n=31)
    return found


def test_questions_show_real_and_fake_patches(questions):
    assert {question.real for question in questions} == {True, False}
    for question in questions:
        assert question.rgb.shape == (3, 34, 34) and 0 < question.p_real < 1
        is_gray = (question.rgb.max(dim=0).values - question.rgb.min(dim=0).values).max() < 0.02
        assert bool(is_gray) != question.real
    figure = judge_quiz.quiz_sheet(questions)
    assert figure.axes[0].get_title().startswith("real" if questions[0].real else "fake")
    assert judge_quiz.quiz_sheet(questions, answers=False).axes[1].get_title() == "2: real or fake?"


def test_the_quiz_counts_both_scores(questions):
    quiz = judge_quiz.JudgeQuiz(questions[:3])
    for i, question in enumerate(questions[:3]):
        (quiz.real if question.real == (i < 2) else quiz.fake).click()  # two right answers, then a wrong one
    assert "image/png" in quiz._repr_mimebundle_() or "image/jpeg" in quiz._repr_mimebundle_()
    right = sum((question.p_real > 0.5) == question.real for question in questions[:3])
    assert f"You: 2 of 3. Discriminator: {right} of 3." in quiz.status.value
    assert "last patch" in quiz.status.value and quiz.real.disabled and quiz.fake.disabled
    quiz.again.click()
    assert quiz.answers == [] and not quiz.real.disabled and "Patch 1 of 3" in quiz.status.value


# --- time machine and playground --------------------------------------------------------------------------------------


def stored_games():
    scores = {f"hue_entropy/{kind}": 0.5 for kind in games.KINDS} | {"variety": 0.9}
    losses = dict.fromkeys(time_machine.LOSSES, 0.7)
    of_seed = {name: {"epoch 0": scores, "epoch 1": scores | losses} for name in ("one", "two")}
    ab = {}
    for name in of_seed:
        for epoch in (0, 1):
            ab[f"{name} {epoch} ab"] = torch.full((2, 2, 32, 32), 20 * epoch, dtype=torch.int8)
            ab[f"{name} {epoch} p_real"] = torch.full((2, 1, 6, 6), 30, dtype=torch.int8)
            ab[f"{name} {epoch} histogram"] = games.ab_histogram(torch.zeros(2, 2, 32, 32))
    return {"table": {"seed 0": of_seed, "seed 1": of_seed}}, ab


def test_the_time_machine_goes_through_the_epochs():
    record, ab = stored_games()
    L = torch.zeros(2, 1, 32, 32)
    figure = time_machine.moment(record, ab, L, "one", 1)
    assert "one, epoch 1" in figure.axes[0].get_title() and "0.30" in figure.axes[0].get_xlabel()
    with pytest.raises(ValueError, match="epoch 2"):
        time_machine.moment(record, ab, L, "one", 2)
    panel = time_machine.time_machine(record, ab, L)
    before = panel.picture.value
    panel.controls["epoch"].value = 1
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before
    variety = figure.axes[3]
    assert variety.get_title().startswith("variety") and len(variety.lines) == 3  # two seeds, and the epoch
    assert len(time_machine.gallery(record).axes) == 2


def stored_playground():
    names = [f"lambda {v}, {loss}, patch {p}" for v in (0, 20, 500) for loss in ("bce", "hinge") for p in (16, 34)]
    row = {"hue_entropy": 0.5, "hue_entropy/balloon": 0.4}
    table = {
        f"seed {seed}": {
            name: row | {playground.ERROR: 3.0 - i / 10 + seed, playground.COLOR: 0.8 - i / 20 - seed / 5}
            for i, name in enumerate(names)
        }
        for seed in (0, 1)
    }
    return {"table": table}, {name: torch.full((4, 2, 32, 32), i, dtype=torch.int8) for i, name in enumerate(names)}


def test_the_mean_over_seeds():
    table = {"seed 0": {"a": {"x": 1.0, "y": 5}}, "seed 1": {"a": {"x": 2.0, "y": 7}}}
    assert mean_over_seeds(table) == {"a": {"x": 1.5, "y": 6.0}}


def test_the_playground_shows_the_chosen_game():
    record, ab = stored_playground()
    L = torch.zeros(4, 1, 32, 32)
    figure = playground.playground_figure(record, ab, L, 20, "hinge", 16)
    assert playground.parts("lambda 20, hinge, patch 16") == (20.0, "hinge", 16)
    color, error = playground.COLOR, playground.ERROR
    rows = [rows["lambda 20, hinge, patch 16"] for rows in record["table"].values()]
    mean_color, mean_error = (sum(row[key] for row in rows) / 2 for key in (color, error))
    assert f"{mean_color:.2f} and {mean_error:.1f}" in figure.axes[1].get_title()
    dots = figure.axes[1].lines[-2].get_xydata().tolist()  # the seeds of the chosen game
    assert dots == [[pytest.approx(row[color]), pytest.approx(row[error])] for row in rows]
    with pytest.raises(ValueError, match="lambda 3"):
        playground.playground_figure(record, ab, L, 3, "bce", 16)
    panel = playground.playground(record, ab, L)
    before = panel.picture.value
    for name, value in (("lambda_l1", 0.0), ("loss", "hinge"), ("patch", 16)):
        panel.controls[name].value = value
        assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before
        before = panel.picture.value


def test_a_live_game_is_measured_and_leaves_its_start_alone(loaders):
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    rules = games.Rules(filters=4, n_down=1)
    game = playground.play_live(net, loaders, rules, "a game", steps=20, n_measured=6)
    assert game.steps == list(range(2, 21, 2)) and len(game.chroma) == len(game.error) == len(game.losses) == 10
    assert all(torch.equal(old, new) for old, new in zip(before.values(), net.state_dict().values()))
    again = playground.play_live(net, loaders, rules, "a game", steps=20, n_measured=6)
    assert again.error == game.error, "the same game twice"
    few = playground.first_scenes(loaders.valid, 6)
    whole = evaluate(net, loaders.valid, perceptual=False)
    assert len(few.masks) == 6 and set(evaluate(net, few, perceptual=False)) == set(whole)


def test_the_panel_plays_stops_fails_and_forgets(loaders):
    panel = playground.LiveGamePanel(small_net(), loaders, steps=8)
    panel.controls["patch"].value = 16
    panel.run.click()
    panel.thread.join(60)
    assert panel.status.value.startswith("Game 1: finished. Chroma ratio") and not panel.run.disabled
    panel.controls["lambda_l1"].value = 0
    panel.controls["conditional"].value = False
    panel.show_progress = lambda share: share > 0.4
    panel.run.click()
    panel.thread.join(60)
    assert "stopped after 4 steps" in panel.status.value
    assert [game.label for game in panel.games] == ["λ 20, bce, 16 px", "λ 0, bce, 16 px, no condition"]
    panel.show_progress = None  # raises when called
    panel.run.click()
    panel.thread.join(60)
    assert panel.status.value.startswith("The game failed: ") and len(panel.games) == 2 and not panel.run.disabled
    panel.reset.click()
    assert panel.games == [] and panel.status.value == "No game yet."


def test_the_stop_button_ends_a_game(loaders):
    panel = playground.LiveGamePanel(small_net(), loaders, steps=100_000)
    panel.controls["patch"].value = 16
    panel.run.click()
    panel.stop.click()
    panel.thread.join(60)
    assert not panel.thread.is_alive() and "stopped after" in panel.status.value


def test_a_figure_as_jpeg_is_smaller_than_as_png():
    photos = experiments.library_photos(128).rgb[:6]
    figure = colorlib.show.pictures({"photos": photos})
    shown = as_jpeg(figure)
    assert shown.format == "jpeg" and shown.data.startswith(b"\xff\xd8")
    assert len(shown.data) < 0.5 * len(to_png(figure))


# --- the exercise on λ ------------------------------------------------------------------------------------------------


def test_which_lambda():
    color, error = playground.COLOR, playground.ERROR
    chroma = {"seed 0": {0: 0.9, 20: 0.7, 500: 0.4}, "seed 1": {0: 0.6, 20: 0.8, 500: 0.5}}
    errors = {0: 6.0, 20: 3.0, 500: 2.5}
    table = {
        seed: {f"lambda {value}, bce, patch 34": {color: c, error: errors[value]} for value, c in of_seed.items()}
        | {"lambda 20, hinge, patch 34": {color: 2.0, error: 0.0}}  # another loss does not count
        for seed, of_seed in chroma.items()
    }
    assert check.which_lambda(table, 500, None).startswith("not attempted")
    verdict = check.which_lambda(table, 500, "open")
    assert verdict.correct and "λ = 500, 500; the most vivid is λ = 0, 20." in verdict
    assert "another seed has another λ as `most_vivid`" in check.which_lambda(table, 500, 20)
    assert "seeds agree on `most_exact`" in check.which_lambda(table, "open", "open")
    assert "no run with λ = 7" in check.which_lambda(table, 7, 0)
    assert "no seed has λ = 0 as `most_exact`" in check.which_lambda(table, 0, 500)
    assert "raised ValueError" in check.which_lambda(table, "high", 0)
