"""Figures in one style. Each function returns a closed `Figure`, so a notebook shows it once, as a cell's result."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from colorlib.anatomy import Stage, unet_stages
from colorlib.color import AB_SCALE, join_lab, lab_to_rgb
from colorlib.extras import MissingExtra
from colorlib.metrics import HUE_BINS, entropy_of_hues, hue_counts

try:
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, Rectangle
except ModuleNotFoundError as error:
    raise MissingExtra("matplotlib", "notebooks") from error

STYLE = {
    "figure.dpi": 110, "figure.facecolor": "white", "figure.constrained_layout.use": True,
    "font.family": "sans-serif", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "figure.titlesize": 10,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "0.4", "axes.axisbelow": True,
    "grid.color": "0.9", "hatch.linewidth": 0.6, "lines.linewidth": 1.6, "lines.markersize": 4,
}  # fmt: skip
WIDTH = 9.0  # inches, of the widest figures
GAP = 5  # pixels between images
# Okabe and Ito's colors without yellow, which is too light on white; markers and dashes also distinguish the curves.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS, DASHES = ("o", "s", "^", "D", "v", "P", "X"), ("-", "--", "-.", (0, (1, 1)))
A_COLORS = "PiYG_r"  # green to magenta, like the axis
B_COLORS = LinearSegmentedColormap.from_list("blue_yellow", ["#1F4E9C", "#7FA6DB", "#F7F7F7", "#F0CE5A", "#B98900"])
# End of a key (before any "/region") -> its quantity; keys of the same quantity share an axis.
QUANTITIES = {
    "ab_mae": "ab MAE (Lab units)", "delta_e2000": "ΔE2000", "psnr": "PSNR (dB)", "ssim": "SSIM (1 = same)",
    "colorfulness": "colorfulness", "colorfulness_true": "colorfulness", "chroma_ratio": "chroma ratio (1 = truth)",
    "hue_entropy": "hue entropy (1 = uniform)", "hue_spread": "hue spread (0 = one hue)",
    "hue_spread_true": "hue spread (0 = one hue)", "l1": "L1 loss (network units)", "lr": "learning rate",
    "seconds": "time (s)",
}  # fmt: skip


def _figure(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a drawing function in the common style and close its figure, even if it fails."""

    @functools.wraps(draw)
    def styled(*args, **kwargs) -> Figure:
        before = set(plt.get_fignums())
        try:
            with plt.rc_context(STYLE):
                figure = draw(*args, **kwargs)
                figure.draw_without_rendering()  # ticks get their style when first drawn
                return figure
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)

    return styled


in_style = _figure  # for the figures of the lessons


