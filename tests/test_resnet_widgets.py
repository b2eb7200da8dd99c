"""Widgets and figures of chapter 05: what they draw is what was stored, computed or trained."""

import numpy as np
import pytest
import torch
from torch import nn

import colorlib
from colorlib.lessons import experiments
from colorlib.lessons.widgets import live_races, patch_levels, photo_races, resnet_encoder
from colorlib.resnet import encoder_state, normalize_gray, rgb_resnet

PNG = b"\x89PNG"


# --- stored races -----------------------------------------------------------------------------------------------------


def scores(error, color):
    return {photo_races.ERROR: error, photo_races.COLOR: color, "correlation": 0.4}


@pytest.fixture
def races():
    """A record as `tools/race_photos.py` stores it, with two seeds of one run and rows that the figures leave out."""
    table, ab = {}, {}
    for start, errors in {
        "pretrained": {32: [0.9, 0.8], 1000: [0.7]},
        "random": {32: [1.0, 1.1], 1000: [0.95]},
    }.items():
        for n, by_seed in errors.items():
            for seed, error in enumerate(by_seed):
                name = f"{start}, {n} photos, 500 steps, seed {seed}"
                table[name] = {"n": n, "steps": 500, "seed": seed, "scores": scores(error, 0.5)}
                if seed == 0:
                    ab[name] = experiments.pack_ab(torch.full((7, 2, 64, 64), error / 4))
    table["random, two rates, 1000 photos, 500 steps, seed 0"] = {
        "n": 1000, "steps": 500, "seed": 0, "scores": scores(0.5, 0.5)
    }  # fmt: skip
    long = {"n": 1000, "steps": 1500, "seed": 0}
    multiplied = {"1.25": scores(0.75, 0.6), "2.0": scores(0.9, 1.0)}
    name = "1000 photos, 1500 steps, seed 0"
    table[f"pretrained, {name}"] = long | {"scores": scores(0.7, 0.5), "multiplied": multiplied}
    table[f"GAN, patch, {name}"] = long | {"scores": scores(0.85, 0.7), "multiplied": multiplied}
    table[f"GAN, features, {name}"] = long | {"scores": scores(0.8, 0.65), "multiplied": multiplied}
    return {"table": table}, ab


def test_curve_points_are_those_of_the_two_starts(races):
    record, _ = races
    assert photo_races.curve_points(record) == {
        "pretrained": {32: {0: 0.9, 1: 0.8}, 1000: {0: 0.7}},
        "random": {32: {0: 1.0, 1: 1.1}, 1000: {0: 0.95}},
    }
    with pytest.raises(ValueError, match="700 steps"):
        photo_races.curve_points(record, steps=700)


def test_race_curve_has_a_dot_per_seed_and_a_line_through_the_means(races):
    line, dots = photo_races.race_curve(races[0]).axes[0].lines[:2]
    assert np.allclose(line.get_xydata(), [(32, 0.85), (1000, 0.7)])
    assert np.allclose(dots.get_xydata(), [(32, 0.9), (32, 0.8), (1000, 0.7)])


def test_plane_draws_the_multiplied_net_of_the_same_seed(races):
    record, _ = races
    curve, patch, features = photo_races.plane(record).axes[0].lines[:3]
    assert np.allclose(curve.get_xydata(), [(0.5, 0.7), (0.6, 0.75), (1.0, 0.9)])
    assert np.allclose(patch.get_xydata(), [(0.7, 0.85)]) and "PatchGAN" in patch.get_label()
    assert np.allclose(features.get_xydata(), [(0.65, 0.8)])
    with pytest.raises(ValueError, match="GAN"):
        photo_races.plane({"table": {}})


def test_data_size_explorer_shows_the_stored_colors(races):
    record, ab = races
    figure = photo_races.data_size(record, ab, 32)
    assert "pretrained 0.85, random 1.05" in figure.axes[0].get_title()
    sheet = np.asarray(figure.axes[1].images[0].get_array())
    side = photo_races.SIZE
    assert sheet.shape == (3 * side + 12, 4 * side + 18, 3)
    coffee = photo_races.stored_rgb(ab, "random, 32 photos, 500 steps, seed 0")[2]
    assert np.allclose(sheet[side + 6 : 2 * side + 6, :side], coffee.permute(1, 2, 0))
    with pytest.raises(ValueError, match="on 5 photos, only on 32, 1000"):
        photo_races.data_size(record, ab, 5)
    panel = photo_races.data_size_explorer(record, ab)
    before = panel.picture.value
    panel.controls["n"].value = 32
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before


