"""One YAML file, the recipe, drives every stage.

`Recipe` and its parts load torch, so they are imported at first use: naming a recipe stays light.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
