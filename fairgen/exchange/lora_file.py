"""What a LoRA file holds: every key is one half of a pair, its alpha, or the file is refused."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fairgen.adapters import WEIGHTS, AdapterMetadata, read_adapter
from fairgen.exchange.lora_config import LoraScales, scales_beside, scales_of_header
from fairgen.files import QUANTISED_NAMES

_PAIR = re.compile(
    r"(?P<layer>.+?)"
    r"(?P<form>\.lora_(?:A|B|down|up)|\.lora_(?:A|B)\.default|\.lora\.(?:down|up)"
    r"|(?<=_lora)\.(?:down|up)|(?<=_lora[12])\.(?:down|up))\.weight"
)
_DOWN = {"A": "A", "down": "A", "B": "B", "up": "B"}
_OF_TEXT_ENCODERS = re.compile(
    r"text_encoder|lora_te|lora_prior_te|te\d?\.|clip_[lgh]\.|t5xxl\.|text_model|cond_stage_model|"
    r"conditioner\.|.*\.lora_linear_layer\."
)
_VARIANTS = {
    "DoRA": r"dora_scale|magnitude",
    "LoHa": r"\.hada_",
    "LoKr": r"\.lokr_",
    "OFT or BOFT": r"[._]b?oft_|\.rescale$",
    "GLoRA": r"\.[ab][12]\.weight$",
    "a Tucker core": r"lora_mid",
    "IA3": r"\.on_input$|ia3_",
    "VeRA": r"vera_",
    "AdaLoRA": r"\.lora_E|ranknum",
    "a trained norm": r"\.[wb]_norm$|norm[^.]*\.(?:scale|weight|bias|diff|diff_b)$",
    "a trained bias": r"\.diff_b$|\.bias$|lora_bias",
    "full weights": r"\.diff$|\.set_weight$|\.reshape_weight$",
    "embeddings": r"emb_params|string_to_param|lora_embedding_",
    "quantised weights": QUANTISED_NAMES,
}
_UNREADABLE = (SafetensorError, OSError, LookupError, AttributeError, ValueError, TypeError)
_ADVICE = "merge it into the base model and train on that, or extract a plain LoRA from it"


@dataclass(frozen=True)
class LoraLayer:
    """One pair of a file: A (r x in) and B (out x r) in fp32, alpha / rank folded into B."""

    down_key: str
    up_key: str
    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        return self.down.shape[0]


def read_lora(path: Path) -> tuple[dict[str, LoraLayer], LoraScales | None]:
    """Return the pairs of a LoRA by the layer's name in the file, and what its config says.

    `path` is a safetensors file, or a folder that PEFT or diffusers wrote. A layer's own alpha and
    rank make its strength; without an alpha it is 1, as every tool has it. Raises ValueError that
    names the keys of what is no plain LoRA of a denoiser.
    """
    file = _weights_of(path)
    keys, header = _read_keys(path, file)
    pairs, alphas, others = _sorted_out(path, keys)
    _check_others(path, others)
    if "fairgen_sha256" in header:
        read_adapter(file)  # it says itself whether it is whole
    tensors = _read_tensors(path, file)
    if odd := [key for layer, key in alphas.items() if layer not in pairs]:
        raise ValueError(f"{path}: got {odd[0]!r} without the directions that it scales")
    scales = scales_beside(path, file) or scales_of_header(path, header)
    _check_scale_is_known(path, header, pairs, alphas, scales)
    layers = {}
    for layer, halves in pairs.items():
        if set(halves) != {"A", "B"}:
            (key,) = halves.values()
            raise ValueError(f"{path}: got half of the directions on {key!r}, allowed are pairs")
        layers[layer] = _pair(path, tensors, halves["A"], halves["B"], alphas.get(layer))
    if scales:
        layers = {
            layer: _scaled(path, layer, found, scales, layer in alphas)
            for layer, found in layers.items()
        }
    if not layers:
        raise ValueError(f"{path}: got nothing that fits the denoiser, allowed is a LoRA of it")
    return layers, scales


def learnt_as(path: Path) -> AdapterMetadata | None:
    """Return what a FairGen adapter's header says that it was learnt as; None for any other file.

    Raises ValueError for a header that cannot be read.
    """
    said = _read_keys(path, _weights_of(path))[1].get("fairgen")
    try:
        return None if said is None else AdapterMetadata.model_validate_json(said)
    except ValidationError as error:
        raise ValueError(f"{path}: corrupted metadata: {error}") from error


def split_pairs(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the pairs of a library's state dict by layer; keys of another form are left out."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if match := _PAIR.fullmatch(key):
            halves.setdefault(match["layer"], {})[_side(match["form"])] = tensor
    return {layer: (both["A"], both["B"]) for layer, both in halves.items() if len(both) == 2}


def shown(keys: list[str]) -> str:
    """Return a list of keys as a sentence has it: the first, and how many more."""
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{keys[0]!r}{more}"


def _side(form: str) -> str:
    return _DOWN[form.removesuffix(".default").replace("_", ".").rpartition(".")[2]]


def _weights_of(path: Path) -> Path:
    """Return the safetensors file of a path. Raises ValueError where there is none."""
    file = path
    if not path.exists():
        raise ValueError(f"{path}: there is no such file")
    if path.is_dir():
        from_peft = (path / "adapter_config.json").exists()
        file = path / ("adapter_model.safetensors" if from_peft else WEIGHTS)
    if file.suffix != ".safetensors":
        raise ValueError(f"{path}: got a {file.suffix or 'file'}, allowed is .safetensors only")
    if not file.is_file():
        raise ValueError(f"{path}: holds no {file.name}")
    return file


def _read_keys(path: Path, file: Path) -> tuple[list[str], dict[str, str]]:
    """Return a file's keys and header, without its tensors: a whole model has many."""
    try:
        with safe_open(file, framework="pt") as stored:
            return list(stored.keys()), stored.metadata() or {}
    except _UNREADABLE as error:
        raise ValueError(f"{path}: corrupted, no readable safetensors: {error}") from error


