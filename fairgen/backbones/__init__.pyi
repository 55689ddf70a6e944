from .backbone import Backbone
from .families import load_backbone, register_backbone
from .prompt_cache import PromptCache

__all__ = [
    "Backbone",
    "PromptCache",
    "load_backbone",
    "register_backbone",
]
