"""colorlib: color gray photos, train colorization networks, and learn from its notebooks how both work.

Names are imported on first use, so `import colorlib` takes milliseconds, and fastai, ipywidgets, matplotlib and
scikit-learn are loaded only by the functions that need them. `__init__.pyi` lists the public names.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
