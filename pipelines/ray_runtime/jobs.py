"""A workflow as a job of a Ray cluster: submitted with its code and recipe, followed from anywhere,
found again.

Where registry and storage lie is the cluster's to know: MLFLOW_TRACKING_URI and FAIRGEN_HOME in the
environment of its nodes. No secret travels with a job.
"""

import asyncio
import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

from pipelines.recipe import PROJECT_ROOT

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

    from pipelines.recipe import Recipe

_PACKAGES = ("fairgen", "pipelines")
_HASH, _VERB, _NAME = "fairgen.recipe_hash", "fairgen.verb", "fairgen.recipe"
_STARTING_S = 60.0
_RETRY_S = 2.0
Verb = Literal["train-all", "evaluate"]


def connect(address: str) -> "JobSubmissionClient":
    """Return a client of the cluster whose dashboard answers at an address such as
    http://head:8265.

    Raises ValueError where nothing answers, or the token of RAY_AUTH_TOKEN is not the cluster's.
    """
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of every package and socket
    os.environ.pop("RAY_ADDRESS", None)  # it would go before the address that is given
    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"cluster: got {address!r}, which does not answer as a Ray dashboard; allowed is an "
            "address such as http://head:8265"
        ) from error
    except AuthenticationError as error:
        raise ValueError(
            f"cluster: {address} wants a token; RAY_AUTH_TOKEN has none or another"
        ) from error


def submit(
    client: "JobSubmissionClient", recipe: "Recipe", verb: Verb, flags: Sequence[str] = ()
) -> tuple[str, bool]:
    """Submit a workflow of a recipe; return the job's id, and whether it is a new job.

    A job of the same recipe that has not ended is joined: two would write the same checkpoints.
    Raises ValueError for a job that the cluster does not take.
    """
    earlier = [job for job in recipe_jobs(client) if job.metadata[_HASH] == recipe.recipe_hash]
    for job in earlier:
        if not job.status.is_terminal() and job.metadata[_VERB] == verb:
            return job.submission_id, False
    job_id = f"{verb}-{recipe.recipe_hash}-{len(earlier) + 1}"
    metadata = {_HASH: recipe.recipe_hash, _VERB: verb, _NAME: recipe.name}
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as parcel:
        _pack(recipe, Path(parcel))
        while True:
            try:
                client.submit_job(
                    entrypoint=shlex.join(
                        ["python", "-m", "pipelines.cli", verb, "recipe.yaml", *flags]
                    ),
                    submission_id=job_id,
                    runtime_env={"working_dir": parcel},
                    metadata=metadata,
                )
                return job_id, True
            except RuntimeError as error:
                if job_id in {job.submission_id for job in recipe_jobs(client)}:
                    return job_id, False  # somebody else was faster
                starting = "No available agent" in str(error)  # nodes that have just come up
                if not starting or time.monotonic() - started_s > _STARTING_S:
                    raise ValueError(f"cluster: the job is not taken: {error}") from error
            time.sleep(_RETRY_S)


def recipe_jobs(client: "JobSubmissionClient") -> "list[JobDetails]":
    """Return the jobs that were submitted by `submit`, the oldest first."""
    ours = [job for job in client.list_jobs() if _HASH in (job.metadata or {})]
    return sorted(ours, key=lambda job: job.start_time or 0)


def follow(
    client: "JobSubmissionClient",
    job_id: str,
    write: Callable[[str], None],
    patience_s: float = 600.0,
    retry_s: float = 2.0,
) -> "JobStatus":
    """Write a job's output from its beginning until the job has ended; return how it ended.

    While the cluster does not answer it is asked again, for `patience_s`, and the output goes on
    where it stopped. Raises ValueError for a job that there is not, ConnectionError after that.
    """
    check_known(client, job_id)
    written = 0

    async def tail() -> None:
        nonlocal written
        position = 0
        async for text in client.tail_job_logs(job_id):
            fresh = text[max(0, written - position) :]
            position += len(text)
            if fresh:
                write(fresh)
                written += len(fresh)

    answered_s = time.monotonic()
    while True:
        try:
            asyncio.run(tail())
            status = client.get_job_status(job_id)
            answered_s = time.monotonic()
            if status.is_terminal():
                return status
        except (OSError, RuntimeError) as error:  # the head is away, or starts again
            if time.monotonic() - answered_s > patience_s:
                raise ConnectionError(
                    f"{client.get_address()} has not answered for {patience_s:g} s; "
                    f"job {job_id} may go on"
                ) from error
        time.sleep(retry_s)


def check_known(client: "JobSubmissionClient", job_id: str) -> None:
    """Raise ValueError, with the jobs there are, for one that there is not."""
    known = [job.submission_id for job in recipe_jobs(client)]
    if job_id not in known:
        raise ValueError(f"job: got {job_id!r}, allowed are {known}")


def describe_jobs(client: "JobSubmissionClient") -> list[tuple[str, str, str, str, str]]:
    """Return id, recipe, status, start and seconds of every job."""
    rows = []
    for job in recipe_jobs(client):
        start = (job.start_time or 0) / 1000
        end = job.end_time / 1000 if job.end_time else time.time()
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start))
        name = job.metadata.get(_NAME, "")
        rows.append((job.submission_id, name, str(job.status), started, f"{end - start:.0f}"))
    return rows


def _pack(recipe: "Recipe", parcel: Path) -> None:
    """Leave the code and the recipe, as it was understood here, in a folder."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for package in _PACKAGES:
        shutil.copytree(PROJECT_ROOT / package, parcel / package, ignore=ignored)
    content = recipe.model_dump(mode="json", exclude_unset=True)
    (parcel / "recipe.yaml").write_text(yaml.safe_dump(content))
