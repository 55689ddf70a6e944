from .backbone import Backbone
from .channels_last import put_back, put_channels_last
from .codec import Codec
from .families import load_backbone, register_backbone
from .precision import (
    RoundedWeights,
    has_bfloat16_units,
    paint_in_bfloat16_where_faster,
    rounded_where_faster,
)
from .prompt_cache import PromptCache
from .prompt_reader import PromptReader

__all__ = [
    "Backbone",
    "Codec",
    "PromptCache",
    "PromptReader",
    "RoundedWeights",
    "has_bfloat16_units",
    "load_backbone",
    "paint_in_bfloat16_where_faster",
    "put_back",
    "put_channels_last",
    "register_backbone",
    "rounded_where_faster",
]
