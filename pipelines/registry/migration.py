"""A registry's content moves to another: runs with curves and pictures, versions, aliases."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException

from fairgen.adapters import load_adapter
from pipelines.registry.description import describe
from pipelines.registry.local_server import check_version, redacted
from pipelines.registry.server import create_run, every
from pipelines.registry.versions import CANDIDATE, CHAMPION, RegisteredVersion, Registry

_FROM, _WHOLE = "fairgen.pushed_from", "fairgen.pushed"
log = logging.getLogger(__name__)
_BATCH = 1000  # metrics of a request, MLflow's limit
_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"


def push(source: Registry, target: Registry, show: Callable[[str, int, int], None]) -> int:
    """Copy a recipe's experiment and registered versions; return how many versions are new there.

    What an earlier push has brought is left alone, what it had begun is brought anew. Versions keep
    their order and tags, not their numbers, where the target has others already; its aliases become
    those of the source. `show(stage, done, total)` is called after every run and version. Raises
    ValueError where the target does not answer, lets nobody in, or is too old, and for a source
    without versions.
    """
    check_version(target.tracking_uri, "to")
    try:
        _ = target.experiment_id
    except MlflowException as error:
        reason = error.message.strip().splitlines()[0]
        to = redacted(target.tracking_uri)
        raise ValueError(f"to: {to} cannot be used: {redacted(reason)}") from error
    versions = sorted(source.versions(), key=lambda found: (found.name, int(found.version)))
    if not versions:
        raise ValueError(f"recipe: got {source.recipe.name!r}, of which the registry here holds no "
                         "versions; allowed is one with some")  # fmt: skip
    runs = _push_runs(source, target, show)
    new = 0
    for done, found in enumerate(versions, start=1):
        if target.find_version(found.name, found.tags["adapter_set"]) is None:
            _push_version(source, target, found, runs)
            new += 1
        show("versions", done, len(versions))
    for alias, sets in ((CANDIDATE, source.candidates()), (CHAMPION, source.champions())):
        for complete in sets.values():
            names = [member.name for member in complete.members.values()]
            target.point(alias, names, complete.adapter_set)
    return new


def _push_runs(
    source: Registry, target: Registry, show: Callable[[str, int, int], None]
) -> dict[str, str]:
    """Return source run id -> target run id."""
    oldest_first = ["attributes.start_time ASC"]
    found = every(source.client.search_runs, [source.experiment_id], order_by=oldest_first)
    found = sorted(found, key=lambda run: _PARENT in run.data.tags)  # parents before children
    copies: dict[str, str] = {}
    for done, run in enumerate(found, start=1):
        copies[run.info.run_id] = _push_run(source, target, run.info.run_id, copies)
        show("runs", done, len(found))
    return copies


def _push_run(source: Registry, target: Registry, run_id: str, copies: dict[str, str]) -> str:
    query = f"tags.`{_FROM}` = '{run_id}'"
    for earlier in every(target.client.search_runs, [target.experiment_id], query):
        if earlier.data.tags.get(_WHOLE):
            return str(earlier.info.run_id)
        target.client.delete_run(earlier.info.run_id)
    run = source.client.get_run(run_id)
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")}
    tags |= {_FROM: run_id}
    if (parent := run.data.tags.get(_PARENT)) in copies:
        tags[_PARENT] = copies[parent]
    copy = create_run(
        target.client,
        target.experiment_id,
        run.data.tags.get(_NAME),
        tags,
        run.info.start_time,
    )
    params = [Param(name, value) for name, value in run.data.params.items()]
    target.client.log_batch(copy, params=params)
    for name in run.data.metrics:
        points = source.client.get_metric_history(run_id, name)
        for start in range(0, len(points), _BATCH):
            target.client.log_batch(copy, metrics=points[start : start + _BATCH])
    copy_artifacts(source.client, run_id, target.client, copy)
    target.client.log_batch(copy, tags=[RunTag(_WHOLE, "whole")])
    target.client.set_terminated(copy, run.info.status, run.info.end_time)
    return copy


def copy_artifacts(source: MlflowClient, run_id: str, target: MlflowClient, copy: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for artifact in source.list_artifacts(run_id):
            local = source.download_artifacts(run_id, artifact.path, scratch)
            if artifact.is_dir:
                target.log_artifacts(copy, local, artifact.path)
            else:
                target.log_artifact(copy, local)


def _push_version(
    source: Registry, target: Registry, found: RegisteredVersion, runs: dict[str, str]
) -> None:
    stored = source.client.get_model_version(found.name, found.version)
    with tempfile.TemporaryDirectory() as scratch:
        folder = source.download(found, Path(scratch))
        run_id = runs.get(stored.run_id) or _stand_in(target, found, stored.run_id)
        adapter = load_adapter(folder)
        number = target.log_version(found.name, adapter, folder, found.tags, run_id)
        describe(target, found.name, number, adapter, found.tags, run_id)


def _stand_in(target: Registry, found: RegisteredVersion, run_id: str) -> str:
    """Return a run for a version whose own one was deleted: made once, and it says so."""
    query = f"tags.`{_FROM}` = '{run_id}'"
    if earlier := every(target.client.search_runs, [target.experiment_id], query):
        return str(earlier[0].info.run_id)
    log.warning("the run of %s version %s was deleted", found.name, found.version)
    note = "Its original was deleted before this registry was filled."
    tags = {_FROM: run_id, _WHOLE: "whole", "mlflow.note.content": note}
    name = f"deleted run of {found.name}"
    made = create_run(target.client, target.experiment_id, name, tags)
    target.client.set_terminated(made)
    return made
