"""The whole workflow as a user starts it, on a cluster and an MLflow server of its own."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from pipelines.recipe import load_recipe, read_content
from pipelines.training.checkpoints import newest_whole
from pipelines.training.job import TrainingJob, train_attribute
from pipelines.training.run import find_trained, run_name
from tests.faults import Fault
from tests.pipelines.commands import output_of, start
from tests.pipelines.reports import Reports, assert_same_adapters

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def start_alone(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `fairgen` as its user does, whose cluster has a token; the session's is open."""
    return start(folder, *arguments, RAY_AUTH_MODE=None)


def finish(run: subprocess.Popen[str], folder: Path) -> str:
    """Wait for a started command; return its output. It must succeed and leave no process."""
    family = wait_for(lambda: psutil.Process(run.pid).children(recursive=True), run)
    assert run.wait() == 0, output_of(folder)
    wait_until_gone(family)
    return output_of(folder)


def wait_for(reached: Callable[[], list], run: subprocess.Popen[str]) -> list:
    while not (found := reached()):
        assert run.poll() is None, "the run ended too early"
        time.sleep(0.05)
    return found


def store_of(folder: Path) -> MlflowClient:
    """Return what reads the registry that a run has left in a folder; its server is gone."""
    return MlflowClient(f"sqlite:///{folder / '.fairgen' / 'mlflow.db'}")


def is_ray_agent(process: psutil.Process) -> bool:
    """Return whether it is one of Ray's agents, which outlive a killed cluster by a minute."""
    try:
        return "Agent" in process.name()
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(family: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []


@pytest.mark.chaos
def test_a_killed_run_started_again_skips_what_finished_and_resumes_the_rest(
    write_recipe: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    one_at_a_time = {"cpus_per_worker": os.cpu_count(), "checkpoint_every": 10}
    path = write_recipe("twice", discovery={"num_updates": 60}, jobs=one_at_a_time)
    recipe, storage = load_recipe(path), tmp_path / ".fairgen" / "runs"

    run = start_alone(tmp_path, "train-all", str(path), "--no-eval")
    age = storage / run_name(recipe, "age")
    wait_for(lambda: list(age.glob("checkpoint_*/state-0.pt"))[1:], run)
    family = psutil.Process(run.pid).children(recursive=True)
    fault.strikes(
        "the driver of a run is killed, and its cluster with it",
        "the same command skips what is trained, and goes on with the rest",
    )
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_until_gone([process for process in family if not is_ray_agent(process)])
    gender = find_trained(recipe, "gender", storage)
    assert gender is not None
    assert find_trained(recipe, "age", storage) is None

    latest = newest_whole(age)
    assert latest is not None
    again = start_alone(tmp_path, "train-all", str(path), "--no-eval")
    wait_for(lambda: [newest_whole(age)] * (newest_whole(age).step > latest.step), again)
    fault.over()
    output = finish(again, tmp_path)
    assert "goes on" in output
    assert "gender: 1/1 trained by an earlier run" in output
    assert "age: 60/60" in output
    assert "twice-age-old version 1: candidate" in output
    assert find_trained(recipe, "gender", storage) == gender

    whole = Reports(tmp_path / "whole")
    train_attribute(TrainingJob(recipe, "age", "", ""), whole)
    resumed = find_trained(recipe, "age", storage)
    assert resumed is not None
    assert_same_adapters(whole.checkpoints[60] / "adapters", resumed.folders[0].parent)
    client = store_of(tmp_path)
    experiment = client.get_experiment_by_name("twice").experiment_id
    runs = {found.info.run_name: found for found in client.search_runs([experiment])}
    curve = client.get_metric_history(runs["twice-age"].info.run_id, "loss")
    assert {name: found.info.status for name, found in runs.items()} == dict.fromkeys(
        ("twice", "twice-gender", "twice-age"), "FINISHED"
    )
    steps = [point.step for point in curve]
    assert steps.count(5) == 1, "the second run started from the beginning"
    assert sorted(set(steps)) == list(range(5, 61, 5))
    wait_until_gone(family)


def test_train_all_trains_measures_and_registers_on_the_embedded_model(tmp_path: Path) -> None:
    content = read_content(Path("pipelines/recipes/portraits-quick.yaml"))
    path = tmp_path / "with-two-judges.yaml"
    path.write_text(yaml.safe_dump(content | {"second_judge": content["judge"]}))
    recipe = load_recipe(path)
    output = finish(start_alone(tmp_path, "train-all", str(path)), tmp_path)
    assert "Hit rate" in output
    assert "make ui" in output
    report = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert set(report["fairness"]) == {"gender", "skin", "age", "gender x skin"}
    for systems in report["fairness"].values():
        assert {"fd", "interval", "floor", "n"} <= set(systems["fairgen"])
        assert set(systems) == {"base", "iid", "fairgen"}
    storage = tmp_path / ".fairgen" / "runs"
    alone = find_trained(recipe, "skin", storage)
    peers = [find_trained(recipe, name, storage, joint_round=True) for name in ("gender", "age")]
    folders = tuple(folder for found in peers for folder in found.folders)
    last = Reports(tmp_path / "last")  # skin's second round met the final adapters of the others
    train_attribute(TrainingJob(recipe, "skin", "", "", alone.folders, folders), last)
    skin = find_trained(recipe, "skin", storage, joint_round=True)
    assert_same_adapters(last.checkpoints[2] / "adapters", skin.folders[0].parent)
    assert report["no_people_unchanged"] == dict.fromkeys(recipe.concepts.no_people, True)
    assert report["second_fairness"] == report["fairness"]  # both judges are the same here
    assert report["agreement"]["fairgen"]["age"]["share"] == 1
    assert (tmp_path / "report" / "grid.png").stat().st_size > 0
    assert (tmp_path / "report" / "bars.png").stat().st_size > 0
    client = store_of(tmp_path)
    names = {model.name for model in client.search_registered_models()}
    assert names == {
        recipe.registered_name(attribute.name, category)
        for attribute in recipe.attributes
        for category in attribute.names
    }
    version = client.get_model_version_by_alias("fairgen-quick-skin-dark", "candidate")
    assert float(version.tags["fd"]) == pytest.approx(
        report["fairness"]["skin"]["fairgen"]["fd"], abs=1e-4
    )
    experiment = client.get_experiment_by_name("portraits-quick").experiment_id
    parents = client.search_runs([experiment], "tags.`fairgen.kind` = 'train-all'")
    assert len(parents) == 1
    kept = (tmp_path / ".fairgen" / "artifacts").rglob(f"{parents[0].info.run_id}/**/report/*")
    assert {"grid.png", "bars.png", "evaluation.json"} <= {path.name for path in kept}
