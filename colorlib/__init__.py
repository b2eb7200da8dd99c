"""colorlib: learn image colorization with its notebooks, color photos with its functions.

Names are imported when they are first used, so `import colorlib` takes milliseconds, and fastai, ipywidgets,
matplotlib and scikit-learn are imported only by what needs them. The public names are in `__init__.pyi`.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
