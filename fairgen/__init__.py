"""Text-to-image diffusion in the distribution that you prescribe.

The names below are public, and so is what their docstrings say; all else may change without a word.
They are imported when they are first used, so that `import fairgen` costs nothing.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
