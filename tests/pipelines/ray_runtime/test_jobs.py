"""Two verbs on a cluster of several nodes: train-all through the job API, serve through REST."""

import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import OpenAI
from ray.job_submission import JobDetails, JobStatus

from pipelines.ray_runtime.jobs import connect, follow, recipe_jobs
from pipelines.recipe.recipe import load_recipe
from pipelines.registry.local_server import free_port
from pipelines.training.run import find_trained
from tests.pipelines.commands import output_of, start
from tests.pipelines.nodes import Nodes, blind_node, locked_head, running_nodes
from tests.pipelines.processes import wait_for as within
from tests.tiny import save_tiny_clip

pytestmark = [pytest.mark.ray, pytest.mark.slow]
END_S = 400
wait_for = partial(within, timeout_s=END_S)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running_nodes(tmp_path_factory.mktemp("shared")) as found:
        yield found


@pytest.fixture(scope="module")
def recipe_path(make_recipe: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of twenty updates, whose judge sees tiny pictures."""
    folder = tmp_path_factory.mktemp("jobs")
    clip = {"kind": "clip", "path": str(save_tiny_clip(tmp_path_factory.mktemp("clip")))}
    few = {size: {"num_images": 2, "concepts": ["doctor"]} for size in ("quick", "full")}
    loose = {"gender": {"max_fd": 1.5, "min_hit_rate": 0.0}}
    return make_recipe(
        folder, "on-nodes", ["gender"], judge=clip, second_judge=clip, evaluation=few,
        generation={"steps": 2}, discovery={"num_updates": 20}, thresholds=loose,
    )  # fmt: skip


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run `fairgen` to its end; return its status and its output."""
    process = start(folder, *arguments)
    status = process.wait(END_S)
    return status, output_of(folder)


@pytest.fixture(scope="module")
def trained(
    nodes: Nodes, recipe_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Submit, leave by an interrupt, come back: yield the job's id and all that was shown."""
    folder = tmp_path_factory.mktemp("client")
    client = start(folder, "train-all", str(recipe_path), "--cluster", nodes.dashboard)
    output = folder / "output.txt"
    wait_for(lambda: "waiting" in output.read_text() or client.poll() is not None)
    client.send_signal(signal.SIGINT)
    assert client.wait(60) == 130, output.read_text()
    left = output.read_text()
    (job,) = re.findall(r"^(train-all-\S+) submitted$", left, re.MULTILINE)
    assert f"{job} goes on. Follow it: fairgen jobs attach {job}" in left
    output.unlink()
    status, shown = run(folder, "jobs", "attach", job, "--cluster", nodes.dashboard)
    assert status == 0, shown
    yield job, shown


def test_a_job_left_by_its_client_goes_on_and_shows_the_same_table_to_who_comes_back(
    trained: tuple[str, str], nodes: Nodes, recipe_path: Path
) -> None:
    job, shown = trained
    assert "gender: 0/20 waiting" in shown, "the output does not begin at the beginning"
    assert "Hit rate" in shown and "on-nodes-gender-woman version 1: champion" in shown
    assert shown.rstrip().endswith(f"{job}: SUCCEEDED")
    recipe, storage = load_recipe(recipe_path), nodes.home / "runs"
    assert find_trained(recipe, "gender", storage)
    assert (nodes.home / "report" / "grid.png").exists()


def test_jobs_are_listed_with_how_they_ended(
    trained: tuple[str, str], nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status, shown = run(tmp_path, "jobs", "--cluster", nodes.dashboard)
    assert status == 0
    assert re.search(rf"{trained[0]}.*on-nodes.*SUCCEEDED", shown)


def test_two_clients_of_one_recipe_follow_one_job_and_it_can_be_stopped(
    trained: tuple[str, str], nodes: Nodes, make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_recipe(tmp_path, "joined", ["gender"], discovery={"num_updates": 4000})
    asked = ["train-all", str(path), "--no-eval", "--cluster", nodes.dashboard]
    folders = [tmp_path / "one", tmp_path / "two"]
    clients = []
    for folder in folders:
        folder.mkdir()
        clients.append(start(folder, *asked))
        wait_for(lambda folder=folder: "train-all-" in (folder / "output.txt").read_text())
    first, second = ((folder / "output.txt").read_text() for folder in folders)
    (job,) = re.findall(r"^(train-all-\S+) submitted$", first, re.MULTILINE)
    assert f"{job} is running already: following it" in second
    recipe_hash = load_recipe(path).recipe_hash
    found = [j for j in recipe_jobs(connect(nodes.dashboard)) if recipe_hash in j.submission_id]
    assert [j.submission_id for j in found] == [job]

    wait_for(lambda: bool(drivers()))
    stopping = tmp_path / "stopping"
    stopping.mkdir()
    status, shown = run(stopping, "jobs", "stop", job, "--cluster", nodes.dashboard)
    assert status == 0 and f"{job} is told to stop" in shown
    assert [client.wait(END_S) for client in clients] == [1, 1]
    assert all(f"{job}: STOPPED" in (folder / "output.txt").read_text() for folder in folders)
    wait_for(lambda: not drivers())


def drivers() -> list[psutil.Process]:
    """Return the processes that a job's command runs in, on whatever node."""
    command = "pipelines.cli train-all recipe.yaml"
    running = psutil.process_iter(["cmdline"])
    return [p for p in running if command in " ".join(p.info["cmdline"] or ())]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["jobs", "attach", "nobody"], "job: got 'nobody', allowed are ['train-all-"),
        (["jobs", "stop", "nobody"], "job: got 'nobody', allowed are ['train-all-"),
    ],
)
def test_a_job_that_there_is_not_is_refused(
    trained: tuple[str, str], nodes: Nodes, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, shown = run(tmp_path, *arguments, "--cluster", nodes.dashboard)
    assert status == 2 and message in shown


class BreaksOff:
    """A cluster that goes away in the middle of a job's output, once before and once after the job
    has ended, and then shows it from its beginning again, as Ray does.
    """

    def __init__(self) -> None:
        self.calls = 0

    def get_address(self) -> str:
        return "http://head:8265"

    def list_jobs(self) -> list[JobDetails]:
        job = {"submission_id": "job", "type": "SUBMISSION", "status": "RUNNING", "entrypoint": ""}
        return [JobDetails(**job, metadata={"fairgen.recipe_hash": "x"})]

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        self.calls += 1
        yield "one\ntw"
        if self.calls == 1:
            raise ConnectionError("the head is away")
        yield "o\nthree\n"

    def get_job_status(self, job_id: str) -> JobStatus:
        if self.calls == 2:
            raise RuntimeError("the head starts again")
        return JobStatus.SUCCEEDED


def test_output_goes_on_where_the_cluster_went_away() -> None:
    written: list[str] = []
    assert follow(BreaksOff(), "job", written.append, retry_s=0) == "SUCCEEDED"
    assert "".join(written) == "one\ntwo\nthree\n"
    with pytest.raises(ConnectionError, match=r"head:8265 has not answered for .* may go on"):
        follow(BreaksOff(), "job", written.append, patience_s=-1, retry_s=0)


def test_a_cluster_that_wants_a_token_lets_in_who_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked_head("a-token-of-tests-which-is-long-enough") as (dashboard, token):
        for given in (None, "another-token-which-is-long-enough-too"):
            if given is None:
                monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
            else:
                monkeypatch.setenv("RAY_AUTH_TOKEN", given)
            monkeypatch.setenv("RAY_AUTH_MODE", "token")
            status, shown = run(tmp_path, "jobs", "--cluster", dashboard)
            assert status == 2 and f"cluster: {dashboard} wants a token" in " ".join(shown.split())
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        status, shown = run(tmp_path, "jobs", "--cluster", dashboard)
        assert status == 0, shown


def test_a_cluster_that_does_not_answer_is_named(recipe_path: Path, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    status, shown = run(tmp_path, "train-all", str(recipe_path), "--cluster", nowhere)
    assert status == 2
    assert f"cluster: got '{nowhere}', which does not answer as a Ray dashboard" in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="covers a folder before a node's eyes: needs root")
def test_a_node_that_does_not_see_the_storage_is_named_before_anything_is_trained(
    trained: tuple[str, str], nodes: Nodes, make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_recipe(tmp_path, "blind", ["gender"])
    with blind_node(nodes) as address:
        wait_for(lambda: len(alive(nodes)) == 4)
        asked = ["train-all", str(path), "--no-eval", "--cluster", nodes.dashboard]
        status, shown = run(tmp_path, *asked)
    assert status == 1
    assert f"FAIRGEN_HOME: got {nodes.home}, which ['{address}'] do not see" in " ".join(
        shown.split()
    )
    assert "waiting" not in shown


def alive(nodes: Nodes) -> list[Any]:
    """Return the nodes that are alive."""
    from ray.util.state import list_nodes

    return list_nodes(nodes.dashboard, filters=[("state", "=", "ALIVE")])


def test_the_same_recipe_again_skips_what_is_trained_and_its_champions_are_served(
    trained: tuple[str, str], nodes: Nodes, recipe_path: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    again.mkdir()
    asked = ["train-all", str(recipe_path), "--no-eval", "--cluster", nodes.dashboard]
    status, shown = run(again, *asked)
    assert status == 0, shown
    assert "gender: 1/1 trained by an earlier run" in shown
    assert "on-nodes-gender-woman version 1: champion" in shown

    status, shown = run(tmp_path, "serve", str(recipe_path), "--cluster", nodes.dashboard)
    assert status == 0 and "fairgen: RUNNING" in shown, shown
    client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none", max_retries=0)
    records = [
        client.images.generate(
            prompt="a pilot", extra_body={"num_inference_steps": 4, "seed": seed}
        ).data[0].provenance
        for seed in range(8)
    ]  # fmt: skip
    genders = Counter(record["categories"]["gender"] for record in records)
    assert genders == {"woman": 4, "man": 4}
