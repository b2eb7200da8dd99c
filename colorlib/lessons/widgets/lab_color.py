"""Chapter 01: move through Lab and see which colors a screen can show."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from colorlib.color import lab_to_rgb
from colorlib.lessons.widgets import FigurePanel

REACH = 110  # the ab plane is drawn from −110 to 110 Lab units
GRID = 111  # points per axis


def lab_corner(L: float, a: float, b: float) -> Figure:
    """Draw the slice of Lab at lightness `L`, the point (a, b) on it, and the color that a screen shows for it.

    Args:
        L: lightness, 0 to 100.
        a, b: Lab units, −110 to 110.
    """
    axis = torch.linspace(-REACH, REACH, GRID)
    bs, as_ = torch.meshgrid(axis, axis, indexing="ij")
    rgb = lab_to_rgb(torch.stack([torch.full_like(as_, L), as_, bs]), clip=False)  # (3, GRID, GRID)
    inside = ((rgb >= 0) & (rgb <= 1)).all(dim=0)
    slice_rgba = torch.cat([rgb.clamp(0, 1), inside[None].float()]).permute(1, 2, 0).numpy()
    point = lab_to_rgb(torch.tensor([L, a, b], dtype=torch.float32).view(3, 1, 1), clip=False).flatten()
    shown = point.clamp(0, 1).numpy()
    is_inside = bool(((point >= 0) & (point <= 1)).all())

    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), width_ratios=[3, 2], layout="constrained")
    plt.close(figure)
    left.imshow(slice_rgba, origin="lower", extent=(-REACH, REACH, -REACH, REACH), interpolation="nearest")
    left.plot(a, b, marker="o", markersize=9, markerfacecolor=shown, markeredgecolor="black", markeredgewidth=1.5)
    left.set(xlabel="a (green to magenta)", ylabel="b (blue to yellow)", title=f"all screen colors of L = {L:g}")
    left.axhline(0, color="gray", linewidth=0.5)
    left.axvline(0, color="gray", linewidth=0.5)
    right.add_patch(Rectangle((0, 0), 1, 1, color=shown))
    red, green, blue = np.round(shown * 255).astype(int)
    right.set_title(f"L {L:g}, a {a:g}, b {b:g}\nsRGB {red}, {green}, {blue}")
    right.set_xlabel("inside sRGB" if is_inside else "outside sRGB, clipped")
    right.set(xticks=[], yticks=[])
    return figure


def lab_explorer() -> FigurePanel:
    """Return a panel that draws `lab_corner`, with sliders for L, a and b."""

    def slider(name: str, low: int, high: int, value: int) -> widgets.IntSlider:
        return widgets.IntSlider(value, low, high, description=name, continuous_update=False)

    return FigurePanel(
        lab_corner,
        L=slider("L", 0, 100, 60),
        a=slider("a", -REACH, REACH, 40),
        b=slider("b", -REACH, REACH, 30),
    )
