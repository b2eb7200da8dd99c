"""Figures: each has the documented parts, is returned closed, and refuses what it can't draw."""

import itertools
import math
from types import SimpleNamespace

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import skimage.color
import skimage.data
import torch
from matplotlib.figure import Figure

import colorlib
from colorlib import show
from colorlib.anatomy import unet_stages
from colorlib.color import join_lab, lab_to_rgb, rgb_to_lab, split_lab, to_uint8


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    style = plt.rcParams.copy()
    yield
    assert plt.get_fignums() == []
    assert plt.rcParams == style  # the reader's own style is unchanged


def photos(n=3, size=64):
    """Return crops of scikit-image's astronaut, (n, 3, size, size) uint8."""
    photo = torch.as_tensor(skimage.data.astronaut()).movedim(-1, 0)
    return torch.stack([photo[:, 40 * i : 40 * i + size, 150 : 150 + size] for i in range(n)])


def network_batch(n=3):
    return split_lab(rgb_to_lab(photos(n)))


def images_of(figure):
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def fits_a_page(figure):
    """Return whether nothing, labels included, reaches beyond the figure, which is at most 10 inches wide."""
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    return box.x0 > -0.05 and box.y0 > -0.05 and box.x1 < size[0] + 0.05 and box.y1 < size[1] + 0.05 and size[0] <= 10


# --- Images ---


def test_pictures_draws_labeled_rows_in_order():
    rgb = photos(3)
    gray = rgb.float().mean(1, keepdim=True) / 255
    figure = show.pictures({"color": rgb, "gray": gray.numpy()}, titles=["one", "two", "three"])
    assert isinstance(figure, Figure) and fits_a_page(figure)
    assert [ax.get_ylabel() for ax in figure.axes] == ["color", "", "", "gray", "", ""]
    assert [ax.get_title() for ax in figure.axes] == ["one", "two", "three", "", "", ""]
    drawn = images_of(figure)
    assert (drawn[1] == rgb[1].movedim(0, -1).numpy()).all()
    assert drawn[5].shape == (64, 64, 3) and (drawn[5][..., 0] == drawn[5][..., 2]).all()
    assert figure.axes[0].get_position().y0 > figure.axes[3].get_position().y0


def test_small_images_are_enlarged_by_a_whole_number():
    figure = show.pictures({"64 px": photos(5)}, columns=4)
    assert len(figure.axes) == 4
    box = figure.axes[0].get_window_extent()
    assert (box.width, box.height) == pytest.approx((192, 192))
    assert figure.axes[0].images[0].get_interpolation() == "nearest"


def test_pictures_takes_images_of_any_shape():
    figure = show.pictures({"photo": [skimage.data.coffee(), photos(1)[0], np.zeros((8, 8))]})
    assert [image.shape for image in images_of(figure)] == [(400, 600, 3), (64, 64, 3), (8, 8, 3)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "at least one row"),
        (photos(), "dict"),
        ({"a": photos(2), "b": photos(3)}, "same number"),
        ({"a": photos()[:0]}, "at least one"),
        ({"lab": rgb_to_lab(photos())}, "'lab'.*floats in"),
        ({"ab": torch.zeros(2, 2, 8, 8)}, r"\(2, 8, 8\)"),
        ({"nan": torch.full((1, 3, 8, 8), math.nan)}, "'nan'"),
        ({"ids": torch.zeros(1, 3, 8, 8, dtype=torch.int64)}, "int64"),
    ],
)
def test_pictures_refuses_what_it_cannot_draw(rows, message):
    with pytest.raises(ValueError, match=message):
        show.pictures(rows)


def test_predictions_are_between_gray_and_truth():
    L, ab = network_batch()
    figure = show.predictions(L, ab, U_Net=ab * 0.3, Pix2Pix=ab.flip(1))
    assert [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()] == ["gray", "U Net", "Pix2Pix", "truth"]
    drawn = images_of(figure)
    assert np.ptp(drawn[0].astype(int), axis=-1).max() <= 1  # gray, except for rounding
    lightness = skimage.color.rgb2lab(drawn[0])[..., 0]
    assert lightness == pytest.approx(50 * (L[0, 0].numpy() + 1), abs=0.5)  # L*, not luma
    assert (drawn[3] == to_uint8(lab_to_rgb(join_lab(L, ab * 0.3)))[0].movedim(0, -1).numpy()).all()
    assert np.abs(drawn[-1].astype(int) - photos()[-1].movedim(0, -1).numpy()).max() <= 1


