"""Chapter 02: strokes on a picture, a reference to take colors from, a palette for segments."""

import io
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from colorlib import classical, show
from colorlib.brush import TouchUp
from colorlib.color import lab_to_rgb, lab_to_rgb_keeping_light, rgb_to_lab, to_tensor, to_uint8
from colorlib.images import ImageReadError, open_image, resize_image
from colorlib.lessons.artist import ab_error
from colorlib.lessons.widgets import FigurePanel, StillPicture, to_png
from colorlib.lessons.widgets.file_buttons import UploadButton
from colorlib.lessons.widgets.stroke_canvas import StrokeCanvas, StrokePanel
from colorlib.strokes import Stroke

METHODS = ("tint", "Reinhard", "Welsh")
REFERENCE_SIDE = 128  # pixels, the shorter side of an uploaded reference


def to_picture(lab: torch.Tensor) -> np.ndarray:
    """Return (3, H, W) in Lab units as (H, W, 3) uint8; colors that no screen shows are desaturated."""
    return to_uint8(lab_to_rgb_keeping_light(lab)).permute(1, 2, 0).numpy()


def without_color(lab: torch.Tensor) -> torch.Tensor:
    """Return a picture (3, H, W) in Lab units with a = b = 0."""
    return torch.cat([lab[:1], torch.zeros_like(lab[1:])])


# --- strokes ----------------------------------------------------------------------------------------------------------


def stroke_explorer(lab: torch.Tensor, strokes: Sequence[Stroke]) -> StrokePanel:
    """Return a surface to draw on a gray picture, colored with Levin's method after each stroke.

    Args:
        lab: (3, H, W) in Lab units; its colors are not used.
        strokes: prepared ones, which are there at the start.
    """
    gray = without_color(lab)
    return StrokePanel(
        to_picture(gray), lambda drawn: to_picture(classical.levin(gray, drawn) if drawn else gray), strokes
    )


def brush_explorer(result: np.ndarray | Image.Image, strokes: Sequence[Stroke]) -> StrokePanel:
    """Return a surface to correct a colored photo with strokes; `colorlib.TouchUp` does the work.

    Args:
        result: a colored photo.
        strokes: prepared ones, which are there at the start.
    """
    return StrokePanel(np.asarray(result), TouchUp(result).apply, strokes, keep_button=True)


# --- palette ----------------------------------------------------------------------------------------------------------


def palette_figure(lab: torch.Tensor, ids: torch.Tensor, palette: Mapping[int, Sequence[float]]) -> Figure:
    """Draw the gray picture, the picture filled from a palette, and the truth.

    Args:
        lab: (3, H, W) in Lab units, in color.
        ids: (H, W) segment of each pixel.
        palette: id -> (a, b); other segments are gray.
    """
    filled = classical.fill_segments(lab, ids, palette)
    titles = ["gray", f"from the palette: error {ab_error(filled, lab):.1f}", "truth"]
    return show.pictures({"": [to_picture(x) for x in (without_color(lab), filled, lab)]}, titles=titles)


def palette_editor(lab: torch.Tensor, names: Mapping[str, int], ids: torch.Tensor) -> FigurePanel:
    """Return a color picker for each named segment over `palette_figure`.

    Args:
        lab, ids: as in `palette_figure`.
        names: label -> id of a segment.
    """

    def draw(**colors: str) -> Figure:
        palette = {}
        for (_, number), color in zip(names.items(), colors.values(), strict=True):
            rgb = torch.tensor(to_rgb(color)).view(3, 1, 1)
            palette[number] = rgb_to_lab(rgb)[1:].flatten().tolist()
        return palette_figure(lab, ids, palette)

    pickers = {}
    for label, number in names.items():
        gray = torch.tensor([lab[0, ids == number].mean(), 0, 0]).view(3, 1, 1)
        red, green, blue = to_uint8(lab_to_rgb(gray)).flatten().tolist()
        pickers[label.replace(" ", "_")] = widgets.ColorPicker(
            value=f"#{red:02x}{green:02x}{blue:02x}", description=label
        )
    return FigurePanel(draw, **pickers)


