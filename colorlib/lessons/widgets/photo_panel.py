"""Color a photo on the page: upload, compare, paint, sliders, download. Used by chapters 00 and 07 and the app."""

import html
import io
from collections.abc import Mapping
from contextlib import contextmanager

import ipywidgets as widgets
import numpy as np
from PIL import Image

from colorlib.brush import touch_up
from colorlib.colorizer import Colorizer
from colorlib.images import ImageReadError
from colorlib.lessons.aging import to_luma
from colorlib.lessons.widgets import StillPicture, side_by_side
from colorlib.lessons.widgets.file_buttons import DROP_ZONE, DownloadButton, UploadButton
from colorlib.lessons.widgets.photo_brush import PhotoBrush
from colorlib.lessons.widgets.pictures import as_image, before_after, color_error_map, colored_name, shrink, to_file
from colorlib.lessons.widgets.thumbnails import Entry, ThumbnailStrip, forget_oldest, thumbnail

# The chapters use the tools for pictures from here, too.
__all__ = ["DownloadButton", "PhotoPanel", "as_image", "before_after", "color_error_map", "own_photo", "shrink"]

RENDER_SIZES = (32, 256)  # range of the slider, pixels
ZOOM = 2.0  # small photos are shown up to this many times larger than they are


class PhotoPanel(StillPicture, widgets.VBox):
    """Choose or upload photos, see each gray and colored, change the settings, paint on the result, download it.

    The longer side of the images on the page is at most `PREVIEW` pixels, so that sliders and strokes are answered
    quickly; the download has the size of the photo, and the same strokes. If a file can't be read, the panel says why
    and keeps the previous photo. The uploads are kept in memory, up to the limits in `thumbnails`; beyond them the
    oldest ones leave the strip.

    Args:
        colorizer: colors the photo; the slider for the render size starts at its render size.
        photos: name -> (H, W, 3) uint8 or image, to choose from.
        upload: show an upload button, and accept files that are dropped on the panel.
        note: a sentence to show at the start; without it, the first photo is shown.
    """

    def __init__(
        self,
        colorizer: Colorizer,
        photos: Mapping[str, np.ndarray | Image.Image] | None = None,
        upload: bool = False,
        note: str = "",
    ):
        self.colorizer = colorizer
        self.entries = [Entry(name, as_image(photo)) for name, photo in (photos or {}).items()]
        self.number, self.photo, self.small = -1, None, None  # the photo that is shown, and its small copy
        self.shown = None  # what is left and right of the edge, images of one size
        self.choice = ThumbnailStrip(items=[thumbnail(entry.name, entry.source) for entry in self.entries])
        self.upload = UploadButton(self.take_upload, self.tell, label="Upload photos", several=True, drop=upload)
        smallest, largest = RENDER_SIZES[0], max(RENDER_SIZES[1], colorizer.render_size)
        self.render_size = widgets.IntSlider(
            colorizer.render_size, smallest, largest, 8, description="render size", continuous_update=False
        )
        self.saturation = widgets.FloatSlider(
            1.0, min=0, max=2, step=0.1, description="saturation", continuous_update=False, readout_format=".1f"
        )
        self.view = widgets.ToggleButtons(options=["compare", "paint"], tooltips=["move the edge", "correct colors"])
        self.left = widgets.ToggleButtons(options=["gray", "original"], description="left side")
        for toggle in (self.view, self.left):
            toggle.style.button_width = "80px"
            toggle.layout.width = "max-content"
        self.download = DownloadButton(self.make_file)
        self.status = widgets.HTML(html.escape(note))
        self.picture = widgets.HTML(layout={"width": "100%"})
        self.brush = PhotoBrush(self.repaint, self.tell, lambda: self.name)
        self.brush.layout.display = "none"
        self.render_size.tooltip = "shorter side of the small copy that the network sees, in pixels"
        self.saturation.tooltip = "1 is what the network predicts, 0 is gray, 2 is twice as colorful"
        for name in ("choice", "render_size", "saturation", "view", "left", "status", "picture", "brush"):
            getattr(self, name).add_class(f"t-{name}")
        rows = {"flex_flow": "row wrap"}
        super().__init__(
            [
                widgets.HBox([*([self.upload] if upload else []), self.download, self.view], layout=rows),
                self.choice,
                self.status,
                self.picture,
                self.brush,
                widgets.HBox([self.render_size, self.saturation, self.left], layout=rows),
            ]
        )
        self.add_class(DROP_ZONE)
        self.choice.observe(self.choose, names="value")
        for control in (self.render_size, self.saturation, self.left):
            control.observe(self.redraw, names="value")
        self.view.observe(self.switch, names="value")
        if self.entries and not note:
            self.choice.value = 0

    @property
    def name(self) -> str:
        """The name of the photo that is shown."""
        return self.entries[self.number].name if self.number >= 0 else ""

    def choose(self, change=None) -> None:
        """Show the chosen photo, or say in one sentence why it can't be shown."""
        number = self.choice.value
        if number == self.number or not 0 <= number < len(self.entries):
            return
        with self.reporting(f"reading {self.entries[number].name} …"):
            self.show(number, self.entries[number].open())
        self.choice.value = self.number  # the previous one, if the photo can't be shown

    def show(self, number: int, photo: Image.Image) -> None:
        """Show a photo of the strip, with the strokes that were drawn on it."""
        if 0 <= self.number < len(self.entries):
            self.entries[self.number].strokes = self.brush.canvas.strokes
        self.number, self.photo, self.small = -1, photo, shrink(photo)  # no photo's strokes change now
        self.brush.canvas.strokes = self.entries[number].strokes
        self.number = self.choice.value = number
        self.draw()

    def tell(self, sentence: str) -> None:
        """Show a sentence as the status."""
        self.status.value = html.escape(sentence)

    def take_upload(self, file: io.BytesIO) -> None:
        """Add an uploaded photo to the strip, or say in one sentence why it can't be read.

        Of photos that were chosen together, the first is shown. A file of strokes goes to the photo that is shown.
        """
        if file.name.lower().endswith(".json"):
            self.brush.take_file(file)
            return
        entry = Entry(file.name, file.getvalue())
        with self.reporting(f"reading {file.name} …"):
            photo = entry.open()
            self.entries.append(entry)
            self.choice.items = [*self.choice.items, thumbnail(entry.name, photo)]
            if file.number == 0 or self.photo is None:
                self.show(len(self.entries) - 1, photo)
            self.forget()

    def forget(self) -> None:
        """Drop the oldest uploads if there are too many."""
        forgotten = set(forget_oldest(self.entries, self.number))
        if not forgotten:
            return
        kept = [number for number in range(len(self.entries)) if number not in forgotten]
        self.entries = [self.entries[number] for number in kept]
        self.number = kept.index(self.number)
        self.choice.items = [self.choice.items[number] for number in kept]
        self.choice.value = self.number

    def redraw(self, change=None) -> None:
        """Color the photo with the current settings and show it."""
        if self.photo is not None:
            with self.reporting("coloring …"):
                self.draw()

    def repaint(self) -> None:
        """Correct the colored photo with the strokes and show it."""
        if self.photo is not None and self.number >= 0:
            with self.reporting("correcting …"):
                self.update()

    def switch(self, change=None) -> None:
        """Show the photo to compare, or to paint on."""
        paint = self.view.value == "paint"
        self.picture.layout.display, self.brush.layout.display = ("none", "") if paint else ("", "none")
        self.left.layout.display = "none" if paint else ""
        self.repaint()

    def draw(self) -> None:
        """Color the small copy of the photo and show it."""
        before = as_image(to_luma(np.asarray(self.small))) if self.left.value == "gray" else self.small
        self.shown = before, self.color(self.small)
        self.brush.start(self.shown[1])
        self.update()
        self.download.ready = True

    def update(self) -> None:
        """Show the small copy, corrected with the strokes."""
        self.shown = self.shown[0], self.brush.corrected()
        if self.view.value == "paint":
            self.brush.show(self.shown[1])
        else:
            self.picture.value = before_after(*self.shown, self.left.value, zoom=ZOOM)

    def still(self) -> Image.Image | None:
        """Return the picture with its edge in the middle, or None before there is a photo."""
        if self.shown is None:
            return None
        before, after = self.shown
        middle = after.width // 2
        halves = before.crop((0, 0, middle, before.height)), after.crop((middle, 0, after.width, after.height))
        return side_by_side(halves)

    def color(self, image: Image.Image) -> Image.Image:
        """Color an image with the current settings."""
        return self.colorizer.colorize(image, self.render_size.value, self.saturation.value)

    def make_file(self) -> tuple[str, bytes] | None:
        """Color and correct the photo at full size; return name and bytes of the file, or None if that failed."""
        with self.reporting("coloring the photo at full size …"):
            colored, strokes = self.color(self.photo), self.brush.strokes()
            suffix, file = to_file(touch_up(colored, strokes) if strokes else colored)
            return colored_name(self.name, suffix), file
        return None

    @contextmanager
    def reporting(self, action: str):
        """Show `action` as the status, then the name and size of the photo, or one sentence if an error is raised."""
        self.tell(action)
        try:
            yield
        except ImageReadError as error:
            self.tell(str(error))
        except (MemoryError, RuntimeError, OSError, ValueError) as error:  # no photo may break the page
            self.tell(f"{self.name} can't be colored: {error}")
        else:
            strokes = self.brush.canvas.strokes
            drawn = f", {len(strokes)} stroke{'s' if len(strokes) > 1 else ''}" if strokes else ""
            self.tell(f"{self.name}: {self.photo.width} × {self.photo.height} pixels{drawn}")


def own_photo(
    colorizer: Colorizer, note: str = "", photos: Mapping[str, np.ndarray | Image.Image] | None = None
) -> PhotoPanel:
    """Return a `PhotoPanel` that starts with an upload; `photos` are offered to try."""
    panel = PhotoPanel(colorizer, photos, upload=True, note=note)
    panel.add_class("t-own")
    return panel
