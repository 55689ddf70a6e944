from .adapters import Adapter, load_adapter, save_adapter
from .attributes import Attribute, Category
from .backbones import Backbone, load_backbone, register_backbone
from .discovery import Discovery, DiscoveryConfig
from .indicator import TargetDistribution
from .pipeline import FairGenPipeline

__version__: str
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
