"""A strip of thumbnails to choose a photo from, and the photos behind it, within a limit of memory."""

import io
from dataclasses import dataclass, field

import anywidget
import traitlets
from PIL import Image

from colorlib.images import open_image
from colorlib.lessons.widgets.pictures import data_uri, shrink

THUMBNAIL = 96  # longer side, pixels
MAX_BYTES = 400 * 2**20  # of uploaded files that are kept; a file can have 100 MB
MAX_PHOTOS = 40


@dataclass
class Entry:
    """A photo in the strip: its name, its file or image, and the strokes that were drawn on it.

    A file is kept as it was uploaded, since the decoded photo takes ten times as much memory.
    """

    name: str
    source: bytes | Image.Image
    strokes: list[dict] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes that can be freed by forgetting this photo: those of its file."""
        return len(self.source) if isinstance(self.source, bytes) else 0

    def open(self) -> Image.Image:
        """Return the photo, decoded.

        Raises:
            ImageReadError: the file can't be read.
        """
        if isinstance(self.source, Image.Image):
            return self.source
        file = io.BytesIO(self.source)
        file.name = self.name
        return open_image(file)


class ThumbnailStrip(anywidget.AnyWidget):
    """Thumbnails in a row; one of them is chosen. Each is a button, so that the keyboard works."""

    _esm = """
    export default {
      render({ model, el }) {
        const strip = document.createElement("div");
        strip.setAttribute("role", "group");
        strip.setAttribute("aria-label", "photos");
        strip.className = "colorlib-strip";
        const mark = () => [...strip.children].forEach((one, i) => {
          const chosen = i === model.get("value");
          one.setAttribute("aria-pressed", chosen);
          if (chosen) one.scrollIntoView?.({ block: "nearest", inline: "nearest" });
        });
        const fill = () => {
          const focused = [...strip.children].indexOf(document.activeElement);
          strip.replaceChildren(...model.get("items").map(({ name, src }, i) => {
            const button = document.createElement("button"), image = new Image();
            button.type = "button";
            button.title = name;
            image.src = src;
            image.alt = name;
            button.append(image);
            button.onclick = () => { model.set("value", i); model.save_changes(); };
            return button;
          }));
          strip.hidden = strip.children.length < 2;
          strip.children[focused]?.focus();
          mark();
        };
        model.on("change:items", fill);
        model.on("change:value", mark);
        el.append(strip);
        fill();
        return () => { model.off("change:items", fill); model.off("change:value", mark); };
      },
    };
    """
    _css = """
    .colorlib-strip { display: flex; gap: 6px; overflow-x: auto; padding: 4px; }
    .colorlib-strip[hidden] { display: none; }
    .colorlib-strip button { flex: none; padding: 2px; border: 2px solid transparent; background: none; cursor: pointer;
      line-height: 0; border-radius: 4px; }
    .colorlib-strip button[aria-pressed=true] { border-color: #0072B2; }
    .colorlib-strip img { height: 56px; max-width: 112px; object-fit: cover; border-radius: 2px; }
    """
    items = traitlets.List().tag(sync=True)  # dicts: name, and src of the image
    value = traitlets.Int(-1).tag(sync=True)  # number of the chosen one, −1 if there is none

    def __repr__(self) -> str:
        return f"ThumbnailStrip({len(self.items)} photos)"


def thumbnail(name: str, image: Image.Image) -> dict:
    """Return an item of the strip."""
    return {"name": name, "src": data_uri(shrink(image, THUMBNAIL))}


def forget_oldest(entries: list[Entry], keep: int) -> list[int]:
    """Return the numbers of the uploads to forget, the oldest first, so that the rest is within the limits.

    Args:
        entries: all photos; those without a file are never forgotten.
        keep: number of a photo that stays, whatever its size.
    """
    forgotten, size, count = [], sum(entry.size for entry in entries), len(entries)
    for number, entry in enumerate(entries):
        if size <= MAX_BYTES and count <= MAX_PHOTOS:
            break
        if entry.size and number != keep:
            forgotten.append(number)
            size, count = size - entry.size, count - 1
    return forgotten
