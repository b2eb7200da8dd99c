"""Chapter 00: before and after, and a panel that colors a photo; chapter 07 and the app use them, too."""

import base64
import html
import io
import mimetypes
from collections.abc import Callable, Mapping
from contextlib import contextmanager

import anywidget
import ipywidgets as widgets
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from PIL import Image

from colorlib import show
from colorlib.color import rgb_to_lab
from colorlib.colorizer import Colorizer
from colorlib.images import SAVE_OPTIONS, ImageReadError, open_image
from colorlib.lessons.widgets import FigurePanel

PREVIEW = 720  # pixels: longer side of what is drawn on the page; a download has them all
RENDER_SIZES = (32, 256)  # shorter side of what the network sees, from and to, pixels
WRONG = (230, 120, 0)  # an orange that stands out of any gray

# No script and no dependency: the range input moves the edge at which the upper picture is cut off. The place of
# the edge outlives a redraw.
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


def to_jpeg(image: Image.Image, quality: int | None = None) -> bytes:
    """Return a picture as the bytes of a JPEG file; its EXIF and color profile go with it.

    Args:
        image: RGB.
        quality: 1 to 95; None: as good as the package saves photos.
    """
    options = SAVE_OPTIONS["JPEG"] | ({"quality": quality, "subsampling": 2} if quality else {})
    kept = {key: image.info[key] for key in ("exif", "icc_profile") if image.info.get(key)}
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", **options, **kept)
    return buffer.getvalue()


def data_uri(image: Image.Image) -> str:
    """Return a picture as text that an <img> can show, without a file or a server."""
    return "data:image/jpeg;base64," + base64.b64encode(to_jpeg(image, quality=88)).decode()


def before_after(
    before: Image.Image, after: Image.Image, before_label: str = "gray", after_label: str = "colored"
) -> str:
    """Return HTML that shows one picture over the other, and a slider that moves the edge between them.

    Args:
        before, after: RGB, of the same proportions.
    """
    return BEFORE_AFTER.format(
        before=data_uri(before),
        after=data_uri(after),
        before_label=html.escape(before_label, quote=True),
        after_label=html.escape(after_label, quote=True),
        width=after.width,
    )


def shrink(image: Image.Image, longest: int = PREVIEW) -> Image.Image:
    """Return a picture whose longer side has at most `longest` pixels; metadata stay behind."""
    small = image.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info = {}
    return small


def to_gray(image: Image.Image) -> Image.Image:
    """Return the gray picture that image programs make of a photo: luma, as RGB."""
    return image.convert("L").convert("RGB")


def as_image(photo: np.ndarray | Image.Image) -> Image.Image:
    """Return an (H, W, 3) uint8 array, or a picture that is one already, as RGB."""
    return photo if isinstance(photo, Image.Image) else Image.fromarray(photo)


def read_upload(value: tuple[Mapping, ...]) -> tuple[str, Image.Image]:
    """Read the file in the value of a `FileUpload`; nothing is written to disk.

    Returns:
        The file's name, and the picture: RGB, upright.
    Raises:
        ImageReadError: it is no picture, or a damaged one; the message names the file.
    """
    name = value[-1]["name"]
    file = io.BytesIO(value[-1]["content"])
    file.name = name
    return name, open_image(file)


def colored_name(name: str) -> str:
    """Return the name for the colored version of a photo: "ann.png" -> "ann-colored.jpg"."""
    return f"{name.rpartition('.')[0] or name or 'photo'}-colored.jpg"


class DownloadButton(anywidget.AnyWidget):
    """A button that makes a file when it is pressed and hands it to the browser; nothing touches the disk.

    Args:
        make: returns the file's name and its bytes, or None where it has told the reader why there is no file.
    """

    _esm = """
    export default {
      render({ model, el }) {
        const button = document.createElement("button");
        button.className = "jupyter-widgets jupyter-button widget-button t-download";
        const update = () => {
          button.textContent = model.get("busy") ? "making the file …" : model.get("label");
          button.disabled = model.get("busy") || !model.get("ready");
        };
        const save = (message, [content]) => {
          const url = URL.createObjectURL(new Blob([content], { type: message.type }));
          Object.assign(document.createElement("a"), { href: url, download: message.name }).click();
          setTimeout(() => URL.revokeObjectURL(url), 60000);
        };
        button.onclick = () => model.send({});
        button.style.width = "auto";
        model.on("change", update);
        model.on("msg:custom", save);
        update();
        el.append(button);
        return () => { model.off("change", update); model.off("msg:custom", save); };
      },
    };
    """
    label = traitlets.Unicode("Download").tag(sync=True)
    ready = traitlets.Bool(False).tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)

    def __init__(self, make: Callable[[], tuple[str, bytes] | None], **traits):
        super().__init__(**traits)
        self.make = make
        self.on_msg(self.answer)

    def answer(self, widget, content: dict, buffers: list) -> None:
        """Make the file and send it to the page that asked."""
        if not self.ready:
            return
        self.busy = True
        try:
            if made := self.make():
                kind = mimetypes.guess_type(made[0])[0] or "application/octet-stream"
                self.send({"name": made[0], "type": kind}, buffers=[made[1]])
        finally:
            self.busy = False


