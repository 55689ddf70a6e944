"""Measure what each setting of discovery is worth: one changed at a time, and the rows to a hit
rate.

Every step leaves a file under the ablation's folder; a run that was cut goes on from there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from fairgen.discovery import DiscoveryConfig
from pipelines.experiments.ablation.report import write_ablation
from pipelines.experiments.ablation.results import (
    OWN,
    Ablation,
    Curve,
    Variant,
    curve_path,
    variant_path,
)
from pipelines.experiments.ablation.worker import AblationWorker, changed
from pipelines.ray_runtime import (
    ProgressView,
    Step,
    actor_pool,
    cluster_session,
    results_key,
    run_steps,
)
from pipelines.recipe import AblationConfig, Recipe
from pipelines.training import finished_training


def ablate(recipe: Recipe, home: Path, report: Path, console: Console) -> Ablation:
    """Train and measure every variant, and both curves; writes `ablation.json` and its plot.

    Raises ValueError when the recipe has no `ablation`, or its training has not finished: the
    orthogonality term needs the other attributes' adapters.
    """
    if recipe.ablation is None:
        raise ValueError("ablation: got none in the recipe, needed are attribute and settings")
    config = recipe.ablation
    others = [
        folder
        for name, trained in finished_training(recipe, home).items()
        if name != config.attribute
        for folder in trained.folders
    ]
    changes = _changes(config, recipe.discovery_of(config.attribute))
    folder = home.resolve() / "ablation" / _run_name(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    with cluster_session(), ProgressView(console).open() as view:
        workers = actor_pool(AblationWorker, recipe, others, folder)
        steps = [Step(curve_path(folder, "official"), "learn")]  # the longest first
        steps += [Step(variant_path(folder, *change), "vary", change) for change in changes]
        run_steps(workers, "ablation", view, steps)
    ablation = Ablation(
        recipe=recipe.name,
        recipe_hash=recipe.recipe_hash,
        attribute=config.attribute,
        num_images=config.sample.num_images,
        concepts=list(config.sample.concepts),
        variants=[
            Variant.model_validate_json(variant_path(folder, *change).read_text())
            for change in changes
        ],
        learning=config.learning,
        hit_rate=config.hit_rate,
        curves={
            name: Curve.model_validate_json(curve_path(folder, name).read_text())
            for name in ("fairgen", "official")
        },
    )
    write_ablation(ablation, report)
    return ablation


def _changes(config: AblationConfig, own: DiscoveryConfig) -> Sequence[tuple[str, Any]]:
    """Return the recipe's own settings first, then one change a variant; a value that the recipe
    has itself is none.
    """
    tried = ((group, value) for group, values in config.settings.items() for value in values)
    return [(OWN, ""), *(change for change in tried if changed(own, *change) != own)]


def _run_name(recipe: Recipe) -> str:
    """Return a folder's name: another for whatever else would lead to other figures."""
    key = results_key(recipe, ("judge", "generation", "evaluation", "ablation"))
    return f"{recipe.name}-{key}"
