"""Rivals on the same base model, one file each, reimplemented from their papers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