@_figure
def pictures(rows: Mapping[str, Iterable], columns: int | None = None, titles: Sequence[str] | None = None) -> Figure:
    """Draw a grid of images, one labeled row per entry.

    Args:
        rows: name -> batch: (N, 3, H, W) RGB or (N, 1, H, W) gray, float in [0, 1] or uint8, tensor or array; or a list
            of such images, also (H, W, 3), of any sizes. N is the same in every row.
        columns: number of images to show from each batch; by default up to 6.
        titles: one per column.
    Raises:
        ValueError: no rows, batches of different length, or something that is not an image.
    """
    if not isinstance(rows, Mapping) or not rows:
        raise ValueError("pictures() needs at least one row: a dict of name -> batch of images.")
    images = {name: [_as_image(picture, name) for picture in batch] for name, batch in rows.items()}
    lengths = {name: len(batch) for name, batch in images.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"Every row needs the same number of images, at least one; got {lengths}.")
    columns = min(columns or 6, *lengths.values())
    if titles is not None and len(titles) < columns:
        raise ValueError(f"{columns} columns need as many titles, got {len(titles)}.")

    # Small images are enlarged by a whole number: exact pixels, and half the size of an interpolated PNG.
    dpi = STYLE["figure.dpi"]
    margin = 12 + 7 * max(len(line) for name in images for line in name.split("\n"))  # pixels, for the labels
    native = max(image.shape[1] for batch in images.values() for image in batch[:columns])
    cell = min((WIDTH * dpi - margin) / columns - GAP, {1: 280, 2: 280, 3: 240, 4: 200}.get(columns, 150))
    cell = int(cell // native * native or cell)
    heights = [cell * max(len(image) / image.shape[1] for image in batch[:columns]) for batch in images.values()]
    width, height = margin + columns * (cell + GAP), sum(heights) + GAP * len(heights) + (18 if titles else 0)
    figure = plt.figure(figsize=(width / dpi, height / dpi), layout="none")
    y = GAP + sum(heights) + GAP * (len(heights) - 1)
    for row, (name, batch) in enumerate(images.items()):
        y -= heights[row] + (GAP if row else 0)
        for column, image in enumerate(batch[:columns]):
            place = (margin + column * (cell + GAP)) / width, y / height, cell / width, heights[row] / height
            ax = figure.add_axes(place)
            _picture(ax, image, interpolation="nearest" if image.shape[1] <= cell else "auto")
            ax.set(title=titles[column] if titles and not row else "", ylabel="" if column else name)
            ax.yaxis.label.set(rotation=0, ha="right", va="center")
    return figure


def predictions(L: torch.Tensor, ab_true: torch.Tensor, **named_ab_preds: torch.Tensor) -> Figure:
    """Draw the rows gray | one per prediction | truth.

    Args:
        L: (B, 1, H, W) in [-1, 1]; shown in the first row.
        ab_true: (B, 2, H, W) in [-1, 1].
        named_ab_preds: name -> (B, 2, H, W); underscores in a name become spaces.
    Raises:
        ValueError: a shape doesn't fit, or a prediction is named "gray" or "truth".
    """
    if taken := {"gray", "truth"} & named_ab_preds.keys():
        raise ValueError(f"{taken.pop()!r} is already a row; give the prediction another name.")
    rows = {"gray": torch.zeros_like(ab_true), **named_ab_preds, "truth": ab_true}
    return pictures({name.replace("_", " "): _rgb(L, ab) for name, ab in rows.items()})


@_figure
def ab_planes(lab: torch.Tensor) -> Figure:
    """Draw the three planes of one image: L* in gray, a* and b* on shared symmetric limits.

    Args:
        lab: (3, H, W) in Lab units.
    Raises:
        ValueError: not one Lab image.
    """
    if not isinstance(lab, torch.Tensor) or lab.ndim != 3 or len(lab) != 3:
        raise ValueError(f"ab_planes() needs one Lab image (3, H, W), got {_shape(lab)}.")
    L, a, b = lab.detach().cpu().float().numpy()
    limit = max(10, 10 * math.ceil(np.abs([a, b]).max() / 10))
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 0.3 + 0.74 * WIDTH / 3 * min(L.shape[0] / L.shape[1], 1.6)))
    for ax, plane, title, colormap, low, high in (
        (axes[0], L, "L*: black to white", "gray", 0, 100),
        (axes[1], a, "a*: green to magenta", A_COLORS, -limit, limit),
        (axes[2], b, "b*: blue to yellow", B_COLORS, -limit, limit),
    ):
        image = _picture(ax, plane, cmap=colormap, vmin=low, vmax=high)
        ax.set_title(title)
        figure.colorbar(image, ax=ax, label="Lab units", fraction=0.05, pad=0.02).outline.set_visible(False)
    return figure


