"""Metrics against published numbers, scikit-image, and examples computed by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import nn

from colorlib import data, metrics
from colorlib.color import AB_SCALE

# Sharma, Wu and Dalal 2005, table 1: L1 a1 b1 L2 a2 b2 ΔE.
SHARMA = np.fromstring("""
50 2.6772 -79.7751 50 0 -82.7485 2.0425    50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412    50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000   50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669                      50 -1 2 50 0 0 2.3669
50 2.49 -0.001 50 -2.49 0.0009 7.1792      50 2.49 -0.001 50 -2.49 0.0010 7.1792
50 2.49 -0.001 50 -2.49 0.0011 7.2195      50 2.49 -0.001 50 -2.49 0.0012 7.2195
50 -0.001 2.49 50 0.0009 -2.49 4.8045      50 -0.001 2.49 50 0.0010 -2.49 4.8045
50 -0.001 2.49 50 0.0011 -2.49 4.7461      50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492                 50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030                 50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000           50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000           50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
""", sep=" ").reshape(34, 7)  # fmt: skip


def random_images(n=3, height=20, width=17, seed=0):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def random_batch(n=7, size=16, seed=0):
    """Return L (n,1,size,size), ab (n,2,size,size) and masks: two ambiguous objects per image, the rest determined."""
    generator = torch.Generator().manual_seed(seed)
    L = torch.rand(n, 1, size, size, generator=generator) * 1.2 - 0.6
    ab = torch.rand(n, 2, size, size, generator=generator) * 0.6 - 0.3
    objects = torch.zeros(n, size, size, dtype=torch.uint8)
    objects[:, 2:6, 2:6] = 1
    objects[:, 8:13, 8:13] = 255  # the largest id of its type
    ambiguous = objects > 0
    edges = torch.zeros_like(ambiguous)
    edges[:, 6:8] = True
    determined = ~ambiguous
    context = determined & (torch.arange(objects.shape[-1]) < 3)
    return (
        L,
        ab,
        SimpleNamespace(objects=objects, ambiguous=ambiguous, determined=determined, edges=edges, context=context),
    )


class Batches:
    """What `evaluate` needs of a loader: batches in a fixed order, and masks."""

    def __init__(self, L, ab, batch_size, masks=None):
        self.batches = list(zip(L.split(batch_size), ab.split(batch_size), strict=True))
        self.masks = masks

    def __iter__(self):
        return iter(self.batches)


# --- Per pixel ---


def as_image(lab):
    return torch.as_tensor(lab).T.reshape(3, 1, -1)


def test_delta_e2000_gives_the_published_numbers():
    lab1, lab2 = as_image(SHARMA[:, :3]), as_image(SHARMA[:, 3:6])
    assert metrics.delta_e2000(lab1, lab2).numpy().ravel() == pytest.approx(SHARMA[:, 6], abs=1e-4)
    assert metrics.delta_e2000(lab2, lab1).numpy().ravel() == pytest.approx(SHARMA[:, 6], abs=1e-4)


def test_delta_e2000_of_the_same_image_is_zero():
    lab = as_image(SHARMA[:, :3]).float()
    difference = metrics.delta_e2000(lab.requires_grad_(), lab)
    assert difference.abs().max() == 0 and difference.dtype == torch.float32 and not difference.requires_grad


def test_ab_mae_and_chroma_ratio_by_hand():
    ab_true = torch.zeros(1, 2, 1, 2)
    ab_true[0, :, 0, 0] = torch.tensor([0.3, 0.4])  # chroma 55
    ab_true[0, :, 0, 1] = torch.tensor([0.0, 0.1])  # chroma 11
    ab_pred = torch.zeros(1, 2, 1, 2)
    ab_pred[0, 0, 0, 0] = 0.5  # chroma 55; errors 22 and 44
    left = torch.tensor([[[True, False]]])
    assert metrics.ab_mae(ab_pred, ab_true) == pytest.approx((22 + 44 + 0 + 11) / 4)
    assert metrics.ab_mae(ab_pred, ab_true, left) == pytest.approx(33)
    assert metrics.chroma_ratio(ab_pred, ab_true) == pytest.approx(55 / 66)
    assert metrics.chroma_ratio(ab_pred, ab_true, left) == pytest.approx(1)
    assert metrics.chroma_ratio(ab_pred, ab_true, ~left) == 0
    assert math.isnan(metrics.ab_mae(ab_pred, ab_true, left & ~left))


@pytest.mark.parametrize(("chroma", "ratio"), [(0.0, math.nan), (0.04, math.nan), (0.06, 1000)])
def test_the_chroma_ratio_of_a_gray_truth_is_not_one_of_rounding_errors(chroma, ratio):
    """In `evaluate` per region: the truth has color on the ambiguous pixels only."""
    L, ab, masks = random_batch(n=2)
    ab_true = torch.zeros_like(ab)
    ab_true[:, 0] = chroma / AB_SCALE
    ab_pred = 1000 * ab_true if chroma else ab
    assert metrics.chroma_ratio(ab_pred, ab_true) == pytest.approx(ratio, rel=1e-4, nan_ok=True)

    colored = torch.where(masks.ambiguous[:, None], ab, ab_true)
    predicted = torch.where(masks.ambiguous[:, None], ab, ab_pred)
    scores = metrics.evaluate(lambda L: predicted[: len(L)], Batches(L, colored, 2, masks))
    assert scores["chroma_ratio/determined"] == pytest.approx(ratio, rel=1e-4, nan_ok=True)
    assert scores["chroma_ratio/ambiguous"] == pytest.approx(1) and math.isfinite(scores["chroma_ratio"])


def test_the_message_names_shapes_that_do_not_fit():
    ab = torch.zeros(2, 2, 4, 4)
    with pytest.raises(ValueError, match=r"\(2, 2, 4, 5\)"):
        metrics.ab_mae(torch.zeros(2, 2, 4, 5), ab)
    with pytest.raises(ValueError, match="mask"):
        metrics.chroma_ratio(ab, ab, torch.ones(2, 1, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="H, W"):
        metrics.delta_e2000(ab, ab)


# --- Per image ---


def test_psnr_agrees_with_scikit_image():
    rgb1 = random_images()
    rgb2 = (rgb1 + 0.2 * (random_images(seed=1) - 0.5)).clamp(0, 1)
    expected = [peak_signal_noise_ratio(one, two, data_range=1) for one, two in zip(rgb1.numpy(), rgb2.numpy())]
    assert metrics.psnr(rgb1, rgb2).tolist() == pytest.approx(expected, abs=1e-3)


def test_ssim_of_one_window_by_hand():
    """At 11×11 px there is one window; the formula is equation 13 of Wang et al. 2004, with their constants."""
    one, two = random_images(1, 11, 11).double(), random_images(1, 11, 11, seed=1).double()
    weight = torch.exp(-(torch.arange(-5.0, 6.0, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    weight = torch.outer(weight, weight) / weight.sum() ** 2

    def mean(values):
        return (weight * values).sum((2, 3))  # (1, 3)

    covariance = mean(one * two) - mean(one) * mean(two)
    variances = mean(one**2) - mean(one) ** 2 + mean(two**2) - mean(two) ** 2
    c1, c2 = 0.01**2, 0.03**2
    light = (2 * mean(one) * mean(two) + c1) / (mean(one) ** 2 + mean(two) ** 2 + c1)
    expected = (light * (2 * covariance + c2) / (variances + c2)).mean()
    assert metrics.ssim(one, two).item() == pytest.approx(expected.item(), abs=1e-6)
    assert metrics.ssim(one, one).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="11×11"):
        metrics.ssim(one[..., :10], two[..., :10])


def test_psnr_of_the_same_image_is_infinite():
    assert metrics.psnr(random_images(), random_images()).isinf().all()


def test_colorfulness_by_hand():
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1  # rg = 255, yb = 127.5 everywhere: no deviation, only the mean
    assert metrics.colorfulness(red).item() == pytest.approx(0.3 * math.hypot(255, 127.5))
    both = red.clone()
    both[:, :, 2:] = 0
    both[:, 1, 2:] = 1  # green below: rg = ±255 with mean 0, so absolute values would change the answer
    assert metrics.colorfulness(both).item() == pytest.approx(255 + 0.3 * 127.5, rel=1e-5)
    assert metrics.colorfulness(torch.full((2, 3, 4, 4), 0.3)).tolist() == pytest.approx([0, 0], abs=1e-4)
    with pytest.raises(ValueError, match="uint8"):
        metrics.colorfulness((255 * red).to(torch.uint8))


# --- Per object ---


def painted_hues(hues, chroma=0.3):
    """Return ab (1, 2, 2·n, 4), objects and ambiguous: object i, 8 px, has the i-th hue (radians)."""
    hues = torch.as_tensor(hues, dtype=torch.float64)
    ab = torch.stack([hues.cos(), hues.sin()]) * chroma  # (2, n)
    ab = ab.repeat_interleave(2, dim=1)[None, :, :, None].expand(1, 2, 2 * len(hues), 4).float()
    objects = torch.arange(1, len(hues) + 1).repeat_interleave(2)[None, :, None].expand(1, -1, 4)
    return ab, objects, torch.ones(objects.shape, dtype=torch.bool)


def test_object_hues_are_angles_in_order():
    hues = [0.1, 1.5, 3.0, -1.5, -3.0]
    assert metrics.object_hues(*painted_hues(hues)).tolist() == pytest.approx(hues, abs=1e-6)


def test_objects_are_per_image_and_have_at_least_six_ambiguous_pixels():
    ab, objects, ambiguous = painted_hues([0.5, 2.0])
    ab, objects = torch.cat([ab, -ab]), torch.cat([objects, objects])
    ambiguous = ambiguous.repeat(2, 1, 1)
    ambiguous[1, 0, :3] = False  # object 1 of image 1 keeps 5 of its 8 pixels
    hues = metrics.object_hues(ab, objects, ambiguous)
    assert hues.tolist() == pytest.approx([0.5, 2.0, 2.0 - math.pi], abs=1e-6)
    ambiguous[1, 0, 2] = True
    assert len(metrics.object_hues(ab, objects, ambiguous)) == 4
    assert len(metrics.object_hues(ab, objects, torch.zeros_like(ambiguous))) == 0


def test_hue_entropy_is_one_for_uniform_and_zero_for_one_hue():
    uniform = torch.arange(8) * math.pi / 4 + 0.2
    assert metrics.hue_entropy(*painted_hues(uniform)) == pytest.approx(1)
    assert metrics.hue_entropy(*painted_hues(uniform + 3 * math.pi / 4, chroma=0.01)) == pytest.approx(1)
    assert metrics.hue_entropy(*painted_hues(uniform.flip(0))) == pytest.approx(1)
    assert metrics.hue_entropy(*painted_hues([0.3] * 9)) == 0
    assert metrics.hue_entropy(*painted_hues([0.3, 0.4, 2.0, 2.1])) == pytest.approx(1 / 3)
    assert math.isnan(metrics.entropy_of_hues(torch.zeros(0)))


def test_hue_bins_start_at_zero():
    assert metrics.hue_counts(torch.tensor([0.0, -1e-20, 0.78, 0.79])).tolist() == [3, 1, 0, 0, 0, 0, 0, 0]
    assert metrics.hue_counts(torch.tensor([-0.01, math.pi - 0.01, -math.pi])).tolist() == [0, 0, 0, 1, 1, 0, 0, 1]


def test_object_hues_names_shapes_that_do_not_fit():
    ab, objects, ambiguous = painted_hues([0.5])
    with pytest.raises(ValueError, match="objects and ambiguous"):
        metrics.object_hues(ab, objects[:, :1], ambiguous)


# --- A whole set ---


def test_evaluate_gives_the_same_for_every_batch_size():
    L, ab, masks = random_batch()
    predict = lambda L: torch.cat([L, L.flip(-1)], dim=1) * 0.4  # noqa: E731
    whole = metrics.evaluate(predict, Batches(L, ab, 7, masks))
    for batch_size in (1, 2, 3):
        assert metrics.evaluate(predict, Batches(L, ab, batch_size, masks)) == pytest.approx(whole, rel=1e-5)


def test_evaluate_agrees_with_the_single_functions():
    L, ab, masks = random_batch()
    ab_pred = torch.cat([L, L.flip(-1)], dim=1) * 0.4
    scores = metrics.evaluate(lambda L: torch.cat([L, L.flip(-1)], dim=1) * 0.4, Batches(L, ab, 3, masks))
    rgb, rgb_true = (metrics.lab_to_rgb(metrics.join_lab(L, planes)) for planes in (ab_pred, ab))
    delta_e = metrics.delta_e2000(metrics.join_lab(L, ab_pred), metrics.join_lab(L, ab))
    expected = {
        "psnr": metrics.psnr(rgb, rgb_true).mean().item(),
        "ssim": metrics.ssim(rgb, rgb_true).mean().item(),
        "colorfulness": metrics.colorfulness(rgb).mean().item(),
        "colorfulness_true": metrics.colorfulness(rgb_true).mean().item(),
        "hue_entropy": metrics.hue_entropy(ab_pred, masks.objects, masks.ambiguous),
    }
    for name in ("", "/determined", "/ambiguous", "/edges", "/context"):
        mask = getattr(masks, name[1:]) if name else torch.ones_like(masks.edges)
        expected[f"ab_mae{name}"] = metrics.ab_mae(ab_pred, ab, mask)
        expected[f"chroma_ratio{name}"] = metrics.chroma_ratio(ab_pred, ab, mask)
        expected[f"delta_e2000{name}"] = delta_e[mask].mean().item()
    spreads = {name: scores.pop(name) for name in ("hue_spread", "hue_spread_true")}
    assert scores == pytest.approx(expected, rel=1e-4)
    assert all(0 < spread < 1 for spread in spreads.values())
    assert all(type(value) is float for value in scores.values())


def test_each_region_is_scored_by_its_mask():
    """Predict the truth, except that a is 11 Lab units too high on determined pixels and ambiguous ones are gray."""
    L, ab, masks = random_batch(n=2)
    ab[:] = torch.tensor([0.3, 0.4])[:, None, None]  # chroma 55
    guess = ab.clone()
    guess[:, 0] += 0.1
    guess = torch.where(masks.ambiguous[:, None], 0.0, guess)
    scores = metrics.evaluate(lambda L: guess[: len(L)], Batches(L, ab, 2, masks))
    assert scores["ab_mae/determined"] == pytest.approx(11 / 2, rel=1e-5)
    assert scores["ab_mae/edges"] == pytest.approx(11 / 2, rel=1e-5)
    assert scores["ab_mae/ambiguous"] == pytest.approx((33 + 44) / 2, rel=1e-5)
    assert scores["chroma_ratio/ambiguous"] == 0
    assert scores["chroma_ratio/determined"] == pytest.approx(math.hypot(0.4, 0.4) / 0.5, rel=1e-5)
    share = masks.ambiguous.float().mean().item()
    assert scores["ab_mae"] == pytest.approx(share * 38.5 + (1 - share) * 5.5, rel=1e-5)
    assert (scores["hue_entropy"], scores["hue_spread"]) == (0, 0)
    assert scores["hue_spread_true"] == pytest.approx(0, abs=1e-6)


def test_hue_spread_of_an_object_with_two_hues():
    L, ab, masks = random_batch(n=1)
    ab[:] = torch.tensor([0.3, 0.0])[:, None, None]
    guess = ab.clone()
    guess[:, :, 4:6, 2:6] *= -1 / 3  # half of object 1 turns to the opposite hue, with a third of the chroma
    scores = metrics.evaluate(lambda L: guess, Batches(L, ab, 1, masks))
    assert scores["hue_spread"] == pytest.approx((1 - (1 - 1 / 3) / (1 + 1 / 3)) / 2, rel=1e-5)
    assert scores["hue_spread_true"] == pytest.approx(0, abs=1e-6)


def test_a_perfect_prediction_and_a_gray_one():
    L, ab, masks = random_batch(n=4)
    answers = iter(ab.split(2))
    perfect = metrics.evaluate(lambda L: next(answers), Batches(L, ab, 2, masks))
    assert perfect["ab_mae"] == perfect["delta_e2000/edges"] == 0
    assert perfect["chroma_ratio"] == perfect["chroma_ratio/ambiguous"] == pytest.approx(1)
    assert perfect["psnr"] == math.inf and perfect["ssim"] == pytest.approx(1)
    assert perfect["colorfulness"] == perfect["colorfulness_true"]
    assert perfect["hue_spread"] == perfect["hue_spread_true"]

    gray = metrics.evaluate(metrics.gray, Batches(L, ab, 2, masks))
    assert gray["chroma_ratio"] == 0 and gray["colorfulness"] == pytest.approx(0, abs=0.1)
    assert gray["ab_mae"] == pytest.approx(ab.abs().mean().item() * AB_SCALE, rel=1e-5)


def test_without_masks_there_are_no_regions():
    L, ab, _ = random_batch(n=2)
    scores = metrics.evaluate(lambda L: L.expand(-1, 2, -1, -1), [(L, ab)])  # a plain list has no .masks at all
    assert set(scores) == {
        "ab_mae", "delta_e2000", "psnr", "ssim", "colorfulness", "colorfulness_true", "chroma_ratio",
    }  # fmt: skip


class Frozen(nn.Module):
    """A network with one part in eval mode on purpose; raises an error on request."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.train()
        self.layer[1].eval()
        self.modes_seen, self.fail = [], False

    def forward(self, L):
        self.modes_seen.append(any(part.training for part in self.modules()))
        assert not torch.is_grad_enabled()
        if self.fail:
            raise RuntimeError("out of memory")
        return self.layer(L)


