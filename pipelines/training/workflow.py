"""The main workflow: train the adapters of every attribute in parallel, evaluate, register.

One Ray Train job per attribute trains all of its categories. What a killed run had finished is
skipped by the next, what it had begun goes on from its last checkpoint; both are found by the
recipe's hash.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import ray
from rich.console import Console

from pipelines.evaluation import Evaluation, evaluate, fit_strengths, strength_table
from pipelines.ray_runtime import (
    ProgressView,
    check_jobs,
    check_shared,
    cluster_nodes,
    cluster_session,
    open_progress_actor,
    parallel_jobs,
    reason_of,
    watch,
)
from pipelines.recipe import EvaluationSize, Recipe
from pipelines.registry import (
    ChampionSet,
    RegisteredAdapter,
    Registry,
    TrainedAttribute,
    TrainingRuns,
    check_answers,
    starting_server,
)
from pipelines.training.checkpoints import damaged, newest_whole
from pipelines.training.fetched import scratch_folder
from pipelines.training.job import TrainingJob
from pipelines.training.run import (
    ReportProgress,
    find_finished,
    find_trained,
    fit,
    gpus_per_worker,
    num_workers_of,
    run_name,
)


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
    same command goes on from there. Raises ValueError for jobs that the cluster cannot hold.
    """
    with _at_work(recipe, home, console) as (runs, view):
        check_jobs(recipe.jobs, cluster_nodes(), gpus_per_worker(recipe))
        trained = train_attributes(recipe, runs, home, view)
        return _measure_and_register(recipe, trained, size, runs, report, view)


def evaluate_trained(recipe: Recipe, home: Path, report: Path, console: Console) -> Outcome:
    """Measure finished adapters over the recipe's full prompt set and let the thresholds decide who
    is champion.

    Raises ValueError when an attribute's training has not finished under `home`.
    """
    trained = finished_training(recipe, home)
    with _at_work(recipe, home, console) as (runs, view):
        return _measure_and_register(recipe, trained, recipe.evaluation.full, runs, report, view)


def evaluate_candidates(recipe: Recipe, home: Path, report: Path, console: Console) -> Outcome:
    """Measure the registry's candidates, trained here or brought from elsewhere, over the recipe's
    full prompt set, and let the thresholds decide who is champion.

    Raises ValueError when an attribute has no complete set of candidates.
    """
    with (
        _at_work(recipe, home, console) as (runs, view),
        scratch_folder(home) as scratch,
    ):
        registry = runs.registry
        trained = _fetched(recipe, registry, registry.candidates(), "candidates", scratch)
        return _measure_and_register(recipe, trained, recipe.evaluation.full, runs, report, view)


def evaluate_champions(recipe: Recipe, home: Path, report: Path, console: Console) -> Outcome:
    """Measure the registry's champions on the recipe's base model, which may be a sibling of the
    one that they were learnt on, and register nothing.

    Raises ValueError when an attribute has no complete set of champions, or the base model is of
    another structure than theirs.
    """
    loading = recipe.loading.model_copy(update={"siblings": True})
    recipe = recipe.model_copy(update={"loading": loading})
    with (
        _cluster(home) as tracking_uri,
        ProgressView(console).open() as view,
        scratch_folder(home) as scratch,
    ):
        registry = Registry(tracking_uri, recipe)
        trained = _fetched(recipe, registry, registry.champions(), "champions", scratch)
        folders = [folder for attribute in trained.values() for folder in attribute.folders]
        evaluation = evaluate(recipe, folders, recipe.evaluation.full, report, view.show)
        return Outcome(trained, evaluation, [])


