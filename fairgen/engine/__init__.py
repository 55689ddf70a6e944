"""Rows that join and leave between denoising steps: every picture shares each forward pass."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
