from .attention_signatures import know_signatures
from .backbone import Backbone
from .channels_last import put_back, put_channels_last
from .codec import Codec
from .families import load_backbone, register_backbone
from .packed_weights import pack_weights
from .pass_seconds import seconds_of_pass
from .precision import compute_in_bfloat16_where_faster, has_bfloat16_units, round_to_bfloat16
from .prompt_cache import PromptCache
from .prompt_reader import PromptReader

__all__ = [
    "Backbone",
    "Codec",
    "PromptCache",
    "PromptReader",
    "compute_in_bfloat16_where_faster",
    "has_bfloat16_units",
    "know_signatures",
    "load_backbone",
    "pack_weights",
    "put_back",
    "put_channels_last",
    "register_backbone",
    "round_to_bfloat16",
    "seconds_of_pass",
]