@_figure
def curves(history, keys: Sequence[str] | None = None, landmarks: Mapping[str, float | tuple] | None = None) -> Figure:
    """Draw a training history over the epochs; keys of the same quantity share an axis.

    Args:
        history: a `History`, or a list of dicts with "epoch" and numbers.
        keys: keys to draw; by default all numbers except "epoch", "lr" and "seconds". Some rows may lack a key.
        landmarks: dotted horizontal lines, by label: the height on the axis of the losses, as in {"log 2": 0.693}, or
            the height and a key on whose axis the line belongs, as in {"truth": (1.0, "valid_chroma_ratio")}.
    Raises:
        ValueError: no rows, or an unknown key.
    """
    rows = list(getattr(history, "rows", history))
    there = list(dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, (int, float))))
    keys = list(keys or (key for key in there if key not in ("epoch", "lr", "seconds")))
    if not keys or not set(keys) <= set(there):
        raise ValueError(f"curves() can't draw {keys}: the history's keys are {there}.")
    panels = _by_quantity(keys)
    figure, axes = _panels([2.3] * len(panels), width=3.0)
    for ax, (quantity, members) in zip(axes, panels.items(), strict=True):
        for i, key in enumerate(members):
            points = [(row.get("epoch", n), row[key]) for n, row in enumerate(rows, 1) if key in row]
            look = {"color": COLORS[i % 7], "marker": MARKERS[i % 7], "ls": DASHES[i % 4]}
            ax.plot(*zip(*points, strict=True), label=key, **look)
        ax.set(title=quantity, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="y")
    by_panel = dict(zip(panels, axes, strict=True))
    for label, landmark in (landmarks or {}).items():
        height, key = landmark if isinstance(landmark, tuple) else (landmark, "loss")
        ax = by_panel.get(_quantity(key), axes[0])
        ax.axhline(height, ls=":", color="0.3", lw=1.2)
        ax.annotate(label, (1, height), xycoords=ax.get_yaxis_transform(), ha="right", va="bottom", size=8, color="0.3")
    for ax in axes:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.32))  # inside, it would cover curves
    return figure


@_figure
def gamut(L: float = 50.0, size: int = 221) -> Figure:
    """Draw the colors of the ab plane at one lightness; the area outside the sRGB gamut is hatched.

    Args:
        L: lightness L*, 0 to 100.
        size: number of samples per side.
    Raises:
        ValueError: L outside 0 to 100.
    """
    if not 0 <= L <= 100:
        raise ValueError(f"L* lies between 0 and 100, got {L}.")
    axis = torch.linspace(-AB_SCALE, AB_SCALE, size)
    b, a = torch.meshgrid(axis, axis, indexing="ij")  # row = b, column = a
    rgb = lab_to_rgb(torch.stack([torch.full_like(a, float(L)), a, b]), clip=False)
    inside = ((rgb > -1e-3) & (rgb < 1 + 1e-3)).all(0)
    figure, ax = plt.subplots(figsize=(4.2, 4.0))
    limit = AB_SCALE * size / (size - 1)  # samples are at the centers of their pixels
    ax.add_patch(
        Rectangle((-limit, -limit), 2 * limit, 2 * limit, fc="white", ec="0.85", hatch="////", lw=0, zorder=-1)
    )
    rgba = torch.cat([rgb.clamp(0, 1), inside[None]]).movedim(0, -1).numpy()
    ax.imshow(rgba, origin="lower", extent=(-limit, limit, -limit, limit), interpolation="nearest")
    ax.axhline(0, color="0.3", lw=0.6)
    ax.axvline(0, color="0.3", lw=0.6)
    ax.set(xlabel="a* (Lab units): green to magenta", ylabel="b* (Lab units): blue to yellow")
    ax.set_title(f"What sRGB can show at L* = {L:g}")
    return figure


@_figure
def hue_wheel(hues_by_name: Mapping[str, torch.Tensor]) -> Figure:
    """Draw the distribution of hues among objects in 8 sectors, the bins of hue entropy.

    The area of a sector is its share of the objects; the dashed circle is the uniform distribution.

    Args:
        hues_by_name: name -> hues (n,) in radians, from `metrics.object_hues`.
    Raises:
        ValueError: no names, or a name without hues.
    """
    if not hues_by_name or any(len(hues) == 0 for hues in hues_by_name.values()):
        raise ValueError("hue_wheel() needs a dict of name -> hues, each with at least one hue.")
    shares = {name: (hue_counts(torch.as_tensor(h)) / len(h)).numpy() for name, h in hues_by_name.items()}
    figure, axes = _panels([2.7] * len(shares), width=2.4, columns=4, subplot_kw={"projection": "polar"})
    middle = (np.arange(HUE_BINS) + 0.5) * math.tau / HUE_BINS
    lab = np.stack([np.full(HUE_BINS, 65), 38 * np.cos(middle), 38 * np.sin(middle)])  # inside sRGB for every hue
    colors = lab_to_rgb(torch.as_tensor(lab, dtype=torch.float32)[:, None])[:, 0].T.numpy()
    top = 1.05 * max(share.max() for share in shares.values()) ** 0.5
    for ax, (name, share) in zip(axes, shares.items(), strict=True):
        ax.bar(middle, share**0.5, width=0.96 * math.tau / HUE_BINS, color=colors)
        ax.plot(np.linspace(0, math.tau, 90), [HUE_BINS**-0.5] * 90, "--", color="0.3", lw=0.8)
        ax.set_ylim(0, top)
        ax.set_xticks(np.arange(4) * math.pi / 2, ["+a", "+b", "−a", "−b"])
        ax.set_yticks([])
        ax.spines["polar"].set_color("0.8")
        hues = torch.as_tensor(hues_by_name[name])
        ax.set_title(f"{name}\n{len(hues)} objects, entropy {entropy_of_hues(hues):.2f}")
    return figure


