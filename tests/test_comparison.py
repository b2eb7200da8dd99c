"""The ladder of models against references computed with numpy and scikit-image, and what it refuses."""

import csv

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, lab2rgb
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import colorlib
from colorlib import comparison, metrics, show
from colorlib.color import AB_SCALE

MODELS = {
    "halved": lambda L: torch.cat([0.3 * L, -0.2 * L.flip(-1)], dim=1),
    "mirror": lambda L: torch.cat([L.flip(-1), L], dim=1) * 0.1 + 0.05,
}


@pytest.fixture(scope="module")
def batches():
    """Seven small images in batches of 3, 3 and 1, with colors inside sRGB."""
    generator = torch.Generator().manual_seed(1)
    L = torch.rand(7, 1, 16, 20, generator=generator) * 0.6 - 0.3
    ab = torch.randn(7, 2, 16, 20, generator=generator) * 0.08 + torch.randn(7, 2, 1, 1, generator=generator) * 0.08
    ab[0] = 0.01  # nearly gray: here every model is worse than gray
    return list(zip(L.split(3), ab.split(3)))


def reference(model, batches):
    """Return the scores of the ladder, computed image by image in float64."""
    scores, per_image = {}, []
    pred, true, L = (
        np.concatenate([part.double().numpy() for part in parts])
        for parts in zip(*((model(L), ab, L) for L, ab in batches))
    )
    for p, t, lightness in zip(pred, true, L):
        error = np.abs(p - t).mean() * AB_SCALE
        labs = [np.concatenate([50 * (lightness + 1), AB_SCALE * ab]).transpose(1, 2, 0) for ab in (p, t)]
        rgbs = [lab2rgb(lab) for lab in labs]
        same = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        color = []
        for rgb in rgbs:
            r, g, b = (255 * rgb).transpose(2, 0, 1)
            rg, yb = r - g, (r + g) / 2 - b
            color.append(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
        per_image.append(
            [error, deltaE_ciede2000(*labs).mean(), peak_signal_noise_ratio(*rgbs, data_range=1),
             structural_similarity(*rgbs, data_range=1, channel_axis=2, **same), *color,
             np.abs(t).mean() * AB_SCALE]
        )  # fmt: skip
    error, delta_e, psnr, ssim, color, color_true, error_gray = np.array(per_image).T
    inside = [(x - x.mean((2, 3), keepdims=True)).ravel() for x in (pred, true)]
    means = [x.mean((2, 3)) for x in (pred, true)]
    between = [(x - x.mean(0)).ravel() for x in means]
    r_inside, r_between = (  # gray has none
        p @ t / np.linalg.norm(p) / np.linalg.norm(t) if p.any() else np.nan for p, t in (inside, between)
    )
    scores = {
        "ab_mae": error.mean(), "delta_e2000": delta_e.mean(), "psnr": psnr.mean(), "ssim": ssim.mean(),
        "colorfulness_ratio": color.mean() / color_true.mean(),
        "chroma_ratio": np.hypot(*pred.swapaxes(0, 1)).mean() / np.hypot(*true.swapaxes(0, 1)).mean(),
        "correlation_inside": r_inside, "correlation_between": r_between,
        "worse_than_gray": (error > error_gray).mean(),
    }  # fmt: skip
    return scores, error


def test_every_score_is_what_numpy_and_scikit_image_compute(batches):
    scored = comparison.ladder(MODELS, batches)
    assert list(scored.rows) == ["gray", "halved", "mirror"] and scored.n_images == 7
    for name, model in ({"gray": metrics.gray} | MODELS).items():
        expected, errors = reference(model, batches)
        ours = {key: scored.rows[name][key] for key in expected}
        assert ours == pytest.approx(expected, rel=2e-3, abs=2e-4, nan_ok=True)
        assert scored.errors[name].numpy() == pytest.approx(errors, rel=1e-4)
    assert scored.rows["mirror"]["worse_than_gray"] >= 1 / 7
    assert scored.rows["halved"]["correlation_inside"] == pytest.approx(
        metrics.ab_correlation(MODELS["halved"], batches)
    )


def test_the_second_row_is_the_mean_color_of_the_training_images(batches):
    train = [(L, ab + 0.1) for L, ab in batches]
    scored = comparison.ladder({}, batches, train)
    mean = np.concatenate([ab.numpy() for _, ab in train]).mean((0, 2, 3))
    assert comparison.mean_ab(train).numpy() == pytest.approx(mean, abs=1e-5)
    expected = np.concatenate([np.abs(ab.numpy() - mean[:, None, None]).mean((1, 2, 3)) for _, ab in batches])
    assert list(scored.rows) == ["gray", "mean ab"]
    assert scored.errors["mean ab"].numpy() == pytest.approx(expected * AB_SCALE, rel=1e-4)
    assert np.isnan(scored.rows["mean ab"]["correlation_between"])


def test_shuffled_training_images_are_not_advanced_by_the_mean():
    loaders = colorlib.make_loaders("scenes", size=32, batch_size=4, n_train=8, n_test=2)
    twin = colorlib.make_loaders("scenes", size=32, batch_size=4, n_train=8, n_test=2)
    assert torch.equal(comparison.mean_ab(loaders.train), comparison.mean_ab(loaders.train))
    assert torch.equal(next(iter(loaders.train))[0], next(iter(twin.train))[0])


def test_the_interval_is_that_of_a_bootstrap_over_the_images(batches):
    """Nearly the same as with numpy's draws, seeded, and about ± 1.96 standard errors wide for many images."""
    values = torch.from_numpy(np.random.default_rng(0).gamma(4, 2, 400))
    low, high = comparison.bootstrap_interval(values)
    random = np.random.default_rng(5)
    means = [random.choice(values.numpy(), 400).mean() for _ in range(4000)]
    assert (low, high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.06)
    half = 1.96 * values.std().item() / 20
    assert (low, high) == pytest.approx((values.mean().item() - half, values.mean().item() + half), abs=0.08)
    assert (low, high) == comparison.bootstrap_interval(values)
    assert (low, high) != comparison.bootstrap_interval(values, seed=1)
    row = comparison.ladder(MODELS, batches).rows["mirror"]
    assert row["ab_mae_low"] < row["ab_mae"] < row["ab_mae_high"]


def test_a_difference_is_measured_on_the_same_samples():
    """A model that is worse by the same amount on every image is worse for certain, however much the images differ."""
    errors = {"one": torch.tensor([1.0, 9, 30, 2]), "other": torch.tensor([0.5, 8.5, 29.5, 1.5])}
    scored = comparison.Ladder({"one": {}, "other": {}}, errors)
    assert scored.difference("one", "other") == pytest.approx((0.5, 0.5, 0.5))


def test_multiplied_colors_are_scored_as_evaluate_does(batches):
    curve = comparison.multiplied_curve(MODELS["halved"], batches, [0.5, 1, 3])
    for factor, scores in curve.items():
        model = comparison.multiplied(MODELS["halved"], factor)
        expected = metrics.evaluate(model, batches, perceptual=False)
        assert scores["ab_mae"] == pytest.approx(expected["ab_mae"], rel=1e-5)
        assert scores["colorfulness"] == pytest.approx(expected["colorfulness"], rel=1e-5)
        ratio = expected["colorfulness"] / expected["colorfulness_true"]
        assert scores["colorfulness_ratio"] == pytest.approx(ratio, rel=1e-5)


def test_the_table_can_be_read_and_written(batches, tmp_path):
    scored = comparison.ladder(MODELS, batches)
    lines = str(scored).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["gray", "halved", "mirror"]
    assert len({len(line) for line in lines[:4]}) == 1 and "–" in lines[1]
    assert lines[4].startswith("7 images") and repr(scored) == str(scored)
    scored.to_csv(tmp_path / "scores.csv")
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["gray", "halved", "mirror"]
    for name, row in scored.rows.items():
        assert {key: float(rows[name][key]) for key in row} == pytest.approx(row, nan_ok=True)


def test_scenes_have_their_regions_in_the_table():
    loaders = colorlib.make_loaders("scenes", size=32, n_train=4, n_test=3)
    scored = colorlib.ladder({}, loaders.test, loaders.train, perceptual=False)
    head = str(scored).splitlines()[0]
    assert "ambiguous" in head and "PSNR" not in head
    assert scored.rows["gray"]["ab_mae/ambiguous"] == metrics.evaluate(metrics.gray, loaders.test)["ab_mae/ambiguous"]


def test_a_module_is_scored_in_eval_mode_and_its_mode_restored(batches):
    net = colorlib.UNet(base_channels=4, n_down=2).train()
    scored = comparison.ladder({"net": net}, batches, perceptual=False)
    assert net.training
    assert scored.rows["net"]["ab_mae"] == pytest.approx(metrics.evaluate(net.eval(), batches)["ab_mae"])


@pytest.mark.parametrize(
    ("models", "error", "words"),
    [
        ({"gray": metrics.gray}, ValueError, "'gray'"),
        ({"flat": lambda L: L}, ValueError, "flat: The prediction must be a tensor of shape"),
        ({"none": lambda L: None}, ValueError, "none: The prediction must be"),
        ({"burst": lambda L: L.expand(-1, 2, -1, -1) / 0}, metrics.NonFiniteError, "burst: .*not finite"),
    ],
)
def test_wrong_models_are_named(batches, models, error, words):
    with pytest.raises(error, match=words):
        comparison.ladder(models, batches)


def test_an_empty_loader_is_refused():
    with pytest.raises(ValueError, match="0 images"):
        comparison.ladder(MODELS, [])


def test_the_plane_has_every_model_as_a_point_and_the_curves_as_lines(batches):
    scored = comparison.ladder(MODELS, batches, perceptual=False)
    curve = comparison.multiplied_curve(MODELS["halved"], batches)
    figure = show.plane(scored.rows, {"halved": curve})
    [ax] = figure.axes
    points = {tuple(map(float, line.get_xydata()[0])) for line in ax.lines if line.get_linestyle() == "None"}
    expected = {(row["colorfulness_ratio"], row["ab_mae"]) for row in scored.rows.values()}
    assert points == expected
    drawn = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xydata()) == len(curve)]
    assert drawn == [[[scores["colorfulness_ratio"], scores["ab_mae"]] for scores in curve.values()]]
    with pytest.raises(ValueError, match="rows of scores"):
        show.plane({"a": {}})
