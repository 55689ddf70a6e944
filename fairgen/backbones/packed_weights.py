"""Weights in bfloat16, packed once for a CPU's kernels: torch packs them anew at every call, which
takes much of a small model's pass.
"""

import platform
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from fairgen.backbones.channels_last import is_plain
from fairgen.backbones.precision import has_bfloat16_units

_MACHINES = ("x86_64", "AMD64")
_MOST_BYTES = 64 * 2**20
_MOST_FORMATS, _MOST_SHAPES = 2, 256
_OPERATIONS = torch.ops.mkldnn  # those that torch's own compiler packs weights with
_NO_FUSED_ACTIVATION: tuple[object, ...] = ("none", [], "")


def pack_weights(modules: Iterable[nn.Module], device: torch.device) -> int:
    """Let the convolutions and linear layers in bfloat16 of models on a CPU compute with packed
    weights, and return how many do: none of models of more than 64 MiB, since weights are held
    twice then, and none without units for bfloat16. (In float32 torch's own are as fast.)

    Their numbers are those of the layers within rounding. Where gradients are recorded, and for an
    input of another precision, a layer computes as before. Weights must not change afterwards: it
    is for models that are loaded to paint. A layer that something else has hooked is left alone.
    """
    models = tuple(modules)
    if not has_bfloat16_units(device) or platform.machine() not in _MACHINES:
        return 0
    if sum(p.numel() * p.element_size() for m in models for p in m.parameters()) > _MOST_BYTES:
        return 0
    layers = [layer for model in models for layer in model.modules() if _can_be_packed(layer)]
    for layer in layers:
        vars(layer)["forward"] = _Packed(layer)
    return len(layers)


def _can_be_packed(layer: nn.Module) -> TypeGuard[nn.Conv2d | nn.Linear]:
    if "forward" in vars(layer) or not isinstance(layer, nn.Conv2d | nn.Linear):
        return False
    if type(layer) not in (nn.Conv2d, nn.Linear):  # of a subclass nobody knows what it does
        return False
    if isinstance(layer, nn.Conv2d) and (
        isinstance(layer.padding, str) or layer.padding_mode != "zeros"
    ):
        return False
    return is_plain(layer.weight) and layer.weight.dtype is torch.bfloat16


class _Packed:
    """A layer's forward with its weight as the kernel for an input's shape wants it. Shapes mostly
    want the same format; where more than two are wanted, the others are computed as before.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        self._layer, self._plain = layer, layer.forward
        self._by_shape: dict[torch.Size, Tensor | None] = {}
        self._by_format: dict[bytes, Tensor] = {}
        self._convolution: tuple[Any, ...] = ()
        if isinstance(layer, nn.Conv2d):
            spread = list(layer.padding), list(layer.stride), list(layer.dilation)
            self._convolution = (*spread, layer.groups)
        self._compute: Callable[..., Tensor] = (
            _OPERATIONS._convolution_pointwise.default
            if self._convolution
            else _OPERATIONS._linear_pointwise.default
        )
        self._rest = layer.bias, *self._convolution, *_NO_FUSED_ACTIVATION

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype is not torch.bfloat16 or torch.is_grad_enabled():
            return self._plain(x)
        if x.shape not in self._by_shape:
            self._prepare(x.shape)
        weight = self._by_shape[x.shape]
        return self._plain(x) if weight is None else self._compute(x, weight, *self._rest)

    def _prepare(self, shape: torch.Size) -> None:
        if len(self._by_shape) >= _MOST_SHAPES:
            del self._by_shape[next(iter(self._by_shape))]
        given = self._layer.weight.detach()
        if self._convolution:
            weight = _OPERATIONS._reorder_convolution_weight(given, *self._convolution, list(shape))
        else:
            weight = _OPERATIONS._reorder_linear_weight(given, shape[:-1].numel())
        form = bytes(_OPERATIONS._get_mkldnn_serialized_md(weight).tolist())
        if form not in self._by_format and len(self._by_format) < _MOST_FORMATS:
            self._by_format[form] = weight
        self._by_shape[shape] = self._by_format.get(form)
