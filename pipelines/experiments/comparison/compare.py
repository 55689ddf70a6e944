"""Compare FairGen with its rivals: each learns, has its knob set, and paints the same prompts.

Every step leaves a file under the comparison's folder; a run that was cut goes on from there.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from rich.console import Console

from fairgen.baselines.system import System
from pipelines.experiments.comparison.comparison import Comparison, compared
from pipelines.experiments.comparison.conditions import PLAIN, eval_conditions
from pipelines.experiments.comparison.report import write_comparison
from pipelines.experiments.comparison.systems import (
    BASE,
    COMPARED_SYSTEMS,
    ComparisonWorker,
    calibration_paths,
    score_path,
    sweep_point_path,
    system_folder,
)
from pipelines.ray_runtime.progress import ProgressView
from pipelines.ray_runtime.resumable import Step, actor_pool, results_key, run_steps
from pipelines.ray_runtime.session import cluster_session
from pipelines.recipe.evaluation_config import ComparisonSize
from pipelines.recipe.recipe import Recipe
from pipelines.training.train_all import finished_training


def compare(recipe: Recipe, full: bool, home: Path, report: Path, console: Console) -> Comparison:
    """Compare every contender with the adapters that `train-all` has finished under `home`.

    Raises ValueError when they are missing, or the recipe has no `comparison`.
    """
    if recipe.comparison is None:
        raise ValueError("comparison: got none in the recipe, needed are sweep, quick and full")
    size = recipe.comparison.full if full else recipe.comparison.quick
    trained = finished_training(recipe, home)
    own_rows = sum(found.denoiser_rows for found in trained.values())
    max_rows = int(size.training_share * own_rows)
    adapters = [path for found in trained.values() for path in found.folders]
    folder = home.resolve() / "compare" / _key(recipe, size)
    with cluster_session(), ProgressView(console).open() as view:
        studios = actor_pool(ComparisonWorker, recipe, adapters, own_rows, max_rows, folder)
        systems = list(dict.fromkeys(contender.system for contender in COMPARED_SYSTEMS))
        run_steps(studios, "learn", view, _baseline_tasks(systems, folder))
        run_steps(studios, "sweep", view, _sweep_points(systems, folder))
        run_steps(studios, "calibrate", view, _calibrations(recipe, folder))
        for stage, steps in _paintings(recipe, size, folder).items():
            run_steps(studios, stage, view, steps)
    comparison = compared(recipe, folder)
    write_comparison(comparison, eval_conditions(recipe), folder, report)
    return comparison


def _key(recipe: Recipe, size: ComparisonSize) -> str:
    """Return a folder's name: another for whatever else would lead to other figures."""
    sections = ("judge", "concepts", "generation", "evaluation", "comparison")
    return f"{recipe.name}-{size.num_images}-{results_key(recipe, sections, size)}"


def _baseline_tasks(systems: Sequence[type[System]], folder: Path) -> list[Step]:
    """Return the trainings, those that take long first."""
    ordered = sorted(systems, key=lambda system: "train" not in vars(system))
    return [
        Step(system_folder(folder, system) / "cost.json", "learn", (system,)) for system in ordered
    ]


def _sweep_points(systems: Sequence[type[System]], folder: Path) -> list[Step]:
    return [
        Step(sweep_point_path(folder, system, setting), "sweep", (system, setting))
        for system in systems
        if system.knob
        for setting in system.settings
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
    """Return the paintings by stage: what others are compared with comes first."""
    stages: dict[str, list[Step]] = {}
    for condition in (PLAIN, *eval_conditions(recipe)):
        plain = condition == PLAIN
        concepts = recipe.evaluation.full.concepts if plain else condition.concepts
        for contender, concept in product(COMPARED_SYSTEMS, concepts):
            same_base = contender == BASE and condition.reference_condition == PLAIN
            if not plain and (same_base or not contender.everywhere):
                continue
            kind = "base" if contender == BASE else "contenders" if plain else "conditions"
            path = score_path(folder, condition, contender.name, concept)
            arguments = (contender, condition, concept, size.num_images)
            stages.setdefault(f"paint {kind}", []).append(Step(path, "paint", arguments))
    return stages
