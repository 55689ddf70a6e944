"""Jobs on a real Ray cluster: in-process, two workers, a killed worker, a run begun by another
process.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import ray
import torch
import yaml
from mlflow import MlflowClient
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer

from pipelines.progress import PostToBoard, open_board
from pipelines.recipe import Recipe, load_recipe
from pipelines.registry import Registry
from pipelines.training_job import TrainingJob, ray_loop, train_attribute
from pipelines.training_run import TrainedAttribute, find_trained, fit, num_workers_of, run_name
from tests.pipelines.reports import Reports, assert_same_adapters

pytestmark = pytest.mark.ray


@pytest.fixture
def open_job(tracking_uri: str) -> Callable[[Recipe], TrainingJob]:
    """Return a function that opens the MLflow run of a recipe's gender job."""

    def open_job(recipe: Recipe) -> TrainingJob:
        with Registry(tracking_uri, recipe) as registry:
            return TrainingJob(recipe, "gender", tracking_uri, registry.open_job("gender"))

    return open_job


def train_alone(recipe: Recipe, folder: Path) -> Path:
    """Train without Ray and without a break; return the adapters' folder."""
    reports = Reports(folder)
    train_attribute(TrainingJob(recipe, "gender", "", ""), reports)
    return reports.checkpoints[recipe.discovery.num_updates] / "adapters"


def test_without_workers_the_loop_runs_in_process(
    cluster: None, open_job: Callable, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    job = open_job(load_recipe(write_recipe("in-process")))
    trainer = TorchTrainer(
        ray_loop,
        train_loop_config={"job": job, "run": tmp_path},
        scaling_config=ScalingConfig(num_workers=0),
    )
    assert trainer.fit().metrics["step"] == 6
    curve = MlflowClient(job.tracking_uri).get_metric_history(job.run_id, "loss")
    assert [point.step for point in curve] == [2, 4, 5, 6]


@pytest.mark.slow
def test_two_workers_train_one_set_of_adapters(
    cluster: None, open_job: Callable, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe("ddp", jobs={"num_workers": 2}))
    board = open_board()
    trained = fit(open_job(recipe), tmp_path, [PostToBoard(board, "gender")])
    assert ray.get(board.latest.remote())["gender"]["step"] == recipe.discovery.num_updates
    assert find_trained(recipe, "gender", tmp_path) == trained
    assert [folder.name for folder in trained.folders] == ["gender-woman", "gender-man"]
    last = max((tmp_path / run_name(recipe, "gender")).glob("checkpoint_*/"))
    first, second = (torch.load(last / f"state-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert_equal_parameters(first, second)
    assert trained.denoiser_rows == first["counts"][2]


def test_a_lone_job_takes_idle_cores_but_no_more_than_there_are(
    cluster: None, write_recipe: Callable[..., Path]
) -> None:
    def wanted(num_workers: int) -> int:
        path = write_recipe(in_company={"num_updates": 3}, jobs={"num_workers_alone": num_workers})
        content = yaml.safe_load(path.read_text()) | {"company_waves": [["age"], ["gender"]]}
        path.write_text(yaml.safe_dump(content))
        company = (Path("age-old"),)
        return num_workers_of(TrainingJob(load_recipe(path), "gender", "", "", company=company))

    cores = int(ray.cluster_resources()["CPU"])
    assert wanted(2) == 2
    assert wanted(10 * cores) == cores


@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_checkpoint_to_the_same_weights(
    cluster: None, open_job: Callable, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    settings = {"num_updates": 60, "num_rows": 4}
    recipe = load_recipe(write_recipe("killed", discovery=settings, jobs={"max_failures": 1}))
    job = open_job(recipe)
    found: list[TrainedAttribute] = []
    before = worker_pids()
    training = threading.Thread(target=lambda: found.append(fit(job, tmp_path)))
    training.start()
    wait_for(lambda: list((tmp_path / run_name(recipe, "gender")).glob("checkpoint_*/")), training)
    killed = worker_pids() - before
    assert killed
    for pid in killed:
        psutil.Process(pid).kill()
    training.join()
    assert found, "the job did not survive its worker"
    assert_same_adapters(found[0].folders[0].parent, train_alone(recipe, tmp_path / "alone"))


def worker_pids() -> set[int]:
    """Return the processes of this cluster that train."""
    return {
        process.pid
        for process in psutil.Process().children(recursive=True)
        if "TrainWorker" in _command(process)
    }


def _command(process: psutil.Process) -> str:
    """Return how a process was started; nothing of one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def wait_for(reached: Callable[[], object], training: threading.Thread) -> None:
    while not reached():
        assert training.is_alive()
        time.sleep(0.02)


def assert_equal_parameters(first: dict, second: dict) -> None:
    """Assert that two workers hold the same adapters after as many updates."""
    assert first["counts"] == second["counts"]
    assert first["bank"].keys() == second["bank"].keys()
    for name, tensor in first["bank"].items():
        torch.testing.assert_close(tensor, second["bank"][name], atol=1e-6, rtol=0)
