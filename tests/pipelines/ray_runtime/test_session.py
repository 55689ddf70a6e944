"""Jobs that a cluster can never hold are refused before they wait for ever."""

import subprocess
import sys
from typing import Any

import pytest

from pipelines.ray_runtime import check_jobs
from pipelines.recipe import JobsConfig

TWO_CORES = {"CPU": 2.0}
ONE_GPU = {"CPU": 16.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("jobs", "gpus", "nodes"),
    [
        ({}, 0, [TWO_CORES]),
        ({"num_workers": 4, "cpus_per_worker": 1}, 0, [TWO_CORES, TWO_CORES]),
        ({"num_workers": 2}, 0.5, [TWO_CORES, ONE_GPU]),
        ({"cpus_per_worker": 64, "autoscaling": True}, 0, [TWO_CORES]),
    ],
)
def test_jobs_that_fit_are_let_through(
    jobs: dict[str, Any], gpus: float, nodes: list[dict[str, float]]
) -> None:
    check_jobs(JobsConfig(**jobs), nodes, gpus)


@pytest.mark.parametrize(
    ("jobs", "gpus", "nodes", "message"),
    [
        ({"cpus_per_worker": 64}, 0, [TWO_CORES], "got 1 workers a job, 64 CPU each; .* has 2 CPU"),
        ({"cpus_per_worker": 3}, 0, [TWO_CORES, TWO_CORES], "largest of 2 nodes has 2 CPU"),
        ({"num_workers": 3}, 0, [TWO_CORES], "got 3 workers a job, 1 CPU each"),
        ({}, 1, [TWO_CORES], "1 CPU and 1 GPU each; .* has 2 CPU and 0 GPU"),
        ({"num_workers": 3}, 0.5, [ONE_GPU], "1 CPU and 0.5 GPU each"),
        ({}, 0, [], "largest of 0 nodes has 0 CPU"),
    ],
)
def test_jobs_that_never_fit_are_refused_with_what_is_asked_and_what_there_is(
    jobs: dict[str, Any], gpus: float, nodes: list[dict[str, float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_jobs(JobsConfig(**jobs), nodes, gpus)


@pytest.mark.slow
def test_sigterm_ends_a_session_as_its_owner_says() -> None:
    """Ray sets a handler of its own: systemd and Kubernetes end programs by this signal."""
    script = (
        "import os, signal, threading\n"
        "from pipelines.ray_runtime import cluster_session\n"
        "ended = threading.Event()\n"
        "signal.signal(signal.SIGTERM, lambda *_: ended.set())\n"
        "with cluster_session():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(ended.wait(10))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