@pytest.mark.parametrize("call", [metrics.evaluate, metrics.predict])
def test_a_network_is_used_in_eval_mode_and_its_mode_is_restored(call):
    L, ab, _ = random_batch(n=4)
    network = Frozen()
    before = [part.training for part in network.modules()]
    assert True in before and False in before
    call(network, Batches(L, ab, 2))
    network.fail = True
    with pytest.raises(RuntimeError, match="out of memory"):
        call(network, Batches(L, ab, 2))
    assert network.modes_seen == [False] * 3
    assert [part.training for part in network.modules()] == before
    assert torch.is_grad_enabled()


class Subclass(torch.Tensor):
    """Like fastai's TensorBase."""


def test_evaluate_takes_half_precision_and_tensor_subclasses():
    L, ab, masks = random_batch(n=2)
    predictions = (ab * 0.5).bfloat16()
    plain = metrics.evaluate(lambda L: predictions.float(), Batches(L, ab, 2, masks))
    odd = metrics.evaluate(lambda L: predictions.as_subclass(Subclass), Batches(L, ab, 2, masks))
    assert odd == plain and type(odd["ab_mae"]) is float
    ab_pred = metrics.predict(lambda L: predictions.as_subclass(Subclass), L)
    assert type(ab_pred) is torch.Tensor and torch.equal(ab_pred, predictions.float())


