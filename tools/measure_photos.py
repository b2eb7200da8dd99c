"""Score weights on the held-out photos of a folder with the same `Colorizer` that users run.

`python tools/measure_photos.py FOLDER --weights FILE... [--under photos] [--render-sizes 64 96] [--part test]`

The split is that of `colorlib train --source FOLDER` with the same --n-test: use `valid` to choose settings, and `test`
to report results. The scores are the ab MAE divided by that of gray (ab = 0), the mean colorfulness divided by that of
the truth, and the correlation of predicted and true ab over all images. For the correlation, the mean of each image is
subtracted first, so a tint of the whole image has no effect. With --features, also `FeatureDistance`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from colorlib import Colorizer, rgb_to_lab, show, to_tensor
from colorlib.data import held_out_files
from colorlib.files import atomic_write
from colorlib.images import read_image, resize_image
from colorlib.lessons.aging import to_luma
from colorlib.metrics import colorfulness
from colorlib.perceptual import FeatureDistance


def measure(
    colorizer: Colorizer,
    inputs: list,
    photos: list[np.ndarray],
    render_size: int,
    saturation: float,
    eyes: FeatureDistance | None = None,
) -> dict:
    """Return the two ratios, the correlation, with eyes the feature distance, and the results as "images"."""
    error = gray = color = color_true = distance = 0.0
    products = torch.zeros(3, dtype=torch.float64)  # of centered ab: predicted × true, predicted², true²
    results = []
    for image, rgb in zip(inputs, photos, strict=True):
        result = np.asarray(colorizer.colorize(image, render_size=render_size, saturation=saturation))
        ours, truth = to_tensor(result)[None], to_tensor(rgb)[None]
        ab, ab_true = rgb_to_lab(ours)[:, 1:], rgb_to_lab(truth)[:, 1:]
        error += (ab - ab_true).abs().mean().item()
        gray += ab_true.abs().mean().item()
        color += colorfulness(ours / 255).item()
        color_true += colorfulness(truth / 255).item()
        ab, ab_true = (values - values.mean((-2, -1), keepdim=True) for values in (ab, ab_true))
        products += torch.stack([(ab * ab_true).mean(), (ab**2).mean(), (ab_true**2).mean()])
        results.append(result)
        if eyes is not None:
            distance += eyes(ours / 255, truth / 255).item() / len(photos)
    features = {"feature distance": distance} if eyes is not None else {}
    return {
        "ab MAE / gray": error / gray,
        "colorfulness / truth": color / color_true,
        "correlation": (products[0] / (products[1] * products[2]).sqrt()).item(),
        **features,
        "images": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--render-sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--part", choices=["valid", "test"], default="valid")
    parser.add_argument("--under", default="", help="only the photos below this folder inside FOLDER")
    parser.add_argument("--n-test", type=int, help="as for colorlib train (default: 5 %% of the photos)")
    parser.add_argument("--side", type=int, default=256, help="shorter side of the photos, px; 0 keeps their own size")
    parser.add_argument("--limit", type=int, help="at most this many photos")
    parser.add_argument("--saturation", type=float, default=1.0)
    parser.add_argument("--stored-gray", action="store_true", help="convert the photos to gray (luma) before coloring")
    parser.add_argument("--figure", type=Path, help="image file for a figure of the first 16 photos and their results")
    parser.add_argument("--features", metavar="WEIGHTS", help="a ResNet-18 for RGB images, as for frozen_resnet")
    options = parser.parse_args()

    files = held_out_files(options.folder, options.part, options.n_test)
    files = [path for path in files if not options.under or options.under in path.relative_to(options.folder).parts]
    photos = [read(path, options.side) for path in tqdm(files[: options.limit], leave=False)]
    print(f"{len(photos)} photos, {options.part}, {f'shorter side {options.side} px' if options.side else 'own size'}")
    grays = [to_luma(rgb) for rgb in photos]
    inputs = grays if options.stored_gray else photos
    rows = {"gray": grays}
    eyes = FeatureDistance(options.features) if options.features else None
    for weights in options.weights:
        colorizer = Colorizer.from_pretrained(weights)
        for render_size in options.render_sizes:
            scores = measure(colorizer, inputs, photos, render_size, options.saturation, eyes)
            rows[f"{Path(weights).stem} at {render_size} px"] = scores.pop("images")
            print(f"{weights} at {render_size} px:", ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))
    if options.figure:
        rows["truth"] = photos
        figure = show.pictures({name: [square(rgb) for rgb in row[:16]] for name, row in rows.items()})
        with atomic_write(options.figure) as file:
            figure.savefig(file, format=options.figure.suffix[1:])


def read(path: Path, side: int) -> np.ndarray:
    """Read a photo; make its shorter side `side` pixels long, unless that is 0."""
    rgb = read_image(path)
    return resize_image(rgb, side) if side else rgb


def square(rgb: np.ndarray) -> np.ndarray:
    """Crop the central square of (H, W, 3)."""
    side = min(rgb.shape[:2])
    top, left = ((length - side) // 2 for length in rgb.shape[:2])
    return rgb[top : top + side, left : left + side]


if __name__ == "__main__":
    main()