class PhotoPanel(widgets.VBox):
    """Choose or upload a photo, see it gray and colored, move render size and saturation, download the result.

    What is drawn is at most `PREVIEW` pixels long, so that a slider answers at once; the download has the photo's own
    size. A file that can't be read is answered with one sentence, and the picture before it stays.

    Args:
        colorizer: colors the photo; its own render size is where that slider starts.
        photos: name -> (H, W, 3) uint8 or image, to choose from; may be empty.
        upload: offer to upload a photo.
        note: a sentence to show from the beginning.
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
        self.choice = widgets.Dropdown(options=list(self.photos), description="photo")
        self.upload = widgets.FileUpload(accept="image/*", description="Upload a photo", layout={"width": "auto"})
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
        self.render_size.tooltip = "shorter side of the copy that the network sees, in pixels"
        self.saturation.tooltip = "1 is what the network says; 0 is gray, 2 twice as colorful"
        for name in ("choice", "upload", "render_size", "saturation", "left", "status", "picture"):
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
        self.upload.observe(self.take_upload, names="value")
        for control in (self.render_size, self.saturation, self.left):
            control.observe(self.redraw, names="value")
        if self.photos:
            self.choose()

    def choose(self, change=None) -> None:
        """Show the chosen photo."""
        self.name, self.photo = self.choice.value, self.photos[self.choice.value]
        self.redraw()

    def take_upload(self, change=None) -> None:
        """Show the photo that was uploaded, or say in a sentence why it can't be."""
        value = self.upload.value
        if not value:
            return
        with self.telling(f"reading {value[-1]['name']} …"):
            self.name, self.photo = read_upload(value)
            self.draw()
        self.upload.value = ()  # the bytes are not needed any more, and the next upload starts from nothing

    def redraw(self, change=None) -> None:
        """Color the photo as the sliders say, and show it."""
        if self.photo is not None:
            with self.telling("coloring …"):
                self.draw()

    def draw(self) -> None:
        """Color a small version of the photo and put it on the page."""
        small = shrink(self.photo)
        before = to_gray(small) if self.left.value == "gray" else small
        self.picture.value = before_after(before, self.color(small), self.left.value)
        self.download.ready = True

    def color(self, image: Image.Image) -> Image.Image:
        """Color a picture as the sliders say."""
        return self.colorizer.colorize(image, self.render_size.value, self.saturation.value)

    def make_file(self) -> tuple[str, bytes] | None:
        """Color the photo at its own size; return a name for the file and its bytes, None when that failed."""
        with self.telling("coloring every pixel …"):
            return colored_name(self.name), to_jpeg(self.color(self.photo))
        return None

    @contextmanager
    def telling(self, doing: str):
        """Show what is being done, and then the photo's name and size; turn an error into one sentence."""
        self.status.value = html.escape(doing)
        try:
            yield
        except ImageReadError as error:
            self.status.value = html.escape(str(error))
        except (MemoryError, RuntimeError, OSError, ValueError) as error:  # the page must live on, whatever the photo
            self.status.value = html.escape(f"{self.name} can't be colored: {error}")
        else:
            self.status.value = html.escape(f"{self.name}: {self.photo.width} × {self.photo.height} pixels")


def mistakes(truth: np.ndarray | Image.Image, colored: Image.Image, tolerance: float = 15.0) -> Figure:
    """Draw the colored photo, the truth, and in orange where the color is off by more than `tolerance`.

    Args:
        truth, colored: RGB, of the same size.
        tolerance: mean of |Δa| and |Δb|, Lab units.
    """
    error = color_error_map(truth, colored)
    wrong = error > tolerance
    painted = np.where(wrong[..., None], WRONG, np.asarray(to_gray(as_image(truth)))).astype(np.uint8)
    titles = ["colored", f"off by more than {tolerance:g}: {wrong.mean():.0%}", "truth"]
    return show.pictures({"": [np.asarray(colored), painted, np.asarray(truth)]}, titles=titles)


def color_error_map(truth: np.ndarray | Image.Image, colored: np.ndarray | Image.Image) -> np.ndarray:
    """Return ½(|Δa| + |Δb|) of every pixel, Lab units: (H, W).

    Args:
        truth, colored: RGB, of the same size.
    """
    labs = [rgb_to_lab(torch.from_numpy(np.array(picture)).permute(2, 0, 1)) for picture in (truth, colored)]
    return (labs[0] - labs[1])[1:].abs().mean(dim=0).numpy()


def mistake_explorer(truths: Mapping[str, np.ndarray], colored: Mapping[str, Image.Image]) -> FigurePanel:
    """Return controls for the photo and the tolerance of `mistakes`; both arguments have the same names."""
    return FigurePanel(
        lambda photo, tolerance: mistakes(truths[photo], colored[photo], tolerance),
        photo=widgets.Dropdown(options=list(truths), description="photo"),
        tolerance=widgets.IntSlider(15, 2, 60, 1, description="tolerance", continuous_update=False),
    )


def own_photo(colorizer: Colorizer, note: str = "") -> PhotoPanel:
    """Return a panel for the reader's own photo; see `PhotoPanel`."""
    panel = PhotoPanel(colorizer, upload=True, note=note)
    panel.add_class("t-own")
    return panel
