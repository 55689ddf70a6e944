"""Jobs on a real Ray cluster: in-process, two workers, as many as there are cores."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
import torch
import yaml
from mlflow import MlflowClient
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from typer.testing import CliRunner

from fairgen.adapters import WEIGHTS, load_adapter
from pipelines.cli.app import app
from pipelines.ray_runtime.progress import open_progress_actor
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import TrainingRuns
from pipelines.training.checkpoints import seal
from pipelines.training.job import TrainingJob, ray_loop
from pipelines.training.run import ReportProgress, find_trained, fit, num_workers_of, run_name
from tests.pipelines.processes import children
from tests.pipelines.registered import finish_training
from tests.tiny import tiny_pipeline

pytestmark = pytest.mark.ray


@pytest.fixture
def open_job(tracking_uri: str) -> Callable[[Recipe], TrainingJob]:
    """Return a function that opens the MLflow run of a recipe's gender job."""

    def open_job(recipe: Recipe) -> TrainingJob:
        with TrainingRuns(tracking_uri, recipe) as runs:
            return TrainingJob(recipe, "gender", tracking_uri, runs.open_job("gender"))

    return open_job


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
    board, job, seen = open_progress_actor(), open_job(recipe), set[str]()
    idle = "DatasetManager", "PlacementGroupCleaner"
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(fit, job, tmp_path, [ReportProgress(board, "gender")])
        while not training.done():
            seen |= {name for name in ("TrainWorker", *idle) if children(name)}
            time.sleep(0.1)
    trained = training.result()
    assert seen == {"TrainWorker"}, "a job takes a process that has nothing to do"
    assert ray.get(board.latest.remote())["gender"]["step"] == recipe.discovery.num_updates
    assert find_trained(recipe, "gender", tmp_path) == trained
    assert [folder.name for folder in trained.folders] == ["gender-woman", "gender-man"]
    last = max((tmp_path / run_name(recipe, "gender")).glob("checkpoint_*/"))
    first, second = (torch.load(last / f"state-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert_equal_parameters(first, second)
    assert trained.denoiser_rows == first["counts"][2]


@pytest.mark.parametrize("damage", ["marker", "weights", None])
def test_what_was_trained_is_found_where_its_folder_lies_now_if_all_of_it_is_there(
    damage: str | None, write_recipe: Callable[..., Path], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    recipe = load_recipe(write_recipe("moved"))
    finish_training(recipe, tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    storage = tmp_path / "after" / "runs"
    run = storage / run_name(recipe, "gender")
    if damage == "marker":
        (run / "finished.json").write_text('{"folders": [')
    elif damage == "weights":
        (run / "adapters" / "gender-man" / WEIGHTS).unlink()
    found = find_trained(recipe, "gender", storage)
    if damage is None:
        assert found is not None
        assert [load_adapter(folder).name for folder in found.folders] == [
            "gender-woman", "gender-man",
        ]  # fmt: skip
    else:
        assert found is None and str(run) in caplog.text


def test_who_is_given_no_gpu_sees_none(cluster: None) -> None:
    """Or a replica or job that shall stay on cores would take the GPU that others were given."""
    seen = ray.remote(lambda: os.environ.get("CUDA_VISIBLE_DEVICES")).options(num_cpus=0)
    assert ray.get(seen.remote()) == ""


def test_a_lone_job_takes_idle_cores_but_no_more_than_there_are(
    cluster: None, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """And no more than have begun it: a second worker would have no state to go on from."""

    def wanted(num_workers: int, run: Path | None = None) -> int:
        path = write_recipe(joint_round={"num_updates": 3}, jobs={"num_workers_alone": num_workers})
        content = yaml.safe_load(path.read_text()) | {"joint_stages": [["age"], ["gender"]]}
        path.write_text(yaml.safe_dump(content))
        peers = (Path("age-old"),)
        job = TrainingJob(load_recipe(path), "gender", "", "", peers=peers)
        return num_workers_of(job, run)

    cores = int(ray.cluster_resources()["CPU"])
    assert wanted(2) == 2
    assert wanted(10 * cores) == cores
    assert wanted(2, run=tmp_path) == 2
    (tmp_path / "checkpoint_1").mkdir()
    seal(tmp_path / "checkpoint_1", 0, 1, {"step": 4.0})
    assert wanted(2, run=tmp_path) == 1


def assert_equal_parameters(first: dict, second: dict) -> None:
    """Assert that two workers hold the same adapters after as many updates."""
    assert first["counts"] == second["counts"]
    assert first["bank"].keys() == second["bank"].keys()
    for name, tensor in first["bank"].items():
        torch.testing.assert_close(tensor, second["bank"][name], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_training_that_fails_is_told_in_a_sentence(
    cluster: None, tracking_uri: str, make_recipe: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A base whose weights are no numbers: no gradient is one either."""
    pipe = tiny_pipeline()
    torch.nn.init.constant_(pipe.unet.conv_out.weight, torch.nan)
    pipe.save_pretrained(tmp_path / "base")
    path = make_recipe(tmp_path, "broken", ["gender"], jobs={"max_failures": 0})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.chdir(tmp_path)
    asked = ["train-all", str(path), "--base", str(tmp_path / "base"), "--no-eval"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1
    assert "training failed for ['gender']; the same command goes on from there" in result.stderr
    (reason,) = (line for line in result.stderr.splitlines() if line.startswith("gender: "))
    assert "not finite" in reason or "nan" in reason.lower()
    assert "Traceback" not in result.output + result.stderr
