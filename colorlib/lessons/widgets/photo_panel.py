"""Color a photo on the page: upload, before and after, sliders, download. Used by chapters 00 and 07 and the app."""

import base64
import html
import io
from collections.abc import Mapping
from contextlib import contextmanager

import ipywidgets as widgets
import numpy as np
from PIL import Image

from colorlib.color import rgb_to_lab, to_tensor
from colorlib.colorizer import Colorizer
from colorlib.images import MAX_JPEG_EXIF, MAX_JPEG_SIDE, SUFFIXES, ImageReadError, open_image, write_image
from colorlib.lessons.aging import to_luma
from colorlib.lessons.widgets import StillPicture, side_by_side
from colorlib.lessons.widgets.file_buttons import DownloadButton, UploadButton

PREVIEW = 720  # longer side of the images on the page, pixels; the download has full size
RENDER_SIZES = (32, 256)  # range of the slider, pixels

# HTML only, no script to load: the range input moves the edge at which the image on top is cut off. The position of
# the edge is kept in `window`, so that it survives a redraw.
BEFORE_AFTER = """\
<div class="colorlib-before-after" style="--cut: 50%; max-width: {width}px">
  <div style="position: relative; line-height: 0">
    <img class="t-after" alt="{after_label}" src="{after}" style="width: 100%">
    <img class="t-before" alt="{before_label}" src="{before}"
      style="position: absolute; inset: 0; width: 100%; height: 100%; clip-path: inset(0 calc(100% - var(--cut)) 0 0)">
  </div>
  <input class="t-cut" type="range" min="0" max="100" step="0.5" value="50" style="width: 100%; margin: 4px 0 0"
    aria-label="left of the edge: {before_label}; right of it: {after_label}"
    oninput="this.parentNode.style.setProperty('--cut', this.value + '%'); window.colorlibCut = this.value">
  <div style="display: flex; justify-content: space-between; line-height: 1.2">
    <span>◀ {before_label}</span><span>{after_label} ▶</span></div>
  <img alt="" src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==" style="display: none"
    onload="let cut = window.colorlibCut ?? 50, box = this.parentNode;
      box.style.setProperty('--cut', cut + '%'); box.querySelector('input').value = cut">
</div>"""


def to_file(image: Image.Image) -> tuple[str, bytes]:
    """Return an image as a JPEG file, or as a PNG file if a JPEG can't hold its size or its EXIF data.

    Args:
        image: RGB; its metadata and color profile are kept.
    Returns:
        The suffix of the file, ".jpg" or ".png", and its bytes.
    """
    fits = max(image.size) <= MAX_JPEG_SIDE and len(image.info.get("exif", b"")) <= MAX_JPEG_EXIF
    buffer = io.BytesIO()
    write_image(image, buffer, "JPEG" if fits else "PNG")
    return ".jpg" if fits else ".png", buffer.getvalue()


def data_uri(image: Image.Image) -> str:
    """Return an image as a data URI, the `src` of an <img> that needs no file and no server."""
    buffer = io.BytesIO()
    write_image(image, buffer, "JPEG", quality=88, subsampling=2)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def before_after(
    before: Image.Image, after: Image.Image, before_label: str = "gray", after_label: str = "colored"
) -> str:
    """Return HTML that shows one image on top of the other, and a slider that moves the edge between them.

    Args:
        before, after: RGB, with the same aspect ratio.
        before_label, after_label: shown below the image, left and right.
    """
    return BEFORE_AFTER.format(
        before=data_uri(before),
        after=data_uri(after),
        before_label=html.escape(before_label, quote=True),
        after_label=html.escape(after_label, quote=True),
        width=after.width,
    )


def shrink(image: Image.Image, longest: int = PREVIEW) -> Image.Image:
    """Return a copy whose longer side has at most `longest` pixels, without metadata."""
    small = image.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info = {}
    return small


def as_image(photo: np.ndarray | Image.Image) -> Image.Image:
    """Return an (H, W, 3) uint8 array as an RGB image; an image is returned as it is."""
    return photo if isinstance(photo, Image.Image) else Image.fromarray(photo)


def colored_name(name: str, suffix: str = ".jpg") -> str:
    """Return the file name for a colored photo: "ann.png" -> "ann-colored.jpg", "ann 5.1" -> "ann 5.1-colored.jpg"."""
    stem, dot, end = name.rpartition(".")
    known = f".{end}".lower() in SUFFIXES
    return f"{stem if stem and known else name or 'photo'}-colored{suffix}"


