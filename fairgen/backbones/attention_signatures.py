"""diffusers asks at every call of an attention which arguments its processor takes, in Python's
slowest way: a fortieth of a small model's pass. Here it is answered once.
"""

import inspect

from diffusers.models.attention_processor import Attention
from torch import nn


def know_signatures(denoiser: nn.Module) -> None:
    """Keep the signatures of the processors that a denoiser's attentions have, where
    `inspect.signature` looks first. What they say stays the same.
    """
    for layer in denoiser.modules():
        if isinstance(layer, Attention):
            call = type(layer.processor).__call__
            if inspect.isfunction(call) and not hasattr(call, "__signature__"):
                vars(call)["__signature__"] = inspect.signature(call)
