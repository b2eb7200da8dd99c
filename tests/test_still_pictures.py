"""What widgets show where no kernel runs: a picture beside the widget view, and a short text."""

import base64
import io

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from colorlib import Colorizer, UNet, paint_scenes, rgb_to_lab, show
from colorlib.lessons.widgets import FigurePanel, side_by_side, still_bundle
from colorlib.lessons.widgets.before_deep_learning import ReferencePicker, stroke_explorer
from colorlib.lessons.widgets.file_buttons import DownloadButton, UploadButton
from colorlib.lessons.widgets.live_races import RacePanel
from colorlib.lessons.widgets.photo_panel import PhotoPanel, own_photo
from colorlib.lessons.widgets.your_photos import photo_app

VIEW = "application/vnd.jupyter.widget-view+json"
BLUE, RED = (20, 40, 200), (200, 30, 20)


@pytest.fixture(scope="module")
def colorizer():
    torch.manual_seed(0)
    return Colorizer(UNet(base_channels=8, n_down=2), render_size=32, device="cpu")


def output_of(widget):
    """Return what a cell that ends with the widget stores, by MIME type, and the picture in it."""
    data, _ = DisplayFormatter().format(widget)
    pictures = [kind for kind in data if kind.startswith("image/")]
    assert len(pictures) <= 1
    return data, Image.open(io.BytesIO(base64.b64decode(data[pictures[0]]))) if pictures else None


def scene_lab(seed):
    return rgb_to_lab(paint_scenes(1, 48, seed).rgb[0])


def test_a_figure_panel_has_the_figure_that_it_shows_beside_the_live_view():
    def draw(level):
        return show.pictures({"": [np.full((40, 40, 3), level, np.uint8)]})

    panel = FigurePanel(draw, level=widgets.IntSlider(0, 0, 255))
    dark = np.asarray(output_of(panel)[1]).mean()
    panel.controls["level"].value = 200
    data, picture = output_of(panel)
    assert np.asarray(picture).mean() > dark + 50  # the present figure, not the first one
    assert data[VIEW]["model_id"] == panel.model_id
    assert data["text/plain"] == "FigurePanel: run the notebook to use it"


def test_the_other_panels_have_pictures_too():
    panels = [
        RacePanel(loaders=None),
        ReferencePicker(scene_lab(0), {"another scene": scene_lab(1)}),
        stroke_explorer(scene_lab(0), []),
    ]
    for panel in panels:
        data, picture = output_of(panel)
        assert min(picture.size) >= 48
        assert VIEW in data and data["text/plain"] == f"{type(panel).__name__}: run the notebook to use it"


def test_the_photo_panel_is_drawn_with_its_edge_in_the_middle(colorizer):
    panel = PhotoPanel(colorizer, {"red": np.full((60, 80, 3), RED, np.uint8)})
    assert output_of(panel)[1].size == (80, 60)
    panel.shown = Image.new("RGB", (80, 60), BLUE), Image.new("RGB", (80, 60), RED)
    picture = np.asarray(output_of(panel)[1]).astype(int)
    for place, color in ((20, BLUE), (60, RED)):
        assert np.abs(picture[30, place] - color).max() < 10  # it may be a JPEG


def test_a_panel_without_a_photo_has_no_picture(colorizer):
    for panel in (own_photo(colorizer), photo_app(colorizer)):
        data, picture = output_of(panel)
        assert picture is None and VIEW in data


def test_the_text_of_a_button_is_readable_and_the_same_in_every_run():
    upload, download = UploadButton(print, print, label="Upload"), DownloadButton(print)
    assert output_of(upload)[0]["text/plain"] == "UploadButton('Upload')"
    assert output_of(download)[0]["text/plain"] == "DownloadButton('Download')"
    assert repr(stroke_explorer(scene_lab(0), []).canvas) == "StrokeCanvas(0 strokes, 0 boxes)"


def test_pictures_are_kept_small():
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1500, 3), dtype=np.uint8)
    [(kind, large)] = still_bundle(Image.fromarray(noise)).items()
    assert kind == "image/jpeg" and len(large) < 700_000
    assert list(still_bundle(Image.new("RGB", (400, 300)))) == ["image/png"]


def test_images_side_by_side_get_one_height():
    joined = side_by_side(
        [Image.new("RGB", (80, 60), BLUE), Image.new("RGB", (40, 30), RED), Image.new("RGB", (10, 40))]
    )
    assert joined.size == (40 + 40 + 8, 30)
    assert joined.getpixel((10, 10)) == BLUE and joined.getpixel((50, 10)) == RED
