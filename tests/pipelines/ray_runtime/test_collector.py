"""Processes that start look through their objects less often, and not at all when they end."""

import gc
import subprocess
import sys

import ray
from typer.testing import CliRunner

from pipelines.cli.app import app

ENDS = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 0))
from pipelines.ray_runtime import collect_rarely
collect_rarely()
"""


def test_a_process_that_ends_does_not_look_through_what_is_left() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=True)
    assert ended.stdout == "True\n"


def test_a_command_collects_rarely() -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(700)
        CliRunner().invoke(app, ["recipe", "check"])
        assert gc.get_threshold()[0] == 5000
    finally:
        gc.set_threshold(*before)


def test_a_worker_of_the_session_s_cluster_does(cluster: None) -> None:
    assert ray.get(ray.remote(lambda: gc.get_threshold()[0]).remote()) == 5000