def test_the_figures_draw_the_races_that_are_stored():
    record, ab = experiments.stored_training("photo_races")
    points = photo_races.curve_points(record)
    assert points["pretrained"].keys() == points["random"].keys() and len(points["random"]) > 3
    for figure in (photo_races.race_curve(record), photo_races.plane(record), photo_races.data_size(record, ab, 100)):
        texts = [text for ax in figure.axes for text in ax.texts if text.get_text()]
        assert min(text.get_size() for text in texts) >= 7


# --- filters and features ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nets():
    """The same random ResNet-18, for RGB images and as the encoder of a generator for gray ones."""
    torch.manual_seed(0)
    rgb = rgb_resnet("resnet18", None)
    generator = colorlib.resnet_unet("resnet18", None, decoder="slim")
    generator.encoder.load_state_dict(encoder_state(rgb.state_dict()))
    return {"RGB": rgb, "gray": generator}


def test_features_are_those_of_the_layers_and_the_same_for_rgb_and_summed_filters(nets):
    L = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for stage, side in zip(resnet_encoder.STAGES, (32, 16, 8, 4, 2), strict=True):
        rgb, gray = (resnet_encoder.features(net, L, stage) for net in nets.values())
        assert rgb.shape[2:] == (side, side) and torch.allclose(rgb, gray, rtol=1e-3, atol=1e-4)
    first = torch.relu(nets["RGB"].bn1.eval()(nets["RGB"].conv1(normalize_gray(L).expand(-1, 3, -1, -1))))
    nets["RGB"].train()
    assert torch.allclose(resnet_encoder.features(nets["RGB"], L, "1/2"), first, atol=1e-5)
    batch, alone = (resnet_encoder.features(nets["gray"], some, "1/8") for some in (L, L[1]))
    assert torch.allclose(batch[1], alone, atol=1e-5)
    assert torch.allclose(resnet_encoder.first_filters(nets["RGB"]).sum(1, keepdim=True),
                          resnet_encoder.first_filters(nets["gray"]), atol=1e-6)  # fmt: skip


def test_channels_are_ordered_by_strength():
    maps = torch.tensor([1.0, 3.0, 2.0]).view(3, 1, 1) * torch.eye(4)
    assert resnet_encoder.by_strength(maps) == [1, 2, 0]


def test_strongest_places_are_cut_around_the_largest_response():
    gray = torch.zeros(2, 3, 64, 64)
    gray[1, :, 32:40, 16:24] = 1  # the cell in row 4, column 2, of 8 × 8
    responses = torch.zeros(2, 8, 8)
    responses[1, 4, 2], responses[0, 0, 0] = 0.9, 0.3
    places, shares = resnet_encoder._strongest_places(responses, gray, window=24)
    assert shares == pytest.approx([0.9, 0.3])
    assert places[0, 0, 32:64, 32:64].min() == 1 and places[0].sum() == 3 * 32 * 32, "the cell is in the middle"


def test_filter_browser_reaches_every_channel(nets):
    L = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    panel = resnet_encoder.filter_browser(nets, L, ["a", "b", "c"])
    controls, pictures = panel.controls, [bytes(panel.picture.value)]
    assert controls["depth"].value == "1/8" and controls["rank"].max == 127
    for name, value in (("photo", 2), ("depth", "1/32"), ("rank", 511), ("depth", resnet_encoder.FILTERS)):
        controls[name].value = value
        pictures.append(bytes(panel.picture.value))
        assert pictures[-1].startswith(PNG) and pictures[-1] != pictures[-2]
    assert controls["rank"].max == controls["rank"].value == 63
    titles = [ax.get_title() for ax in resnet_encoder.filter_sheets(nets).axes]
    assert titles == ["RGB: red, green, blue", "RGB: summed for gray", "gray: summed for gray"]


# --- the discriminator's eyes -----------------------------------------------------------------------------------------


class Vividness(nn.Module):
    """Two levels of scores: the mean of a, and that of b."""

    def forward(self, L, ab):
        return nn.functional.avg_pool2d(ab, 8)


