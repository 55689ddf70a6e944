"""Training that is hurt: it ends in the weights of a run that nobody has touched."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from mlflow import MlflowClient
from ray.train import TrainingFailedError

from pipelines.ray_runtime import is_loss, reason_of
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import TrainingRuns
from pipelines.registry.trained import TrainedAttribute
from pipelines.training.checkpoints import newest_whole
from pipelines.training.job import TrainingJob, train_attribute
from pipelines.training.run import fit, run_name
from pipelines.training.workflow import begun
from tests.faults import Fault
from tests.pipelines.disk import small_disk
from tests.pipelines.processes import children, wait_for
from tests.pipelines.reports import Reports, assert_same_adapters
from tests.pipelines.wire import wire

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.slow]

NUM_UPDATES = 24
RAYS_LIST = "checkpoint_manager_snapshot.json"
Untouched = Callable[[Recipe], Path]


class Training(threading.Thread):
    """A run that goes on while the test hurts it."""

    def __init__(self, job: TrainingJob, storage: Path) -> None:
        super().__init__()
        self.folder = storage / run_name(job.recipe, job.attribute)
        self._job, self._storage = job, storage
        self._before = children("TrainWorker") | children("TrainController")
        self.said: list[str] = []  # what the run tells its user
        self._found: TrainedAttribute | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._found = fit(self._job, self._storage, say=self.said.append)
        except BaseException as error:
            self._error = error

    def result(self) -> Path:
        """Return the folder of the finished adapters, or raise what has ended the run."""
        self.join()
        if self._found is None:
            assert self._error is not None
            raise self._error
        return self._found.folders[0].parent

    def wait_until(self, step: int) -> None:
        """Wait until a whole checkpoint has come so far."""
        wait_for(lambda: self.step >= step or not self.is_alive())
        assert self.is_alive(), "the run ended too early"

    @property
    def step(self) -> int:
        found = newest_whole(self.folder)
        return found.step if found else 0

    def kill_a_worker(self) -> None:
        worker, *_ = children("TrainWorker") - self._before
        worker.kill()

    def kill_everything(self) -> None:
        """Kill the run's controller and its workers at once."""
        lost = (children("TrainController") | children("TrainWorker")) - self._before
        assert len(lost) >= 2
        for process in lost:
            process.kill()


@pytest.fixture
def job_of(tracking_uri: str, write_recipe: Callable[..., Path]) -> Callable[..., TrainingJob]:
    """Return a function that writes a recipe and opens the run of its gender job."""

    def open_job(name: str, uri: str = tracking_uri, **jobs: int) -> TrainingJob:
        settings = {"num_updates": NUM_UPDATES, "num_rows": 4}
        recipe = load_recipe(write_recipe(name, discovery=settings, jobs=jobs))
        with TrainingRuns(tracking_uri, recipe) as runs:
            return TrainingJob(recipe, "gender", uri, runs.open_job("gender"))

    return open_job


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Untouched:
    """Return a function that trains without Ray and without a break, once for all recipes that
    teach the same; it returns the adapters' folder.
    """
    trained: dict[str, Path] = {}

    def train(recipe: Recipe) -> Path:
        if recipe.recipe_hash not in trained:
            reports = Reports(tmp_path_factory.mktemp("untouched"))
            train_attribute(TrainingJob(recipe, "gender", "", ""), reports)
            trained[recipe.recipe_hash] = reports.checkpoints[NUM_UPDATES] / "adapters"
        return trained[recipe.recipe_hash]

    return train


def full(*values: object) -> Any:
    """Return a case that only --full takes the time for."""
    return pytest.param(*values, marks=pytest.mark.full)


@pytest.mark.parametrize(
    ("num_workers", "what"),
    [
        (1, "a training worker is killed"),
        full(2, "one of two data-parallel workers is killed"),
    ],
)
def test_a_killed_worker_goes_on_from_its_checkpoint(
    cluster: None, job_of: Callable[..., TrainingJob], untouched: Untouched, tmp_path: Path,
    fault: Fault, num_workers: int, what: str,
) -> None:  # fmt: skip
    job = job_of(f"killed-{num_workers}", max_failures=1, num_workers=num_workers)
    training = Training(job, tmp_path / "hurt")
    training.wait_until(step=4)
    fault.strikes(what, "the bar stands for a moment")
    training.kill_a_worker()
    at = training.step
    training.wait_until(step=at + 6)
    fault.over()
    whole = (
        untouched(job.recipe) if num_workers == 1 else Training(job, tmp_path / "whole").result()
    )
    assert_same_adapters(training.result(), whole)


def test_a_run_that_is_lost_as_a_whole_goes_on_as_often_as_the_recipe_allows(
    cluster: None,
    job_of: Callable[..., TrainingJob],
    untouched: Untouched,
    tmp_path: Path,
    fault: Fault,
) -> None:
    job = job_of("lost", max_failures=1)
    training = Training(job, tmp_path / "hurt")
    training.wait_until(step=4)
    fault.strikes(
        "training and what controls it are killed at once, as where memory runs out",
        "a line, and the bar stands for a moment",
    )
    training.kill_everything()
    at = training.step
    training.wait_until(step=at + 6)
    fault.over()
    assert_same_adapters(training.result(), untouched(job.recipe))
    cpus = ray.cluster_resources()["CPU"]  # what was lost reserves nothing any more
    wait_for(lambda: ray.available_resources().get("CPU") == cpus)
    (line,) = training.said
    assert line.startswith("gender: training was lost: ")
    assert re.search(r"It goes on from update \d+; 0 more such losses are allowed\.$", line)


