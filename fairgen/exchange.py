"""Adapters in the forms of other tools, and theirs as directions of ours; converters are the
libraries' own.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from diffusers.utils import convert_state_dict_to_kohya, recurse_remove_peft_layers
from peft import LoraConfig, PeftConfig, PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from fairgen.adapters import (
    WEIGHTS,
    Adapter,
    AdapterMetadata,
    lora_state_dict,
    read_adapter,
    save_adapter,
)
from fairgen.attributes import Attribute
from fairgen.backbones import Backbone

Form = Literal["diffusers", "peft", "kohya"]
FORMS: tuple[Form, ...] = get_args(Form)
_PEFT_WEIGHTS, _PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_IMPORTED = "imported"
_OF_TEXT_ENCODERS = ("text_encoder", "lora_te")
_PLAIN: dict[str, tuple[object, ...]] = {  # more than A and B would be lost on the way
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),
    "layer_replication": (None,),
    "lora_bias": (False,),
    "modules_to_save": (None,),
    "target_parameters": (None,),
    "trainable_token_indices": (None,),
}
_NOT_LOADED = (  # what the libraries raise for a file that they can make nothing of
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    re.error,
)


def export_adapter(adapter: Adapter, form: Form, folder: Path) -> Path:
    """Write an adapter in a form, and return what another tool is given: a folder, or for kohya's
    a file.

    "diffusers" is read by `pipe.load_lora_weights`, "peft" by `PeftModel.from_pretrained` on the
    denoiser, "kohya" by ComfyUI and A1111. Raises ValueError for kohya's form of a transformer,
    for which no library writes it; ComfyUI reads those in diffusers' form.
    """
    if form == "diffusers":
        save_adapter(adapter, folder)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if form == "peft":
        config = LoraConfig(
            r=adapter.metadata.rank,
            lora_alpha=adapter.metadata.alpha,
            target_modules=sorted(adapter.directions),
            inference_mode=True,
        )
        config.save_pretrained(str(folder))
        save_file(lora_state_dict(adapter.directions, "base_model.model."), folder / _PEFT_WEIGHTS)
        return folder
    if adapter.metadata.denoiser_name != "unet":
        raise ValueError(
            "format: got 'kohya', which no library writes for a transformer; allowed are "
            "'diffusers', which ComfyUI reads, and 'peft'"
        )
    weights = convert_state_dict_to_kohya(lora_state_dict(adapter.directions, "unet."))
    header = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(adapter.metadata.rank),
        "ss_network_alpha": str(adapter.metadata.alpha),
        "fairgen": adapter.metadata.model_dump_json(),
    }
    file = folder / f"{adapter.name}.safetensors"
    save_file({key: value.contiguous() for key, value in weights.items()}, file, metadata=header)
    return file


def import_adapter(
    path: Path, backbone: Backbone, attribute: Attribute, category: str, base_fingerprint: str
) -> Adapter:
    """Return a LoRA of another tool as one category's adapter.

    `path` is a safetensors file in the form of diffusers or kohya, that of the paper's own code
    among them, or a folder that PEFT or diffusers wrote. What the LoRA does to the denoiser is read
    off once the library has loaded it, with its scale. Raises ValueError for a pickle, what cannot
    be read or does not fit, and directions elsewhere than on the family's projections.
    """
    word = attribute.category(category).word
    directions = _read_off(path, backbone)
    allowed = backbone.projections("qkvo")
    if odd := sorted(set(directions) - set(allowed)):
        raise ValueError(
            f"{path}: got directions on {odd[:3]}, allowed are those of the prompt's attention, "
            f"such as {allowed[:3]}"
        )
    rank = max(down.shape[0] for down, _ in directions.values())
    ends = {letter: backbone.projection_suffixes[letter] for letter in "qkvo"}
    used = [letter for letter, end in ends.items() if any(p.endswith(end) for p in directions)]
    metadata = AdapterMetadata(
        attribute=attribute.name,
        category=category,
        word=word,
        base_fingerprint=base_fingerprint,
        rank=rank,
        alpha=rank,
        eta=None,
        projections="".join(used),
        recipe_hash=_IMPORTED,
        denoiser_name=backbone.denoiser_name,
    )
    return Adapter(metadata, {p: _filled(*pair, rank) for p, pair in directions.items()})


def _read_off(path: Path, backbone: Backbone) -> dict[str, tuple[Tensor, Tensor]]:
    """Load a LoRA with the library, and return what it does to each layer, its scale folded in."""
    is_peft = path.is_dir() and (path / _PEFT_CONFIG).exists()
    file = path / (_PEFT_WEIGHTS if is_peft else WEIGHTS) if path.is_dir() else path
    _check_file(path, file)
    with _loaded_by_peft(path, backbone) if is_peft else _loaded_by_diffusers(file, backbone):
        found = {
            name: _directions_of(path, name, layer)
            for name, layer in backbone.denoiser.named_modules()
            if isinstance(layer, LoraLayer) and _IMPORTED in layer.lora_A
        }
    if not found:
        raise ValueError(f"{path}: got nothing that fits the denoiser, allowed is a LoRA of it")
    return found


def _directions_of(path: Path, name: str, layer: LoraLayer) -> tuple[Tensor, Tensor]:
    """Return A and B of a layer, its scale folded into B. Raises ValueError unless they are all."""
    down, up = (side[_IMPORTED].weight.detach() for side in (layer.lora_A, layer.lora_B))
    if down.is_meta or up.is_meta:
        raise ValueError(f"{path}: got half of the directions on {name}, allowed are pairs")
    if _IMPORTED in layer.lora_variant:
        raise ValueError(f"{path}: got a variant such as DoRA on {name}, allowed is plain LoRA")
    down, up = down.float().clone(), layer.scaling[_IMPORTED] * up.float()
    if not (down.isfinite().all() and up.isfinite().all()):
        raise ValueError(f"{path}: got numbers on {name} that are not finite")
    return down, up


@contextmanager
def _loaded_by_peft(folder: Path, backbone: Backbone) -> Iterator[None]:
    try:
        try:
            config = PeftConfig.from_pretrained(str(folder))
            for field, plain in _PLAIN.items():
                if (value := getattr(config, field, plain[0])) not in plain:
                    raise ValueError(f"{field}: got {value!r}, allowed are {list(plain)}")
            PeftModel.from_pretrained(backbone.denoiser, str(folder), _IMPORTED, config=config)
        except _NOT_LOADED as error:
            raise ValueError(f"{folder}: PEFT does not load it: {_first_line(error)}") from error
        yield
    finally:  # also of what was loaded by half
        recurse_remove_peft_layers(backbone.denoiser)
        vars(backbone.denoiser).pop("peft_config", None)


@contextmanager
def _loaded_by_diffusers(file: Path, backbone: Backbone) -> Iterator[None]:
    pipe: Any = backbone.pipe
    if not hasattr(pipe, "load_lora_weights"):
        raise ValueError(
            f"{file}: diffusers loads no LoRA into a {type(pipe).__name__}; allowed is a folder "
            "that PEFT wrote"
        )
    try:
        try:
            pipe.load_lora_weights(file.parent, weight_name=file.name, adapter_name=_IMPORTED)
        except _NOT_LOADED as error:
            raise ValueError(f"{file}: diffusers does not load it: {_first_line(error)}") from error
        _check_scales(file, backbone)
        yield
    finally:
        pipe.unload_lora_weights()


def _check_scales(file: Path, backbone: Backbone) -> None:
    """Raise ValueError where the library has dropped a layer's own scale.

    Of kohya files whose alpha differs from layer to layer diffusers applies one alpha to all.
    """
    denoiser: Any = backbone.denoiser
    config = getattr(denoiser, "peft_config", {}).get(_IMPORTED)
    named = {name.removeprefix("^") for name in config.alpha_pattern} if config else set()
    if lost := sorted(named - {name for name, _ in denoiser.named_modules()}):
        raise ValueError(
            f"{file}: got an alpha of its own for {lost[0]}, allowed is one alpha for all layers: "
            "diffusers does not apply others"
        )


def _check_file(path: Path, file: Path) -> None:
    """Raise ValueError for what is no safetensors file, or adapts the text encoder, too."""
    if file.suffix != ".safetensors":
        raise ValueError(f"{path}: got a {file.suffix or 'file'}, allowed is .safetensors only")
    if not file.is_file():
        raise ValueError(f"{path}: holds no {file.name}")
    try:
        with safe_open(file, framework="pt") as stored:
            keys, is_ours = list(stored.keys()), "fairgen_sha256" in (stored.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: corrupted, no readable safetensors: {error}") from error
    if of_text := [key for key in keys if key.startswith(_OF_TEXT_ENCODERS)]:
        raise ValueError(
            f"{path}: got directions of a text encoder, {of_text[0]!r}; allowed are the denoiser's"
        )
    if is_ours:
        read_adapter(file)  # it says itself whether it is whole


def _filled(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return directions filled up with zeros to a rank: an adapter has one for all layers."""
    missing = rank - down.shape[0]
    return functional.pad(down, (0, 0, 0, missing)), functional.pad(up, (0, missing))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