def test_scores_by_level_are_those_of_the_four_versions():
    L = torch.zeros(2, 1, 32, 32)
    ab = torch.tensor([0.4, 0.0]).view(1, 2, 1, 1).expand(2, 2, 32, 32)
    half = nn.Conv2d(1, 2, 1)
    nn.init.zeros_(half.weight)
    half.bias.data = torch.tensor([0.2, 0.1])
    discriminator = Vividness().train()
    scores = patch_levels.scores_by_level(discriminator, half, L, ab, turn=90)
    means = {name: logits.mean(dim=(0, 2, 3)).tolist() for name, (_, logits) in scores.items()}
    assert means["truth"] == pytest.approx([0.4, 0]) and means["gray"] == [0, 0]
    assert means["turned"] == pytest.approx([0, 0.4], abs=1e-6) and means["the net"] == pytest.approx([0.2, 0.1])
    assert discriminator.training
    texts = [text.get_text() for text in patch_levels.level_maps(discriminator, half, L, ab, 1, 90).axes[1].texts]
    assert texts[:4] == ["mean +0.40", "mean +0.00", "mean +0.00", "mean +0.20"]
    panel = patch_levels.discriminator_eyes(discriminator, half, L, ab)
    before = panel.picture.value
    panel.controls["turn"].value = 45
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != before


def test_a_discriminator_learns_while_its_generator_stays():
    torch.manual_seed(0)
    loaders = colorlib.make_loaders("scenes", 32, 4, n_train=16, n_test=4)
    generator, discriminator = colorlib.UNet(4, 2), colorlib.FeatureDiscriminator("photos-encoder", channels=8)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    rows = patch_levels.train_discriminator(discriminator, generator, loaders, steps=25, lr=2e-3)
    totals = [row["loss_d_real"] + row["loss_d_fake"] for row in rows]
    assert len(rows) == 25 and np.mean(totals[-5:]) < 0.8 * totals[0], "more steps than batches in an epoch"
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    L, ab = loaders.test.first(4)
    scores = patch_levels.scores_by_level(discriminator, generator, L, ab)
    assert scores["truth"][1].shape == (4, 3, 8, 8) and scores["truth"][1].mean() > scores["the net"][1].mean()


# --- live races -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crops():
    return live_races.race_loaders(32, batch_size=4, crops=1)  # one step per epoch


def test_race_loaders_hold_out_other_photos(crops):
    assert len(crops.train) == 1 and crops.train.rgb.shape[0] == 6
    (batch,) = list(crops.valid)
    assert batch[0].shape == (15, 1, 32, 32)
    whole, *quarters = crops.valid.rgb[:5].float()
    assert torch.stack(quarters).mean() == pytest.approx(whole.mean().item(), abs=1)


def test_a_frozen_encoder_keeps_its_weights_and_a_race_is_measured(crops, monkeypatch):
    trained = []

    def fit(net, loaders, **settings):
        trained.append((net, settings))
        return colorlib.fit_reconstruction(net, loaders, **settings)

    monkeypatch.setattr(live_races, "fit_reconstruction", fit)
    shares = []
    race = live_races.run_race(crops, freeze=1.0, epochs=2, on_step=lambda share: shares.append(share))
    assert race.steps == [1, 2] and len(race.errors) == 2 and not race.note and shares == [0, 0.5]
    assert race.label == "pretrained, frozen: always, lr 0.003, encoder 0.0005"
    net, settings = trained[0]
    expected = colorlib.resnet_unet("resnet18", "photos-encoder", decoder="slim").encoder[0].weight
    assert torch.equal(net.encoder[0].weight, expected) and settings["schedule"] == "linear"
    measured = colorlib.evaluate(net, crops.valid, perceptual=False)
    gray = colorlib.evaluate(colorlib.gray, crops.valid, perceptual=False)
    assert race.errors[-1] == pytest.approx(measured["ab_mae"] / gray["ab_mae"], rel=1e-4)


def test_a_race_that_is_stopped_keeps_what_was_measured(crops):
    race = live_races.run_race(crops, epochs=4, on_step=lambda share: share >= 0.25)  # in the second epoch
    assert race.steps == [1] and race.note == "stopped"


def test_the_race_panel_keeps_all_results_and_says_what_went_wrong(crops):
    panel = live_races.freeze_and_rates_explorer(crops, epochs=1)
    pictures = [bytes(panel.picture.value)]
    for start in ("pretrained", "random"):
        panel.controls["start"].value = start
        panel.run.click()
        panel.thread.join()
        pictures.append(bytes(panel.picture.value))
    assert [race.label.split(",")[0] for race in panel.races] == ["pretrained", "random"]
    assert len(set(pictures)) == 3 and panel.status.value == "Race 2: finished."
    panel.fixed["weights"] = "no-such-encoder"
    panel.controls["start"].value = "pretrained"
    panel.run.click()
    panel.thread.join()
    assert panel.status.value.startswith("The race failed: ") and "no-such-encoder" in panel.status.value
    assert len(panel.races) == 2 and not panel.run.disabled and panel.stop.disabled
