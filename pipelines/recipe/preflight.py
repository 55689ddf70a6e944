"""What can be said of a recipe's models before any of them is loaded: seconds, not minutes."""

import json
from pathlib import Path

from pipelines.recipe.loading import ALLOWED_BASES
from pipelines.recipe.models import judge_root
from pipelines.recipe.recipe import Recipe

_INDEX = "model_index.json"


def check_models(recipe: Recipe, ask_hub: bool = True) -> None:
    """Raise ValueError where the base model or a judge is missing, or not all of it is there.

    Of a base on the hub the index is asked for, which the download of the model needs, too.
    """
    _check_base(recipe, ask_hub)
    for config in (recipe.judge, recipe.second_judge):
        if config is not None:
            config.check(judge_root(config), recipe.attributes)


def _check_base(recipe: Recipe, ask_hub: bool) -> None:
    folder = Path(recipe.base_path)
    if not folder.is_dir():
        if recipe.base.count("/") != 1 or recipe.base.startswith((".", "/", "~")):
            raise ValueError(f"base: got {recipe.base!r}, which is no folder; {ALLOWED_BASES}")
        if ask_hub:
            _ask_hub(recipe)
        return
    index = folder / _INDEX
    if not index.is_file():
        raise ValueError(f"base: got {recipe.base!r}, a folder without {_INDEX}; {ALLOWED_BASES}")
    try:
        parts = json.loads(index.read_text())
        needed = [name for name, kind in parts.items() if isinstance(kind, list) and kind[0]]
    except (ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"base: {index} cannot be read: {error}") from error
    if missing := sorted(name for name in needed if not (folder / name).is_dir()):
        raise ValueError(f"base: got {recipe.base!r}, which lacks the folders {missing}")


def _ask_hub(recipe: Recipe) -> None:
    from huggingface_hub import hf_hub_download

    loading = recipe.loading
    try:
        hf_hub_download(
            recipe.base,
            _INDEX,
            revision=loading.revision,
            local_files_only=loading.local_files_only,
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"base: got {recipe.base!r}, which is no folder and cannot be had from the hub: "
            f"{reason}"
        ) from error
