"""A LoRA of another tool as an adapter."""

from pathlib import Path

from torch import Tensor
from torch.nn import functional

from fairgen.adapters import Adapter, AdapterMetadata
from fairgen.attributes import Attribute, adapter_name
from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank
from fairgen.exchange.layer_names import pairs_by_module
from fairgen.exchange.lora_file import learnt_as, read_lora

_IMPORTED = "imported"


def import_adapter(
    path: Path, backbone: Backbone, attribute: Attribute, category: str, base_fingerprint: str
) -> Adapter:
    """Return a LoRA of another tool as one category's adapter.

    `path` is a safetensors file in the form of diffusers, kohya, ComfyUI or XLabs, that of the
    paper's own code among them, or a folder that PEFT or diffusers wrote. Every key of it is used,
    each layer with its own alpha and rank. Raises ValueError, which names the keys, for a pickle,
    what cannot be read or does not fit, what is more than plain LoRA, what changes no picture,
    directions elsewhere than on the family's projections, and an adapter of ours that its header
    says was learnt as another category, from another word.
    """
    word = attribute.category(category).word
    _check_category(path, attribute.name, category, word)
    layers, scales = read_lora(path)
    directions = pairs_by_module(path, layers, backbone)
    if scales:
        names = [name for name, _ in backbone.denoiser.named_modules() if name]
        scales.check_layers(path, layers, names)
    rank = max(down.shape[0] for down, _ in directions.values())
    used = [letter for letter in "qkvo" if set(backbone.projections(letter)) & directions.keys()]
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
    adapter = Adapter(metadata, {p: _filled(*pair, rank) for p, pair in directions.items()})
    layers_of_text = backbone.projections("qkvo")
    bank = AdapterBank(backbone.denoiser, layers_of_text, backbone.device, backbone.columns())
    bank.check(f"{adapter.name}, from {path}", adapter.directions)
    return adapter


def _check_category(path: Path, attribute: str, category: str, word: str) -> None:
    """Raise ValueError where an adapter's header names both another category and another word."""
    learnt = learnt_as(path)
    if learnt is None or learnt.word == word:
        return
    name, was = adapter_name(attribute, category), adapter_name(learnt.attribute, learnt.category)
    if was != name:
        raise ValueError(
            f"{path}: got {was}, learnt from the word {learnt.word!r}, for {name}; allowed is an "
            f"adapter of that name, or one that was learnt from its word in the recipe, {word!r}"
        )


def _filled(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return directions filled up with zeros to a rank: an adapter has one for all layers."""
    missing = rank - down.shape[0]
    return functional.pad(down, (0, 0, 0, missing)), functional.pad(up, (0, missing))
