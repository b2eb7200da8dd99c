"""Chapter 00: where is the predicted color wrong?"""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from colorlib import show
from colorlib.lessons.aging import to_luma
from colorlib.lessons.widgets import FigurePanel
from colorlib.lessons.widgets.pictures import color_error_map

WRONG = (230, 120, 0)  # orange, easy to see on gray


def mistakes(truth: np.ndarray, colored: np.ndarray | Image.Image, tolerance: float = 15.0) -> Figure:
    """Draw the colored photo, the photo in gray with wrong pixels in orange, and the true photo.

    Args:
        truth: (H, W, 3) uint8.
        colored: RGB, of the same size.
        tolerance: a pixel is wrong if the mean of |Δa| and |Δb| is larger than this, in Lab units.
    """
    wrong = color_error_map(truth, colored) > tolerance
    marked = np.where(wrong[..., None], np.uint8(WRONG), to_luma(truth))
    titles = ["colored", f"off by more than {tolerance:g}: {wrong.mean():.0%}", "truth"]
    return show.pictures({"": [np.asarray(colored), marked, truth]}, titles=titles)


def mistake_explorer(truths: Mapping[str, np.ndarray], colored: Mapping[str, np.ndarray | Image.Image]) -> FigurePanel:
    """Return controls for the photo and the tolerance of `mistakes`; both arguments have the same keys."""
    return FigurePanel(
        lambda photo, tolerance: mistakes(truths[photo], colored[photo], tolerance),
        photo=widgets.Dropdown(options=list(truths), description="photo"),
        tolerance=widgets.IntSlider(15, 2, 60, 1, description="tolerance", continuous_update=False),
    )
