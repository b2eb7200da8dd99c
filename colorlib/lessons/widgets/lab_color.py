"""Chapter 01: move through Lab, dim the light, mix channels, and give one gray other colors."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage.filters import gaussian

from colorlib import show
from colorlib.color import lab_to_rgb, lab_to_rgb_keeping_light, rgb_to_lab, rgb_to_luma
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.pix2pix import forge

REACH = 110  # the ab plane is drawn from −110 to 110 Lab units
GRID = 111  # points per axis
BIN = 10  # side of an ab bin, Lab units
BINS = 2 * REACH // BIN + 1  # bins per axis; their centers are multiples of BIN
VIVID = 10  # pixels with less chroma than this have no hue to speak of


# --- which colors a screen can show ----------------------------------------------------------------------------------


def lab_corner(L: float, a: float, b: float) -> Figure:
    """Draw the slice of Lab at lightness `L`, the point (a, b) on it, and the color that a screen shows for it.

    Args:
        L: lightness, 0 to 100.
        a, b: Lab units, −110 to 110.
    """
    slice_rgba = _gamut_slice(L)
    point = lab_to_rgb(torch.tensor([L, a, b], dtype=torch.float32).view(3, 1, 1), clip=False).flatten()
    shown = point.clamp(0, 1).numpy()
    is_inside = bool(((point >= 0) & (point <= 1)).all())

    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), width_ratios=[3, 2], layout="constrained")
    plt.close(figure)
    left.imshow(slice_rgba, origin="lower", extent=(-REACH, REACH, -REACH, REACH), interpolation="nearest")
    left.plot(a, b, marker="o", markersize=9, markerfacecolor=shown, markeredgecolor="black", markeredgewidth=1.5)
    left.set(title=f"all screen colors of L = {L:g}")
    _label_ab(left)
    right.add_patch(Rectangle((0, 0), 1, 1, color=shown))
    red, green, blue = np.round(shown * 255).astype(int)
    right.set_title(f"L {L:g}, a {a:g}, b {b:g}\nsRGB {red}, {green}, {blue}")
    right.set_xlabel("inside sRGB" if is_inside else "outside sRGB, clipped")
    right.set(xticks=[], yticks=[])
    return figure


def lab_explorer() -> FigurePanel:
    """Return a panel that draws `lab_corner`, with sliders for L, a and b."""
    return FigurePanel(
        lab_corner,
        L=_slider("L", 0, 100, 60),
        a=_slider("a", -REACH, REACH, 40),
        b=_slider("b", -REACH, REACH, 30),
    )


# --- less light -------------------------------------------------------------------------------------------------------


def dim(rgb: torch.Tensor, light: float) -> torch.Tensor:
    """Return what a camera would store for the same scene under `light` times the light: (..., 3, H, W) in [0, 1]."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92) * light
    return torch.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear).clamp(0, 1)


def what_is_left(rgb: torch.Tensor, light: float) -> dict[str, float]:
    """Measure what changes under another light.

    Args:
        rgb: one image, (3, H, W) in [0, 1].
        light: factor of the light.
    Returns:
        The means of "R", "G", "B", "L" and "chroma", divided by those at full light; and "hue", the mean angle in
        degrees by which the hues of pixels with a chroma of at least 10 turn (nan if there are none).
    """
    dimmed = dim(rgb, light)
    lab, lab_dimmed = rgb_to_lab(rgb), rgb_to_lab(dimmed)
    (_, a, b), (_, a_dimmed, b_dimmed) = lab, lab_dimmed
    chroma, chroma_dimmed = torch.hypot(a, b), torch.hypot(a_dimmed, b_dimmed)
    left = {name: (after.mean() / before.mean()).item() for name, before, after in zip("RGB", rgb, dimmed, strict=True)}
    left["L"] = (lab_dimmed[0].mean() / lab[0].mean()).item()
    left["chroma"] = (chroma_dimmed.mean() / chroma.mean()).item()
    turn = torch.atan2(a * b_dimmed - b * a_dimmed, a * a_dimmed + b * b_dimmed)  # from the old hue to the new one
    return left | {"hue": turn[chroma >= VIVID].abs().mean().rad2deg().item()}


def light_balance(rgb: torch.Tensor, light: float) -> Figure:
    """Draw an image, the same scene under `light` times the light, and `what_is_left` of its channels."""
    left = what_is_left(rgb, light)
    turn = left.pop("hue")
    with plt.rc_context(show.STYLE):
        figure, (before, after, bars) = plt.subplots(1, 3, figsize=(9.0, 2.2), width_ratios=[3, 3, 2.4])
        plt.close(figure)
        for ax, image, title in ((before, rgb, "full light"), (after, dim(rgb, light), f"{light:.0%} of the light")):
            _show(ax, image, title)
        drawn = bars.barh(list(left), list(left.values()), color=["#B03030", "#2E7D32", "#2C5AA0", "0.4", "#B5651D"])
        bars.bar_label(drawn, fmt="{:.0%}", padding=3, fontsize=8)
        bars.set(xlim=(0, 1.25 * max(1, *left.values())), xlabel="mean, as a share of full light", xticks=[0, 0.5, 1])
        bars.set_title(f"hues turn by {turn:.1f}°")
        bars.invert_yaxis()
        return figure