def _read_tensors(path: Path, file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except _UNREADABLE as error:
        raise ValueError(f"{path}: corrupted, no readable safetensors: {error}") from error


def _sorted_out(
    path: Path, keys: Iterable[str]
) -> tuple[dict[str, dict[str, str]], dict[str, str], list[str]]:
    """Return layer -> its two keys by side, layer -> its alpha's key, and the other keys."""
    pairs: dict[str, dict[str, str]] = {}
    alphas: dict[str, str] = {}
    others = []
    for key in keys:
        if _OF_TEXT_ENCODERS.match(key):
            raise ValueError(
                f"{path}: got directions of a text encoder, {key!r}; allowed are the denoiser's"
            )
        if match := _PAIR.fullmatch(key):
            halves, side = pairs.setdefault(match["layer"], {}), _side(match["form"])
            if side in halves:
                raise ValueError(
                    f"{path}: got {halves[side]!r} and {key!r}, allowed is one spelling of a layer"
                )
            halves[side] = key
        elif key.endswith(".alpha"):
            alphas[key.removesuffix(".alpha")] = key
        else:
            others.append(key)
    return pairs, alphas, others


def _check_others(path: Path, others: list[str]) -> None:
    for variant, pattern in _VARIANTS.items():
        if found := [key for key in others if re.search(pattern, key)]:
            raise ValueError(
                f"{path}: got {variant}, {shown(found)}, allowed is plain LoRA: {_ADVICE}"
            )
    if others:
        raise ValueError(
            f"{path}: got {shown(others)}, which is no part of a plain LoRA, allowed are pairs "
            "such as lora_A and lora_B, or lora_down and lora_up, with an alpha"
        )


def _check_scale_is_known(
    path: Path,
    header: Mapping[str, str],
    pairs: Mapping[str, object],
    alphas: Mapping[str, object],
    scales: LoraScales | None,
) -> None:
    """Raise ValueError for a file that was learnt at a strength which it does not say."""
    if alphas or scales:
        return
    if any(layer.startswith("base_model.model.") for layer in pairs):
        raise ValueError(
            f"{path}: got weights of PEFT without their alpha, allowed is the folder with "
            "adapter_config.json, or an .alpha for each layer"
        )
    rank, alpha = header.get("ss_network_dim"), header.get("ss_network_alpha")
    if rank and alpha and alpha != "None" and _number(alpha) != _number(rank):
        raise ValueError(
            f"{path}: got ss_network_alpha {alpha} at rank {rank} and no .alpha in the file; "
            "allowed is an .alpha for each layer, without which tools take the rank"
        )


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _pair(
    path: Path, tensors: Mapping[str, Tensor], down_key: str, up_key: str, alpha_key: str | None
) -> LoraLayer:
    """Return a checked pair. Raises ValueError for what are no matrices of one rank."""
    down, up = tensors[down_key], tensors[up_key]
    if not (down.is_floating_point() and up.is_floating_point()):
        raise ValueError(f"{path}: got {down.dtype} on {down_key!r}, allowed are floating points")
    if down.ndim != 2 or up.ndim != 2:
        odd = "a convolution" if down.ndim == 4 else f"{down.ndim} dimensions"
        raise ValueError(
            f"{path}: got {odd} on {down_key!r}, {list(down.shape)} and {list(up.shape)}, allowed "
            "are matrices"
        )
    rank = down.shape[0]
    if not rank or up.shape[1] != rank:
        raise ValueError(
            f"{path}: got {list(down.shape)} and {list(up.shape)} on {down_key!r}, allowed is one "
            "rank, of 1 or more"
        )
    down, up = down.float(), up.float()
    scale = _alpha(path, tensors[alpha_key], alpha_key) / rank if alpha_key else 1.0
    if not (down.isfinite().all() and up.isfinite().all() and (scale * up).isfinite().all()):
        raise ValueError(f"{path}: got numbers on {down_key!r} that are not finite")
    return LoraLayer(down_key, up_key, down, scale * up)


def _alpha(path: Path, tensor: Tensor, key: str) -> float:
    if tensor.numel() != 1 or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{path}: got {list(tensor.shape)} at {key!r}, allowed is one number")
    value = float(tensor.float().reshape(()))
    if value == 0:
        raise ValueError(
            f"{path}: got 0 at {key!r}, which some tools take as no effect and others as the rank; "
            "allowed are other numbers"
        )
    if not torch.isfinite(torch.tensor(value)):
        raise ValueError(f"{path}: got {value} at {key!r}, numbers that are not finite")
    return value


def _scaled(
    path: Path, layer: str, found: LoraLayer, scales: LoraScales, has_alpha: bool
) -> LoraLayer:
    """Return a pair at its config's strength. Raises ValueError where the file says another."""
    scale = scales.scale(path, layer, found.rank)
    if has_alpha:
        raise ValueError(
            f"{path}: got an alpha for {layer!r} beside the config's, allowed is one of the two"
        )
    return LoraLayer(found.down_key, found.up_key, found.down, scale * found.up)
