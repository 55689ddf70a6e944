"""The embedded base model: a drawn world of planted bias, and small networks trained on it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
