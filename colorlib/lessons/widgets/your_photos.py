"""Chapter 07: contact sheets, an aging machine, a walk from the old weights to the fine-tuned ones; and the app."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from colorlib import show
from colorlib.colorizer import Colorizer
from colorlib.lessons.aging import age
from colorlib.lessons.environment import upload_limit, upload_warning
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.first_photo import PhotoPanel, as_image, color_error_map, own_photo, shrink

SHEET_SIZES = (48, 64, 96, 128, 192)  # render sizes side by side, pixels
SHEET_PREVIEW = 240  # pixels: longer side of a picture on a contact sheet


def contact_sheet(
    colorizer: Colorizer,
    photo: np.ndarray | Image.Image,
    render_sizes: Sequence[int] = SHEET_SIZES,
    saturations: Sequence[float] = (1.0,),
) -> Figure:
    """Draw one photo, colored at every render size (columns) and saturation (rows), small.

    Args:
        colorizer: colors the photo.
        photo: (H, W, 3) uint8, or a picture.
        render_sizes: shorter side of what the network sees, pixels; at most six.
        saturations: factors of the predicted color.
    """
    small = shrink(as_image(photo), max(SHEET_PREVIEW, *render_sizes))
    rows = {
        f"saturation {saturation:g}": [
            np.asarray(shrink(colorizer.colorize(small, render_size=size, saturation=saturation), SHEET_PREVIEW))
            for size in render_sizes
        ]
        for saturation in saturations
    }
    return show.pictures(rows, titles=[f"render size {size}" for size in render_sizes])


def sheet_explorer(colorizer: Colorizer, photos: Mapping[str, np.ndarray | Image.Image]) -> FigurePanel:
    """Return controls for the photo and the saturation of a contact sheet."""
    return FigurePanel(
        lambda photo, saturation: contact_sheet(colorizer, photos[photo], saturations=(saturation,)),
        photo=widgets.Dropdown(options=list(photos), description="photo"),
        saturation=widgets.FloatSlider(1.0, min=0, max=2, step=0.25, description="saturation", continuous_update=False),
    )


def aged_and_colored(
    colorizer: Colorizer,
    photo: np.ndarray,
    fading: float = 0.3,
    grain: float = 0.04,
    sepia: float = 0.5,
) -> Figure:
    """Draw a photo aged, colored from its aged self, and as it was; the title has the error in color.

    Args:
        colorizer: colors the photo.
        photo: (H, W, 3) uint8.
        fading, grain, sepia: see `lessons.aging`.
    """
    aged = age(photo, fading=fading, grain=grain, sepia=sepia)
    colored = np.asarray(colorizer.colorize(aged))
    error = color_error_map(photo, colored).mean()
    titles = ["aged", f"colored: off by {error:.1f} Lab units", "the truth"]
    return show.pictures({"": [aged, colored, photo]}, titles=titles)


def aging_explorer(colorizer: Colorizer, photo: np.ndarray) -> FigurePanel:
    """Return sliders for the damage of `aged_and_colored`; the photo is drawn small."""
    small = np.asarray(shrink(as_image(photo), 400))

    def slider(name: str, value: float, top: float, step: float) -> widgets.FloatSlider:
        return widgets.FloatSlider(value, min=0, max=top, step=step, description=name, continuous_update=False)

    return FigurePanel(
        lambda fading, grain, sepia: aged_and_colored(colorizer, small, fading, grain, sepia),
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


def photo_app(colorizer: Colorizer) -> PhotoPanel:
    """Return the app: upload, before and after, render size, saturation, download. It keeps nothing on disk."""
    note = upload_warning() or f"Choose a photo of up to {upload_limit() // 2**20} MB to begin."
    return own_photo(colorizer, note)
