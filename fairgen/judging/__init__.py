"""Judges say who is in a picture; scores, metrics and prompt sets say what follows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