@_figure
def ab_histograms(ab_by_name: Mapping[str, torch.Tensor], limit: float = 60.0, bin_width: float = 2.5) -> Figure:
    """Draw how often each color occurs: one histogram in the ab plane per entry, with the counts on a log scale.

    Args:
        ab_by_name: name -> ab (B, 2, H, W), or the selected pixels (N, 2), network-scaled.
        limit: the planes go from -limit to limit, Lab units. Colors beyond are counted at the border.
        bin_width: side of a bin, Lab units.
    Raises:
        ValueError: no entries, or one that is not ab.
    """
    shapes = {name: ab.shape for name, ab in ab_by_name.items()}
    if not shapes or any(len(shape) not in (2, 4) or shape[1] != 2 or not shape[0] for shape in shapes.values()):
        raise ValueError(f"ab_histograms() needs a dict of name -> ab (B, 2, H, W) or (N, 2), got {shapes}.")
    n_bins = 2 * round(limit / bin_width) + 1  # an odd number, so that gray is the middle of a bin
    edge = bin_width * n_bins / 2
    shares = {}
    for name, ab in ab_by_name.items():
        a, b = (ab.detach().cpu().float() * AB_SCALE).clamp(-edge + 1e-3, edge - 1e-3).movedim(1, 0).reshape(2, -1)
        counts = np.histogram2d(b.numpy(), a.numpy(), bins=n_bins, range=[[-edge, edge]] * 2)[0]
        shares[name] = counts / counts.sum()
    figure, axes = _panels([2.75] * len(shares), width=2.6, columns=4, sharex=True, sharey=True)
    least = min(1 / (values.numel() // 2) for values in ab_by_name.values())
    for ax, (name, share) in zip(axes, shares.items(), strict=True):
        norm = LogNorm(least, 1)
        image = ax.imshow(share, origin="lower", extent=(-edge, edge, -edge, edge), norm=norm, cmap="viridis")
        ax.set_facecolor("0.96")
        ax.axhline(0, color="0.4", lw=0.5)
        ax.axvline(0, color="0.4", lw=0.5)
        ax.set(title=name, xlabel="a* (Lab units)")
    axes[0].set_ylabel("b* (Lab units)")
    figure.colorbar(image, ax=list(axes), label="share of the pixels", shrink=0.8).outline.set_visible(False)
    return figure


@_figure
def error_map(L: torch.Tensor, ab_pred: torch.Tensor, ab_true: torch.Tensor, limit: float | None = None) -> Figure:
    """Draw gray | prediction | truth | error for one image.

    Args:
        L: (1, H, W) in [-1, 1].
        ab_pred, ab_true: (2, H, W) in [-1, 1].
        limit: end of the error scale, Lab units, to make several maps comparable; None: the largest error.
    Raises:
        ValueError: not one image, or shapes that don't fit.
    """
    if L.ndim != 3 or ab_pred.shape != ab_true.shape:
        raise ValueError(f"error_map() needs one image: L (1, H, W), ab_pred and ab_true (2, H, W), "
                         f"got {_shape(L)}, {_shape(ab_pred)} and {_shape(ab_true)}.")  # fmt: skip
    ab_pred, ab_true = ab_pred.detach().cpu(), ab_true.detach().cpu()
    error = ((ab_pred - ab_true).abs().mean(0) * AB_SCALE).numpy()  # (H, W), Lab units
    shown = {"gray": torch.zeros_like(ab_true), "prediction": ab_pred, "truth": ab_true}
    height = 0.35 + 2.1 * L.shape[-2] / L.shape[-1]
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH, height), layout="compressed")
    for ax, (name, ab) in zip(axes, shown.items(), strict=False):
        _picture(ax, _as_image(_rgb(L, ab), name))
        ax.set_title(name)
    image = _picture(axes[3], error, cmap="magma", vmin=0, vmax=limit or max(float(error.max()), 1))
    axes[3].set_title(f"½(|Δa| + |Δb|), mean {error.mean():.1f}")
    bar = figure.colorbar(image, ax=axes, label="Lab units", fraction=0.02, pad=0.01)
    bar.outline.set_visible(False)
    return figure


