"""Compare FairGen with its rivals: each learns, has its knob set, and paints the same prompts.

Every step leaves a file under the comparison's folder; a run that was cut goes on from there.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import ray
from ray.util import ActorPool
from rich.console import Console

from fairgen.baselines.system import System
from pipelines.cluster_session import cluster_session
from pipelines.comparison import Comparison, compared
from pipelines.comparison_report import write_comparison
from pipelines.conditions import PLAIN, conditions_of
from pipelines.contenders import (
    BASE,
    CONTENDERS,
    Studio,
    calibration_paths,
    score_path,
    system_folder,
    trial_path,
)
from pipelines.measuring import ComparisonSize
from pipelines.progress import ProgressView
from pipelines.recipe import Recipe
from pipelines.train_all import finished_training


@dataclass(frozen=True)
class Job:
    """One step: the file that it leaves, and the studio's method that makes it."""

    path: Path
    method: str
    arguments: tuple[object, ...]


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
        cores = int(ray.cluster_resources().get("GPU", 0) or ray.cluster_resources()["CPU"])
        num_gpus = 1 if ray.cluster_resources().get("GPU") else 0
        studio = ray.remote(Studio).options(num_cpus=1, num_gpus=num_gpus)
        studios = ActorPool(
            [studio.remote(recipe, adapters, own_rows, max_rows, folder) for _ in range(cores)]
        )
        systems = list(dict.fromkeys(contender.system for contender in CONTENDERS))
        _run(studios, "learn", view, _lessons(systems, folder))
        _run(studios, "sweep", view, _trials(systems, folder))
        _run(studios, "calibrate", view, _calibrations(recipe, folder))
        for stage, jobs in _paintings(recipe, size, folder).items():
            _run(studios, stage, view, jobs)
    comparison = compared(recipe, folder)
    write_comparison(comparison, conditions_of(recipe), folder, report)
    return comparison


def _key(recipe: Recipe, size: ComparisonSize) -> str:
    """Return a folder's name: another for whatever else would lead to other figures."""
    settings = recipe.model_dump(
        mode="json", include={"judge", "concepts", "generation", "evaluation", "comparison"}
    )
    text = json.dumps([recipe.recipe_hash, size.model_dump(), settings], sort_keys=True)
    return f"{recipe.name}-{size.num_images}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _lessons(systems: Sequence[type[System]], folder: Path) -> list[Job]:
    """Return the trainings, those that take long first."""
    ordered = sorted(systems, key=lambda system: "train" not in vars(system))
    return [
        Job(system_folder(folder, system) / "cost.json", "learn", (system,)) for system in ordered
    ]


def _trials(systems: Sequence[type[System]], folder: Path) -> list[Job]:
    return [
        Job(trial_path(folder, system, setting), "sweep", (system, setting))
        for system in systems
        if system.knob
        for setting in system.settings
    ]


def _calibrations(recipe: Recipe, folder: Path) -> list[Job]:
    assert recipe.comparison is not None
    size = recipe.comparison.calibration
    paths = calibration_paths(recipe, folder)
    return [
        Job(path, "calibrate", (concept, size.num_images))
        for path, concept in zip(paths, size.concepts, strict=True)
    ]


def _paintings(recipe: Recipe, size: ComparisonSize, folder: Path) -> dict[str, list[Job]]:
    """Return the paintings by stage: what others are compared with comes first."""
    stages: dict[str, list[Job]] = {}
    for condition in (PLAIN, *conditions_of(recipe)):
        plain = condition == PLAIN
        concepts = recipe.evaluation.full.concepts if plain else condition.concepts
        for contender, concept in product(CONTENDERS, concepts):
            same_base = contender == BASE and condition.of_base == PLAIN
            if not plain and (same_base or not contender.everywhere):
                continue
            kind = "base" if contender == BASE else "contenders" if plain else "conditions"
            path = score_path(folder, condition, contender.name, concept)
            arguments = (contender, condition, concept, size.num_images)
            stages.setdefault(f"paint {kind}", []).append(Job(path, "paint", arguments))
    return stages


def _run(studios: ActorPool, stage: str, view: ProgressView, jobs: Sequence[Job]) -> None:
    """Run what has not left its file yet, as many at once as there are studios."""
    left = [job for job in jobs if not job.path.exists()]
    done = len(jobs) - len(left)
    view.show(stage, done, len(jobs), "of an earlier run" if done else "")
    for _ in studios.map_unordered(
        lambda studio, job: getattr(studio, job.method).remote(*job.arguments), left
    ):
        done += 1
        view.show(stage, done, len(jobs))
