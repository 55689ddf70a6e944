"""Adapters on a denoiser: stacked, and gated row by row where the prompt is read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
