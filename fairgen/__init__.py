"""Text-to-image diffusion in the distribution that you prescribe.

The names below are public, and so is what their docstrings say; all else may change without a word.
They are imported when they are first used, so that `import fairgen` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairgen.adapters import Adapter, load_adapter, save_adapter
    from fairgen.attributes import Attribute, Category
    from fairgen.backbones import Backbone, load_backbone, register_backbone
    from fairgen.discovery import Discovery, DiscoveryConfig
    from fairgen.indicator import TargetDistribution
    from fairgen.pipeline import FairGenPipeline

__version__ = "0.1.0"
__all__ = [
    "Adapter",
    "Attribute",
    "Backbone",
    "Category",
    "Discovery",
    "DiscoveryConfig",
    "FairGenPipeline",
    "TargetDistribution",
    "__version__",
    "load_adapter",
    "load_backbone",
    "register_backbone",
    "save_adapter",
]
_OWNERS = {
    "Adapter": "adapters",
    "Attribute": "attributes",
    "Backbone": "backbones",
    "Category": "attributes",
    "Discovery": "discovery",
    "DiscoveryConfig": "discovery",
    "FairGenPipeline": "pipeline",
    "TargetDistribution": "indicator",
    "load_adapter": "adapters",
    "load_backbone": "backbones",
    "register_backbone": "backbones",
    "save_adapter": "adapters",
}


def __getattr__(name: str) -> object:
    if name not in _OWNERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OWNERS[name]}"), name)
