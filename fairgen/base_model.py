"""What a base model is, however it is stored: its fingerprint, and the storage of its weights.

A fingerprint is "<structure>-<weights>-<storage><sample>". The structure is of names and shapes,
the weights' digest of values as they are stored, the same for fp32 and fp16. The sample holds some
values of norms and biases, which quantisation leaves alone: by it a base in bf16, in fp8 or
quantised is known as the base that it was made from. A change of quantised layers alone (a LoRA
that was merged before) is not seen.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fairgen.bank import COMPUTE_DTYPES, FUSED_LAYERS

_DIGESTED_VALUES = 16  # of each parameter
_NUM_SAMPLED = 16  # norms, and as many biases
# what diffusers puts into a denoiser for an IP-Adapter, besides weights in attention processors
_OF_IP_ADAPTERS = ("MultiIPAdapterImageProjection", "IPAdapterTimeImageProjection")
_MOVED_FOR_THEM = "text_encoder_hid_proj"  # a model's own `encoder_hid_proj`, meanwhile
_EXACT, _ROUNDED, _IN_FP8 = "e", "r", "8"
# how far one number may be off, relative to it and in all, once it was rounded
_OFF_IN_BF16 = 2.0**-7, 2.0**-14
_OFF_IN_FP8 = 2.0**-3, 2.0**-9


@dataclass(frozen=True)
class _Stored:
    """A parameter: its name and shape in the model, some values, and how it is stored."""

    name: str
    shape: tuple[int, ...]
    values: Tensor  # none of a quantised one
    kind: str  # "" for a float of 16 bits or more
    dtype: torch.dtype
    is_norm: bool


def fingerprint(denoiser: nn.Module) -> str:
    """Return what a base model is, to be compared by `is_same_base`: equal for the same model
    whether loaded in fp32 or fp16, offloaded, with fused projections, a LoRA or an IP-Adapter on
    it.

    A fine-tuned sibling shares the first part only.
    """
    parameters = sorted(_stored(denoiser), key=lambda p: p.name)
    shapes = json.dumps([(p.name, list(p.shape)) for p in parameters])
    structure = hashlib.sha256(shapes.encode()).hexdigest()[:12]
    digest = hashlib.sha256()
    for p in parameters:
        if not p.kind:
            values = p.values.half().float().numpy()
            digest.update(f"{p.name}{list(values.shape)}".encode() + values.tobytes())
    weights = digest.hexdigest()[:12]
    return f"{structure}-{weights}-{_storage_code(parameters)}{_sample(parameters).hex()}"


def is_same_base(one: str, other: str, siblings: bool = False) -> bool:
    """Return whether two fingerprints are of one base model; with `siblings`, of one structure.

    Between exact ones the weights' digests decide; where one is rounded or quantised, the samples.
    """
    structure, weights, sample = _parts(one)
    structure_2, weights_2, sample_2 = _parts(other)
    if structure != structure_2 or siblings or weights == weights_2:
        return structure == structure_2
    codes = {sample[:1], sample_2[:1]}
    if "" in codes or codes == {_EXACT} or len(sample) != len(sample_2):
        return False
    a, b = (
        np.frombuffer(bytes.fromhex(text[1:]), np.float16).astype(float)
        for text in (sample, sample_2)
    )
    off = np.array([_OFF_IN_BF16] * len(a)).reshape(-1, 2)
    if _IN_FP8 in codes:  # norms are left as they are, biases are not
        off[_NUM_SAMPLED:] = _OFF_IN_FP8
    relative, absolute = off.T
    allowed = relative * np.maximum(np.abs(a), np.abs(b)) + absolute
    return len(a) > 0 and bool((np.abs(a - b) <= allowed).all())


def short(base_fingerprint: str) -> str:
    """Return a fingerprint as people read it: structure and weights."""
    structure, weights, _ = _parts(base_fingerprint)
    return f"{structure}-{weights}" if weights else structure


def storage_of(denoiser: nn.Module) -> str:
    """Return how the weights are stored, such as "float16", "nf4" or "Q4_0, bfloat16"."""
    parameters = list(_stored(denoiser))
    kinds = sorted({p.kind for p in parameters if p.kind})
    plain = {p.dtype for p in parameters if not p.kind}
    return ", ".join([*kinds, *sorted(str(dtype).removeprefix("torch.") for dtype in plain)])


def ip_adapter_parts(denoiser: nn.Module) -> list[str]:
    """Return the paths of what an IP-Adapter has put into a denoiser beside its projections."""
    modules = denoiser.named_modules()
    return [path for path, module in modules if type(module).__name__ in _OF_IP_ADAPTERS]


def check_trains(denoiser: nn.Module) -> None:
    """Raise ValueError where no gradient flows through a denoiser as it is stored."""
    for module in denoiser.modules():
        registry = getattr(module, "_diffusers_hook", None)
        if registry is not None and registry.get_hook("layerwise_casting") is not None:
            raise ValueError(
                "base: got weights that are cast layer by layer, through which no gradient flows; "
                "allowed are plain ones, and those of bitsandbytes, torchao and GGUF"
            )


def _parts(base_fingerprint: str) -> tuple[str, str, str]:
    structure, _, rest = base_fingerprint.partition("-")
    weights, _, sample = rest.partition("-")
    return structure, weights, sample


def _stored(denoiser: nn.Module) -> Iterator[_Stored]:
    """Yield the model's own parameters, offloaded ones as well, one module after the other."""
    seen: set[int] = set()
    of_others = tuple(f"{path}." for path in ip_adapter_parts(denoiser))
    for path, module in denoiser.named_modules():
        own = {name: p for name, p in module.named_parameters(recurse=False) if id(p) not in seen}
        seen |= {id(parameter) for parameter in own.values()}
        parts = path.split(".")
        is_beside = "processor" in parts or f"{path}.".startswith(of_others)
        if not own or is_beside or any(_is_no_own(part) for part in parts):
            continue
        if parts[0] == _MOVED_FOR_THEM:
            parts[0] = "encoder_hid_proj"
        above = "".join(f"{part}." for part in parts if part and part != "base_layer")
        for name, parameter in own.items():
            kind = _kind(parameter)
            is_readable = not kind or "float8" in kind
            yield _Stored(
                name=f"{above}{name}",
                shape=_shape(module, name, parameter),
                values=_first_values(module, name, parameter) if is_readable else torch.empty(0),
                kind=kind,
                dtype=parameter.dtype,
                is_norm=not isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding),
            )