def test_predict_takes_a_batch_or_a_loader():
    L, ab, _ = random_batch(n=5)
    network = nn.Conv2d(1, 2, 3)
    ab_pred = metrics.predict(network, L)
    assert torch.equal(ab_pred, network(L)) and not ab_pred.requires_grad
    assert torch.allclose(metrics.predict(network, Batches(L, ab, 2)), ab_pred, atol=1e-6)


def test_gray_has_no_color():
    assert torch.equal(metrics.gray(torch.rand(2, 1, 3, 4)), torch.zeros(2, 2, 3, 4))


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda L: L, r"shape \(2, 2, 16, 16\), got \(2, 1, 16, 16\)"),
        (lambda L: None, "NoneType"),
        (lambda L: L.expand(-1, 2, -1, -1) * math.nan, "not finite"),
        (lambda L: L.expand(-1, 2, -1, -1) / 0, "not finite"),
    ],
)
def test_evaluate_refuses_a_wrong_prediction(predict, message):
    L, ab, _ = random_batch(n=2)
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(predict, Batches(L, ab, 2))


def test_evaluate_refuses_masks_of_other_images():
    L, ab, masks = random_batch(n=4)
    with pytest.raises(ValueError, match="0 images"):
        metrics.evaluate(metrics.gray, [])
    with pytest.raises(ValueError, match="2 images instead of 4"):
        metrics.evaluate(metrics.gray, Batches(L[:2], ab[:2], 2, masks))
    with pytest.raises(ValueError, match="objects and ambiguous"):
        metrics.evaluate(metrics.gray, Batches(L.repeat(2, 1, 1, 1), ab.repeat(2, 1, 1, 1), 3, masks))