@_figure
def plane(rows: Mapping[str, Mapping], curves: Mapping[str, Mapping] | None = None) -> Figure:
    """Draw models in the plane of colorfulness and ab MAE, and the lines on which their colors are multiplied.

    Args:
        rows: model -> scores, as in `comparison.ladder(…).rows`: "ab_mae" and "colorfulness_ratio", and for error bars
            "ab_mae_low" and "ab_mae_high". A row "gray" is a gray dot and a dotted line.
        curves: model -> factor -> scores, from `comparison.multiplied_curve`.
    Raises:
        ValueError: no rows, or one without these scores.
    """
    keys = "colorfulness_ratio", "ab_mae"
    if not rows or any(key not in row for row in rows.values() for key in keys):
        raise ValueError("plane() needs rows of scores, as of comparison.ladder(…).rows.")
    figure, ax = plt.subplots(figsize=(6.8, 4.2))
    looks = {name: {"color": COLORS[i % len(COLORS)], "marker": (*MARKERS, "*", "<", ">")[i % 10]}
             for i, name in enumerate(name for name in rows if name != "gray")}  # fmt: skip
    looks["gray"] = {"color": "0.4", "marker": "o"}
    for name, curve in (curves or {}).items():
        x, y = zip(*([scores[key] for key in keys] for scores in curve.values()), strict=True)
        color = looks[name]["color"] if name in looks else "0.45"
        ax.plot(x, y, color=color, marker=".", lw=1.2, alpha=0.7)
        for end, side, shift in ((0, "left", 5), (-1, "right", -5)):  # labels of all factors would overlap
            ax.annotate(f"× {list(curve)[end]:g}", (x[end], y[end]), (shift, 3), textcoords="offset points", size=7.5,
                        color=color, ha=side)  # fmt: skip
    for name, row in rows.items():
        x, y = (row[key] for key in keys)
        if "ab_mae_low" in row:
            ax.plot([x, x], [row["ab_mae_low"], row["ab_mae_high"]], color=looks[name]["color"], lw=1, alpha=0.5)
        label = name if len(name) <= 28 else f"…{name[-27:]}"
        ax.plot([x], [y], ls="none", ms=8, label=f"{label}: {y:.2f}", **looks[name])
    if "gray" in rows:
        ax.axhline(rows["gray"]["ab_mae"], ls=":", color="0.3", lw=1.2)
    ax.axvline(1, ls=":", color="0.3", lw=1.2)
    ax.set(xlabel="colorfulness over the truth's (1 = as colorful)", ylabel=QUANTITIES["ab_mae"])
    bars = "; bars: 95% of bootstrap samples" if any("ab_mae_low" in row for row in rows.values()) else ""
    lines = "; lines: colors multiplied" if curves else ""
    figure.suptitle(f"Lower: smaller error; further right: more color{bars}{lines}", size=9)
    ax.grid()
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@_figure
def unet_diagram(net: torch.nn.Module, size: int = 128) -> Figure:
    """Draw a U-Net as it is: its stages, the shapes of their features, its skips, and where its weights are.

    Args:
        net: a `UNet`, or a network from `resnet_unet` with either decoder.
        size: side of the image for which to give the shapes, pixels.
    Raises:
        TypeError, ValueError: as in `anatomy.unet_stages`, which finds the stages.
    """
    stages = unet_stages(net, size)
    left = [stage for stage in stages if stage.part in ("input", "encoder")]
    right = [stage for stage in stages if stage not in left][::-1]  # from the output down
    heights = sorted({stage.shape[1] for stage in stages}, reverse=True)
    row_of = {id(stage): 1 + heights.index(stage.shape[1]) for stage in stages}
    row_of[id(right[0])] = 0
    if left[1].shape[1] == size or right[1].shape[1] != size:  # otherwise the input has the first row to itself
        row_of[id(left[0])] = 0
    used = sorted(set(row_of.values()))
    row_of = {key: used.index(row) for key, row in row_of.items()}

    total = sum(stage.n_weights for stage in stages)
    figure = plt.figure(figsize=(WIDTH, 0.5 + 0.66 * len(used)), layout="none")
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0.66 * len(used) + 0.5, 0))
    ax.axis("off")
    title = f"{type(net).__name__}, {_millions(total)} weights (black bar: a stage's share of them). "
    title += f"Features of a {size}×{size} px image: channels × height × width"
    ax.text(WIDTH / 2, 0.2, title, ha="center", va="center", size=9)
    boxes = {}
    for side, column in (("left", left), ("right", right)):
        for stage in column:
            row = row_of[id(stage)]
            x = 0.75 + 0.14 * row if side == "left" else WIDTH - 0.15 - 0.14 * row - 2.75
            boxes[id(stage)] = x, 0.5 + 0.66 * row
            _stage_box(ax, *boxes[id(stage)], stage, total)
    for height in heights:
        rows = {row_of[id(stage)] for stage in stages if stage.shape[1] == height}
        label = f"1/{size // height}" if size % height == 0 and height < size else f"{height} px"
        ax.text(0.1, 0.5 + 0.66 * max(rows) + 0.23, label, va="center", size=8, color="0.3")
    for above, below in itertools.pairwise(left):
        _arrow(ax, boxes[id(above)], boxes[id(below)], (0.6, 0.46), (0.6, 0))
    for above, below in itertools.pairwise(right):
        _arrow(ax, boxes[id(below)], boxes[id(above)], (2.15, 0), (2.15, 0.46))
    deepest, first = left[-1], right[-1]
    if first.part == "bottleneck":
        _arrow(ax, boxes[id(deepest)], boxes[id(first)], (2.75, 0.23), (0, 0.23))
    else:  # from the deepest stage to the right, and up
        _arrow(ax, boxes[id(deepest)], boxes[id(first)], (2.75, 0.23), (1.4, 0.46), bend=True)
    sources = {stage.shape: stage for stage in left}
    for stage in right:
        if stage.skip:
            start, end = boxes[id(sources[stage.skip])], boxes[id(stage)]
            _arrow(ax, start, end, (2.75, 0.23), (0, 0.23), dashed=True)
            what = "the image" if sources[stage.skip].part == "input" else f"{stage.skip[0]} channels"
            middle = (start[0] + 2.75 + end[0]) / 2
            ax.text(middle, start[1] + 0.2, f"skip: {what}", ha="center", va="bottom", size=7.5)
    return figure


