"""The files that hold a saved pipeline's weights: in which variant, that none is a pickle, and that
nothing is left out of what they hold.
"""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from fairgen.files import QUANTISED_NAMES

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_SHARD = r"(?:-\d{5}-of-\d{5})?"
_FILE = re.compile(
    rf"(?:model|pytorch_model|diffusion_pytorch_model){_SHARD}(?:\.(\w+?))?{_SHARD}"
    r"\.(safetensors|bin)"
)


_INDEX = "model_index.json"


def parts_of(named: str, folder: Path) -> dict[str, list[str]]:
    """Return library and class of each part of a saved pipeline, by the part's name.

    Raises ValueError, which begins with how the folder was `named`, where it is no saved pipeline,
    a part has no folder in it, or a tokenizer an empty one.
    """
    index = folder / _INDEX
    if not index.is_file():
        raise ValueError(
            f"{named}, a folder without {_INDEX}; allowed is one that save_pretrained left"
        )
    try:
        saved = json.loads(index.read_text())
        parts = {name: kind for name, kind in saved.items() if is_part(kind)}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{named}: {index} cannot be read: {error}") from error
    if missing := sorted(name for name in parts if not (folder / name).is_dir()):
        raise ValueError(f"{named}, which lacks the folders {missing}")
    for name, (_, kind) in parts.items():
        if "Tokenizer" in kind and not any((folder / name).iterdir()):
            raise ValueError(f"{named}, whose {name} is an empty folder")
    return parts


def is_part(value: object) -> bool:
    """Return whether a value of a saved pipeline's index names a part's library and class; others
    are options, such as a list of layers.
    """
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)


def has_weights(folder: Path) -> bool:
    """Return whether a part's folder holds weights."""
    return any(_FILE.fullmatch(file.name) for file in folder.glob("*"))


def variant_in(folder: Path, variant: str | None) -> str | None:
    """Return the variant that a part of a pipeline is loaded in: the pipeline's, or None where the
    part is there without.
    """
    matches = [_FILE.fullmatch(file.name) for file in folder.glob("*.safetensors")]
    return variant if any(match and match[1] == variant for match in matches) else None


def variant_of(named: str, folder: Path, variant: str | None) -> str | None:
    """Return the variant that a saved pipeline's weights are loaded in: the one that is asked for,
    else None for those without, else the only one that is there.

    Raises ValueError, which begins with how the folder was `named`, for parts that are there as
    pickles only, which are never read, and where nobody can tell which of several variants is
    meant.
    """
    found: dict[str, set[str]] = defaultdict(set)
    pickled: dict[str, str] = {}
    for file in sorted(folder.glob("*/*")):
        if match := _FILE.fullmatch(file.name):
            if match[2] == "bin":
                pickled[file.parent.name] = file.name
            else:
                found[file.parent.name].add(match[1] or "")
    if lone := sorted(pickled.keys() - found.keys()):
        raise ValueError(
            f"{named}, whose {lone[0]} is {pickled[lone[0]]}, a pickle, which is never read; "
            "allowed are .safetensors, which `DiffusionPipeline.from_pretrained(FOLDER)"
            ".save_pretrained(OTHER)` of diffusers writes"
        )
    if variant is not None:
        return variant
    without_plain = [there for there in found.values() if "" not in there]
    if not without_plain:
        return None
    common = set.intersection(*without_plain)
    if len(common) != 1:
        raise ValueError(
            f"{named}, whose weights are in the variants "
            f"{sorted(set.union(*without_plain))}; allowed is one of them as loading.variant"
        )
    return common.pop()


def check_unscaled(named: str, folder: Path) -> None:
    """Raise ValueError, which begins with how the folder was `named`, for a part with scales beside
    its weights that does not say how it is quantised: the scales would be left out.
    """
    for file in sorted(folder.glob("*/*.safetensors")):
        config = file.parent / "config.json"
        if config.is_file() and "quantization_config" in config.read_text():
            continue
        if found := scale_in(tensor_names(named.partition(":")[0], file)):
            raise ValueError(
                f"{named}, whose {file.parent.name} has scales beside its weights, such as "
                f"{found!r}; allowed are plain weights, and those whose config.json says how they "
                "are quantised"
            )


def scale_in(names: list[str]) -> str | None:
    """Return the first name of what stands beside weights that are stored scaled."""
    return next((name for name in names if re.search(QUANTISED_NAMES, name)), None)


def tensor_names(field: str, file: Path) -> list[str]:
    """Return the names of a file's tensors, of which the header alone is read. Raises ValueError
    for what is no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as stored:
            return list(stored.keys())
    except SafetensorError as error:
        raise ValueError(
            f"{field}: got {str(file)!r}, which is no .safetensors file: {error}"
        ) from error


def missing_in(pipe: "DiffusionPipeline") -> str:
    """Return which weights a loaded pipeline lacks, "" where it is whole."""
    for part, module in pipe.components.items():
        tensors = module.named_parameters() if hasattr(module, "named_parameters") else ()
        if missing := [path for path, tensor in tensors if tensor.is_meta]:
            return lacking(part, missing)
    return ""


def lacking(part: str, missing: list[str]) -> str:
    """Return a sentence's end: what a part lacks."""
    more = f" and {len(missing) - 1} more" if missing[1:] else ""
    return f"its {part} lacks {missing[0]}{more}"