def test_without_perceptual_scores_the_others_are_the_same():
    loader = data.make_loaders("scenes", size=32, n_train=1, n_test=6).test
    everything, some = metrics.evaluate(metrics.gray, loader), metrics.evaluate(metrics.gray, loader, perceptual=False)
    assert some == {key: value for key, value in everything.items() if key.split("/")[0] not in NEED_REFERENCE}
    assert some.keys() < everything.keys()


NEED_REFERENCE = ("delta_e2000", "psnr", "ssim")


def test_correlation_is_that_of_numpy_without_the_means_of_the_images():
    generator = torch.Generator().manual_seed(0)
    ab, other = (torch.rand(5, 2, 16, 16, generator=generator) for _ in range(2))
    ab_pred = 0.3 * ab + other + torch.rand(5, 2, 1, 1, generator=generator)  # with a tint of each image
    batches = [(ab_pred[:3], ab[:3]), (ab_pred[3:], ab[3:])]  # the prediction stands in for L
    centered = [(x - x.mean((2, 3), keepdim=True)).flatten().numpy() for x in (ab_pred, ab)]
    assert metrics.ab_correlation(lambda x: x, batches) == pytest.approx(np.corrcoef(*centered)[0, 1], abs=1e-6)
    assert metrics.ab_correlation(lambda x: 2 * x + 0.1, batches) == pytest.approx(
        metrics.ab_correlation(lambda x: x, batches)
    )
