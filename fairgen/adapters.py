"""Adapters on disk: a diffusers LoRA folder that says what it is and is checked when read."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fairgen.attributes import Attribute, Category, adapter_name
from fairgen.base_model import is_same_base, short
from fairgen.files import written_whole

WEIGHTS = "pytorch_lora_weights.safetensors"


class AdapterMetadata(BaseModel):
    """What an adapter is: kept inside its safetensors file.

    Alpha equals rank, since tools differ in where they read alpha: then all draw the same strength.
    `eta` is the strength they were learnt at, None for a LoRA of another tool. `scale` has
    multiplied the directions once they were learnt. `denoiser_name` is the denoiser's name in
    the pipeline. `at_positions` says that they were learnt at the prompt's positions of sequences
    that hold other tokens as well: a tool that knows no positions puts them on all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: str
    category: str
    word: str
    base_fingerprint: str
    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    eta: float | None = Field(allow_inf_nan=False)
    projections: str
    recipe_hash: str
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    denoiser_name: Literal["unet", "transformer"] = "unet"
    at_positions: bool = False

    @model_validator(mode="after")
    def _unscaled(self) -> "AdapterMetadata":
        if self.alpha != self.rank:
            raise ValueError(f"alpha: got {self.alpha}, allowed is the rank, {self.rank}")
        return self


@dataclass(frozen=True)
class Adapter:
    """One category's directions: projection -> (A: r x in, B: out x r)."""

    metadata: AdapterMetadata
    directions: dict[str, tuple[Tensor, Tensor]]

    @property
    def name(self) -> str:
        return adapter_name(self.metadata.attribute, self.metadata.category)

    @cached_property
    def sha256(self) -> str:
        """Digest of the weights: names, shapes and fp32 values; computed once."""
        return _digest(
            (f"{path}.{i}", tensor)
            for path, pair in sorted(self.directions.items())
            for i, tensor in enumerate(pair)
        )

    def as_learnt(self) -> "Adapter":
        """Return the adapter before its scale."""
        scale = self.metadata.scale
        return Adapter(
            self.metadata.model_copy(update={"scale": 1.0}),
            {path: (down, up / scale) for path, (down, up) in self.directions.items()},
        )

    def fitted_to(self, base_fingerprint: str, strength: float) -> "Adapter":
        """Return the adapter as one of another base model, that many times as strong."""
        scale = self.metadata.scale * strength
        return Adapter(
            self.metadata.model_copy(update={"scale": scale, "base_fingerprint": base_fingerprint}),
            {path: (down, strength * up) for path, (down, up) in self.directions.items()},
        )

    def check_base(self, base_fingerprint: str, siblings: bool = False) -> None:
        """Raise ValueError unless the adapter was trained on the base of this fingerprint, or, with
        `siblings`, on one of the same structure: a fine-tune of the one may wear the other's.
        """
        trained_on = self.metadata.base_fingerprint
        if not is_same_base(trained_on, base_fingerprint, siblings):
            message = (
                f"{self.name}: trained on base {short(trained_on)}, "
                f"this base is {short(base_fingerprint)}"
            )
            if is_same_base(trained_on, base_fingerprint, siblings=True):
                message += (
                    " of the same structure; a fine-tune of the one, or the one with a LoRA fused "
                    "into it, wears the adapter where `siblings` is set"
                )
            raise ValueError(message)


def load_adapters(adapters: Iterable[Adapter | Path | str]) -> list[Adapter]:
    """Return adapters, those that are named by a folder read from there.

    Raises ValueError for what is no list of them, and as `load_adapter` does.
    """
    allowed = "a list of adapters and of their folders"
    if isinstance(adapters, Adapter | Path | str) or not isinstance(adapters, Iterable):
        raise ValueError(f"adapters: got {_named(adapters)}, allowed is {allowed}")
    found = []
    for given in adapters:
        if not isinstance(given, Adapter | Path | str):
            raise ValueError(f"adapters: got {_named(given)} in it, allowed is {allowed}")
        found.append(given if isinstance(given, Adapter) else load_adapter(given))
    return found


def _named(given: object) -> str:
    return given.name if isinstance(given, Adapter) else repr(given)


def attributes_of(adapters: Sequence[Adapter]) -> tuple[Attribute, ...]:
    """Return the attributes that adapters balance. Raises ValueError for a lone category."""
    found: dict[str, list[Category]] = {}
    for metadata in (adapter.metadata for adapter in adapters):
        category = Category(name=metadata.category, word=metadata.word)
        found.setdefault(metadata.attribute, []).append(category)
    for name, categories in found.items():
        if len(categories) == 1:
            raise ValueError(
                f"adapters: got {categories[0].name!r} alone of {name}, "
                "allowed are two or more categories of an attribute"
            )
    return tuple(Attribute(name=name, categories=tuple(found[name])) for name in found)


def lora_state_dict(
    directions: Mapping[str, tuple[Tensor, Tensor]], prefix: str = ""
) -> dict[str, Tensor]:
    """Return directions as the state dict that PEFT has for a LoRA, below a prefix."""
    return {
        f"{prefix}{path}.lora_{side}.weight": tensor.detach().float().cpu().contiguous()
        for path, pair in directions.items()
        for side, tensor in zip("AB", pair, strict=True)
    }


