"""The test harness, and the Jupyter settings of the series."""

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

UPLOAD = """
import ipywidgets

upload = ipywidgets.FileUpload()
upload.add_class("t-upload")
received = ipywidgets.HTML("nothing yet")

def show(change):
    received.value = f"received {len(upload.value[0]['content'])} bytes"

upload.observe(show, "value")
ipywidgets.VBox([upload, received])
"""


def test_a_slider_moves_what_it_controls(lab):
    page = lab.run_notebook(cells=[SLIDER, "ipywidgets.VBox([slider, shown])"])
    lab.wait_for_output(page, "the square of 20 is 400")
    lab.press(page, ".t-slider", "ArrowRight", times=2)
    lab.wait_for_output(page, "the square of 22 is 484")


def test_an_error_in_a_cell_fails_the_test(lab):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        lab.run_notebook(cells=["1 / 0"])


def test_a_large_photo_can_be_uploaded(lab, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(bytes(12_000_000))  # more than Jupyter's default limit, less than ours
    page = lab.run_notebook(cells=[UPLOAD])
    lab.upload(page, ".t-upload", photo)
    lab.wait_for_output(page, "received 12000000 bytes")
