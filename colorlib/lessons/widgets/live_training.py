"""A panel whose training runs in a thread, so that the page stays alive: for live races, live games, the workbench."""

import html
import threading

import ipywidgets as widgets

from colorlib.batches import Batches
from colorlib.lessons.widgets import StillPicture
from colorlib.scenes import Scenes


def first_scenes(loader: Batches, n: int) -> Batches:
    """Return the first `n` scenes of a fixed loader as one batch, with their masks: few take a moment to measure."""
    masks = {name: mask[:n] for name, mask in vars(loader.masks).items()}
    return Batches(loader.rgb[:n], loader.size, n, masks=Scenes(**masks), device=str(loader.device))


class LivePanel(StillPicture, widgets.VBox):
    """Controls, a progress bar, a status line and a picture for something long that can be stopped.

    A subclass arranges the parts, and defines `work(**settings)`. It gets the values of the controls, calls
    `show_progress` before each step, ends early when that returns True, and returns a sentence for the status.

    Args:
        controls: by the name of the argument of `work`.
        what: of the work, for sentences such as "The race failed: …".
    """

    def __init__(self, controls: dict[str, widgets.Widget], what: str):
        self.controls, self.what = controls, what
        self.thread, self.stopping = None, threading.Event()
        self.progress = widgets.FloatProgress(0.0, min=0.0, max=1.0)
        self.status = widgets.HTML(f"No {what} yet.")
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        super().__init__()

    def add_classes(self, **parts: widgets.Widget) -> None:
        """Give the controls and parts CSS classes, "t-" and their name, for browser tests and style sheets."""
        for name, widget in (self.controls | parts).items():
            widget.add_class(f"t-{name}")

    @property
    def busy(self) -> bool:
        """Whether the thread is at work."""
        return self.thread is not None and self.thread.is_alive()

    def begin(self, button=None) -> None:
        """Start the work with the chosen settings, unless it is running; called when a button is pressed."""
        if self.busy:
            return
        self.stopping.clear()
        self.progress.value = 0.0
        self.set_busy(True)
        self.tell(f"The {self.what} is running.")
        settings = {name: control.value for name, control in self.controls.items()}
        self.thread = threading.Thread(target=self._run, kwargs=settings, daemon=True)
        self.thread.start()

    def ask_to_stop(self, button=None) -> None:
        """Let the work end at its next measurement."""
        self.stopping.set()
        self.tell(f"The {self.what} ends at its next measurement.")

    def show_progress(self, share: float) -> bool:
        """Move the progress bar; return whether the work is to end."""
        self.progress.value = share
        return self.stopping.is_set()

    def tell(self, sentence: str) -> None:
        """Show a sentence as the status."""
        self.status.value = html.escape(sentence)

    def work(self, **settings) -> str:
        """Do the work, in a thread; return a sentence for the status. An exception becomes one, too."""
        raise NotImplementedError

    def set_busy(self, busy: bool) -> None:
        """Enable and disable the buttons when the work begins and ends."""
        raise NotImplementedError

    def _run(self, **settings) -> None:
        try:
            self.tell(self.work(**settings))
        except Exception as error:
            self.tell(f"The {self.what} failed: {' '.join(str(error).split()) or type(error).__name__}")
        finally:
            self.progress.value = 1.0
            self.set_busy(False)
