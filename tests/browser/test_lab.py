"""The test harness, with the Jupyter settings of the series."""

import pytest

SLIDER = """
import ipywidgets

slider = ipywidgets.IntSlider(value=20, description="n")
slider.add_class("t-slider")
shown = ipywidgets.HTML()

def show(change=None):
    shown.value = f"the square of {slider.value} is {slider.value**2}"

slider.observe(show, "value")
show()
"""


def test_a_slider_moves_what_it_controls(lab):
    page = lab.run_notebook(cells=[SLIDER, "ipywidgets.VBox([slider, shown])"])
    lab.wait_for_output(page, "the square of 20 is 400")
    lab.press(page, ".t-slider", "ArrowRight", times=2)
    lab.wait_for_output(page, "the square of 22 is 484")


def test_an_error_in_a_cell_fails_the_test(lab):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        lab.run_notebook(cells=["1 / 0"])
