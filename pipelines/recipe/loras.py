"""LoRAs of others on the base model: those that let it paint in few steps, such as LCM's."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.recipe.folders import resolve_path
from pipelines.recipe.sections import LoraConfig

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor

_DOWN = ("down.weight", "lora_A.weight")


def check_loras(loras: Sequence[LoraConfig]) -> None:
    """Raise ValueError for what is no file, before anything is loaded."""
    for index, lora in enumerate(loras):
        file = resolve_path(lora.path)
        if file.suffix != ".safetensors" or not file.is_file():
            raise ValueError(
                f"generation.loras[{index}].path: got {lora.path!r}, allowed is a .safetensors file"
            )


def digests_of(loras: Sequence[LoraConfig]) -> dict[str, str]:
    """Return the first 12 hex digits of each file's sha256, by its name."""
    files = [resolve_path(lora.path) for lora in loras]
    return {file.name: sha256(file.read_bytes()).hexdigest()[:12] for file in files}


def add_loras(pipe: "DiffusionPipeline", loras: Sequence[LoraConfig], fuse: bool) -> None:
    """Put LoRAs on a pipeline; to `fuse` them into its weights makes it as fast as it was without,
    which quantised weights do not take.

    Raises ValueError for one that is not all of this model.
    """
    check_loras(loras)
    names = [f"lora_{index}" for index in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        _load(pipe, name, lora)
    pipe.set_adapters(names, [lora.scale for lora in loras])
    if fuse:
        loadable = pipe._lora_loadable_modules
        parts = [part for part in loadable if getattr(pipe, part, None) is not None]
        pipe.fuse_lora(components=parts, adapter_names=names)
        pipe.unload_lora_weights()


def _load(pipe: "DiffusionPipeline", name: str, lora: LoraConfig) -> None:
    """Load one beside the weights, and see that all of it is there."""
    file = resolve_path(lora.path)
    if not hasattr(pipe, "lora_state_dict"):
        raise ValueError(
            f"generation.loras: got {lora.path!r}, allowed is none: diffusers loads no LoRA into a "
            f"{type(pipe).__name__}"
        )
    try:
        state = _read(pipe, file)
        wanted = sum(key.endswith(_DOWN) for key in state)
        pipe.load_lora_weights(state, adapter_name=name)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"generation.loras: got {lora.path!r}, which is no LoRA of this base model: {reason}"
        ) from error
    parts = (getattr(pipe, part, None) for part in pipe._lora_loadable_modules)
    modules = (module for part in parts if part is not None for module in part.modules())
    found = sum(name in getattr(module, "lora_A", ()) for module in modules)
    if found != wanted or not found:
        raise ValueError(
            f"generation.loras: got {lora.path!r}, of whose {wanted} layers this base model has "
            f"{found}; allowed is a LoRA of this base model, all of it"
        )


def _read(pipe: "DiffusionPipeline", file: Path) -> dict[str, "Tensor"]:
    """Return a file's weights in diffusers' form, each layer's alpha folded into them: diffusers
    itself would give all layers the first one's.
    """
    read = pipe.lora_state_dict(str(file.parent), weight_name=file.name)
    state, alphas = read if isinstance(read, tuple) else (read, None)
    for key, alpha in (alphas or {}).items():
        layer = key.removesuffix(".alpha")
        down = layer if layer.endswith(".down.weight") else f"{layer}.lora.down.weight"
        up = down.replace(".down.weight", ".up.weight")
        state[up] = state[up] * (alpha / state[down].shape[0])
    return state
