"""Denoising steps as coefficients, with a time step per row; what of a scheduler they follow."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
