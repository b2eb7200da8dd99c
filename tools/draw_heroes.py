"""Draw the figures at the top of the chapters and the README, from stored runs: `python tools/draw_heroes.py`."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image

from colorlib import classical, show
from colorlib.color import join_lab, lab_to_rgb, rgb_to_lab, split_lab, to_tensor
from colorlib.colorizer import Colorizer
from colorlib.data import TEST_SEED, bundled_photo
from colorlib.images import resize_image
from colorlib.lessons.aging import age, to_luma
from colorlib.lessons.artist import draw_dots, scene_strokes
from colorlib.lessons.experiments import library_photos, stored, stored_training, unpack_ab
from colorlib.lessons.series import chapters
from colorlib.metrics import predict
from colorlib.scenes import paint_scenes
from colorlib.strokes import draw_strokes
from colorlib.zoo import load_generator

FOLDER = Path(__file__).resolve().parent.parent / "notebooks" / "images"


def save(figure: Figure, name: str) -> None:
    """Write a figure as a small PNG."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    figure.savefig(path, dpi=110, bbox_inches="tight")
    Image.open(path).convert("RGB").save(path, optimize=True)


def lab_planes() -> Figure:
    """Chapter 01: a photo and its three channels in Lab."""
    photo = to_tensor(resize_image(bundled_photo("coffee"), 200))
    lab = rgb_to_lab(photo)
    alone = []
    for channel in range(3):
        kept = torch.zeros_like(lab)
        kept[0] = 60.0  # the lightness at which a and b are shown
        kept[channel] = lab[channel]
        alone.append(lab_to_rgb(kept))
    return show.pictures({"coffee": [photo, *alone]}, titles=["the photo", "L", "a", "b"])


def without_a_network(size: int = 128) -> Figure:
    """Chapter 02: strokes on a gray scene; the scene by lightness, from a reference and from the strokes; the truth."""
    drawn, reference = (rgb_to_lab(paint_scenes(10, size, seed=7).rgb)[i] for i in (9, 0))
    gray = torch.cat([drawn[:1], torch.zeros_like(drawn[1:])])
    strokes = scene_strokes()
    row = {
        "strokes": draw_strokes(gray, strokes)[0],
        "by lightness": classical.tint(gray, classical.stops_from(drawn)),
        "from a reference": classical.welsh(gray, reference),
        "from the strokes": classical.levin(gray, strokes),
        "truth": drawn,
    }
    return show.pictures({"": list(map(lab_to_rgb, row.values()))}, titles=list(row))


def scenes(experiment: str, names: dict[str, str], columns: int = 6) -> Figure:
    """Held-out scenes: gray, the stored predictions of an experiment's networks, and the truth."""
    _, predicted = stored(experiment)
    L, ab = split_lab(rgb_to_lab(paint_scenes(columns, 64, TEST_SEED).rgb))
    return show.predictions(L, ab, **{label: unpack_ab(predicted[name][:columns]) for name, label in names.items()})


def old_print(photo: np.ndarray) -> np.ndarray:
    """Make a photo look like a print in an old album."""
    return age(photo, fading=0.7, grain=0.03, sepia=0.7)


def photos(names: list[str], age_photo: Callable[[np.ndarray], np.ndarray], label: str) -> Figure:
    """Chapters 00 and 07: aged photos, the same photos colored with the bundled weights, and the truth."""
    truth = [resize_image(bundled_photo(name), 220)[:, :330] for name in names]
    old = [age_photo(photo) for photo in truth]
    colorizer = Colorizer.from_pretrained(device="cpu")
    colored = [np.asarray(colorizer.colorize(photo)) for photo in old]
    return show.pictures({label: old, "colored": colored, "truth": truth})


def races() -> Figure:
    """Photos colored by two networks that differ in where their encoders started, from the stored races."""
    _, stored_ab = stored_training("photo_races")
    L, ab = library_photos(128).first(7)
    rows = {}
    for label, start in (("random start", "random"), ("pretrained", "pretrained")):
        half = unpack_ab(stored_ab[f"{start}, 16000 photos, 1500 steps, seed 0"])
        rows[label] = F.interpolate(half, scale_factor=2, mode="bilinear")
    chosen = [0, 5, 4, 1]
    return show.predictions(L[chosen], ab[chosen], **{label: row[chosen] for label, row in rows.items()})


def rivals(size: int = 128) -> Figure:
    """Chapter 06: photos colored by lightness, by a few dots, and by the bundled network."""
    L, ab = library_photos(size).first(7)
    lab = join_lab(L, ab)
    gray = torch.cat([lab[:, :1], torch.zeros_like(lab[:, 1:])], dim=1)
    chosen, rows = [0, 2, 3, 5], {"tint": [], "8 strokes": []}
    for i in chosen:
        others = torch.cat([lab[j] for j in range(7) if j != i], dim=1)
        rows["tint"].append(classical.tint(gray[i], classical.stops_from(others)))
        strokes, _ = draw_dots(lab[i], lambda s, i=i: classical.levin(gray[i], s) if s else gray[i], 8)
        rows["8 strokes"].append(classical.levin(gray[i], strokes))
    colored = {name: split_lab(torch.stack(labs))[1] for name, labs in rows.items()}
    return show.predictions(L[chosen], ab[chosen], **colored, photos=predict(load_generator("photos"), L[chosen]))


def last_panels(hero: np.ndarray, height: int) -> np.ndarray:
    """Crop whole panels from the lower right of a hero (H, W, 3), at most `height` pixels high and twice as wide."""
    gaps = (hero > 250).all(axis=2)

    def first_gap(empty: np.ndarray, start: int) -> int:
        return max(0, start) + int(empty[max(0, start) :].argmax())

    top = first_gap(gaps.all(axis=1), len(hero) - 10 - height)
    left = first_gap(gaps[top:-10].all(axis=0), hero.shape[1] - 10 - 2 * height)
    return hero[top:-10, left:-10]


def series_map(columns: int = 3, height: int = 345) -> Figure:
    """The map of the series: the lower right corner of each chapter's hero, under the chapter's title."""
    heroes = {title.split(":")[0]: FOLDER / f"{name[:2]}_hero.png" for name, title, _ in chapters()}
    heroes = {title: path for title, path in heroes.items() if path.exists()}
    rows = -(-len(heroes) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(show.WIDTH, 1.75 * rows), layout="constrained", squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (title, hero) in zip(axes.flat, heroes.items(), strict=False):
        ax.imshow(last_panels(np.asarray(Image.open(hero).convert("RGB")), height))
        ax.set_title(title, fontsize=9)
    plt.close(figure)
    return figure


if __name__ == "__main__":
    save(lab_planes(), "01_hero.png")
    save(without_a_network(), "02_hero.png")
    save(scenes("skips", {"without skips": "no skips", "U-Net": "U-Net"}), "03_hero.png")
    save(scenes("gan", {"L1": "L1", "Pix2Pix": "Pix2Pix"}), "04_hero.png")
    save(races(), "05_hero.png")
    save(rivals(), "06_hero.png")
    save(photos(["china", "rocket", "coffee"], to_luma, "gray"), "00_hero.png")
    save(photos(["china", "chelsea", "rocket"], old_print, "old print"), "07_hero.png")
    save(series_map(), "00_map.png")  # last: it is made from the others
