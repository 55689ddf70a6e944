"""One client of an MLflow server, and how patient it is."""

import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.entities import PagedList

from pipelines.registry.answers import read_whole_answers

GRID, SMALL_GRID = "grid.png", "grid-small.png"
_IMPATIENCE = threading.Lock()


def connect(tracking_uri: str) -> MlflowClient:
    """Return a quiet client that asks again for minutes where its server is away."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    retry_for_minutes()
    return MlflowClient(tracking_uri)


def retry_for_minutes() -> None:
    """Let mlflow ask again for eight minutes where its server is away or its answer breaks off,
    unless the environment says otherwise.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")
    read_whole_answers()


def every(search: Callable[..., PagedList], *arguments: Any, **options: Any) -> list[Any]:
    """Return what a search of MLflow's finds, all of its pages."""
    page = search(*arguments, **options)
    found = list(page)
    while page.token:
        page = search(*arguments, **options, page_token=page.token)
        found += page
    return found


def create_run(
    client: MlflowClient,
    experiment_id: str,
    name: str | None,
    tags: Mapping[str, str],
    start_time_ms: int | None = None,
) -> str:
    """Create a run and return its id. mlflow asks again where it hears no answer, so that one
    request may create two: the run says which request made it, and what is doubled is deleted.
    """
    tags = {**tags, "fairgen.creation": uuid.uuid4().hex}
    created = str(client.create_run(experiment_id, start_time_ms, tags, name).info.run_id)
    query = f"tags.`fairgen.creation` = '{tags['fairgen.creation']}'"
    for run in client.search_runs([experiment_id], query):
        if run.info.run_id != created:
            client.delete_run(run.info.run_id)
    return created


def check_artifacts(tracking_uri: str, location: str) -> None:
    """Raise ValueError where a server keeps its files at a location that this process cannot use: a
    store without its package, or a folder of another machine.
    """
    where, served = urlsplit(location), "or a server that serves its files itself"
    got = f"artifacts: {tracking_uri} keeps them at {location}"
    if where.scheme in ("", "file"):
        server = urlsplit(tracking_uri)
        is_elsewhere = server.scheme in ("http", "https") and not _is_here(server.hostname or "")
        if is_elsewhere and not Path(where.path).parent.exists():
            raise ValueError(f"{got}, which is not on this machine; allowed is a shared folder, "
                             f"{served}")  # fmt: skip
        return
    try:
        get_artifact_repository(location, tracking_uri)
    except ImportError as error:
        raise ValueError(f"{got}, for which a package is missing here ({error}); allowed is it "
                         f"with the package, {served}") from error  # fmt: skip


def _is_here(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def fail_fast() -> Iterator[None]:
    """Let mlflow give up after seconds, for the length of a `with`: one at a time in a process,
    since mlflow reads it from the environment.
    """
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    with _IMPATIENCE:
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextmanager
def current(tracking_uri: str) -> Iterator[None]:
    """Make a server the one that mlflow's own functions speak to, for the length of a `with`."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # mlflow keeps it in the environment, too
