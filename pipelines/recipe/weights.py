"""The files that hold a saved pipeline's weights: in which variant, and that none is a pickle."""

import json
import re
from collections import defaultdict
from pathlib import Path

_SHARD = r"(?:-\d{5}-of-\d{5})?"
_FILE = re.compile(
    rf"(?:model|pytorch_model|diffusion_pytorch_model){_SHARD}(?:\.(\w+?))?{_SHARD}"
    r"\.(safetensors|bin)"
)


_INDEX = "model_index.json"


def parts_of(named: str, folder: Path) -> dict[str, list[str]]:
    """Return library and class of each part of a saved pipeline, by the part's name.

    Raises ValueError, which begins with how the folder was `named`, where it is no saved pipeline,
    or a part has no folder in it.
    """
    index = folder / _INDEX
    if not index.is_file():
        raise ValueError(
            f"{named}, a folder without {_INDEX}; allowed is one that save_pretrained left"
        )
    try:
        saved = json.loads(index.read_text())
        parts = {name: kind for name, kind in saved.items() if isinstance(kind, list) and kind[0]}
    except (ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"{named}: {index} cannot be read: {error}") from error
    if missing := sorted(name for name in parts if not (folder / name).is_dir()):
        raise ValueError(f"{named}, which lacks the folders {missing}")
    return parts


def has_weights(folder: Path) -> bool:
    """Return whether a part's folder holds weights."""
    return any(_FILE.fullmatch(file.name) for file in folder.glob("*"))


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
