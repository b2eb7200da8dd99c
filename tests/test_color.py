"""Lab on tensors, against scikit-image and against arithmetic."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

import colorlib
from colorlib.color import lab_to_rgb_keeping_light, rgb_to_luma, to_uint8


@pytest.fixture(scope="module")
def rgb_grid() -> torch.Tensor:
    """52³ colors that fill the sRGB cube, as one image (3, 52, 2704), float64."""
    steps = torch.linspace(0, 1, 52, dtype=torch.float64)
    return torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, 52, 52 * 52)


def channels_last(planes: torch.Tensor) -> np.ndarray:
    return planes.movedim(-3, -1).double().numpy()


def test_rgb_to_lab_agrees_with_scikit_image(rgb_grid):
    reference = rgb2lab(channels_last(rgb_grid))
    for dtype in (torch.float32, torch.float64):
        lab = colorlib.rgb_to_lab(rgb_grid.to(dtype))
        assert lab.dtype == dtype
        assert np.abs(channels_last(lab) - reference).max() < 5e-4


def test_rgb_to_lab_of_uint8_agrees_with_scikit_image(rgb_grid):
    rgb = to_uint8(rgb_grid)
    reference = rgb2lab(channels_last(rgb) / 255)
    for images in (rgb, rgb.expand(2, 3, 52, 2704)):
        lab = colorlib.rgb_to_lab(images)
        assert lab.dtype == torch.float32
        assert np.abs(channels_last(lab) - reference).max() < 5e-4


def test_lab_to_rgb_agrees_with_scikit_image(rgb_grid):
    lab = colorlib.rgb_to_lab(rgb_grid)
    assert np.abs(channels_last(colorlib.lab_to_rgb(lab)) - lab2rgb(channels_last(lab))).max() < 5e-4


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


def test_join_lab_undoes_split_lab(rgb_grid):
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


def test_colors_outside_srgb_have_a_gradient_only_without_clipping():
    for clip in (True, False):
        lab = torch.tensor([50.0, 120.0, -120.0]).view(3, 1, 1).requires_grad_()
        rgb = colorlib.lab_to_rgb(lab, clip=clip)
        outside = (rgb <= 0) | (rgb >= 1)
        assert outside.any()
        rgb[outside].sum().backward()
        assert bool((lab.grad != 0).any()) is not clip


def test_colors_outside_srgb_are_desaturated_and_keep_their_lightness():
    steps = torch.linspace(-110, 110, 23, dtype=torch.float64)
    lab = torch.stack(torch.meshgrid(torch.linspace(0, 100, 21, dtype=torch.float64), steps, steps, indexing="ij"))
    lab = lab.reshape(3, 21, -1)
    rgb, unclipped = lab_to_rgb_keeping_light(lab), colorlib.lab_to_rgb(lab, clip=False)
    inside = ((unclipped >= 0) & (unclipped <= 1)).all(0)
    assert 0.1 < inside.double().mean() < 0.9
    assert torch.allclose(rgb[:, inside], unclipped[:, inside], atol=1e-9)
    assert (colorlib.rgb_to_lab(rgb)[0] - lab[0]).abs().max() < 0.01
    # As little as needed: colors from outside end on the surface of the gamut.
    outside = ~inside & (lab[0] > 0) & (lab[0] < 100)
    on_surface = (rgb.amin(0) < 1e-6) | (rgb.amax(0) > 1 - 1e-6)
    assert on_surface[outside].all()
    assert (rgb[:, lab[0] == 0] < 1e-9).all() and (rgb[:, lab[0] == 100] > 1 - 1e-4).all()


def test_luma_is_what_pillow_stores_and_not_lightness():
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    stored = np.asarray(Image.fromarray(rgb).convert("L"))
    assert np.abs(rgb_to_luma(colorlib.to_tensor(rgb))[0].numpy() * 255 - stored).max() < 0.51
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1)
    assert rgb_to_luma(red).item() == pytest.approx(0.299)
    assert colorlib.rgb_to_lab(red)[0].item() == pytest.approx(53.24, abs=0.01)


def test_to_tensor_copies_arrays_and_pil_images():
    rgb = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    expected = torch.stack([torch.from_numpy(rgb[..., channel].copy()) for channel in range(3)])
    for image in (rgb, rgb[::-1, ::-1][::-1, ::-1], Image.fromarray(rgb)):
        tensor = colorlib.to_tensor(image)
        assert tensor.dtype == torch.uint8 and tensor.is_contiguous() and torch.equal(tensor, expected)
    tensor.zero_()
    assert rgb[1, 1, 1] == 16


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: colorlib.rgb_to_lab(torch.zeros(4, 8, 8)), ValueError, r"\(\.\.\., 3, H, W\), got \(4, 8, 8\)"),
        (lambda: colorlib.rgb_to_lab(torch.zeros(3, 8)), ValueError, r"got \(3, 8\)"),
        (lambda: colorlib.rgb_to_lab(torch.zeros(3, 8, 8, dtype=torch.int64)), TypeError, "int64"),
        (lambda: colorlib.lab_to_rgb(torch.zeros(3, 8, 8, dtype=torch.uint8)), TypeError, "uint8"),
        (lambda: colorlib.lab_to_rgb(torch.zeros(2, 8, 8)), ValueError, r"got \(2, 8, 8\)"),
        (lambda: colorlib.join_lab(torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)), ValueError, "L must have"),
        (lambda: colorlib.to_tensor(np.zeros((8, 8), np.uint8)), ValueError, r"\(H, W, 3\), got \(8, 8\)"),
    ],
)
def test_the_message_names_the_wrong_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
