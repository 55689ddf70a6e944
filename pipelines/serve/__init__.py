"""The endpoint: an HTTP application, its services, and how Ray Serve deploys them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
