"""What a picture's file says of itself: its record, IPTC's word, an invisible mark, a signature."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
