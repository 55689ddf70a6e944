"""The whole workflow as a user starts it, on a cluster and an MLflow server of its own."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from pipelines.recipe import Recipe, load_recipe, read_content
from pipelines.registry import TrainedAttribute
from pipelines.training.checkpoints import newest_whole
from pipelines.training.job import TrainingJob, train_attribute
from pipelines.training.run import find_trained, run_name
from tests.faults import Fault
from tests.pipelines.commands import output_of, start
from tests.pipelines.conftest import SHIPPED
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


NUM_UPDATES = 100  # age's: it still trains when gender has finished


@dataclass(frozen=True)
class Run:
    """A run that was killed while age trained, and its second try, which went to the end."""

    recipe: Recipe
    folder: Path
    storage: Path
    fault: Fault
    family: list[psutil.Process]
    gender: TrainedAttribute  # as the first try had left it
    step: int  # of age's newest checkpoint, when the first try was gone
    output: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two tries of `train-all` on the embedded model, with a cluster and a registry of its own."""
    folder, fault = tmp_path_factory.mktemp("workflow"), Fault()
    content = read_content(SHIPPED / "portraits-quick.yaml")
    content |= {
        "second_judge": content["judge"],
        "overrides": {"age": {"num_updates": NUM_UPDATES}},
    }
    path = folder / "with-two-judges.yaml"
    path.write_text(yaml.safe_dump(content))
    recipe, storage = load_recipe(path), folder / ".fairgen" / "runs"
    age = storage / run_name(recipe, "age")

    first = start_alone(folder, "train-all", str(path))
    wait_for(lambda: list(age.glob("checkpoint_*/state-0.pt"))[1:], first)
    wait_for(lambda: [1] * (find_trained(recipe, "gender", storage) is not None), first)
    family = psutil.Process(first.pid).children(recursive=True)
    fault.strikes(
        "the driver of a run is killed, and its cluster with it",
        "the same command skips what is trained, and goes on with the rest",
    )
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_until_gone([process for process in family if not is_ray_agent(process)])
    gender, latest = find_trained(recipe, "gender", storage), newest_whole(age)
    assert gender is not None and latest is not None and latest.step < NUM_UPDATES

    second = start_alone(folder, "train-all", str(path))
    wait_for(lambda: [newest_whole(age)] * (newest_whole(age).step > latest.step), second)
    fault.over()
    output = finish(second, folder)
    return Run(recipe, folder, storage, fault, family, gender, latest.step, output)


@pytest.mark.chaos
def test_a_killed_run_started_again_skips_what_finished_and_resumes_the_rest(
    run: Run, fault: Fault, tmp_path: Path
) -> None:
    vars(fault).update(vars(run.fault))
    assert "goes on" in run.output
    assert "gender: 1/1 trained by an earlier run" in run.output
    assert f"age: {NUM_UPDATES}/{NUM_UPDATES}" in run.output
    assert find_trained(run.recipe, "gender", run.storage) == run.gender

    whole = Reports(tmp_path / "whole")
    train_attribute(TrainingJob(run.recipe, "age", "", ""), whole)
    resumed = find_trained(run.recipe, "age", run.storage)
    assert resumed is not None
    assert_same_adapters(whole.checkpoints[NUM_UPDATES] / "adapters", resumed.folders[0].parent)
    client = store_of(run.folder)
    experiment = client.get_experiment_by_name("portraits-quick").experiment_id
    jobs = {found.info.run_name: found for found in client.search_runs([experiment])}
    assert {name: found.info.status for name, found in jobs.items()} == dict.fromkeys(
        ("portraits-quick", *(f"portraits-quick-{a.name}" for a in run.recipe.attributes)),
        "FINISHED",
    )
    curve = client.get_metric_history(jobs["portraits-quick-age"].info.run_id, "loss")
    steps = [point.step for point in curve]
    assert steps.count(2) == 1, "the second try started from the beginning"
    # what is written beside training may lack the points of the moment before the kill
    assert set(steps) >= set(range(run.step + 2, NUM_UPDATES + 1, 2))
    wait_until_gone(run.family)


def test_attributes_meet_the_final_adapters_of_the_stages_before(run: Run, tmp_path: Path) -> None:
    recipe, storage = run.recipe, run.storage
    alone = find_trained(recipe, "skin", storage)
    peers = [find_trained(recipe, name, storage, joint_round=True) for name in ("gender", "age")]
    folders = tuple(folder for found in peers for folder in found.folders)
    last = Reports(tmp_path / "last")
    train_attribute(TrainingJob(recipe, "skin", "", "", alone.folders, folders), last)
    skin = find_trained(recipe, "skin", storage, joint_round=True)
    assert_same_adapters(last.checkpoints[2] / "adapters", skin.folders[0].parent)


def test_a_run_ends_with_figures_and_pictures(run: Run) -> None:
    assert "Hit rate" in run.output and "make ui" in run.output
    report = json.loads((run.folder / "report" / "evaluation.json").read_text())
    assert set(report["fairness"]) == {"gender", "skin", "age", "gender x skin"}
    for systems in report["fairness"].values():
        prompts = list(systems["fairgen"]["prompts"])  # whichever was painted first
        assert prompts == list(run.recipe.evaluation.quick.concepts)
        assert {"fd", "interval", "floor", "n"} <= set(systems["fairgen"])
        assert set(systems) == {"base", "iid", "fairgen"}
    assert report["no_people_unchanged"] == dict.fromkeys(run.recipe.concepts.no_people, True)
    assert report["second_fairness"] == report["fairness"]  # both judges are the same here
    assert report["agreement"]["fairgen"]["age"]["share"] == 1
    for picture in ("grid.png", "bars.png"):
        assert (run.folder / "report" / picture).stat().st_size > 0


def test_a_run_ends_with_registered_candidates(run: Run) -> None:
    client, recipe = store_of(run.folder), run.recipe
    assert "fairgen-quick-age-old version 1: candidate" in run.output
    names = {model.name for model in client.search_registered_models()}
    assert names == {
        recipe.registered_name(attribute.name, category)
        for attribute in recipe.attributes
        for category in attribute.names
    }
    report = json.loads((run.folder / "report" / "evaluation.json").read_text())
    version = client.get_model_version_by_alias("fairgen-quick-skin-dark", "candidate")
    assert float(version.tags["fd"]) == pytest.approx(
        report["fairness"]["skin"]["fairgen"]["fd"], abs=1e-4
    )
    experiment = client.get_experiment_by_name("portraits-quick").experiment_id
    parents = client.search_runs([experiment], "tags.`fairgen.kind` = 'train-all'")
    assert len(parents) == 1
    kept = (run.folder / ".fairgen" / "artifacts").rglob(f"{parents[0].info.run_id}/**/report/*")
    assert {"grid.png", "bars.png", "evaluation.json"} <= {path.name for path in kept}
