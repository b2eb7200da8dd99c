"""Draw the pictures at the top of the chapters and the README, from stored runs: `python tools/draw_heroes.py`."""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image

from colorlib import show
from colorlib.color import lab_to_rgb, rgb_to_lab, split_lab
from colorlib.data import TEST_SEED, bundled_photo
from colorlib.images import resize_image
from colorlib.lessons.experiments import stored, unpack_ab
from colorlib.scenes import paint_scenes

FOLDER = Path(__file__).resolve().parent.parent / "notebooks" / "images"


def save(figure: Figure, name: str) -> None:
    """Write a figure as a small PNG."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    figure.savefig(path, dpi=110, bbox_inches="tight")
    Image.open(path).convert("RGB").save(path, optimize=True)


def lab_planes() -> Figure:
    """Chapter 01: a photo and its three planes."""
    photo = torch.from_numpy(resize_image(bundled_photo("s:coffee"), 200)).permute(2, 0, 1)
    lab = rgb_to_lab(photo)
    alone = []
    for channel in range(3):
        kept = torch.zeros_like(lab)
        kept[0] = 60.0  # the lightness at which a and b are shown
        kept[channel] = lab[channel]
        alone.append(lab_to_rgb(kept))
    return show.pictures({"coffee": [photo, *alone]}, titles=["the photo", "L", "a", "b"])


def scenes(experiment: str, names: dict[str, str], columns: int = 6) -> Figure:
    """Held-out scenes as grey, what the named networks of an experiment made of them, and the truth."""
    _, pictures = stored(experiment)
    L, ab = split_lab(rgb_to_lab(paint_scenes(columns, 64, TEST_SEED).rgb))
    return show.predictions(L, ab, **{label: unpack_ab(pictures[name][:columns]) for name, label in names.items()})


if __name__ == "__main__":
    save(lab_planes(), "01_hero.png")
    save(scenes("skips", {"without skips": "no skips", "U-Net": "U-Net"}), "03_hero.png")
    save(scenes("gan", {"L1": "L1", "Pix2Pix": "Pix2Pix"}), "04_hero.png")
    save(scenes("pretraining", {"random": "random", "pretrained": "pretrained"}), "05_hero.png")