def save_adapter(adapter: Adapter, folder: Path | str) -> Path:
    """Write the folder that plain `pipe.load_lora_weights(folder)` reads; return the weights' path.

    The file appears whole or not at all. Raises ValueError for directions that could not be read
    again.
    """
    metadata, folder = adapter.metadata, Path(folder)
    written = {path: (down.float(), up.float()) for path, (down, up) in adapter.directions.items()}
    odd = _odd(written, metadata.rank)
    if odd or not written:
        got = odd[:1] or "none"
        raise ValueError(f"directions of {adapter.name!r}: got {got}, {_allowed(metadata.rank)}")
    tensors = lora_state_dict(written, f"{metadata.denoiser_name}.")
    lora = {
        "r": metadata.rank,
        "lora_alpha": metadata.alpha,
        "target_modules": sorted(adapter.directions),
    }
    header = {
        "format": "pt",
        "lora_adapter_metadata": json.dumps(
            {f"{metadata.denoiser_name}.{key}": value for key, value in lora.items()}
        ),
        "fairgen": metadata.model_dump_json(),
        "fairgen_sha256": adapter.sha256,
        "fairgen_words_sha256": _words_digest(metadata.model_dump_json()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / WEIGHTS) as partial:
        save_file(tensors, partial, metadata=header)
    return folder / WEIGHTS


def load_adapter(
    folder: Path | str, base_fingerprint: str | None = None, siblings: bool = False
) -> Adapter:
    """Read an adapter's folder; `base_fingerprint` is that of the denoiser it shall run on, if any,
    and `siblings` as for `check_base`.

    Raises ValueError for a missing, foreign or corrupted file, a pickle, or another base model's.
    """
    folder = Path(folder)
    file = folder / WEIGHTS
    if not file.is_file():
        pickles = [
            p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl")
        ]
        if pickles:
            raise ValueError(
                f"{folder}: got {pickles}, pickles are never read; allowed is {WEIGHTS}"
            )
        raise ValueError(f"{folder}: holds no {WEIGHTS}")
    adapter = read_adapter(file)
    if base_fingerprint is not None:
        adapter.check_base(base_fingerprint, siblings)
    return adapter


def read_adapter(file: Path) -> Adapter:
    """Read an adapter's weights with what they say of themselves.

    Raises ValueError for a foreign or corrupted file.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            header = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: corrupted, no readable safetensors: {error}") from error
    if "fairgen" not in header:
        raise ValueError(f"{file}: no FairGen adapter, its metadata names no attribute")
    if _words_digest(header["fairgen"]) != header.get("fairgen_words_sha256"):
        raise ValueError(f"{file}: corrupted, its metadata is not what was written")
    try:
        metadata = AdapterMetadata.model_validate_json(header["fairgen"])
    except ValidationError as error:
        raise ValueError(f"{file}: corrupted metadata: {error}") from error
    prefix = f"{metadata.denoiser_name}."
    paths = sorted({key.removeprefix(prefix).rsplit(".lora_", 1)[0] for key in tensors})
    expected = {f"{prefix}{path}.lora_{side}.weight" for path in paths for side in "AB"}
    if not paths:
        raise ValueError(f"{file}: corrupted, holds no directions")
    if odd := sorted(expected ^ set(tensors)):
        raise ValueError(f"{file}: corrupted, {odd[0]} is missing or stands alone")
    directions = {
        path: (tensors[f"{prefix}{path}.lora_A.weight"], tensors[f"{prefix}{path}.lora_B.weight"])
        for path in paths
    }
    if odd := _odd(directions, metadata.rank):
        raise ValueError(f"{file}: corrupted, got {odd[:1]}, {_allowed(metadata.rank)}")
    adapter = Adapter(metadata, directions)
    if adapter.sha256 != header.get("fairgen_sha256"):
        raise ValueError(
            f"{file}: corrupted, the weights' checksum is {adapter.sha256[:12]}, "
            f"its metadata says {header.get('fairgen_sha256', '')[:12]!r}"
        )
    return adapter


def _odd(directions: Mapping[str, tuple[Tensor, Tensor]], rank: int) -> list[str]:
    """Return the projections of A and B that are no directions of the rank."""
    return [path for path, pair in directions.items() if not _is_whole(*pair, rank)]


def _allowed(rank: int) -> str:
    return (
        f"allowed on each projection are A and B of rank {rank} in fp32, all of their values finite"
    )


def _is_whole(down: Tensor, up: Tensor, rank: int) -> bool:
    return (
        down.dtype == up.dtype == torch.float32
        and down.ndim == up.ndim == 2
        and down.shape[0] == up.shape[1] == rank
        and bool(down.isfinite().all() and up.isfinite().all())
    )


def _words_digest(metadata: str) -> str:
    """Return the checksum of what an adapter says of itself."""
    return hashlib.sha256(metadata.encode()).hexdigest()


def _digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
