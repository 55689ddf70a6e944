"""What can be said of a recipe's models before any of them is loaded: seconds, not minutes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairgen.sampling import most_steps
from pipelines.recipe.loading import LoadingConfig, check_form, check_loading
from pipelines.recipe.loras import check_loras
from pipelines.recipe.models import SCHEDULERS, judge_root
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.sections import GenerationConfig
from pipelines.recipe.weights import check_unscaled, parts_of, variant_of

_INDEX = "model_index.json"
_ANSWER_S = 4


def check_models(recipe: Recipe, ask_hub: bool = True) -> None:
    """Raise ValueError where the base model or a judge is missing, or not all of it is there.

    A base that is no folder is looked for in the hub's cache, and with `ask_hub` on the hub.
    """
    _check_base(recipe, ask_hub)
    check_loading(recipe.loading)
    check_loras(recipe.generation.loras)
    concepts = (*recipe.concepts.train, *recipe.concepts.held_out)
    recipe.judge.check(judge_root(recipe.judge), recipe.attributes, concepts)
    if (second := recipe.second_judge) is not None:  # it names attributes alone
        second.check(judge_root(second), recipe.attributes)


def _check_base(recipe: Recipe, ask_hub: bool) -> None:
    loading = recipe.loading
    check_form(recipe.base, recipe.base_path, loading)
    field, base = "base", recipe.base
    if loading.config is not None:  # of a base that is one file
        field, base = "loading.config", loading.config
    folder = Path(loading.config_path or recipe.base_path)
    if not folder.is_dir():
        if ask_hub:
            _ask_hub(field, base, loading)
        return
    named = f"{field}: got {base!r}"
    parts = parts_of(named, folder)
    variant_of(named, folder, loading.variant)
    check_unscaled(named, folder)
    if "scheduler" in parts:
        file = folder / "scheduler" / "scheduler_config.json"
        try:
            saved = json.loads(file.read_text())
            _ = saved["_class_name"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{field}: {file} cannot be read: {error}") from error
        _check_scheduler(recipe.generation, saved)


def _check_scheduler(generation: GenerationConfig, saved: Mapping[str, Any]) -> None:
    """Raise ValueError where the base was saved with a scheduler that the engine does not follow:
    its fields are looked at when the engine starts. Also for more steps than the one has that the
    recipe paints with.
    """
    got = SCHEDULERS.get(generation.scheduler, saved["_class_name"])
    most = most_steps(got, saved)
    if most is not None and generation.steps > most:
        raise ValueError(
            f"generation.steps: got {generation.steps}, allowed are at most {most} with {got}"
        )
    if generation.scheduler != "own":
        return
    from fairgen.solvers import SCHEDULER_FIELDS  # imports diffusers

    allowed = [kind.__name__ for kind in SCHEDULER_FIELDS]
    if got not in allowed:
        raise ValueError(
            f"generation.scheduler: got 'own', which is {got}, allowed is one of {allowed}, or "
            "another value of the field, which takes its place"
        )


def _ask_hub(field: str, base: str, loading: LoadingConfig) -> None:
    """Ask once, and not for long: a download would ask again for half a minute, line by line."""
    from huggingface_hub import (
        constants,
        get_hf_file_metadata,
        hf_hub_url,
        try_to_load_from_cache,
    )

    if isinstance(try_to_load_from_cache(base, _INDEX, revision=loading.revision), str):
        return
    if loading.local_files_only or constants.HF_HUB_OFFLINE:
        raise ValueError(
            f"{field}: got {base!r}, which is no folder and not in the hub's cache here"
        )
    try:
        # of a file: what is said of a gated model itself is open to everybody
        get_hf_file_metadata(hf_hub_url(base, _INDEX, revision=loading.revision), timeout=_ANSWER_S)
    except Exception as error:  # its HTTP client's errors have no common base with its own
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{field}: got {base!r}, which is no folder and cannot be had from the hub: {reason}"
        ) from error
