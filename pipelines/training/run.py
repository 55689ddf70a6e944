"""One attribute's training as a Ray Train run that resumes by its name, and what it leaves."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    UserCallback,
    WorkerGroupError,
)
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from fairgen.adapters import WEIGHTS
from pipelines.files import write
from pipelines.ray_runtime import free_reservation, is_local, is_loss, parallel_jobs, reason_of
from pipelines.recipe import Recipe
from pipelines.registry import TrainedAttribute
from pipelines.training.checkpoints import newest_whole
from pipelines.training.job import TrainingJob, ray_loop

_CHECKPOINTS_KEPT = 2
_MARKER = "finished.json"
_RAYS_OWN = "checkpoint_manager_snapshot.json"
log = logging.getLogger(__name__)


class ReportProgress(UserCallback):
    """Posts the first worker's metrics to the board whenever all workers have reported."""

    def __init__(self, board: ray.actor.ActorHandle, job: str) -> None:
        self._board, self._job = board, job

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        self._board.post.remote(self._job, metrics[0])


class _Trainer(TorchTrainer):
    """Ray's, without processes of 200 MB that have nothing to do: one shares out a job's datasets,
    of which there are none; one frees what a lost controller has reserved, once the cluster's
    dashboard says that it is lost, and a local cluster has no dashboard.
    """

    def _create_default_callbacks(self) -> list[Any]:
        """Return what watches over the workers."""
        callbacks = super()._create_default_callbacks()
        idle = DatasetsCallback | PlacementGroupCleanerCallback if is_local() else DatasetsCallback
        return [found for found in callbacks if not isinstance(found, idle)]


def fit(
    job: TrainingJob,
    storage: Path,
    callbacks: Sequence[ReportProgress] = (),
    say: Callable[[str], object] = lambda _: None,
) -> TrainedAttribute:
    """Train one attribute on the open cluster, from the newest whole checkpoint if an earlier run
    left one.

    Ray Train begins lost workers again; should it be lost itself, as when memory runs out, it is
    begun again here, as often as the recipe allows, which `say` tells. Raises
    ray.train.TrainingFailedError, or Ray's own error, when the job failed more often.
    """
    recipe = job.recipe
    folder = storage / run_name(recipe, job.attribute, joint_round=bool(job.peers))
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for left in reversed(range(recipe.jobs.max_failures + 1)):
        try:
            _run_once(job, folder, callbacks)
            break
        except (TrainingFailedError, RayError) as error:
            free_reservation(folder)  # for the other jobs, too
            of_workers = isinstance(error, WorkerGroupError)  # which Ray has counted
            if of_workers or not is_loss(error) or not left:
                raise
            latest = newest_whole(folder)
            say(
                f"{job.attribute}: training was lost: {reason_of(error)}. It goes on from update "
                f"{latest.step if latest else 0}; {left - 1} more such losses are allowed."
            )
    last = newest_whole(folder)
    if last is None or last.step < job.discovery.num_updates:
        raise RuntimeError(f"{folder}: training has ended and left no whole checkpoint of its end")
    shutil.copytree(last.folder / "adapters", folder / "adapters", dirs_exist_ok=True)
    trained = TrainedAttribute(
        folders=_adapters(recipe, job.attribute, folder),
        training_seconds=round(time.monotonic() - started, 1),
        denoiser_rows=int(last.metrics["denoiser_rows"]),
    )
    write(folder / _MARKER, trained.model_dump_json(indent=2, exclude={"folders"}))
    return trained


def _adapters(recipe: Recipe, attribute: str, folder: Path) -> tuple[Path, ...]:
    """Return the folders of a finished run's adapters below its own, wherever that lies today."""
    return tuple(folder / "adapters" / name for name in recipe.adapter_names(attribute))


def _run_once(job: TrainingJob, folder: Path, callbacks: Sequence[ReportProgress]) -> None:
    """Run Ray Train until it ends or is lost."""
    settings, gpus = job.recipe.jobs, gpus_per_worker(job.recipe)
    (folder / _RAYS_OWN).unlink(missing_ok=True)  # it may be cut short, and may name what is gone
    free_reservation(folder)  # of a run that was killed before
    _Trainer(
        ray_loop,
        train_loop_config={"job": job, "run": folder},
        scaling_config=ScalingConfig(
            num_workers=num_workers_of(job, folder),
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": settings.cpus_per_worker}
            | ({"GPU": gpus} if gpus else {}),
        ),
        run_config=RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            callbacks=list(callbacks),
            failure_config=FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=_CHECKPOINTS_KEPT),
        ),
    ).fit()


def find_trained(
    recipe: Recipe, attribute: str, storage: Path, joint_round: bool = False
) -> TrainedAttribute | None:
    """Return what a finished run of the same recipe hash and round left; None where there is none,
    or not all of it any more, which is then trained again from its newest checkpoint.
    """
    folder = storage / run_name(recipe, attribute, joint_round)
    marker, adapters = folder / _MARKER, _adapters(recipe, attribute, folder)
    if not marker.exists():
        return None
    try:
        content = json.loads(marker.read_text())
        found = TrainedAttribute.model_validate({**content, "folders": adapters})
    except (ValueError, TypeError) as error:
        log.warning("%s is damaged, and made again: %s", marker, error)
        return None
    if lost := [path for path in adapters if not (path / WEIGHTS).is_file()]:
        log.warning("%s is gone, and trained again", lost[0])
        return None
    return found


def find_finished(recipe: Recipe, attribute: str, storage: Path) -> TrainedAttribute | None:
    """Return the adapters of the recipe's last round, with the cost of all its rounds, or None."""
    first = find_trained(recipe, attribute, storage)
    if recipe.num_rounds == 1 or first is None:
        return first
    last = find_trained(recipe, attribute, storage, joint_round=True)
    return last and last.model_copy(
        update={
            "training_seconds": round(first.training_seconds + last.training_seconds, 1),
            "denoiser_rows": first.denoiser_rows + last.denoiser_rows,
        }
    )


def run_name(recipe: Recipe, attribute: str, joint_round: bool = False) -> str:
    """Return the name under which Ray Train finds its checkpoints again: another recipe hash is
    another run.
    """
    name = f"{recipe.name}-{attribute}-{recipe.recipe_hash[:8]}"
    return f"{name}-joint" if joint_round else name


def num_workers_of(job: TrainingJob, run: Path | None = None) -> int:
    """Return how many workers a job takes: more than the recipe's `num_workers` only from cores
    that the cluster has, and no more than have left a state to go on from in the folder of `run`.
    """
    settings, gpus = job.recipe.jobs, gpus_per_worker(job.recipe)
    count = settings.num_workers
    if not gpus and job.num_workers > count:
        fits = parallel_jobs(1, settings.cpus_per_worker, gpus)
        count = max(count, min(job.num_workers, fits))
    begun = newest_whole(run) if run is not None else None
    return min(count, begun.num_workers) if begun else count


def gpus_per_worker(recipe: Recipe) -> float:
    """Return the share of a GPU that each worker takes; 0 without one."""
    settings = recipe.jobs
    wanted = (
        bool(ray.cluster_resources().get("GPU")) if settings.use_gpu == "auto" else settings.use_gpu
    )
    return settings.gpus_per_worker if wanted else 0
