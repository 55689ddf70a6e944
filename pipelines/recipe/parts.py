"""The parts of a saved pipeline, loaded one by one: whole, or refused.

transformers fills what a file lacks with random numbers, and says so in a log alone.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.recipe.weights import has_weights, lacking, parts_of, variant_in

_MISFIT = "ignore_mismatched_sizes"  # transformers' word for shapes that are not the config's


def whole_encoders(folder: Path, variant: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the text encoders, and what else of a saved pipeline is transformers', by name; none
    of what is no folder.

    Raises ValueError for one that lacks weights, or whose weights have other shapes.
    """
    if not folder.is_dir():
        return {}
    return {
        name: load_part(str(folder), name, kind, variant, options)
        for name, kind in parts_of("base", folder).items()
        if has_weights(folder / name) and _is_encoder(kind)
    }


def load_part(
    source: str, name: str, kind: Sequence[str], variant: str | None, options: Mapping[str, Any]
) -> Any:
    """Return a part of a saved pipeline, a folder or a model of the hub, by its library and class;
    one that a folder has without the variant is loaded as it is.

    Raises ValueError where it is transformers', and lacks weights or has others.
    """
    folder = Path(source, name)
    own = variant_in(folder, variant) if folder.is_dir() else variant
    given = {"subfolder": name, "variant": own, "use_safetensors": True, **options}
    if not _is_encoder(kind):
        return class_of(*kind).from_pretrained(source, **given)
    try:
        part, found = class_of(*kind).from_pretrained(source, output_loading_info=True, **given)
    except RuntimeError as error:
        if _MISFIT not in str(error):
            raise
        raise ValueError(f"its {name} has weights of other shapes than its config.json") from error
    if missing := sorted(found["missing_keys"]):
        raise ValueError(lacking(name, missing))
    return part


def class_of(library: str, name: str) -> Any:
    """Return the class of a saved pipeline's part, which may be one of diffusers' pipelines'."""
    from diffusers import pipelines

    there = getattr(pipelines, library, None) or importlib.import_module(library)
    return getattr(there, name)


def _is_encoder(kind: Sequence[str]) -> bool:
    """Return whether a part is a model of transformers, or made as one."""
    from transformers import PreTrainedModel

    return issubclass(class_of(*kind), PreTrainedModel)
