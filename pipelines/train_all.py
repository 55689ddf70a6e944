"""The main workflow: train the adapters of every attribute in parallel, evaluate, register.

One Ray Train job per attribute trains all of its categories. What a killed run had finished is
skipped by the next, what it had begun goes on from its last checkpoint; both are found by the
recipe's hash.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ray
from rich.console import Console

from pipelines.cluster_session import cluster_session, parallel_jobs
from pipelines.evaluate import evaluate
from pipelines.evaluation import Evaluation
from pipelines.progress import PostToBoard, ProgressView, open_board, watch
from pipelines.recipe import EvaluationSize, Recipe
from pipelines.registry import RegisteredAdapter, Registry
from pipelines.tracking_server import tracking_server
from pipelines.training_job import TrainingJob
from pipelines.training_run import TrainedAttribute, find_trained, fit, gpus_per_worker


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: the trained adapters, what was measured, and what was registered."""

    trained: Mapping[str, TrainedAttribute]
    evaluation: Evaluation | None
    registered: list[RegisteredAdapter]


def train_all(
    recipe: Recipe, size: EvaluationSize | None, home: Path, report: Path, console: Console
) -> Outcome:
    """Train, evaluate and register; `size` None leaves the evaluation out, and then nothing becomes
    champion.

    `home` keeps checkpoints and the local MLflow store, `report` receives figures and pictures.
    Raises RuntimeError that names the attributes whose job failed; the others are kept, and the
    same command goes on from there.
    """
    with (
        tracking_server(home) as tracking_uri,
        cluster_session(),
        Registry(tracking_uri, recipe) as registry,
        ProgressView(console).open() as view,
    ):
        trained = train_attributes(recipe, registry, home, view)
        return _measure_and_register(recipe, trained, size, registry, report, view)


def evaluate_trained(recipe: Recipe, home: Path, report: Path, console: Console) -> Outcome:
    """Measure finished adapters over the recipe's full prompt set and let the thresholds decide who
    is champion.

    Raises ValueError when an attribute's training has not finished under `home`.
    """
    found = {a.name: find_trained(recipe, a.name, _storage(home)) for a in recipe.attributes}
    trained = {name: adapters for name, adapters in found.items() if adapters is not None}
    if missing := sorted(set(found) - set(trained)):
        raise ValueError(
            f"attributes: got no finished training of {missing} for hash {recipe.recipe_hash} "
            f"under {_storage(home)}; allowed are recipes that train-all has finished"
        )
    with (
        tracking_server(home) as tracking_uri,
        cluster_session(),
        Registry(tracking_uri, recipe) as registry,
        ProgressView(console).open() as view,
    ):
        return _measure_and_register(
            recipe, trained, recipe.evaluation.full, registry, report, view
        )


def train_attributes(
    recipe: Recipe, registry: Registry, home: Path, view: ProgressView
) -> dict[str, TrainedAttribute]:
    """Run one training job per unfinished attribute, as many at once as the cluster holds."""
    storage = _storage(home)
    trained: dict[str, TrainedAttribute] = {}
    for attribute in recipe.attributes:
        if found := find_trained(recipe, attribute.name, storage):
            trained[attribute.name] = found
            view.show(attribute.name, 1, 1, "trained by an earlier run")
    names = [attribute.name for attribute in recipe.attributes if attribute.name not in trained]
    if not names:
        return trained

    board = open_board()
    jobs = recipe.jobs
    executor = ThreadPoolExecutor(
        parallel_jobs(jobs.num_workers, jobs.cpus_per_worker, gpus_per_worker(recipe))
    )
    futures: dict[str, Future[TrainedAttribute]] = {}
    try:
        for name in names:
            job = TrainingJob(recipe, name, registry.tracking_uri, registry.open_job(name))
            futures[name] = executor.submit(fit, job, storage, [PostToBoard(board, name)])
        totals = {name: recipe.discovery_of(name).num_updates for name in names}
        watch(board, totals, futures.values(), view)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        ray.kill(board)

    failed = {name: error for name, future in futures.items() if (error := future.exception())}
    for name in names:
        registry.close_job(name, name not in failed)
    if failed:
        causes = "\n".join(f"{name}: {error}" for name, error in failed.items())
        raise RuntimeError(
            f"training failed for {sorted(failed)}; the same command goes on from there\n{causes}"
        )
    return trained | {name: future.result() for name, future in futures.items()}


def _measure_and_register(
    recipe: Recipe,
    trained: Mapping[str, TrainedAttribute],
    size: EvaluationSize | None,
    registry: Registry,
    report: Path,
    view: ProgressView,
) -> Outcome:
    evaluation = None
    if size is not None:
        folders = [folder for attribute in trained.values() for folder in attribute.folders]
        evaluation = evaluate(recipe, folders, size, report, view.show)
        registry.log_evaluation(evaluation, report)
    registered = [
        version
        for attribute in recipe.attributes
        for version in registry.register_adapter_set(attribute, trained[attribute.name], evaluation)
    ]
    return Outcome(trained, evaluation, registered)


def _storage(home: Path) -> Path:
    return home.resolve() / "runs"
