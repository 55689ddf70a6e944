"""The strength that a LoRA's config gives to each layer: PEFT's rules, of a folder or a header."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key

_CONFIG = "adapter_config.json"
_HEADER = "lora_adapter_metadata"
_PLAIN: dict[str, tuple[object, ...]] = {  # more than A and B would be lost on the way
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),
    "peft_type": ("LORA",),
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "layer_replication": (None,),
    "lora_bias": (False,),
    "modules_to_save": (None, []),
    "monteclora_config": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "use_bdlora": (None, False),
    "use_dora": (False,),
    "use_qalora": (False,),
    "velora_config": (None,),
}
_NO_CONFIG = (
    ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, OSError,
    re.error,
)  # fmt: skip


@dataclass(frozen=True)
class LoraScales:
    """What a config says of layers whose names in the file begin with a prefix."""

    config: LoraConfig
    prefix: str

    def scale(self, path: Path, layer: str, rank: int) -> float:
        """Return what multiplies B A of a layer. Raises ValueError for another rank than that of
        the weights.
        """
        if not layer.startswith(self.prefix):
            raise ValueError(
                f"{path}: got {layer!r}, allowed beside the config are names that begin with "
                f"{self.prefix!r}"
            )
        name, config = layer.removeprefix(self.prefix), self.config
        try:
            ranks, alphas = config.rank_pattern, config.alpha_pattern
            stated = ranks.get(get_pattern_key(ranks.keys(), name), config.r)
            alpha = alphas.get(get_pattern_key(alphas.keys(), name), config.lora_alpha)
            scale = float(alpha / (stated**0.5 if config.use_rslora else stated))
        except _NO_CONFIG as error:
            raise ValueError(f"{path}: the config gives {layer!r} no strength: {error}") from error
        if stated != rank or isinstance(stated, bool):
            raise ValueError(
                f"{path}: got rank {rank} on {layer!r}, its config says {stated!r}; allowed is one"
            )
        if not 0 < abs(scale) < float("inf"):
            raise ValueError(
                f"{path}: got alpha {alpha!r} for {layer!r}, allowed is a number but 0"
            )
        return scale

    def check_layers(self, path: Path, layers: Iterable[str], modules: Iterable[str]) -> None:
        """Raise ValueError unless the config names the layers of the file, and no other modules."""
        held = {layer.removeprefix(self.prefix) for layer in layers}
        try:
            named = {name for name in modules if check_target_module_exists(self.config, name)}
        except _NO_CONFIG as error:
            raise ValueError(
                f"{path}: target_modules: got {self.config.target_modules!r}, of which PEFT says: "
                f"{error}"
            ) from error
        if odd := sorted(held - named):
            raise ValueError(
                f"{path}: got weights for {odd[0]!r}, one of {len(odd)} layers that its config "
                "does not name; allowed are the same layers"
            )
        if odd := sorted(named - held):
            raise ValueError(
                f"{path}: got no weights for {odd[0]!r}, one of {len(odd)} layers that its config "
                "names; allowed are the same layers"
            )


def scales_beside(path: Path, file: Path) -> LoraScales | None:
    """Return what the config beside PEFT's weights says; None where there is none."""
    config = file.with_name(_CONFIG)
    if file.name != "adapter_model.safetensors" or not config.is_file():
        return None
    try:
        fields = json.loads(config.read_text())
    except _NO_CONFIG as error:
        raise ValueError(f"{path}: {_CONFIG} cannot be read: {error}") from error
    return LoraScales(_config(path, fields), "base_model.model.")


def scales_of_header(path: Path, header: Mapping[str, str]) -> LoraScales | None:
    """Return what diffusers has written of a LoRA's config into the file; None if nothing."""
    if _HEADER not in header:
        return None
    try:
        fields = json.loads(header[_HEADER])
        components = {key.partition(".")[0] for key in fields}
        (component,) = components
    except _NO_CONFIG as error:
        raise ValueError(
            f"{path}: got {header[_HEADER][:80]!r} as {_HEADER}, allowed is one denoiser's config"
        ) from error
    own = {key.partition(".")[2]: value for key, value in fields.items()}
    return LoraScales(_config(path, own), f"{component}.")


def _config(path: Path, fields: Any) -> LoraConfig:
    """Return a config of a plain LoRA. Raises ValueError for a field that says otherwise."""
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: got {str(fields)[:80]!r} as a config, allowed is a table")
    for field, plain in _PLAIN.items():
        if field in fields and not any(
            fields[field] == value and type(fields[field]) is type(value) for value in plain
        ):
            raise ValueError(f"{path}: {field}: got {fields[field]!r}, allowed are {list(plain)}")
    known = {field.name for field in dataclasses.fields(LoraConfig)}
    if odd := [name for name, value in fields.items() if value and name not in known]:
        raise ValueError(f"{path}: got {odd[0]!r} in its config, which this PEFT does not know")
    own = {name: value for name, value in fields.items() if name in known and name != "peft_type"}
    try:
        return LoraConfig(**own)
    except _NO_CONFIG as error:
        raise ValueError(f"{path}: PEFT does not read its config: {error}") from error
