"""One training job: discover the adapters of one attribute. A plain function, and its thin shell
for Ray Train.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fairgen.discovery import DiscoveryConfig, DiscoveryStats
from pipelines.recipe import Recipe, load_learner
from pipelines.training.checkpoints import newest_whole, seal

REPORT_EVERY = 5
Metrics = dict[str, float]
Report = Callable[[Metrics, Path | None], None]


@dataclass(frozen=True)
class TrainingJob:
    """Which attribute of which recipe is trained, and the MLflow run that its curves go to.

    In the joint round `start` holds the attribute's own adapters of the first, `peers` those of the
    others.
    """

    recipe: Recipe
    attribute: str
    tracking_uri: str
    run_id: str
    start: tuple[Path, ...] = ()
    peers: tuple[Path, ...] = ()

    @property
    def discovery(self) -> DiscoveryConfig:
        """How the adapters are learnt in this round."""
        return self.recipe.discovery_of(self.attribute, joint_round=bool(self.peers))

    @property
    def num_workers(self) -> int:
        """The data-parallel workers that the recipe wants in this round."""
        return self.recipe.num_workers_of(self.attribute, joint_round=bool(self.peers))

    @property
    def steps_before(self) -> int:
        """The updates of the round before, which the curves go on from."""
        return self.recipe.discovery_of(self.attribute).num_updates if self.peers else 0


def train_attribute(job: TrainingJob, report: Report, checkpoint: Path | None = None) -> None:
    """Train all categories of the attribute, from the start or from a checkpoint folder of an
    earlier report.

    `report(metrics, folder)` is called every few updates, on every worker at the same ones;
    `folder` holds a checkpoint, in the last report the finished adapters too, and is gone when the
    call returns.
    """
    from accelerate import Accelerator

    from fairgen.adapters import load_adapter, save_adapter
    from fairgen.discovery import Discovery

    recipe, config = job.recipe, job.discovery
    torch.set_num_threads(max(1, int(recipe.jobs.cpus_per_worker)))
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    backbone = load_learner(recipe)
    if recipe.jobs.gradient_checkpointing:
        if not backbone.denoiser._supports_gradient_checkpointing:
            raise ValueError(
                "jobs.gradient_checkpointing: got True, allowed is False: "
                f"{type(backbone.denoiser).__name__} has none"
            )
        backbone.denoiser.enable_gradient_checkpointing()
    peers = [load_adapter(folder, backbone.fingerprint) for folder in job.peers]
    discovery = Discovery(
        backbone,
        recipe.attribute(job.attribute),
        recipe.concepts.train,
        recipe.templates,
        config,
        preserve=recipe.preserve,
        attributes=recipe.attributes,
        start=[load_adapter(folder, backbone.fingerprint) for folder in job.start],
        orthogonal_to=peers if config.orth_weight else (),
        peers=peers,
        accelerator=accelerator,
    )
    state_file = f"state-{accelerator.process_index}.pt"
    if checkpoint is not None:
        discovery.load_state_dict(torch.load(checkpoint / state_file, weights_only=True))

    with tempfile.TemporaryDirectory() as scratch:
        while discovery.step < config.num_updates:
            metrics = _metrics(discovery.update())
            finished = discovery.step == config.num_updates
            if finished or discovery.step % recipe.jobs.checkpoint_every == 0:
                folder = Path(tempfile.mkdtemp(dir=scratch))
                torch.save(discovery.state_dict(), folder / state_file)
                if finished and accelerator.is_main_process:
                    for adapter in discovery.adapters(backbone.fingerprint, recipe.recipe_hash):
                        save_adapter(adapter, folder / "adapters" / adapter.name)
                seal(folder, accelerator.process_index, accelerator.num_processes, metrics)
                report(metrics, folder)
            elif discovery.step % REPORT_EVERY == 0:
                report(metrics, None)


def ray_loop(config: dict[str, Any]) -> None:
    """Run a "job" as one worker of Ray Train, from the newest whole checkpoint in the folder of its
    "run": its reports, its checkpoints, and rank 0's curves in MLflow.
    """
    import ray.train
    from ray.train.collective import broadcast_from_rank_zero

    from pipelines.ray_runtime import note_reservation
    from pipelines.registry import Curves

    job: TrainingJob = config["job"]
    context = ray.train.get_context()
    is_first = context.get_world_rank() == 0
    curves = Curves(job.tracking_uri, job.run_id) if is_first else None
    if is_first:
        note_reservation(config["run"])

    def report(metrics: Metrics, folder: Path | None) -> None:
        if curves is not None:
            curves.add(metrics | {"step": metrics["step"] + job.steps_before})
        ray.train.report(
            metrics, checkpoint=ray.train.Checkpoint.from_directory(folder) if folder else None
        )

    latest = newest_whole(config["run"]) if is_first else None
    if context.get_world_size() > 1:
        latest = broadcast_from_rank_zero(latest)
    train_attribute(job, report, latest.folder if latest else None)
    if curves is not None:
        curves.close()


def _metrics(stats: DiscoveryStats) -> Metrics:
    return {name: float(value) for name, value in asdict(stats).items()}
