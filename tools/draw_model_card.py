"""Draw the figure of the model card: `python tools/draw_model_card.py`. The photos are not selected by result."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import immunohistochemistry

import colorlib
from colorlib import Colorizer, show
from colorlib.data import bundled_photo
from colorlib.images import fit_square
from colorlib.lessons.aging import to_luma

FIGURE = Path(colorlib.__file__).parent / "pretrained" / "photos.jpg"
SIDE = 256
# With immunohistochemistry(), every color photo that scikit-image and scikit-learn ship.
NAMES = ["china", "flower", "coffee", "chelsea", "astronaut", "rocket", "motorcycle_left", "retina"]
NAMES += ["hubble_deep_field"]


def main() -> None:
    photos = [*map(bundled_photo, NAMES), immunohistochemistry()]
    temple, flower = photos[:2]  # large enough for a second crop from the right-hand side: twelve images in all
    photos = [fit_square(rgb, SIDE) for rgb in [*photos, temple[:, 320:], flower[:, 320:]]]
    rows = {"gray": [to_luma(rgb) for rgb in photos]}
    for name in ("photos-l1", "photos"):
        colorizer = Colorizer.from_pretrained(name, device="cpu")
        rows[name] = [np.asarray(colorizer.colorize(gray)) for gray in rows["gray"]]
    rows["truth"] = photos
    halves = []
    for half in (slice(0, 6), slice(6, 12)):
        file = io.BytesIO()
        show.pictures({name: row[half] for name, row in rows.items()}).savefig(file, format="png")
        halves.append(Image.open(file).convert("RGB"))
    sheet = Image.new("RGB", (halves[0].width, sum(half.height for half in halves)), "white")
    for i, half in enumerate(halves):
        sheet.paste(half, (0, i * halves[0].height))
    sheet.save(FIGURE, quality=88)


if __name__ == "__main__":
    main()
