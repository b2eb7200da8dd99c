"""Pictures on the page and as files: before and after, small copies, what the browser downloads."""

import base64
import html
import io

import numpy as np
from PIL import Image

from colorlib.color import rgb_to_lab, to_tensor
from colorlib.images import MAX_JPEG_EXIF, MAX_JPEG_SIDE, SUFFIXES, write_image

PREVIEW = 1200  # longer side of the images on the page, pixels; the download has full size
MAX_HEIGHT = 80  # of an image on the page, percent of the window's height

# HTML only, no script to load: the range input moves the edge at which the image on top is cut off. The position of
# the edge is kept in `window`, so that it survives a redraw.
BEFORE_AFTER = """\
<div class="colorlib-before-after" style="--cut: 50%; width: min(100%, {width}px, {per_height:.1f}vh)">
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


def jpeg(image: Image.Image) -> bytes:
    """Return an image as a JPEG file of the quality for the page."""
    buffer = io.BytesIO()
    write_image(image, buffer, "JPEG", quality=88, subsampling=2)
    return buffer.getvalue()


def data_uri(image: Image.Image) -> str:
    """Return an image as a data URI, the `src` of an <img> that needs no file and no server."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode()


def before_after(
    before: Image.Image,
    after: Image.Image,
    before_label: str = "gray",
    after_label: str = "colored",
    zoom: float = 1.0,
) -> str:
    """Return HTML that shows one image on top of the other, and a slider that moves the edge between them.

    Args:
        before, after: RGB, with the same aspect ratio.
        before_label, after_label: shown below the image, left and right.
        zoom: the images are shown at most this many times larger than they are, and never larger than the window.
    """
    return BEFORE_AFTER.format(
        before=data_uri(before),
        after=data_uri(after),
        before_label=html.escape(before_label, quote=True),
        after_label=html.escape(after_label, quote=True),
        width=round(zoom * after.width),
        per_height=MAX_HEIGHT * after.width / after.height,
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


def color_error_map(truth: np.ndarray | Image.Image, colored: np.ndarray | Image.Image) -> np.ndarray:
    """Return the mean of |Δa| and |Δb| at every pixel, (H, W), in Lab units.

    Args:
        truth, colored: RGB, of the same size.
    """
    lab_true, lab = (rgb_to_lab(to_tensor(image)) for image in (truth, colored))
    return (lab - lab_true)[1:].abs().mean(dim=0).numpy()
