"""Compare FairGen with its rivals: each learns, has its knob set, and paints the same prompts.

Every step leaves a file under the comparison's folder; a run that was cut goes on from there.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from rich.console import Console

from pipelines.experiments.comparison.comparison import Comparison, read_comparison
from pipelines.experiments.comparison.conditions import PLAIN, eval_conditions
from pipelines.experiments.comparison.files import (
    calibration_paths,
    cost_path,
    score_path,
    sweep_point_path,
)
from pipelines.experiments.comparison.report import write_comparison
from pipelines.experiments.comparison.systems import BASE, COMPARED_SYSTEMS
from pipelines.experiments.comparison.worker import ComparisonWorker
from pipelines.experiments.worker import Method
from pipelines.ray_runtime import (
    ProgressView,
    Step,
    actor_pool,
    cluster_session,
    results_key,
    run_steps,
)
from pipelines.recipe import ComparisonSize, Recipe
from pipelines.training import finished_training


def compare(recipe: Recipe, full: bool, home: Path, report: Path, console: Console) -> Comparison:
    """Compare every system with the adapters that `train-all` has finished under `home`.

    Raises ValueError when they are missing, or the recipe has no `comparison`.
    """
    if recipe.comparison is None:
        raise ValueError("comparison: got none in the recipe, needed are sweep, quick and full")
    size = recipe.comparison.full if full else recipe.comparison.quick
    trained = finished_training(recipe, home)
    own_rows = sum(attribute.denoiser_rows for attribute in trained.values())
    max_rows = int(size.training_share * own_rows)
    adapters = [path for attribute in trained.values() for path in attribute.folders]
    folder = home.resolve() / "compare" / run_name(recipe, size)
    with cluster_session(), ProgressView(console).open() as view:
        workers = actor_pool(ComparisonWorker, recipe, adapters, own_rows, max_rows, folder)
        methods = list(dict.fromkeys(compared.method for compared in COMPARED_SYSTEMS))
        run_steps(workers, "learn", view, _trainings(methods, folder))
        run_steps(workers, "sweep", view, _sweep_points(methods, folder))
        run_steps(workers, "calibrate", view, _calibrations(recipe, folder))
        for stage, steps in _paintings(recipe, size, folder).items():
            run_steps(workers, stage, view, steps)
    comparison = read_comparison(recipe, folder)
    write_comparison(comparison, eval_conditions(recipe), folder, report)
    return comparison


def run_name(recipe: Recipe, size: ComparisonSize) -> str:
    """Return a folder's name: another for whatever else would lead to other figures."""
    sections = ("judge", "concepts", "generation", "evaluation", "comparison")
    return f"{recipe.name}-{size.num_images}-{results_key(recipe, sections, size)}"


def _trainings(methods: Sequence[Method], folder: Path) -> list[Step]:
    """Return the trainings, the long ones first."""
    ordered = sorted(methods, key=lambda method: "train" not in vars(method))
    return [Step(cost_path(folder, method), "learn", (method,)) for method in ordered]


def _sweep_points(methods: Sequence[Method], folder: Path) -> list[Step]:
    return [
        Step(sweep_point_path(folder, method, setting), "sweep", (method, setting))
        for method in methods
        if method.knob
        for setting in method.settings
    ]


def _calibrations(recipe: Recipe, folder: Path) -> list[Step]:
    assert recipe.comparison is not None
    size = recipe.comparison.calibration
    paths = calibration_paths(recipe, folder)
    return [
        Step(path, "calibrate", (concept, size.num_images))
        for path, concept in zip(paths, size.concepts, strict=True)
    ]


def _paintings(recipe: Recipe, size: ComparisonSize, folder: Path) -> dict[str, list[Step]]:
    """Return the paintings by stage: the base model comes first, as the others' reference."""
    stages: dict[str, list[Step]] = {}
    for condition in (PLAIN, *eval_conditions(recipe)):
        plain = condition == PLAIN
        concepts = recipe.evaluation.full.concepts if plain else condition.concepts
        for compared, concept in product(COMPARED_SYSTEMS, concepts):
            same_base = compared == BASE and condition.reference_condition == PLAIN
            if not plain and (same_base or not compared.everywhere):
                continue
            kind = "base" if compared == BASE else "contenders" if plain else "conditions"
            path = score_path(folder, condition, compared.name, concept)
            arguments = (compared, condition, concept, size.num_images)
            stages.setdefault(f"paint {kind}", []).append(Step(path, "paint", arguments))
    return stages
