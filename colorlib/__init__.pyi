# ruff: noqa: I001
# The public names and the modules. lazy_loader, editors and type checkers read this file.
from . import (
    albums, anatomy, batches, brush, checkpoints, classical, color, colorizer, comparison, config, data, decoding,
    downloads, extras, files, images, lessons, loop, losses, metrics, patchgan, perceptual, pretraining, resnet, scenes,
    show, srgb, strokes, tensors, training, unet, zoo,
)  # fmt: skip
from .brush import TouchUp, touch_up
from .color import join_lab, lab_to_rgb, rgb_to_lab, split_lab, to_tensor
from .colorizer import Colorizer
from .comparison import ladder
from .data import make_loaders
from .extras import MissingExtra
from .images import ImageReadError, read_image, save_image
from .metrics import evaluate, gray, predict
from .patchgan import FeatureDiscriminator, PatchDiscriminator
from .resnet import resnet_unet
from .scenes import paint_scenes
from .strokes import Stroke, read_strokes, save_strokes
from .tensors import WeightsInfo
from .training import fit_gan, fit_reconstruction
from .unet import UNet
from .zoo import load_generator, save_generator

__version__: str
__all__ = [
    "Colorizer", "FeatureDiscriminator", "ImageReadError", "MissingExtra", "PatchDiscriminator", "Stroke", "TouchUp",
    "UNet", "WeightsInfo", "albums", "anatomy", "batches", "brush", "checkpoints", "classical", "color", "colorizer",
    "comparison", "config", "data", "decoding", "downloads", "evaluate", "extras", "files", "fit_gan",
    "fit_reconstruction", "gray", "images", "join_lab", "lab_to_rgb", "ladder", "lessons", "load_generator", "loop",
    "losses", "make_loaders", "metrics", "paint_scenes", "patchgan", "perceptual", "predict", "pretraining",
    "read_image", "read_strokes", "resnet", "resnet_unet", "rgb_to_lab", "save_generator", "save_image", "save_strokes",
    "scenes", "show", "split_lab", "srgb", "strokes", "tensors", "to_tensor", "touch_up", "training", "unet", "zoo",
]  # fmt: skip
