"""Which layer of a denoiser each pair of a LoRA file is for, whoever has named it."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairgen.backbones import Backbone
from fairgen.exchange.fused_names import Pair, split_fused
from fairgen.exchange.lora_file import LoraLayer, shown, split_pairs

_PREFIX = re.compile(
    r"(?:base_model\.model\.)?(?:unet\.|transformer\.|diffusion_model\.|model\.diffusion_model\.)?"
)
_KOHYA = re.compile(r"(?:lora_(?:unet|transformer)|lycoris)_")
_OLD_PROCESSOR = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora$")
_NOT_CONVERTED = (  # what the libraries raise for keys that they can make nothing of
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
    ImportError,
    re.error,
)


def pairs_by_module(
    path: Path, layers: Mapping[str, LoraLayer], backbone: Backbone
) -> dict[str, Pair]:
    """Return module's name -> A and B of a LoRA's layers, none left out, all on the family's
    projections.

    Names of diffusers, with any tool's prefix or with underscores, are looked up; what is left is
    given to diffusers' own converters for the family, and what comes back must be all that was
    given, layer by layer. Raises ValueError that names layers which the denoiser does not have, or
    that are elsewhere.
    """
    names = _ModuleNames(backbone)
    found: dict[str, Pair] = {}
    sources: dict[str, str] = {}
    left = {}
    for name, layer in layers.items():
        if (module := names.module_of(name)) is not None:
            _add(path, found, sources, module, layer.down_key, (layer.down, layer.up))
        elif (parts := split_fused(name, layer.down, layer.up)) and names.has_all(parts):
            for module, pair in parts.items():
                if len(parts) == 1 or pair[1].any():
                    _add(path, found, sources, module, layer.down_key, pair)
        else:
            left[name] = layer
    if left:
        for layer, module, pair in _converted(path, left, names, backbone):
            _add(path, found, sources, module, layer.down_key, pair)
    if not found:
        raise ValueError(f"{path}: got zeros only, allowed is a LoRA that was trained")
    allowed = backbone.projections("qkvo")
    if odd := sorted(set(found) - set(allowed)):
        raise ValueError(
            f"{path}: got directions on {odd[:3]}, {shown([sources[module] for module in odd])}; "
            f"allowed are those of the prompt's attention, such as {allowed[:3]}"
        )
    for module, (down, up) in found.items():
        wanted = names.shape_of(module)
        if wanted and wanted != (down.shape[1], up.shape[0]):
            raise ValueError(
                f"{path}: got {down.shape[1]} inputs and {up.shape[0]} outputs at "
                f"{sources[module]!r}, the base has {wanted[0]} and {wanted[1]}"
            )
    return found


class _ModuleNames:
    """The names of a denoiser's layers, as files spell them."""

    def __init__(self, backbone: Backbone) -> None:
        self._modules = {name: module for name, module in backbone.denoiser.named_modules() if name}
        spelt: dict[str, list[str]] = defaultdict(list)
        for name in self._modules:
            spelt[name.replace(".", "_")].append(name)
        self._underscored = {key: names[0] for key, names in spelt.items() if len(names) == 1}

    def module_of(self, layer: str) -> str | None:
        """Return the module that a file's layer is, None for a name that is none of them."""
        if match := _KOHYA.match(layer):
            return self._underscored.get(layer[match.end() :])
        plain = _OLD_PROCESSOR.sub(
            lambda match: f".{match[1]}" + (".0" if match[1] == "to_out" else ""), layer
        )
        prefix = _PREFIX.match(plain)
        rest = plain[prefix.end() :] if prefix else plain
        return next((name for name in (plain, rest) if name in self._modules), None)

    def has_all(self, modules: Iterable[str]) -> bool:
        return all(module in self._modules for module in modules)

    def shape_of(self, module: str) -> tuple[int, int] | None:
        """Return a linear layer's inputs and outputs, None for another layer."""
        layer = self._modules[module]
        sizes = getattr(layer, "in_features", None), getattr(layer, "out_features", None)
        return sizes if all(isinstance(size, int) for size in sizes) else None  # type: ignore[return-value]


def _add(
    path: Path,
    found: dict[str, Pair],
    sources: dict[str, str],
    module: str,
    key: str,
    pair: Pair,
) -> None:
    if module in found:
        raise ValueError(
            f"{path}: got {sources[module]!r} and {key!r}, which are both {module}; allowed is one "
            "spelling of a layer"
        )
    found[module], sources[module] = pair, key


def _converted(
    path: Path, left: Mapping[str, LoraLayer], names: _ModuleNames, backbone: Backbone
) -> list[tuple[LoraLayer, str, Pair]]:
    """Return layer, module, A and B of what diffusers converts; a fused layer is several modules.

    The same keys are converted a second time with the layer's number for B: it says which layer
    each module's directions come from.
    """
    layers = list(left.values())
    converted = _by_diffusers(path, layers, [pair.up for pair in layers], backbone)
    numbered = [torch.full_like(pair.up, n) for n, pair in enumerate(layers)]
    numbers = _by_diffusers(path, layers, numbered, backbone)
    found, power = [], [0.0] * len(layers)
    for name, (_, number) in numbers.items():
        index, pair, module = int(number.flatten()[0]), converted.get(name), names.module_of(name)
        if module is None or pair is None or bool((number != index).any()):
            continue  # then its layer's power is missing below
        found.append((layers[index], module, pair))
        power[index] += _power(*pair)
    lost = [
        pair.down_key
        for pair, seen in zip(layers, power, strict=True)
        if not abs(seen - _power(pair.down, pair.up)) <= 1e-3 * _power(pair.down, pair.up)
    ]
    if lost:
        raise ValueError(
            f"{path}: got {shown(lost)}, which the base has no layer for; allowed is a LoRA of it"
        )
    parts = Counter(layer.down_key for layer, _, _ in found)
    return [  # a fused layer's part without effect is one that was not trained
        (layer, module, pair)
        for layer, module, pair in found
        if parts[layer.down_key] == 1 or pair[1].any()
    ]


def _by_diffusers(
    path: Path, layers: list[LoraLayer], ups: list[Tensor], backbone: Backbone
) -> dict[str, Pair]:
    """Return the pairs by name that diffusers makes of a file's; all are of strength 1."""
    pipe: Any = backbone.pipe
    if not hasattr(pipe, "lora_state_dict"):
        return {}
    tensors: dict[str, Tensor] = {}
    for layer, up in zip(layers, ups, strict=True):
        if _KOHYA.match(layer.down_key):  # converters of kohya's form know its ends only
            name = layer.down_key.partition(".")[0]
            tensors |= {
                f"{name}.lora_down.weight": layer.down,
                f"{name}.lora_up.weight": up,
                f"{name}.alpha": torch.tensor(float(layer.rank)),
            }
        else:
            tensors |= {layer.down_key: layer.down, layer.up_key: up}
    of_unet = backbone.denoiser_name == "unet"
    options = {"unet_config": backbone.denoiser.config} if of_unet else {}
    try:
        converted = pipe.lora_state_dict(tensors, **options)
    except _NOT_CONVERTED as error:
        keys = shown([layer.down_key for layer in layers])
        raise ValueError(
            f"{path}: got {keys}, which the base has no layer for; diffusers says: "
            f"{_first_line(error)}"
        ) from error
    return split_pairs(converted[0] if isinstance(converted, tuple) else converted)


def _power(down: Tensor, up: Tensor) -> float:
    """Return the squared Frobenius norm of B A, which is never built."""
    return float(((up.T @ up) * (down @ down.T)).sum(dtype=torch.float64))


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
