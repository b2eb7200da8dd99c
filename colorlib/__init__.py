"""colorlib: learn image colorization with its notebooks, color photos with its functions.

Names are imported when they are first used, so `import colorlib` takes milliseconds, and fastai, ipywidgets,
matplotlib and scikit-learn are imported only by what needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"
__all__ = [
    "Colorizer", "ImageReadError", "MissingExtra", "PatchDiscriminator", "UNet", "WeightsInfo", "evaluate", "fit_gan",
    "fit_reconstruction", "gray", "join_lab", "lab_to_rgb", "load_generator", "make_loaders", "paint_scenes", "predict",
    "read_image", "resnet_unet", "rgb_to_lab", "save_generator", "save_image", "split_lab", "to_tensor",
]  # fmt: skip

# For editors and type checkers; tests/test_package.py compares these imports with the tables below.
# isort: off
if TYPE_CHECKING:
    from . import albums, batches, color, colorizer, config, data, downloads, extras, files, images  # noqa: F401
    from . import lessons, loop, losses, metrics, patchgan, pretraining, resnet, scenes, show, tensors  # noqa: F401
    from . import training, unet, zoo  # noqa: F401
    from .color import join_lab, lab_to_rgb, rgb_to_lab, split_lab, to_tensor
    from .colorizer import Colorizer
    from .data import make_loaders
    from .extras import MissingExtra
    from .images import ImageReadError, read_image, save_image
    from .metrics import evaluate, gray, predict
    from .patchgan import PatchDiscriminator
    from .resnet import resnet_unet
    from .scenes import paint_scenes
    from .training import fit_gan, fit_reconstruction
    from .unet import UNet
    from .zoo import WeightsInfo, load_generator, save_generator
# isort: on

_NAMES = {  # module -> its public names
    "color": ["join_lab", "lab_to_rgb", "rgb_to_lab", "split_lab", "to_tensor"],
    "colorizer": ["Colorizer"],
    "data": ["make_loaders"],
    "extras": ["MissingExtra"],
    "images": ["ImageReadError", "read_image", "save_image"],
    "metrics": ["evaluate", "gray", "predict"],
    "patchgan": ["PatchDiscriminator"],
    "resnet": ["resnet_unet"],
    "scenes": ["paint_scenes"],
    "training": ["fit_gan", "fit_reconstruction"],
    "unet": ["UNet"],
    "zoo": ["WeightsInfo", "load_generator", "save_generator"],
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
_MODULES = {
    *_NAMES, "albums", "batches", "config", "downloads", "files", "lessons", "loop", "losses", "pretraining", "show",
    "tensors",
}  # fmt: skip


if not TYPE_CHECKING:  # a checker that sees this function accepts every name

    def __getattr__(name: str):
        if name in _HOME:
            value = getattr(import_module(f"colorlib.{_HOME[name]}"), name)
            globals()[name] = value  # the next look-up finds it at once
            return value
        if name in _MODULES:
            return import_module(f"colorlib.{name}")
        raise AttributeError(f"module 'colorlib' has no attribute {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
