"""Chapter 07: contact sheets, an ageing machine, a walk from the old weights to the fine-tuned ones; and the app."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from colorlib import show
from colorlib.lessons.aging import age
from colorlib.lessons.environment import upload_warning
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.first_photo import Colorize, PhotoPanel, as_image, color_error_map, shrink

SHEET_SIZES = (48, 64, 96, 128, 192)  # render sizes side by side, pixels
SHEET_PREVIEW = 240  # pixels: longer side of a picture on a contact sheet


def contact_sheet(
    colorize: Colorize,
    photo: np.ndarray | Image.Image,
    render_sizes: Sequence[int] = SHEET_SIZES,
    saturations: Sequence[float] = (1.0,),
) -> Figure:
    """Draw one photo, coloured at every render size (columns) and saturation (rows), small.

    Args:
        colorize: `Colorizer.colorize`, or a function like it.
        photo: (H, W, 3) uint8, or a picture.
        render_sizes: shorter side of what the network sees, pixels; at most six.
        saturations: factors of the predicted colour.
    """
    small = shrink(as_image(photo), max(SHEET_PREVIEW, *render_sizes))
    rows = {
        f"saturation {saturation:g}": [
            np.asarray(shrink(colorize(small, render_size=size, saturation=saturation), SHEET_PREVIEW))
            for size in render_sizes
        ]
        for saturation in saturations
    }
    return show.pictures(rows, titles=[f"render size {size}" for size in render_sizes])


def sheet_explorer(colorize: Colorize, photos: Mapping[str, np.ndarray | Image.Image]) -> FigurePanel:
    """Return controls for the photo and the saturation of a contact sheet."""
    return FigurePanel(
        lambda photo, saturation: contact_sheet(colorize, photos[photo], saturations=(saturation,)),
        photo=widgets.Dropdown(options=list(photos), description="photo"),
        saturation=widgets.FloatSlider(1.0, min=0, max=2, step=0.25, description="saturation", continuous_update=False),
    )


def aged_and_colored(
    colorize: Colorize,
    photo: np.ndarray,
    fading: float = 0.3,
    grain: float = 0.04,
    sepia: float = 0.5,
    render_size: int = 96,
) -> Figure:
    """Draw a photo aged, coloured from its aged self, and as it was; the title has the error in colour.

    Args:
        colorize: `Colorizer.colorize`, or a function like it.
        photo: (H, W, 3) uint8.
        fading, grain, sepia: see `lessons.aging`.
    """
    aged = age(photo, fading=fading, grain=grain, sepia=sepia)
    colored = np.asarray(colorize(aged, render_size=render_size))
    error = color_error_map(photo, colored).mean()
    titles = ["aged", f"coloured: off by {error:.1f} Lab units", "the truth"]
    return show.pictures({"": [aged, colored, photo]}, titles=titles)


def aging_explorer(colorize: Colorize, photo: np.ndarray) -> FigurePanel:
    """Return sliders for the damage of `aged_and_colored`; the photo is drawn small."""
    small = np.asarray(shrink(as_image(photo), 400))

    def slider(name: str, value: float, top: float, step: float) -> widgets.FloatSlider:
        return widgets.FloatSlider(value, min=0, max=top, step=step, description=name, continuous_update=False)

    return FigurePanel(
        lambda fading, grain, sepia: aged_and_colored(colorize, small, fading, grain, sepia),
        fading=slider("fading", 0.3, 1, 0.1),
        grain=slider("grain", 0.04, 0.3, 0.02),
        sepia=slider("sepia", 0.5, 1, 0.1),
    )


def blend_explorer(draw: Callable[[float], Figure]) -> FigurePanel:
    """Return a slider from the old weights (0) to the fine-tuned ones (1) over a figure of the chapter."""
    return FigurePanel(
        draw,
        share=widgets.FloatSlider(
            0.5, min=0, max=1, step=0.1, description="new weights", continuous_update=False, readout_format=".0%"
        ),
    )


def photo_app(colorize: Colorize) -> PhotoPanel:
    """Return the app: upload, before and after, render size, saturation, download. It keeps nothing on disk."""
    return PhotoPanel(colorize, upload=True, note=upload_warning() or "Choose a photo to begin.")