def light_dimmer(rgb: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `light_balance` of an image (3, H, W) in [0, 1], with a slider for the light."""
    light = widgets.SelectionSlider(
        options=[(f"{percent}%", percent / 100) for percent in (1, 2, 5, 10, 15, 25, 35, 50, 70, 100, 140, 200, 300)],
        value=0.25,
        description="light",
        continuous_update=False,
    )
    return FigurePanel(lambda light: light_balance(rgb, light), light=light)


# --- channels, apart and together ------------------------------------------------------------------------------------


def mix_channels(
    rgb: torch.Tensor,
    other: torch.Tensor,
    chroma: float = 1.0,
    swap: bool = False,
    blur_light: float = 0.0,
    blur_color: float = 0.0,
) -> torch.Tensor:
    """Change the Lab channels of an image and put them together again.

    Args:
        rgb: (3, H, W) in [0, 1].
        other: an image of the same shape, whose ab is taken if `swap`.
        chroma: factor of a and b.
        swap: take ab from the other image.
        blur_light, blur_color: standard deviation of a Gaussian blur of L, and of a and b, in pixels.
    Returns:
        (3, H, W) in [0, 1].
    """
    L, ab = rgb_to_lab(rgb)[:1], rgb_to_lab(other if swap else rgb)[1:]
    return lab_to_rgb(torch.cat([_blur(L, blur_light), chroma * _blur(ab, blur_color)]))


def channel_mix(rgb: torch.Tensor, other: torch.Tensor, **settings) -> Figure:
    """Draw the L, the ab (at L = 60) and the picture that `mix_channels` makes; the settings are its arguments."""
    mixed = mix_channels(rgb, other, **settings)
    lab = rgb_to_lab(mixed)
    no_color, one_light = lab.clone(), lab.clone()
    no_color[1:], one_light[0] = 0, 60
    titles = ["L alone", "ab alone, at L = 60", "together"]
    return show.pictures({"": [lab_to_rgb(no_color), lab_to_rgb(one_light), mixed]}, titles=titles)


def channel_mixer(rgb: torch.Tensor, other: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `channel_mix` of two images (3, H, W) in [0, 1], with its four controls."""
    blur = {"min": 0, "max": 16, "step": 0.5, "continuous_update": False, "style": {"description_width": "initial"}}
    return FigurePanel(
        lambda **settings: channel_mix(rgb, other, **settings),
        chroma=widgets.FloatSlider(1.0, min=0, max=3, step=0.1, description="chroma ×", continuous_update=False),
        swap=widgets.Checkbox(False, description="take ab from the other photo"),
        blur_light=widgets.FloatSlider(0, description="blur L (px)", **blur),
        blur_color=widgets.FloatSlider(0, description="blur ab (px)", **blur),
    )


# --- same gray, other color -------------------------------------------------------------------------------------------


def turned(rgb: torch.Tensor, turn: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn every hue of an image (3, H, W) in [0, 1] by `turn` degrees at fixed L.

    Returns:
        The new image in [0, 1], and bool (H, W): where the color was outside sRGB, so that it was made paler.
    """
    lab = rgb_to_lab(rgb)
    lab = torch.cat([lab[:1], forge(lab[1:], 1.0, turn)])
    rgb = lab_to_rgb(lab, clip=False)
    outside = ((rgb < -1e-3) | (rgb > 1 + 1e-3)).any(dim=0)
    return lab_to_rgb_keeping_light(lab), outside


def gray_shifts(rgb: torch.Tensor, turn: float) -> dict[str, float]:
    """Measure how the gray of an image (3, H, W) in [0, 1] moves when its hues are turned by `turn` degrees.

    Returns:
        "by L" and "by luma": mean |ΔL| of that gray, in Lab units; "paler": share of pixels that were made paler.
    """
    new, outside = turned(rgb, turn)
    L, L_new = rgb_to_lab(rgb)[0], rgb_to_lab(new)[0]
    luma, luma_new = (rgb_to_lab(rgb_to_luma(image).expand(3, -1, -1))[0] for image in (rgb, new))
    moved = {"by L": (L_new - L).abs().mean().item(), "by luma": (luma_new - luma).abs().mean().item()}
    return moved | {"paler": outside.float().mean().item()}


def same_gray(rgb: torch.Tensor, turn: float) -> Figure:
    """Draw an image with every hue turned by `turn` degrees, its gray by L, and its gray by luma."""
    new, shifts = turned(rgb, turn)[0], gray_shifts(rgb, turn)
    L = rgb_to_lab(new)[:1]
    gray = lab_to_rgb(torch.cat([L, torch.zeros_like(L).expand(2, -1, -1)]))
    titles = [
        f"turned {turn:g}°, {shifts['paler']:.0%} made paler",
        f"gray by L: moved by {shifts['by L']:.1f}",
        f"gray by luma: moved by {shifts['by luma']:.1f}",
    ]
    return show.pictures({"": [new, gray, rgb_to_luma(new)]}, titles=titles)


def hue_turner(rgb: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `same_gray` of an image (3, H, W) in [0, 1], with a slider for the angle."""
    return FigurePanel(lambda turn: same_gray(rgb, turn), turn=_slider("turn (°)", -180, 180, 120, step=10))


def bins_at(pixels: torch.Tensor, L: float, within: float = 1.0) -> torch.Tensor:
    """Count the colors of one gray.

    Args:
        pixels: Lab (3, N).
        L: the gray; pixels whose L is at most `within` away from it count as this gray.
    Returns:
        int64 (23, 23): pixels in each bin of 10 × 10 Lab units, row b, column a, both from −110 to 110.
    """
    a, b = pixels[1:, (pixels[0] - L).abs() <= within]
    column, row = ((plane / BIN).round().long() + BINS // 2 for plane in (a, b))
    return torch.bincount(row * BINS + column, minlength=BINS**2).view(BINS, BINS)


def colors_of_one_gray(pixels: torch.Tensor, L: float) -> Figure:
    """Draw the ab bins of the pixels, Lab (3, N), that have one gray, with the gamut; larger squares are more common.

    The title has the number of bins, and the effective number: exp of the entropy of their shares.
    """
    counts = bins_at(pixels, L)
    share = counts / counts.sum().clamp(min=1)
    effective = torch.special.entr(share).sum().exp().item()
    gamut = _gamut_slice(L)
    gamut[..., 3] *= 0.18  # the gamut in pale colors behind
    rows, columns = counts.nonzero(as_tuple=True)
    ab = (torch.stack([columns, rows]) - BINS // 2) * BIN
    lab = torch.cat([torch.full((1, ab.shape[1]), float(L)), ab])[:, None]
    sizes = 12 + 90 * (share[rows, columns] / share.max().clamp(min=1e-9)).sqrt()
    with plt.rc_context(show.STYLE):
        figure, ax = plt.subplots(figsize=(4.4, 4.0))
        plt.close(figure)
        ax.imshow(gamut, origin="lower", extent=(-REACH, REACH, -REACH, REACH), interpolation="nearest")
        ax.scatter(*ab.numpy(), s=sizes, marker="s", c=lab_to_rgb(lab)[:, 0].T.numpy(), edgecolors="0.2", lw=0.4)
        ax.set_title(f"L = {L:g}: {len(rows)} colors in the photos,\nas varied as {effective:.0f} equally common ones")
        _label_ab(ax)
        return figure


def gray_explorer(pixels: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `colors_of_one_gray` of pixels, Lab (3, N), with a slider for L."""
    return FigurePanel(lambda L: colors_of_one_gray(pixels, L), L=_slider("L", 2, 98, 50, step=2))


def _slider(name: str, low: int, high: int, value: int, step: int = 1) -> widgets.IntSlider:
    return widgets.IntSlider(value, low, high, step, description=name, continuous_update=False)


def _gamut_slice(L: float) -> np.ndarray:
    """Return the ab plane at lightness L as RGBA (GRID, GRID, 4), transparent outside sRGB; row b, column a."""
    axis = torch.linspace(-REACH, REACH, GRID)
    bs, as_ = torch.meshgrid(axis, axis, indexing="ij")
    rgb = lab_to_rgb(torch.stack([torch.full_like(as_, L), as_, bs]), clip=False)  # (3, GRID, GRID)
    inside = ((rgb >= 0) & (rgb <= 1)).all(dim=0)
    return torch.cat([rgb.clamp(0, 1), inside[None].float()]).permute(1, 2, 0).numpy()


def _label_ab(ax) -> None:
    ax.axhline(0, color="gray", linewidth=0.5)
    ax.axvline(0, color="gray", linewidth=0.5)
    ax.set(xlabel="a (green to magenta)", ylabel="b (blue to yellow)")


def _show(ax, rgb: torch.Tensor, title: str) -> None:
    ax.imshow(rgb.permute(1, 2, 0).numpy())
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _blur(planes: torch.Tensor, radius: float) -> torch.Tensor:
    return torch.from_numpy(gaussian(planes.numpy(), radius, channel_axis=0)) if radius else planes