def fit_champions(
    recipe: Recipe, source: Recipe, home: Path, report: Path, console: Console
) -> Outcome:
    """Fit the champions of `source` in strength to the base model of `recipe`, one that was
    fine-tuned from theirs, and measure them there over the recipe's full prompt set. They are
    registered, and promoted by its thresholds, where the recipe has a name of its own in the
    registry; else it is the source's base that its name stands for, and nothing is.

    Raises ValueError when the source has no complete set of champions for an attribute of the
    recipe, or the base model is of another structure than theirs.
    """
    with (
        _cluster(home) as tracking_uri,
        ProgressView(console).open() as view,
        scratch_folder(home) as scratch,
    ):
        registry = Registry(tracking_uri, source)
        found = _fetched(recipe, registry, registry.champions(), "champions", scratch / "learnt")
        into = {
            folder: scratch / "fitted" / folder.relative_to(scratch / "learnt")
            for attribute in found.values()
            for folder in attribute.folders
        }
        console.print(strength_table(fit_strengths(recipe, into, view.show)))
        fitted = {
            name: attribute.model_copy(
                update={"folders": tuple(into[f] for f in attribute.folders)}
            )
            for name, attribute in found.items()
        }
        size = recipe.evaluation.full
        if recipe.registry.prefix == source.registry.prefix:
            return Outcome(fitted, evaluate(recipe, [*into.values()], size, report, view.show), [])
        with TrainingRuns(tracking_uri, recipe) as runs:
            return _measure_and_register(recipe, fitted, size, runs, report, view)


@contextmanager
def _at_work(
    recipe: Recipe, home: Path, console: Console
) -> Iterator[tuple[TrainingRuns, ProgressView]]:
    """Yield the recipe's runs, its own one open, and a view of what goes on."""
    with (
        _cluster(home) as tracking_uri,
        TrainingRuns(tracking_uri, recipe) as runs,
        ProgressView(console).open() as view,
    ):
        yield runs, view


@contextmanager
def _cluster(home: Path) -> Iterator[str]:
    """Yield the tracking URI while a cluster is open, whose nodes reach registry and storage."""
    with starting_server(home) as address, cluster_session():
        check_answers(tracking_uri := address())
        check_shared(home)
        yield tracking_uri


def train_attributes(
    recipe: Recipe, runs: TrainingRuns, home: Path, view: ProgressView
) -> dict[str, TrainedAttribute]:
    """Run one training job per attribute; where the recipe has a joint round, then one more each,
    in the recipe's stages.
    """
    run_ids = {a.name: runs.open_job(a.name) for a in recipe.attributes}
    jobs = [TrainingJob(recipe, name, runs.tracking_uri, id) for name, id in run_ids.items()]
    try:
        trained = _train_round(jobs, home, view)
        for stage in recipe.stages if recipe.num_rounds == 2 else ():
            members = [_with_peers(job, trained) for job in jobs if job.attribute in stage]
            trained |= _train_round(members, home, view)
    finally:
        finished = _finished(recipe, home)
        for name in run_ids:
            runs.close_job(name, finished=name in finished)
    return finished


def finished_training(recipe: Recipe, home: Path) -> dict[str, TrainedAttribute]:
    """Return every attribute's adapters. Raises ValueError when one's training has not finished."""
    trained = _finished(recipe, home)
    if missing := sorted({a.name for a in recipe.attributes} - set(trained)):
        raise ValueError(
            f"attributes: got no finished training of {missing} for hash {recipe.recipe_hash} "
            f"under {_storage(home)}; allowed are recipes that train-all has finished"
        )
    return trained


def _fetched(
    recipe: Recipe,
    registry: Registry,
    sets: Mapping[str, ChampionSet],
    kind: str,
    into: Path,
) -> dict[str, TrainedAttribute]:
    """Return registered sets as if they had been trained here, downloaded below a folder."""
    if missing := sorted({a.name for a in recipe.attributes} - set(sets)):
        raise ValueError(f"attributes: got no complete set of {kind} of {missing}")
    trained = {}
    for attribute in recipe.attributes:
        name, found = attribute.name, sets[attribute.name]
        if sorted(found.members) != sorted(attribute.names):
            raise ValueError(
                f"{name}: got {kind} of {sorted(found.members)}, allowed are those of "
                f"{sorted(attribute.names)}"
            )
        members = [found.members[category] for category in attribute.names]
        tags = registry.version_tags(members[0])
        trained[name] = TrainedAttribute(
            folders=tuple(registry.download(member, into) for member in members),
            training_seconds=float(tags["training_seconds"]),
            denoiser_rows=int(tags["denoiser_rows"]),
        )
    return trained


