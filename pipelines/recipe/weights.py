"""The files that hold a saved pipeline's weights: in which variant, and that none is a pickle."""

import re
from collections import defaultdict
from pathlib import Path

_SHARD = r"(?:-\d{5}-of-\d{5})?"
_FILE = re.compile(
    rf"(?:model|pytorch_model|diffusion_pytorch_model){_SHARD}(?:\.(\w+?))?{_SHARD}"
    r"\.(safetensors|bin)"
)


def variant_of(base: str, folder: Path, variant: str | None) -> str | None:
    """Return the variant that a saved pipeline's weights are loaded in: the one that is asked for,
    else None for those without, else the only one that is there.

    `base` is the recipe's name of it. Raises ValueError for parts that are there as pickles only,
    which are never read, and where nobody can tell which of several variants is meant.
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
            f"base: got {base!r}, whose {lone[0]} is {pickled[lone[0]]}, a pickle, which is never "
            "read; allowed are .safetensors, which `DiffusionPipeline.from_pretrained(FOLDER)"
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
            f"base: got {base!r}, whose weights are in the variants "
            f"{sorted(set.union(*without_plain))}; allowed is one of them as loading.variant"
        )
    return common.pop()