class PhotoPanel(StillPicture, widgets.VBox):
    """Choose or upload a photo, see it gray and colored, change render size and saturation, download the result.

    The longer side of the images on the page is at most `PREVIEW` pixels, so that the sliders react quickly; the
    download has the size of the photo. If a file can't be read, the panel says why and keeps the previous photo.

    Args:
        colorizer: colors the photo; the slider for the render size starts at its render size.
        photos: name -> (H, W, 3) uint8 or image, to choose from.
        upload: show an upload button.
        note: a sentence to show at the start.
    """

    def __init__(
        self,
        colorizer: Colorizer,
        photos: Mapping[str, np.ndarray | Image.Image] | None = None,
        upload: bool = False,
        note: str = "",
    ):
        self.colorizer = colorizer
        self.photos = {name: as_image(photo) for name, photo in (photos or {}).items()}
        self.name, self.photo = "", None
        self.shown = None  # what is left and right of the edge, images of one size
        self.choice = widgets.Dropdown(options=list(self.photos), description="photo")
        self.upload = UploadButton(self.take_upload, self.tell)
        smallest, largest = RENDER_SIZES[0], max(RENDER_SIZES[1], colorizer.render_size)
        self.render_size = widgets.IntSlider(
            colorizer.render_size, smallest, largest, 8, description="render size", continuous_update=False
        )
        self.saturation = widgets.FloatSlider(
            1.0, min=0, max=2, step=0.1, description="saturation", continuous_update=False, readout_format=".1f"
        )
        self.left = widgets.ToggleButtons(options=["gray", "original"], description="left side")
        self.left.style.button_width = "80px"
        self.download = DownloadButton(self.make_file)
        self.status = widgets.HTML(html.escape(note))
        self.picture = widgets.HTML()
        self.render_size.tooltip = "shorter side of the small copy that the network sees, in pixels"
        self.saturation.tooltip = "1 is what the network predicts, 0 is gray, 2 is twice as colorful"
        for name in ("choice", "render_size", "saturation", "left", "status", "picture"):
            getattr(self, name).add_class(f"t-{name}")
        source = [*([self.choice] if photos else []), *([self.upload] if upload else [])]
        super().__init__(
            [
                widgets.HBox([*source, self.download], layout={"flex_flow": "row wrap"}),
                widgets.HBox([self.render_size, self.saturation, self.left], layout={"flex_flow": "row wrap"}),
                self.status,
                self.picture,
            ]
        )
        self.choice.observe(self.choose, names="value")
        for control in (self.render_size, self.saturation, self.left):
            control.observe(self.redraw, names="value")
        if self.photos:
            self.choose()

    def choose(self, change=None) -> None:
        """Show the chosen photo."""
        self.name, self.photo = self.choice.value, self.photos[self.choice.value]
        self.redraw()

    def tell(self, sentence: str) -> None:
        """Show a sentence as the status."""
        self.status.value = html.escape(sentence)

    def take_upload(self, file: io.BytesIO) -> None:
        """Show an uploaded photo, or say in one sentence why it can't be shown."""
        with self.reporting(f"reading {file.name} …"):
            self.name, self.photo = file.name, open_image(file)
            self.draw()

    def redraw(self, change=None) -> None:
        """Color the photo with the current settings and show it."""
        if self.photo is not None:
            with self.reporting("coloring …"):
                self.draw()

    def draw(self) -> None:
        """Color a small copy of the photo and show it."""
        small = shrink(self.photo)
        before = as_image(to_luma(np.asarray(small))) if self.left.value == "gray" else small
        self.shown = before, self.color(small)
        self.picture.value = before_after(*self.shown, self.left.value)
        self.download.ready = True

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
        """Color the photo at full size; return name and bytes of the file, or None if coloring failed."""
        with self.reporting("coloring the photo at full size …"):
            suffix, file = to_file(self.color(self.photo))
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
            self.tell(f"{self.name}: {self.photo.width} × {self.photo.height} pixels")


def color_error_map(truth: np.ndarray | Image.Image, colored: np.ndarray | Image.Image) -> np.ndarray:
    """Return the mean of |Δa| and |Δb| at every pixel, (H, W), in Lab units.

    Args:
        truth, colored: RGB, of the same size.
    """
    lab_true, lab = (rgb_to_lab(to_tensor(image)) for image in (truth, colored))
    return (lab - lab_true)[1:].abs().mean(dim=0).numpy()


def own_photo(colorizer: Colorizer, note: str = "") -> PhotoPanel:
    """Return a `PhotoPanel` that starts with an upload."""
    panel = PhotoPanel(colorizer, upload=True, note=note)
    panel.add_class("t-own")
    return panel