def test_predictions_refuses_a_wrong_size_and_a_reserved_name():
    L, ab = network_batch()
    with pytest.raises(ValueError, match="the same size"):
        show.predictions(L, ab, unet=ab[..., :32])
    with pytest.raises(ValueError, match="'truth'"):
        show.predictions(L, ab, truth=ab)


def test_ab_planes_share_symmetric_limits():
    lab = rgb_to_lab(photos(1))[0]
    figure = show.ab_planes(lab)
    planes = [ax.images[0] for ax in figure.axes if ax.images]
    assert [plane.get_clim() for plane in planes[1:]] == [planes[1].get_clim()] * 2
    low, high = planes[1].get_clim()
    assert low == -high and high >= lab[1:].abs().max()
    assert planes[0].get_clim() == (0, 100)
    assert np.asarray(planes[2].get_array()) == pytest.approx(lab[2].numpy())
    assert [ax.get_ylabel() for ax in figure.axes[3:]] == ["Lab units"] * 3  # the color bars
    assert fits_a_page(figure)
    with pytest.raises(ValueError, match="one Lab image"):
        show.ab_planes(lab[None])


def test_error_map_draws_the_ab_error_in_lab_units():
    L, ab = network_batch()
    figure = show.error_map(L[0], ab[0] + torch.tensor([0.1, 0.0])[:, None, None], ab[0])
    assert [ax.get_title() for ax in figure.axes[:3]] == ["gray", "prediction", "truth"]
    assert images_of(figure)[3] == pytest.approx(5.5, abs=1e-3)  # 11 in a, 0 in b
    assert figure.axes[3].get_title().endswith("mean 5.5")
    assert figure.axes[4].get_ylabel() == "Lab units"
    assert show.error_map(L[0], ab[0], ab[0], limit=30).axes[3].images[0].get_clim() == (0, 30)
    with pytest.raises(ValueError, match="one image"):
        show.error_map(L, ab, ab)


# --- Curves ---


def history(epochs=4):
    rows = [{"epoch": e, "train_loss": 1 / e, "valid_ab_mae": 20 / e, "seconds": 2.0} for e in range(1, epochs + 1)]
    rows[-1]["valid_ab_mae/ambiguous"] = 24.0
    return SimpleNamespace(rows=rows)


def test_curves_of_the_same_quantity_share_an_axis():
    figure = show.curves(history(), landmarks={"log 2": math.log(2), "gray": (18.8, "valid_ab_mae")})
    assert [ax.get_title() for ax in figure.axes] == ["loss", "ab MAE (Lab units)"]
    assert all(ax.get_xlabel() == "epoch" for ax in figure.axes)
    loss, error = figure.axes
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3, 4]
    assert [line.get_label() for line in error.lines[:2]] == ["valid_ab_mae", "valid_ab_mae/ambiguous"]
    assert error.lines[1].get_xdata().tolist() == [4]  # a row may lack a key
    first, second = error.lines[:2]
    assert first.get_color() != second.get_color() and first.get_marker() != second.get_marker()
    assert loss.lines[1].get_ydata()[0] == pytest.approx(math.log(2)) and loss.texts[0].get_text() == "log 2"
    assert error.lines[2].get_ydata()[0] == 18.8 and error.lines[2].get_linestyle() == ":"
    assert fits_a_page(figure)


def test_gan_losses_share_an_axis_and_l1_has_its_own():
    rows = [{"epoch": 1, "loss_g_gan": 1.0, "loss_d_real": 0.6, "loss_d_fake": 0.7, "loss_g_l1": 0.05}]
    loss, l1 = show.curves(rows).axes
    assert len(loss.lines) == 3 and len(l1.lines) == 1


def test_curves_draws_the_named_keys_and_refuses_unknown_ones():
    assert len(show.curves(history(), keys=["seconds"]).axes) == 1
    with pytest.raises(ValueError, match="train_loss"):
        show.curves(history(), keys=["loss"])
    with pytest.raises(ValueError, match="can't draw"):
        show.curves([])


