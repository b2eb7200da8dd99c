"""Buttons that carry files between the page and the kernel. Nothing is written to disk.

A message from the page to the kernel may have 10 MiB, unless the server is told otherwise; it drops larger ones without
a word. So `ipywidgets.FileUpload`, which sends a file in one message, loses larger files, and never works again after
it. Here a file travels in pieces, and the page sends nothing of a file that is too large.
"""

import io
import mimetypes
from collections.abc import Callable
from importlib.util import find_spec

import anywidget
import traitlets

from colorlib.decoding import HEIF_SUFFIXES
from colorlib.images import READ_ONLY, SAVE_FORMATS

MAX_UPLOAD = 100 * 2**20  # bytes
DROP_ZONE = "colorlib-drop"  # CSS class of the widgets on which files can be dropped
# Kinds of files to choose from. A phone converts HEIC photos to JPEG for a page that does not ask for them.
HEIF = HEIF_SUFFIXES if find_spec("pillow_heif") else set()
ACCEPT = ",".join(["image/*", *sorted({*SAVE_FORMATS, *READ_ONLY, *HEIF})])


class UploadButton(anywidget.AnyWidget):
    """A button that sends files to the kernel, in pieces.

    Args:
        take: called with a complete file, open for reading; its `name` is its name in the browser, its `number` counts
            the files that were chosen together, from 0.
        tell: called with one sentence if a file can't be uploaded.
        traits: label, limit (of the size of a file, bytes), accept (kinds of files, as in HTML), several (more than one
            file at a time), drop (files can also be dropped on the widgets around the button that have the CSS class
            `DROP_ZONE`, and anywhere on a page of Voila).
    """

    _esm = """
    const PIECE = 4 * 2 ** 20;  // bytes
    export default {
      render({ model, el }) {
        const button = document.createElement("button"), input = document.createElement("input");
        button.className = "jupyter-widgets jupyter-button widget-button t-upload";
        button.style.width = "auto";
        Object.assign(input, { type: "file", hidden: true });
        Object.assign(input, { accept: model.get("accept"), multiple: model.get("several") });
        const update = () => { button.textContent = model.get("label"); };
        const send = async (file, number) => {
          const { name, size } = file, fits = size <= model.get("limit"), upload = Math.random();
          let start = 0;
          do {
            const piece = fits ? [await file.slice(start, start + PIECE).arrayBuffer()] : [];
            model.send({ upload, name, size, start, number }, undefined, piece);
            start += PIECE;
          } while (fits && start < size);
        };
        const sendAll = async (files) => {
          button.textContent = "uploading …";
          try {
            for (const [number, file] of [...files].entries()) await send(file, number);
          } catch (error) {  // a folder, a file that was moved or changed, or the kernel is gone
            console.error(error);
            button.textContent = "the upload failed, try again";
          }
        };
        button.onclick = () => input.click();
        input.onchange = async () => {
          if (input.files.length) await sendAll(input.files);
          input.value = "";  // the same file can be chosen again
        };
        const zone = () => document.body.dataset.voila ? document.body : el.closest(".colorlib-drop");
        const over = (event) => {
          const inside = zone()?.contains(event.target) && event.dataTransfer?.types.includes("Files");
          zone()?.classList.toggle("colorlib-over", inside && event.type === "dragover");
          if (!inside) return;
          event.preventDefault();  // or the browser would leave the page and show the file
          event.stopPropagation();
          const files = event.dataTransfer.files;
          if (event.type === "drop" && files.length) sendAll(model.get("several") ? files : [files[0]]);
        };
        const leave = (event) => { if (!event.relatedTarget) zone()?.classList.remove("colorlib-over"); };
        if (model.get("drop")) {
          document.addEventListener("dragover", over, true);
          document.addEventListener("drop", over, true);
          document.addEventListener("dragleave", leave, true);
        }
        model.on("change:label", update);
        model.on("msg:custom", update);
        update();
        el.append(button, input);
        return () => {
          model.off("change:label", update);
          model.off("msg:custom", update);
          document.removeEventListener("dragover", over, true);
          document.removeEventListener("drop", over, true);
          document.removeEventListener("dragleave", leave, true);
        };
      },
    };
    """
    _css = ".colorlib-over { outline: 3px dashed #0072B2; outline-offset: -3px; }"
    label = traitlets.Unicode("Upload a photo").tag(sync=True)
    limit = traitlets.Int(MAX_UPLOAD).tag(sync=True)
    accept = traitlets.Unicode(ACCEPT).tag(sync=True)
    several = traitlets.Bool(False).tag(sync=True)
    drop = traitlets.Bool(False).tag(sync=True)

    def __init__(self, take: Callable[[io.BytesIO], None], tell: Callable[[str], None], **traits):
        super().__init__(**traits)
        self.take, self.tell = take, tell
        self.current, self.file = None, None  # the upload in progress, and what has arrived of it
        self.on_msg(self.receive)

    def __repr__(self) -> str:
        return f"UploadButton({self.label!r})"

    def receive(self, widget, content: dict, buffers: list) -> None:
        """Add a piece to the file, and hand the file over when it is complete; called for each message of the page."""
        name, size, start = content["name"], content["size"], content["start"]
        if start == 0:
            self.current, self.file = content["upload"], io.BytesIO()
        if content["upload"] != self.current:  # given up: it was incomplete, or another one has begun
            return
        problem = ""
        if size > self.limit:
            problem = f"is larger than {self.limit // 2**20} MB"
        elif start != self.file.tell():
            problem = "arrived incomplete, because the connection was interrupted: upload it again"
        else:
            self.file.writelines(buffers)
            if self.file.tell() < size:
                return
        file, self.current, self.file = self.file, None, None  # free the memory
        self.send({})  # the page shows the label again
        if problem:
            self.tell(f"{name} {problem}.")
        else:
            file.name, file.number = name, content.get("number", 0)
            file.seek(0)
            self.take(file)


class DownloadButton(anywidget.AnyWidget):
    """A button that makes a file when it is pressed and sends it to the browser.

    Args:
        make: () -> name and bytes of the file, or None if there is no file to send.
        traits: label, ready (False disables the button).
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
        self.on_msg(self.send_file)

    def __repr__(self) -> str:
        return f"DownloadButton({self.label!r})"

    def send_file(self, widget, content: dict, buffers: list) -> None:
        """Make the file and send it to the page; called when the button is pressed."""
        if not self.ready:
            return
        self.busy = True
        try:
            if made := self.make():
                kind = mimetypes.guess_type(made[0])[0] or "application/octet-stream"
                self.send({"name": made[0], "type": kind}, buffers=[made[1]])
        finally:
            self.busy = False
