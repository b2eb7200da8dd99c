"""Chapter 07: contact sheets, aged photos, blends of old and fine-tuned weights; and the app."""

from collections.abc import Callable, Mapping, Sequence

import anywidget
import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from colorlib import show
from colorlib.colorizer import Colorizer
from colorlib.data import bundled_photo
from colorlib.lessons.aging import age, to_luma
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.file_buttons import MAX_UPLOAD
from colorlib.lessons.widgets.photo_panel import PhotoPanel, own_photo
from colorlib.lessons.widgets.pictures import as_image, color_error_map, shrink

SHEET_SIZES = (64, 96, 128, 192, 256)  # render sizes, pixels
SAMPLES = {"cat": "chelsea", "temple": "china", "coffee": "coffee"}  # of the app; see `bundled_photo`
SHEET_PREVIEW = 240  # longer side of an image on a contact sheet, pixels


def contact_sheet(
    colorizer: Colorizer,
    photo: np.ndarray | Image.Image,
    render_sizes: Sequence[int] = SHEET_SIZES,
    saturations: Sequence[float] = (1.0,),
) -> Figure:
    """Draw small versions of a photo, colored at several render sizes (columns) and saturations (rows).

    Args:
        colorizer: colors the photo.
        photo: (H, W, 3) uint8, or an image.
        render_sizes: shorter side of the copy that the network sees, pixels; at most six sizes.
        saturations: factors of the predicted ab.
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
    """Return controls for the photo and the saturation of a `contact_sheet`."""
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
    """Draw an aged photo, the aged photo colored, and the original; the title gives the mean color error.

    Args:
        colorizer: colors the photo.
        photo: (H, W, 3) uint8.
        fading, grain, sepia: see `aging.age`.
    """
    aged = age(photo, fading=fading, grain=grain, sepia=sepia)
    colored = np.asarray(colorizer.colorize(aged))
    error = color_error_map(photo, colored).mean()
    titles = ["aged", f"colored: off by {error:.1f} Lab units", "truth"]
    return show.pictures({"": [aged, colored, photo]}, titles=titles)


def aging_explorer(colorizer: Colorizer, photo: np.ndarray) -> FigurePanel:
    """Return sliders for the amounts of `aged_and_colored`; the photo is shrunk first."""
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
    """Return a slider from the old weights (0) to the fine-tuned ones (1) over `draw`, share -> figure."""
    return FigurePanel(
        draw,
        share=widgets.FloatSlider(
            0.5, min=0, max=1, step=0.1, description="new weights", continuous_update=False, readout_format=".0%"
        ),
    )


class StopKernel(anywidget.AnyWidget):
    """Let Voila stop the kernel of a visitor who leaves the page. It shows nothing, and does nothing in JupyterLab.

    When Voila's page is closed, it asks the server to stop its kernel. The server believes only a page that repeats
    the cookie `_xsrf`, which pages of other sites can't read. Voila 0.5 never sets that cookie, so the page does here.
    """

    _esm = """
    export default {
      render() {
        const { voila, baseUrl } = document.body.dataset;
        if (!voila || /\\b_xsrf=/.test(document.cookie)) return;
        const bytes = Array.from(crypto.getRandomValues(new Uint8Array(16)));
        const token = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
        const path = baseUrl.replace(/voila\\/$/, "");  // of this server only
        document.cookie = `_xsrf=${token}; path=${path}; SameSite=Strict`;
      },
    };
    """

    def __repr__(self) -> str:
        return "StopKernel()"


def photo_app(colorizer: Colorizer) -> PhotoPanel:
    """Return the app: upload, compare, paint, download, and photos to try at once. Nothing is written to disk."""
    panel = own_photo(
        colorizer,
        f"Choose a photo of up to {MAX_UPLOAD // 2**20} MB, drop some on the page, or try one of these three.",
        {name: to_luma(bundled_photo(bundled)) for name, bundled in SAMPLES.items()},
    )
    panel.children = [*panel.children, StopKernel()]
    return panel
