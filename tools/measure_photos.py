"""Score weights on the held-out photos of a folder through the same `Colorizer` that visitors use.

`python tools/measure_photos.py FOLDER --weights FILE... [--under photos] [--render-sizes 64 96] [--part test]`

The split is that of `colorlib train --source FOLDER` with the same --n-test: `valid` to choose by, `test` to report.
Ratios: the ab MAE to that of gray (ab = 0), the mean colorfulness to the truth's. The correlation is that of predicted
and true ab around their means in each image, over all pixels: a tint of the whole image does not count.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from colorlib import Colorizer, rgb_to_lab, show
from colorlib.data import held_out_files
from colorlib.files import atomic_write
from colorlib.images import read_image, resize_image
from colorlib.lessons.aging import to_luma
from colorlib.metrics import colorfulness


def as_tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]


def measure(colorizer: Colorizer, inputs: list, photos: list[np.ndarray], render_size: int, saturation: float) -> dict:
    """Return the two ratios, the correlation, and the results as "pictures"."""
    error = gray = color = color_true = 0.0
    products = torch.zeros(3, dtype=torch.float64)  # of centered ab: predicted × true, predicted², true²
    results = []
    for given, rgb in zip(inputs, photos, strict=True):
        result = np.asarray(colorizer.colorize(given, render_size=render_size, saturation=saturation))
        ab_true, ab = (rgb_to_lab(as_tensor(picture))[:, 1:] for picture in (rgb, result))
        error += (ab - ab_true).abs().mean().item()
        gray += ab_true.abs().mean().item()
        color += colorfulness(as_tensor(result) / 255).item()
        color_true += colorfulness(as_tensor(rgb) / 255).item()
        ab_true, ab = (values - values.mean((-2, -1), keepdim=True) for values in (ab_true, ab))
        products += torch.stack([(ab * ab_true).mean(), (ab**2).mean(), (ab_true**2).mean()])
        results.append(result)
    return {
        "ab MAE / gray": error / gray,
        "colorfulness / truth": color / color_true,
        "correlation": (products[0] / (products[1] * products[2]).sqrt()).item(),
        "pictures": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--render-sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--part", choices=["valid", "test"], default="valid")
    parser.add_argument("--under", default="", help="only the photos below this folder inside FOLDER")
    parser.add_argument("--n-test", type=int, help="as given to colorlib train (default: 5 %% of the photos)")
    parser.add_argument("--side", type=int, default=256, help="shorter side of the photos judged, 0: their own")
    parser.add_argument("--limit", type=int, help="at most this many photos")
    parser.add_argument("--saturation", type=float, default=1.0)
    parser.add_argument("--stored-gray", action="store_true", help="give the network luma in place of the photo's L*")
    parser.add_argument("--figure", type=Path, help="draw gray, every result and truth of the first 16 photos here")
    options = parser.parse_args()

    files = held_out_files(options.folder, options.part, options.n_test)
    files = [path for path in files if not options.under or options.under in path.relative_to(options.folder).parts]
    photos = [read_image(path) for path in tqdm(files[: options.limit], leave=False)]
    photos = [resize_image(rgb, options.side) for rgb in photos] if options.side else photos
    print(f"{len(photos)} photos, {options.part}, shorter side {options.side or 'their own'} px")
    grays = [to_luma(rgb) for rgb in photos]
    inputs = grays if options.stored_gray else photos
    rows = {"gray": grays}
    for weights in options.weights:
        colorizer = Colorizer.from_pretrained(weights)
        for render_size in options.render_sizes:
            scores = measure(colorizer, inputs, photos, render_size, options.saturation)
            rows[f"{Path(weights).stem} at {render_size} px"] = scores.pop("pictures")
            print(f"{weights} at {render_size} px:", ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))
    if options.figure:
        rows["truth"] = photos
        figure = show.pictures({name: [square(rgb) for rgb in row[:16]] for name, row in rows.items()})
        with atomic_write(options.figure) as file:
            figure.savefig(file, format=options.figure.suffix[1:])


def square(rgb: np.ndarray) -> np.ndarray:
    """Keep the central square of (H, W, 3)."""
    side = min(rgb.shape[:2])
    top, left = ((length - side) // 2 for length in rgb.shape[:2])
    return rgb[top : top + side, left : left + side]


if __name__ == "__main__":
    main()
