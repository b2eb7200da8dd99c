"""Lab on tensors, against scikit-image and against arithmetic."""

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

import colorlib
from colorlib.color import lab_to_rgb_keeping_light, rgb_to_luma, to_uint8


@pytest.fixture(scope="module")
def rgb_grid() -> torch.Tensor:
    """52³ colors that fill the sRGB cube, as one picture (3, 52, 2704), float64."""
    steps = torch.linspace(0, 1, 52, dtype=torch.float64)
    return torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, 52, 52 * 52)


def as_image(planes: torch.Tensor) -> np.ndarray:
    return planes.movedim(-3, -1).double().numpy()


def test_lab_agrees_with_scikit_image(rgb_grid):
    reference = rgb2lab(as_image(rgb_grid))
    for dtype in (torch.float32, torch.float64):
        lab = colorlib.rgb_to_lab(rgb_grid.to(dtype))
        assert lab.dtype == dtype
        assert np.abs(as_image(lab) - reference).max() < 5e-4


def test_uint8_and_float_give_the_same_lab(rgb_grid):
    rgb = to_uint8(rgb_grid)
    exact = rgb2lab(as_image(rgb) / 255)
    for pictures in (rgb, rgb.expand(2, 3, 52, 2704)):
        lab = colorlib.rgb_to_lab(pictures)
        assert lab.dtype == torch.float32
        assert np.abs(as_image(lab) - exact).max() < 5e-4


def test_rgb_agrees_with_scikit_image(rgb_grid):
    lab = colorlib.rgb_to_lab(rgb_grid)
    assert np.abs(as_image(colorlib.lab_to_rgb(lab)) - lab2rgb(as_image(lab))).max() < 5e-4


def test_documented_ranges(rgb_grid):
    lab = colorlib.rgb_to_lab(rgb_grid).flatten(1)
    assert lab.min(dim=1).values.tolist() == pytest.approx([0, -86.18, -107.86], abs=0.02)
    assert lab.max(dim=1).values.tolist() == pytest.approx([100, 98.25, 94.48], abs=0.02)


@pytest.mark.slow
def test_every_8_bit_color_survives_the_round_trip():
    low = torch.arange(2**16, dtype=torch.int32)
    for red in range(256):
        rgb = torch.stack([torch.full_like(low, red), low >> 8, low & 255]).to(torch.uint8).view(3, 256, 256)
        back = to_uint8(colorlib.lab_to_rgb(colorlib.rgb_to_lab(rgb)))
        assert torch.equal(back, rgb), f"a color with red = {red} changed"


def test_network_scaling_is_its_own_inverse(rgb_grid):
    lab = colorlib.rgb_to_lab(rgb_grid)
    L, ab = colorlib.split_lab(lab)
    assert L.shape == (1, 52, 2704) and ab.shape == (2, 52, 2704)
    for scaled in (L, ab):
        assert scaled.min() >= -1 and scaled.max() <= 1
    assert torch.allclose(colorlib.join_lab(L, ab), lab, atol=1e-9)


def test_gradient_is_finite_at_black_and_right_elsewhere():
    black = torch.zeros(3, 1, 1, dtype=torch.float64, requires_grad=True)
    colorlib.rgb_to_lab(black).sum().backward()
    assert torch.isfinite(black.grad).all() and (black.grad != 0).any()

    rgb = torch.rand(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(colorlib.rgb_to_lab, rgb)  # against finite differences
    lab = colorlib.rgb_to_lab(rgb.detach()).requires_grad_()
    assert torch.autograd.gradcheck(colorlib.lab_to_rgb, lab)


def test_out_of_gamut_has_a_gradient_only_without_clipping():
    for clip in (True, False):
        lab = torch.tensor([50.0, 120.0, -120.0]).view(3, 1, 1).requires_grad_()
        rgb = colorlib.lab_to_rgb(lab, clip=clip)
        outside = (rgb <= 0) | (rgb >= 1)
        assert outside.any()
        rgb[outside].sum().backward()
        assert bool((lab.grad != 0).any()) is not clip


def test_colors_outside_the_gamut_give_up_saturation_not_light():
    steps = torch.linspace(-110, 110, 23, dtype=torch.float64)
    lab = torch.stack(torch.meshgrid(torch.linspace(0, 100, 21, dtype=torch.float64), steps, steps, indexing="ij"))
    lab = lab.reshape(3, 21, -1)
    rgb, plain = lab_to_rgb_keeping_light(lab), colorlib.lab_to_rgb(lab, clip=False)
    inside = ((plain >= 0) & (plain <= 1)).all(0)
    assert 0.1 < inside.double().mean() < 0.9
    assert torch.allclose(rgb[:, inside], plain[:, inside], atol=1e-9)
    again = colorlib.rgb_to_lab(rgb)
    assert (again[0] - lab[0]).abs().max() < 0.01
    # No grayer than need be: what was outside now lies on the gamut's surface.
    outside = ~inside & (lab[0] > 0) & (lab[0] < 100)
    on_surface = (rgb.amin(0) < 1e-6) | (rgb.amax(0) > 1 - 1e-6)
    assert on_surface[outside].all()
    assert (rgb[:, lab[0] == 0] < 1e-9).all() and (rgb[:, lab[0] == 100] > 1 - 1e-4).all()


def test_luma_is_not_lightness():
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1)
    assert rgb_to_luma(red).item() == pytest.approx(0.299)
    assert colorlib.rgb_to_lab(red)[0].item() == pytest.approx(53.24, abs=0.01)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: colorlib.rgb_to_lab(torch.zeros(4, 8, 8)), ValueError, r"\(\.\.\., 3, H, W\), got \(4, 8, 8\)"),
        (lambda: colorlib.rgb_to_lab(torch.zeros(3, 8)), ValueError, r"got \(3, 8\)"),
        (lambda: colorlib.rgb_to_lab(torch.zeros(3, 8, 8, dtype=torch.int64)), TypeError, "int64"),
        (lambda: colorlib.lab_to_rgb(torch.zeros(3, 8, 8, dtype=torch.uint8)), TypeError, "uint8"),
        (lambda: colorlib.lab_to_rgb(torch.zeros(2, 8, 8)), ValueError, r"got \(2, 8, 8\)"),
        (lambda: colorlib.join_lab(torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)), ValueError, "L must have"),
    ],
)
def test_wrong_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
