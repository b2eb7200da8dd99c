"""The correcting brush on a photo: paint on the colored result; save and load the strokes."""

import io
from collections.abc import Callable

import ipywidgets as widgets
import traitlets
from PIL import Image

from colorlib.brush import TouchUp
from colorlib.lessons.widgets.file_buttons import DownloadButton, UploadButton
from colorlib.lessons.widgets.pictures import jpeg
from colorlib.lessons.widgets.stroke_canvas import StrokeCanvas, as_rows
from colorlib.strokes import MAX_FILE, Stroke, strokes_from_json, strokes_to_json


class PhotoBrush(widgets.VBox):
    """A drawing surface that shows a small colored photo, corrected with the strokes on it.

    Args:
        changed: called when the strokes have changed.
        tell: called with one sentence if strokes can't be loaded.
        name: returns the name of the photo, which the file of strokes gets.
    """

    def __init__(self, changed: Callable[[], None], tell: Callable[[str], None], name: Callable[[], str]):
        self.tell, self.name = tell, name
        self.colored, self.tool = None, None  # the photo, and what corrects it
        self.canvas = StrokeCanvas(Image.new("RGB", (8, 8), "gray"), large=True)
        self.keep = widgets.Checkbox(description="keep the colors here", indent=False, layout={"width": "auto"})
        self.save = DownloadButton(self.make_file, label="Save strokes")
        self.load = UploadButton(self.take_file, tell, label="Load strokes", accept=".json", limit=MAX_FILE)
        self.keep.tooltip = "the next strokes keep the colors under them from being changed by other strokes"
        traitlets.link((self.keep, "value"), (self.canvas, "keep"))
        for name_of_part in ("save", "load", "keep"):
            getattr(self, name_of_part).add_class(f"t-{name_of_part}")
        buttons = widgets.HBox([self.keep, self.save, self.load], layout={"flex_flow": "row wrap"})
        super().__init__([self.canvas, buttons])
        self.canvas.observe(lambda change: changed(), names="strokes")

    def start(self, colored: Image.Image) -> None:
        """Take a colored photo to correct; the strokes stay."""
        self.colored, self.tool = colored, None

    def corrected(self) -> Image.Image:
        """Return the photo, corrected with the strokes on the surface.

        Raises:
            ValueError: what the page sent is no stroke.
        """
        strokes = self.strokes()
        self.save.ready = bool(strokes)
        if not strokes:
            return self.colored
        self.tool = self.tool or TouchUp(self.colored)
        return self.tool.apply(strokes)

    def show(self, image: Image.Image) -> None:
        """Show an image on the surface."""
        self.canvas.picture = jpeg(image)

    def strokes(self) -> list[Stroke]:
        """Return the strokes on the surface."""
        return self.canvas.drawn()

    def make_file(self) -> tuple[str, bytes] | None:
        """Return name and content of a file with the strokes."""
        try:
            return f"{self.name().rpartition('.')[0] or self.name()}.strokes.json", strokes_to_json(self.strokes())
        except ValueError as error:
            self.tell(f"The strokes can't be saved: {error}")
            return None

    def take_file(self, file: io.BytesIO) -> None:
        """Put the strokes of a file on the surface, or say in one sentence why that can't be done."""
        try:
            self.canvas.strokes = as_rows(strokes_from_json(file.read(), file.name))
        except ValueError as error:
            self.tell(str(error))