@pytest.mark.parametrize(
    ("key", "quantity"),
    [
        ("valid_ab_mae", "ab MAE (Lab units)"),
        ("ab_mae/edges", "ab MAE (Lab units)"),
        ("hue_spread_true", "hue spread (0 = one hue)"),
        ("loss_d_real", "loss"),
        ("loss_g_l1", "L1 loss (network units)"),
        ("temperature", "temperature"),
    ],
)
def test_the_quantity_of_a_key(key, quantity):
    assert show._quantity(key) == quantity


# --- Color space ---


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")  # scikit-image, outside the gamut
@pytest.mark.parametrize("L", [0, 20, 50.0, 90])
def test_gamut_shows_the_colors_inside_srgb(L):
    figure = show.gamut(L, size=45)  # a sample every 5 Lab units
    (ax,) = figure.axes
    image = np.asarray(ax.images[0].get_array())
    axis = np.linspace(-110, 110, 45)
    a, b = np.meshgrid(axis, axis)
    lab = np.stack([np.full_like(a, L), a, b], axis=-1)
    expected = skimage.color.lab2rgb(lab)
    returned = np.abs(skimage.color.rgb2lab(expected) - lab).max(-1)
    inside = image[..., 3] == 1
    assert inside[22, 22] and not inside[0, 0]
    assert (inside == (returned < 0.5))[np.abs(returned - 0.5) > 0.45].all()  # clipping changes colors outside
    assert image[inside, :3] == pytest.approx(expected[inside], abs=2e-3)
    assert ax.images[0].origin == "lower" and ax.images[0].get_extent()[0] == pytest.approx(-112.5)
    assert "Lab units" in ax.get_xlabel() and "Lab units" in ax.get_ylabel()


def test_gamut_refuses_a_lightness_out_of_range():
    with pytest.raises(ValueError, match="between 0 and 100"):
        show.gamut(101)


def test_hue_wheel_draws_shares_as_areas():
    hues = torch.tensor([0.1, 0.2, 0.3, math.pi + 0.1])
    figure = show.hue_wheel({"ours": hues, "truth": torch.arange(8) * math.pi / 4 + 0.1})
    ours, truth = figure.axes
    assert ours.name == "polar" and len(ours.patches) == 8
    assert [bar.get_height() ** 2 for bar in ours.patches] == pytest.approx([0.75, 0, 0, 0, 0.25, 0, 0, 0])
    assert ours.get_ylim() == truth.get_ylim()
    assert ours.get_title().startswith("ours\n4 objects") and truth.get_title().endswith("entropy 1.00")
    color = np.asarray(ours.patches[0].get_facecolor()[:3])
    angle = math.atan2(*skimage.color.rgb2lab(color)[:0:-1])
    assert angle == pytest.approx(math.pi / 8, abs=0.01)  # a sector has the color of its hue
    assert fits_a_page(figure)
    with pytest.raises(ValueError, match="at least one hue"):
        show.hue_wheel({"none": torch.zeros(0)})


def test_an_error_while_drawing_leaves_no_figure_open(monkeypatch):
    monkeypatch.setattr(show, "_picture", lambda *args, **style: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        show.pictures({"a": photos()})


def test_a_figure_made_by_the_reader_stays_open():
    mine = plt.figure()
    show.gamut(50, size=11)
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


# --- Networks ---


@pytest.mark.parametrize("kind", ["UNet", "slim", "fastai"])
def test_unet_diagram_shows_every_stage_and_skip(kind):
    net = colorlib.UNet(8, 3) if kind == "UNet" else colorlib.resnet_unet("resnet18", None, decoder=kind)
    figure = show.unet_diagram(net, 64)
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    words = [text.get_text() for text in texts]
    for stage in unet_stages(net, 64):
        assert any(word.endswith(" × ".join(map(str, stage.shape))) for word in words) and (
            not stage.layers or any(word.endswith(stage.layers) for word in words)
        )
    assert sum("skip" in word for word in words) == {"UNet": 3, "slim": 4, "fastai": 5}[kind]
    assert min(text.get_size() for text in texts) >= 7 and fits_a_page(figure)
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2)), "texts overlap"
