"""Widgets, one module per chapter. Each wraps a plain figure function, so that it can be tested without a browser."""

import base64
import io
from collections.abc import Iterable

from PIL import Image

from colorlib.extras import MissingExtra

try:
    import anywidget  # noqa: F401
    import ipywidgets as widgets
    from IPython.display import Image as IPythonImage
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise MissingExtra(error.name, "notebooks") from error


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def as_jpeg(figure: Figure) -> IPythonImage:
    """Return a figure as a JPEG image to show. With photos or noise in it, a PNG would be several times as large."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", bbox_inches="tight", pil_kwargs={"quality": 80})
    return IPythonImage(buffer.getvalue(), format="jpeg")


STILL_WIDTH = 720  # at most, pixels: more would make the notebooks large


def side_by_side(images: Iterable[Image.Image]) -> Image.Image:
    """Return RGB images of one height next to each other; if their heights differ, at the smallest."""
    images = list(images)
    height = min(image.height for image in images)
    images = [image.resize((round(image.width * height / image.height), height)) for image in images]
    joined = Image.new("RGB", (sum(image.width for image in images), height))
    for i, image in enumerate(images):
        joined.paste(image, (sum(left.width for left in images[:i]), 0))
    return joined


class StillPicture:
    """A base class of panels: what they show where no kernel runs, such as on a page that displays notebooks.

    JupyterLab and Voila prefer the live panel. Other pages show the picture, and readers of plain text the sentence.
    """

    def still(self) -> Image.Image | None:
        """Return what the panel shows now, RGB, or None if it shows no picture."""
        return Image.open(io.BytesIO(self.picture.value)).convert("RGB") if self.picture.value else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}: run the notebook to use it"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        return super()._repr_mimebundle_(**kwargs) | still_bundle(self.still())


def still_bundle(image: Image.Image | None) -> dict[str, str]:
    """Return an image by its MIME type, base64, as PNG or as JPEG, whichever is smaller; {} for None."""
    if image is None:
        return {}
    image.thumbnail((STILL_WIDTH, 2 * STILL_WIDTH))
    files = {}
    for kind in ("png", "jpeg"):
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=85, optimize=True)
        files[f"image/{kind}"] = buffer.getvalue()
    kind = min(files, key=lambda kind: len(files[kind]))
    return {kind: base64.b64encode(files[kind]).decode()}


class FigurePanel(StillPicture, widgets.VBox):
    """Controls above a figure, which is redrawn whenever the value of a control changes.

    Args:
        draw: a plain function from the values of the controls, by name, to a `Figure`.
        controls: ipywidgets controls by argument name.
    """

    def __init__(self, draw, **controls: widgets.Widget):
        self.draw, self.controls = draw, controls
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        super().__init__([*controls.values(), self.picture])
        self.picture.add_class("t-picture")  # CSS classes for browser tests and style sheets
        for name, control in controls.items():
            control.add_class(f"t-{name}")
            control.observe(self.redraw, names="value")
        self.redraw()

    def redraw(self, change=None) -> None:
        """Draw the figure for the current values of the controls."""
        values = {name: control.value for name, control in self.controls.items()}
        self.picture.value = to_png(self.draw(**values))