@pytest.mark.full
def test_a_run_that_is_lost_more_often_ends_in_a_sentence_and_is_gone_on_with(
    cluster: None,
    job_of: Callable[..., TrainingJob],
    untouched: Untouched,
    tmp_path: Path,
) -> None:
    job = job_of("lost-for-good", max_failures=0)
    training = Training(job, tmp_path)
    training.wait_until(step=4)
    training.kill_everything()
    with pytest.raises(Exception) as ended:
        training.result()
    assert is_loss(ended.value) and "\n" not in reason_of(ended.value) and not training.said
    again = Training(job, tmp_path)
    assert_same_adapters(again.result(), untouched(job.recipe))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "file", "damage"),
    [
        ("the newest checkpoint is cut short", "{newest}/state-0.pt", cut_short),
        full("a bit of the newest checkpoint flips", "{newest}/state-0.pt", flip),
        full("a file of the newest checkpoint is gone", "{newest}/state-0.pt", Path.unlink),
        full("Ray's list of checkpoints is cut short", RAYS_LIST, cut_short),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_passed_over(
    cluster: None, job_of: Callable[..., TrainingJob], untouched: Untouched, tmp_path: Path,
    fault: Fault, name: str, file: str, damage: Callable[[Path], None],
) -> None:  # fmt: skip
    """The run has ended before: its worker was killed, and the recipe allows no failure."""
    job = job_of("damaged", max_failures=0)
    training = Training(job, tmp_path)
    training.wait_until(step=8)
    training.kill_a_worker()
    with pytest.raises(TrainingFailedError):
        training.result()
    newest = newest_whole(training.folder)
    assert newest is not None
    damage(training.folder / file.format(newest=newest.folder.name))
    of_checkpoint = "{newest}" in file
    seen = "its name, as damaged and not used" if of_checkpoint else "nothing"
    fault.strikes(f"{name} between two runs", seen)
    step, of, note = begun(job, tmp_path)
    assert of == NUM_UPDATES and "goes on" in note
    assert (step < newest.step) == of_checkpoint
    assert (newest.folder.name in note) == of_checkpoint
    again = Training(job, tmp_path)
    again.wait_until(step=newest.step + 2)
    fault.over()
    assert_same_adapters(again.result(), untouched(job.recipe))


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")
def test_a_full_disk_ends_the_run_and_more_room_lets_it_go_on(
    cluster: None,
    job_of: Callable[..., TrainingJob],
    untouched: Untouched,
    tmp_path: Path,
    fault: Fault,
) -> None:
    job, disk = job_of("full-disk", max_failures=0), tmp_path / "disk"
    with small_disk(disk, size_kib=600):
        training = Training(job, disk)
        wait_for(lambda: training.step >= 2 or not training.is_alive())
        fault.strikes("the disk of the checkpoints is full", "the run fails, no room is left")
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
        with pytest.raises(TrainingFailedError, match="No space left on device"):
            training.result()
        at = training.step
        assert 2 <= at < NUM_UPDATES
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        again = Training(job, disk)
        again.wait_until(step=at + 2)
        fault.over()
        assert_same_adapters(again.result(), untouched(job.recipe))


@pytest.mark.parametrize("how", ["away", full("slow")])
def test_a_registry_that_does_not_answer_holds_up_no_training(
    cluster: None, job_of: Callable[..., TrainingJob], tracking_uri: str, tmp_path: Path,
    fault: Fault, outage_s: float, how: str,
) -> None:  # fmt: skip
    with wire(int(tracking_uri.rpartition(":")[2])) as between:
        job = job_of(f"registry-{how}", f"http://127.0.0.1:{between.port}")
        started = time.monotonic()
        training = Training(job, tmp_path)
        training.wait_until(step=2)
        if how == "away":
            fault.strikes(
                f"the registry is away for {outage_s:g} s while adapters train",
                "the last points of the curves come late",
            )
            between.cut()
        else:
            between.delay_s = min(10, outage_s / 3)
            fault.strikes(
                f"the registry takes {between.delay_s:g} s for every answer while adapters train",
                "the last points of the curves come late",
            )
        training.wait_until(step=NUM_UPDATES)
        if how == "away":
            time.sleep(max(0.0, started + outage_s - time.monotonic()))
            between.mend()
        training.result()
        fault.over()
    curve = MlflowClient(tracking_uri).get_metric_history(job.run_id, "loss")
    expected = {step for step in range(1, NUM_UPDATES + 1) if step % 2 == 0 or step % 5 == 0}
    assert [point.step for point in sorted(curve, key=lambda p: p.step)] == sorted(expected)
