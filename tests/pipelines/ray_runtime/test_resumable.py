"""Steps of a measurement are run once each, also where the process that runs one is killed."""

import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.files import write
from pipelines.ray_runtime.progress import ProgressView
from pipelines.ray_runtime.resumable import Step, actor_pool, run_steps
from tests.faults import Fault

pytestmark = pytest.mark.ray


class Killed:
    """Leaves a line for every time that it is asked; killed at its first step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def work(self, path: Path) -> None:
        if not (fallen := self._folder / "fallen").exists():
            fallen.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with (self._folder / "done").open("a") as done:
            done.write(f"{path.name}\n")
        write(path, "found")


@pytest.mark.chaos
def test_a_step_whose_process_is_killed_is_run_again(
    cluster: None, tmp_path: Path, fault: Fault
) -> None:
    paths = [tmp_path / str(place) for place in range(6)]
    paths[0].write_text("of an earlier run")
    actors = actor_pool(Killed, tmp_path, at_most=2)
    fault.strikes("a process that paints for a measurement is killed", "nothing")
    with ProgressView(Console()).open() as view:
        run_steps(actors, "measure", view, [Step(path, "work", (path,)) for path in paths])
    fault.over()
    assert sorted((tmp_path / "done").read_text().split()) == ["1", "2", "3", "4", "5"]
    assert all(path.read_text() == "found" for path in paths[1:])