PART_COLORS = {"input": "0.93", "output": "0.93", "encoder": "#D6E6F2", "bottleneck": "#E6DDEB", "decoder": "#FBE3CF"}


def _stage_box(ax: Axes, x: float, y: float, stage: Stage, total: int) -> None:
    """Draw a stage as a box of 2.75 × 0.46 inches with its upper left corner at (x, y)."""
    ax.add_patch(Rectangle((x, y), 2.75, 0.46, facecolor=PART_COLORS[stage.part], edgecolor="0.4", linewidth=0.8))
    if stage.n_weights:
        ax.add_patch(Rectangle((x, y + 0.42), 2.75 * stage.n_weights / total, 0.04, facecolor="0.25", linewidth=0))
    name = {"input": "gray L: ", "output": "ab: "}.get(stage.part, "")
    shape = name + " × ".join(map(str, stage.shape))
    weights = f"{_millions(stage.n_weights)} weights" if stage.n_weights else ""
    y_first = y + (0.12 if stage.layers else 0.23)
    ax.text(x + 0.08, y_first, shape, va="center", size=8, weight="bold")
    ax.text(x + 2.67, y_first, weights, va="center", ha="right", size=7.5)
    layers = f"{stage.part}: {stage.layers}" if stage.part == "bottleneck" else stage.layers
    ax.text(x + 0.08, y + 0.3, layers, va="center", size=7.5)