def _is_no_own(part: str) -> bool:
    """Return whether a part of a path is of a LoRA, or of projections that diffusers has fused."""
    return part.startswith("lora_") or part in FUSED_LAYERS


def _first_values(module: nn.Module, name: str, parameter: Tensor) -> Tensor:
    """Return a parameter's first values, also where accelerate keeps it elsewhere meanwhile."""
    if parameter.is_meta:
        hook = getattr(module, "_hf_hook", None)
        kept = [getattr(found, "weights_map", None) for found in getattr(hook, "hooks", (hook,))]
        if not any(kept):
            raise ValueError(f"base: got no values of {name!r} in a {type(module).__name__}")
        parameter = next(weights for weights in kept if weights)[name]
    return parameter.detach().flatten()[:_DIGESTED_VALUES].cpu()


def _shape(module: nn.Module, name: str, parameter: Tensor) -> tuple[int, ...]:
    """Return a parameter's shape in the model: packed weights have another one."""
    if isinstance(module, nn.Linear) and name == "weight":
        return module.out_features, module.in_features
    return tuple(parameter.shape)


def _kind(parameter: Tensor) -> str:
    """Return the format of a weight that is no float of 16 bits or more, by its library's name."""
    quantised = getattr(parameter, "quant_type", None)  # of bitsandbytes' 4 bits, and of GGUF
    if quantised is not None:
        return str(getattr(quantised, "name", quantised))
    data = parameter.data
    if type(data) is not Tensor:
        return type(data).__name__
    return "" if data.dtype in COMPUTE_DTYPES else str(data.dtype).removeprefix("torch.")


def _storage_code(parameters: Sequence[_Stored]) -> str:
    """Return whether values are exact, rounded or partly quantised, or biases are in fp8, too."""
    if any("float8" in p.kind and len(p.shape) == 1 for p in parameters):
        return _IN_FP8
    is_exact = all(not p.kind and p.dtype != torch.bfloat16 for p in parameters)
    return _EXACT if is_exact else _ROUNDED


def _sample(parameters: Sequence[_Stored]) -> bytes:
    """Return a value of some norms, then of some biases, as fp16."""
    vectors = [p for p in parameters if len(p.shape) == 1 and len(p.values)]
    values: list[Tensor] = []
    for is_norm in (True, False):
        of_kind = [p for p in vectors if p.is_norm == is_norm]
        chosen = [of_kind[i * len(of_kind) // _NUM_SAMPLED] for i in range(_NUM_SAMPLED) if of_kind]
        values += [p.values[len(p.values) // 2].float() for p in chosen]
    if not values:
        return b""
    return torch.stack(values).clamp(-6e4, 6e4).half().numpy().tobytes()
