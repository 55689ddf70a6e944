"""A cluster for a run, jobs on one, steps that are not done twice, progress."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
