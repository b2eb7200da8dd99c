"""colorlib: learn image colorization with its notebooks, color photos with its functions.

Names are loaded when first used, so that `import colorlib` stays light: no fastai, ipywidgets, matplotlib or
scikit-learn comes with it.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {  # public name -> the module it lives in
    "read_image": "images",
    "save_image": "images",
    "ImageReadError": "images",
    "rgb_to_lab": "color",
    "lab_to_rgb": "color",
    "split_lab": "color",
    "join_lab": "color",
    "paint_scenes": "scenes",
    "make_loaders": "data",
    "UNet": "unet",
    "PatchDiscriminator": "patchgan",
    "FeatureDiscriminator": "patchgan",
    "resnet_unet": "resnet",
    "fit_reconstruction": "training",
    "fit_gan": "training",
    "evaluate": "metrics",
    "save_generator": "zoo",
    "load_generator": "zoo",
    "Colorizer": "colorizer",
}
_MODULES = {
    "albums", "batches", "color", "colorizer", "config", "data", "downloads", "files", "images", "lessons", "loop",
    "losses", "metrics", "patchgan", "pretraining", "resnet", "scenes", "show", "training", "unet", "zoo",
}  # fmt: skip
__all__ = sorted(_HOME)


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
