"""Widgets, one module per chapter. Each wraps a plain figure function, so that it can be tested without a browser."""

import base64
import io

from colorlib.extras import MissingExtra

try:
    import anywidget  # noqa: F401
    import ipywidgets as widgets
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise MissingExtra(error.name, "notebooks") from error


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


class WithPicture:
    """A panel that also shows as a PNG, its `picture`, where no kernel runs, such as on a code host."""

    def _repr_mimebundle_(self, **kwargs) -> dict:
        png = base64.b64encode(bytes(self.picture.value)).decode()
        return super()._repr_mimebundle_(**kwargs) | {"image/png": png}


class FigurePanel(WithPicture, widgets.VBox):
    """Controls above a figure, which is redrawn whenever the value of a control changes.

    Args:
        draw: a plain function from the values of the controls, by name, to a `Figure`.
        controls: ipywidgets controls by argument name.
    """

    def __init__(self, draw, **controls: widgets.Widget):
        self.draw, self.controls = draw, controls
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        super().__init__([*controls.values(), self.picture])
        self.picture.add_class("t-picture")  # CSS classes for browser tests and style sheets
        for name, control in controls.items():
            control.add_class(f"t-{name}")
            control.observe(self.redraw, names="value")
        self.redraw()

    def redraw(self, change=None) -> None:
        """Draw the figure for the current values of the controls."""
        values = {name: control.value for name, control in self.controls.items()}
        self.picture.value = to_png(self.draw(**values))
