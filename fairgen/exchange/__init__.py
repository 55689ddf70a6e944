"""Adapters in the forms of other tools, and LoRAs of other tools as adapters."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