def _arrow(ax: Axes, start, end, start_offset, end_offset, dashed: bool = False, bend: bool = False) -> None:
    """Draw an arrow between two boxes, given their corners and the places of the ends in them, in inches."""
    ends = [(x + dx, y + dy) for (x, y), (dx, dy) in ((start, start_offset), (end, end_offset))]
    way = "angle,angleA=0,angleB=90,rad=0" if bend else "arc3"
    style = {"linestyle": "--", "color": COLORS[2]} if dashed else {"color": "0.3"}
    ax.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, linewidth=1.1,
                                 connectionstyle=way, **style))  # fmt: skip


def _millions(n: int) -> str:
    """Return a number of weights as text: 12.3 M, 148 k, 3,264."""
    return f"{n / 1e6:.1f} M" if n >= 1e6 else f"{n / 1e3:.0f} k" if n >= 1e4 else f"{n:,}"


def _picture(ax: Axes, image: np.ndarray, **style):
    """Draw an image without a frame or ticks."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax.imshow(image, **style)


def _panels(heights: Sequence[float], width: float, columns: int = 3, **options) -> tuple[Figure, np.ndarray]:
    """Return a figure with small axes, `columns` per line, of given width and heights in inches, and the axes, flat."""
    columns = min(columns, len(heights))
    lines = [max(heights[i : i + columns]) for i in range(0, len(heights), columns)]
    size = (width * columns, sum(lines))
    figure, axes = plt.subplots(len(lines), columns, figsize=size, height_ratios=lines, squeeze=False, **options)
    for ax in axes.flat[len(heights) :]:
        ax.remove()
    return figure, axes.flat[: len(heights)]


def _by_quantity(keys: Iterable[str]) -> dict[str, list[str]]:
    panels = {}
    for key in keys:
        panels.setdefault(_quantity(key), []).append(key)
    return panels


def _quantity(key: str) -> str:
    """Return the quantity of a key: "valid_ab_mae" and "ab_mae/edges" are both "ab MAE (Lab units)"."""
    stem = key.split("/")[0]
    endings = [ending for ending in QUANTITIES if stem == ending or stem.endswith(f"_{ending}")]
    return QUANTITIES[max(endings, key=len)] if endings else "loss" if "loss" in stem else key


def _rgb(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """Return network-scaled L and ab as RGB in [0, 1], on the CPU."""
    if L.shape[-2:] != ab.shape[-2:] or L.shape[:-3] != ab.shape[:-3]:
        raise ValueError(f"L and ab must have the same size, got {_shape(L)} and {_shape(ab)}.")
    return lab_to_rgb(join_lab(L.detach().cpu().float(), ab.detach().cpu().float()))


def _as_image(picture, name: str) -> np.ndarray:
    """Return any image, (3, H, W), (1, H, W), (H, W, 3) or (H, W), as (H, W, 3) uint8."""
    image = np.asarray(picture.detach().cpu() if isinstance(picture, torch.Tensor) else picture)
    image = image[None] if image.ndim == 2 else image
    if image.ndim == 3 and image.shape[0] in (1, 3):
        image = image.transpose(1, 2, 0)
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"Row {name!r}: an image is (3, H, W) or (1, H, W), got {image.shape}.")
    if image.dtype != np.uint8:
        if image.dtype.kind != "f" or not (image.min() >= -1e-3 and image.max() <= 1 + 1e-3):
            raise ValueError(f"Row {name!r}: images are uint8 or floats in [0, 1], got {image.dtype} "
                             f"from {image.min():.3g} to {image.max():.3g}.")  # fmt: skip
        image = (image.clip(0, 1) * 255).round().astype(np.uint8)
    return image.repeat(3 // image.shape[2], axis=2)


def _shape(thing) -> str:
    return str(tuple(thing.shape)) if hasattr(thing, "shape") else type(thing).__name__
