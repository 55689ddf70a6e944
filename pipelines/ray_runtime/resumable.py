"""Steps that each leave a file: run by actors, one a core, and not run again where it is there."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from pydantic import BaseModel
from ray.exceptions import ActorDiedError
from ray.util import ActorPool

from pipelines.ray_runtime.progress import ProgressView
from pipelines.recipe import Recipe

_LIVES = 3


@dataclass(frozen=True)
class Step:
    """The file that it leaves when it has ended, and the actor's method that makes it."""

    path: Path
    method: str
    arguments: tuple[object, ...] = ()


def actor_pool(kind: type, *arguments: object, at_most: int | None = None) -> ActorPool:
    """Return one actor a GPU of the open cluster, or one a core where there is none.

    Raises ValueError where the kind's own constructor does, with its text.
    """
    resources = ray.cluster_resources()
    num_gpus = int(resources.get("GPU", 0))
    count = num_gpus or int(resources["CPU"])
    actor = ray.remote(kind).options(
        num_cpus=1,
        num_gpus=1 if num_gpus else 0,
        max_restarts=_LIVES,  # a step that was lost with its actor is run again by the next
        max_task_retries=_LIVES,
    )
    size = count if at_most is None else max(1, min(at_most, count))
    actors = [actor.remote(*arguments) for _ in range(size)]
    try:
        ray.get([found.__ray_ready__.remote() for found in actors])
    except ActorDiedError as error:
        kind_of_error, _, reason = str(error).strip().splitlines()[-1].partition(": ")
        if kind_of_error != "ValueError":
            raise
        raise ValueError(reason) from error
    return ActorPool(actors)


def run_steps(actors: ActorPool, stage: str, view: ProgressView, steps: Sequence[Step]) -> None:
    """Run what has not left its file yet, as many at once as there are actors."""
    left = [step for step in steps if not step.path.exists()]
    done = len(steps) - len(left)
    view.show(stage, done, len(steps), "of an earlier run" if done else "")
    for _ in actors.map_unordered(
        lambda actor, step: getattr(actor, step.method).remote(*step.arguments), left
    ):
        done += 1
        view.show(stage, done, len(steps))


def results_key(recipe: Recipe, sections: Collection[str], size: BaseModel | None = None) -> str:
    """Return a hash of all that figures depend on: what trains the adapters, other sections of the
    recipe, and a size.
    """
    settings = recipe.model_dump(mode="json", include=set(sections))
    text = json.dumps([recipe.recipe_hash, size and size.model_dump(), settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
