"""A surface to draw strokes or boxes on a picture, with mouse, touch or keyboard; used by chapter 02 and the brush."""

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets
from PIL import Image

from colorlib.lessons.widgets import StillPicture, side_by_side
from colorlib.strokes import Stroke, strokes_from


def png(picture: np.ndarray | Image.Image) -> bytes:
    """Return a picture, (H, W, 3) uint8 or an image, as the bytes of a PNG file."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()


def as_rows(strokes: Sequence[Stroke]) -> list[dict]:
    """Return strokes as plain dicts, as they travel to the page."""
    return [asdict(stroke) for stroke in strokes]


class StrokeCanvas(anywidget.AnyWidget):
    """A picture to draw on. The color picker offers the colors that exist at the lightness under the brush.

    Keys: the arrows move the brush (with Shift in larger steps), space puts it down and lifts it, U undoes, E switches
    to the eraser and back, + and − change the size.

    Args:
        picture: (H, W, 3) uint8, or an image.
        mode: "strokes" or "boxes".
        strokes: those that are there at the start.
        traits: any of the traits below.
    """

    _esm = Path(__file__).with_suffix(".js")
    picture = traitlets.Bytes().tag(sync=True)  # a PNG or JPEG file
    mode = traitlets.Enum(["strokes", "boxes"], "strokes").tag(sync=True)
    strokes = traitlets.List().tag(sync=True)  # dicts, as `strokes_from` reads them
    boxes = traitlets.List().tag(sync=True)  # [left, top, right, bottom], shares
    ab = traitlets.List([50, 30]).tag(sync=True)  # the color of the next stroke, Lab units
    keep = traitlets.Bool(False).tag(sync=True)  # the next stroke keeps the picture's colors
    # On a large surface the picture fills the width, and it is the result: strokes that it has taken up are thin lines.
    large = traitlets.Bool(False).tag(sync=True)
    radius = traitlets.Float(0.012).tag(sync=True)  # of the brush at the start

    def __init__(self, picture: np.ndarray | Image.Image, mode="strokes", strokes: Sequence[Stroke] = (), **traits):
        super().__init__(picture=png(picture), mode=mode, strokes=as_rows(strokes), **traits)

    def __repr__(self) -> str:
        return f"StrokeCanvas({len(self.strokes)} strokes, {len(self.boxes)} boxes)"

    def drawn(self) -> list[Stroke]:
        """Return the strokes on the surface.

        Raises:
            ValueError: what the page sent is no stroke.
        """
        return strokes_from(self.strokes)


class StrokePanel(StillPicture, widgets.HBox):
    """A drawing surface, and beside it the picture that results from the strokes on it.

    Args:
        picture: to draw on, (H, W, 3) uint8.
        color: strokes -> the resulting picture, (H, W, 3) uint8 or an image.
        strokes: those that are there at the start; a button brings them back.
        keep_button: offer strokes that keep the picture's own colors.
    """

    def __init__(
        self,
        picture: np.ndarray,
        color: Callable[[list[Stroke]], np.ndarray | Image.Image],
        strokes: Sequence[Stroke] = (),
        keep_button: bool = False,
    ):
        self.color, self.prepared = color, as_rows(strokes)
        self.canvas = StrokeCanvas(picture, strokes=strokes)
        self.result = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.status = widgets.Label()
        self.again = widgets.Button(description="prepared strokes", layout=widgets.Layout(width="auto"))
        self.again.on_click(self.prepare)
        self.keep = widgets.Checkbox(description="keep the colors here", indent=False)
        traitlets.link((self.keep, "value"), (self.canvas, "keep"))
        controls = [*([self.again] if strokes else []), *([self.keep] if keep_button else []), self.status]
        super().__init__([self.canvas, widgets.VBox([self.result, *controls])], layout={"flex_flow": "row wrap"})
        self.result.add_class("t-result")
        self.canvas.observe(self.redraw, names="strokes")
        self.redraw()

    def still(self) -> Image.Image:
        """Return the picture to draw on, without strokes, and the result beside it."""
        files = (self.canvas.picture, self.result.value)
        return side_by_side(Image.open(io.BytesIO(file)).convert("RGB") for file in files if file)

    def prepare(self, button=None) -> None:
        """Put the prepared strokes back."""
        self.canvas.strokes = self.prepared

    def redraw(self, change=None) -> None:
        """Color the picture with the strokes that are on it, or say what is wrong."""
        try:
            strokes = self.canvas.drawn()
            self.result.value = png(self.color(strokes))
        except ValueError as error:
            self.status.value = str(error)
        else:
            self.status.value = f"{len(strokes)} strokes" if len(strokes) != 1 else "1 stroke"
