"""Discovery: adapters are learnt from what the frozen model knows, on its own paths."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