# --- reference --------------------------------------------------------------------------------------------------------


def by_reference(
    lab: torch.Tensor, reference: torch.Tensor, method: str, swatches: Sequence[tuple] = ()
) -> torch.Tensor:
    """Color a picture, of which only L is used, from a reference.

    Args:
        lab, reference: (3, H, W) and (3, h, w) in Lab units.
        method: one of `METHODS`.
        swatches: for "Welsh", pairs of boxes, as in `classical.welsh`.
    """
    gray = without_color(lab)
    if method == "tint":
        return classical.tint(gray, classical.stops_from(reference))
    if method == "Reinhard":
        return classical.reinhard(gray, reference)
    return classical.welsh(gray, reference, swatches=swatches)


def reference_figure(lab: torch.Tensor, reference: torch.Tensor, method: str, swatches: Sequence[tuple] = ()) -> Figure:
    """Draw the reference, the picture colored from it, and the truth. Arguments as in `by_reference`."""
    colored = by_reference(lab, reference, method, swatches)
    titles = ["reference", f"{method}: error {ab_error(colored, lab):.1f}", "truth"]
    return show.pictures({"": [to_picture(x) for x in (reference, colored, lab)]}, titles=titles)


class ReferencePicker(StillPicture, widgets.VBox):
    """Choose or upload a reference and a method; draw matching boxes (swatches) on both pictures.

    Args:
        lab: (3, H, W) in Lab units, the picture to color.
        references: name -> (3, h, w) in Lab units.
    """

    def __init__(self, lab: torch.Tensor, references: Mapping[str, torch.Tensor]):
        self.lab, self.references = lab, dict(references)
        self.choice = widgets.Dropdown(options=list(references), description="reference")
        self.method = widgets.ToggleButtons(options=METHODS, value="Welsh", description="method")
        self.upload = UploadButton(self.take_upload, self.tell, label="Upload a reference")
        self.status = widgets.Label("Draw a box on the left picture, then its partner on the right one.")
        self.target = StrokeCanvas(to_picture(without_color(lab)), mode="boxes")
        self.source = StrokeCanvas(to_picture(self.reference), mode="boxes")
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.picture.add_class("t-picture")
        self.choice.add_class("t-reference")
        super().__init__(
            [
                widgets.HBox([self.choice, self.upload], layout={"flex_flow": "row wrap"}),
                self.method,
                widgets.HBox([self.target, self.source], layout={"flex_flow": "row wrap"}),
                self.status,
                self.picture,
            ]
        )
        self.choice.observe(self.choose, names="value")
        self.method.observe(self.redraw, names="value")
        for canvas in (self.target, self.source):
            canvas.observe(self.redraw, names="boxes")
        self.redraw()

    @property
    def reference(self) -> torch.Tensor:
        """The chosen reference, (3, h, w) in Lab units."""
        return self.references[self.choice.value]

    def tell(self, sentence: str) -> None:
        """Show a sentence as the status."""
        self.status.value = sentence

    def choose(self, change=None) -> None:
        """Show the chosen reference, without boxes."""
        self.source.picture = StrokeCanvas(to_picture(self.reference)).picture
        self.source.boxes = []
        self.redraw()

    def take_upload(self, file: io.BytesIO) -> None:
        """Add an uploaded reference and choose it, or say in one sentence why it can't be read."""
        try:
            image = resize_image(np.asarray(open_image(file).convert("RGB")), REFERENCE_SIDE)
        except ImageReadError as error:
            self.tell(str(error))
            return
        self.references[file.name] = rgb_to_lab(to_tensor(image))
        self.choice.options = list(self.references)
        self.choice.value = file.name

    def redraw(self, change=None) -> None:
        """Color the picture from the reference; boxes count in pairs, in the order in which they were drawn."""
        pairs = list(zip(self.target.boxes, self.source.boxes, strict=False))
        try:
            self.picture.value = to_png(reference_figure(self.lab, self.reference, self.method.value, pairs))
        except ValueError as error:
            self.tell(str(error))
        else:
            self.tell(f"{len(pairs)} pairs of boxes; they count for Welsh's method only.")
