"""How the weights of convolutions lie in memory: a CPU is faster where their channels come last."""

from collections.abc import Iterable

import torch
from torch import nn

_PLAIN = (torch.Tensor, nn.Parameter)


def put_channels_last(modules: Iterable[nn.Module], device: torch.device) -> list[nn.Conv2d]:
    """Lay the weights of convolutions out for a CPU, and return those whose layout changed; on
    another device, and where they are kept in another form, none.

    Their numbers stay, and so do the parameters. What is computed with them may differ in the last
    bits.
    """
    changed = []
    if device.type == "cpu":
        for module in modules:
            for layer in module.modules():
                if isinstance(layer, nn.Conv2d) and _can_change(layer.weight):
                    _lay_out(layer, torch.channels_last)
                    changed.append(layer)
    return changed


def put_back(layers: Iterable[nn.Conv2d]) -> None:
    """Lay weights out as they were loaded."""
    for layer in layers:
        _lay_out(layer, torch.contiguous_format)


def is_plain(weight: torch.Tensor) -> bool:
    """Return whether a weight is kept as numbers, and not in a form of its own, as quantised."""
    return type(weight) in _PLAIN and type(weight.data) is torch.Tensor


def _can_change(weight: torch.Tensor) -> bool:
    return is_plain(weight) and weight.device.type == "cpu" and weight.is_contiguous()


def _lay_out(layer: nn.Conv2d, layout: torch.memory_format) -> None:
    with torch.inference_mode(False), torch.no_grad():
        layer.weight.data = layer.weight.data.contiguous(memory_format=layout)
