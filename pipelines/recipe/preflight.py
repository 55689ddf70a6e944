"""What can be said of a recipe's models before any of them is loaded: seconds, not minutes."""

import json
from pathlib import Path

from pipelines.recipe.loading import ALLOWED_BASES, check_loading
from pipelines.recipe.loras import check_loras
from pipelines.recipe.models import judge_root
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.weights import variant_of

_INDEX = "model_index.json"
_ANSWER_S = 4


def check_models(recipe: Recipe, ask_hub: bool = True) -> None:
    """Raise ValueError where the base model or a judge is missing, or not all of it is there.

    A base that is no folder is looked for in the hub's cache, and with `ask_hub` on the hub.
    """
    _check_base(recipe, ask_hub)
    check_loading(recipe.loading)
    check_loras(recipe.generation.loras)
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
    variant_of(recipe.base, folder, recipe.loading.variant)
    if recipe.generation.scheduler == "own" and "scheduler" in needed:
        _check_scheduler(folder / "scheduler" / "scheduler_config.json")


def _check_scheduler(saved: Path) -> None:
    """Raise ValueError where the base was saved with a scheduler that the engine does not follow:
    its fields are looked at when the engine starts.
    """
    from fairgen.solvers import SCHEDULER_FIELDS  # imports diffusers

    try:
        got = json.loads(saved.read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"base: {saved} cannot be read: {error}") from error
    allowed = [kind.__name__ for kind in SCHEDULER_FIELDS]
    if got not in allowed:
        raise ValueError(
            f"generation.scheduler: got 'own', which is {got}, allowed is one of {allowed}, or "
            "another value of the field, which takes its place"
        )


def _ask_hub(recipe: Recipe) -> None:
    """Ask once, and not for long: a download would ask again for half a minute, line by line."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    base, loading = recipe.base, recipe.loading
    if isinstance(try_to_load_from_cache(base, _INDEX, revision=loading.revision), str):
        return
    if loading.local_files_only or constants.HF_HUB_OFFLINE:
        raise ValueError(f"base: got {base!r}, which is no folder and not in the hub's cache here")
    try:
        HfApi().model_info(base, revision=loading.revision, timeout=_ANSWER_S)
    except Exception as error:  # its HTTP client's errors have no common base with its own
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"base: got {base!r}, which is no folder and cannot be had from the hub: {reason}"
        ) from error
