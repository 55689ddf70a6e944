from .backbone import Backbone
from .codec import Codec
from .families import load_backbone, register_backbone
from .prompt_cache import PromptCache
from .prompt_reader import PromptReader

__all__ = [
    "Backbone",
    "Codec",
    "PromptCache",
    "PromptReader",
    "load_backbone",
    "register_backbone",
]