def _finished(recipe: Recipe, home: Path) -> dict[str, TrainedAttribute]:
    found = {a.name: find_finished(recipe, a.name, _storage(home)) for a in recipe.attributes}
    return {name: trained for name, trained in found.items() if trained is not None}


def _with_peers(job: TrainingJob, trained: Mapping[str, TrainedAttribute]) -> TrainingJob:
    """Return the job of the joint round: it starts from the first round's adapters, with the newest
    adapters of the other attributes as peers.
    """
    peers = [
        folder
        for name, found in trained.items()
        if name != job.attribute
        for folder in found.folders
    ]
    return replace(job, start=trained[job.attribute].folders, peers=tuple(peers))


def _train_round(
    jobs: Sequence[TrainingJob], home: Path, view: ProgressView
) -> dict[str, TrainedAttribute]:
    """Run the unfinished of a round's jobs, as many at once as the cluster holds.

    Raises RuntimeError that names the attributes whose job failed.
    """
    recipe, storage = jobs[0].recipe, _storage(home)
    joint_round = bool(jobs[0].peers)
    trained: dict[str, TrainedAttribute] = {}
    for job in jobs:
        if found := find_trained(recipe, job.attribute, storage, joint_round):
            trained[job.attribute] = found
            view.show(_label(job), 1, 1, "trained by an earlier run")
    left = [job for job in jobs if job.attribute not in trained]
    left.sort(key=lambda job: -job.discovery.num_updates)  # the longest first: they end together
    if not left:
        return trained

    board = open_progress_actor()
    settings = recipe.jobs
    executor = ThreadPoolExecutor(
        parallel_jobs(num_workers_of(left[0]), settings.cpus_per_worker, gpus_per_worker(recipe))
    )
    futures: dict[str, Future[TrainedAttribute]] = {}
    try:
        for job in left:
            poster = ReportProgress(board, _label(job))
            futures[job.attribute] = executor.submit(fit, job, storage, [poster], view.say)
        totals = {_label(job): job.discovery.num_updates for job in left}
        for job in left:
            view.show(_label(job), *begun(job, storage))
        watch(board, totals, futures.values(), view)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        ray.kill(board)

    failed = {name: error for name, future in futures.items() if (error := future.exception())}
    if failed:
        causes = "\n".join(f"{name}: {reason_of(error)}" for name, error in failed.items())
        raise RuntimeError(
            f"training failed for {sorted(failed)}; the same command goes on from there\n{causes}"
        )
    return trained | {name: future.result() for name, future in futures.items()}


def begun(job: TrainingJob, storage: Path) -> tuple[int, int, str]:
    """Return how far an earlier run of a job has come, of how many updates, and what to say of
    it.
    """
    run = storage / run_name(job.recipe, job.attribute, bool(job.peers))
    latest, unusable = newest_whole(run), damaged(run)
    notes = ["waiting"] + ["goes on"] * (latest is not None)
    if unusable:
        notes.append(f"damaged, not used: {', '.join(folder.name for folder in unusable)}")
    return latest.step if latest else 0, job.discovery.num_updates, "; ".join(notes)


def _label(job: TrainingJob) -> str:
    return f"{job.attribute}, joint round" if job.peers else job.attribute


def _measure_and_register(
    recipe: Recipe,
    trained: Mapping[str, TrainedAttribute],
    size: EvaluationSize | None,
    runs: TrainingRuns,
    report: Path,
    view: ProgressView,
) -> Outcome:
    evaluation = None
    if size is not None:
        folders = [folder for attribute in trained.values() for folder in attribute.folders]
        evaluation = evaluate(recipe, folders, size, report, view.show)
        runs.log_evaluation(evaluation, report)
    registered = [
        version
        for attribute in recipe.attributes
        for version in runs.register_adapter_set(attribute, trained[attribute.name], evaluation)
    ]
    return Outcome(trained, evaluation, registered)


def _storage(home: Path) -> Path:
    return home.resolve() / "runs"
