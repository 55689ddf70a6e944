"""Several nodes, of which one is lost, or the head is."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from openai import OpenAI

from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry.local_server import free_port
from pipelines.training.checkpoints import newest_whole
from pipelines.training.job import TrainingJob, train_attribute
from pipelines.training.run import find_trained, run_name
from tests.faults import Fault
from tests.pipelines.commands import output_of, start
from tests.pipelines.nodes import FAKETIME, Nodes, fast_clock_node, running_nodes
from tests.pipelines.processes import children, wait_for
from tests.pipelines.registered import register_champions
from tests.pipelines.reports import Reports, assert_same_adapters

pytestmark = [pytest.mark.chaos, pytest.mark.full, pytest.mark.ray, pytest.mark.slow]

NUM_UPDATES = 100
ONE_ATTRIBUTE = "gender"


@pytest.fixture
def recipe_path(make_recipe: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a recipe of a hundred updates, whose worker takes a node."""

    def write(name: str, cpus_per_worker: int = 2) -> Path:
        settings = {"num_updates": NUM_UPDATES, "num_rows": 4}
        jobs = {"cpus_per_worker": cpus_per_worker, "max_failures": 2, "checkpoint_every": 4}
        folder = tmp_path / f"of-{cpus_per_worker}"
        folder.mkdir(exist_ok=True)
        return make_recipe(folder, name, discovery=settings, jobs=jobs)

    return write


class Run:
    """`fairgen train-all` on running nodes."""

    def __init__(self, path: Path, nodes: Nodes, folder: Path) -> None:
        self.recipe, self._nodes, self._folder = load_recipe(path), nodes, folder
        folder.mkdir(exist_ok=True)
        arguments = ("train-all", str(path), "--no-eval")
        self.process = start(folder, *arguments, **nodes.environment)

    def step(self, attribute: str = ONE_ATTRIBUTE) -> int:
        """Return how far an attribute's checkpoints have come."""
        found = newest_whole(self._nodes.home / "runs" / run_name(self.recipe, attribute))
        return found.step if found else 0

    def wait_until(self, step: int) -> None:
        wait_for(lambda: self.step() >= step or self.process.poll() is not None, 300)
        assert self.process.poll() is None, output_of(self._folder)

    def finish(self) -> None:
        """Wait for its end: it must be a good one, in the weights of an untouched run."""
        assert self.process.wait(600) == 0, output_of(self._folder)
        trained = find_trained(self.recipe, ONE_ATTRIBUTE, self._nodes.home / "runs")
        assert trained is not None
        assert_same_adapters(
            trained.folders[0].parent, untouched(self.recipe, self._folder / "untouched")
        )


def untouched(recipe: Recipe, folder: Path) -> Path:
    reports = Reports(folder)
    train_attribute(TrainingJob(recipe, ONE_ATTRIBUTE, "", ""), reports)
    return reports.checkpoints[NUM_UPDATES] / "adapters"


def kill_node_of(worker: psutil.Process) -> None:
    """Kill a worker's raylet and all that it has started: what the loss of a machine does."""
    raylet = worker.parent()
    for process in (*raylet.children(recursive=True), raylet):
        process.kill()


def test_a_lost_node_is_made_up_for_by_another(
    recipe_path: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    with running_nodes(tmp_path / "home") as nodes:
        run = Run(recipe_path("lost-node"), nodes, tmp_path / "run")
        run.wait_until(step=8)
        fault.strikes("the node of a training worker is lost", "the bar stands until it is noticed")
        worker, *_ = children("TrainWorker")
        at = run.step()
        kill_node_of(worker)
        run.wait_until(step=at + 8)
        fault.over()
        run.finish()


def test_a_head_without_redis_is_started_again_and_the_same_command_goes_on(
    recipe_path: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    path, home = recipe_path("lost-head"), tmp_path / "home"
    with running_nodes(home) as nodes:
        run = Run(path, nodes, tmp_path / "run")
        run.wait_until(step=8)
        fault.strikes(
            "the head's GCS is killed, its state is nowhere else",
            "the run ends with an error; a new cluster and the same command go on",
        )
        nodes.cluster.head_node.kill_gcs_server()
        assert run.process.wait(300) != 0
        at = run.step()
    with running_nodes(home) as nodes:
        again = Run(path, nodes, tmp_path / "again")
        again.wait_until(step=at + 4)
        fault.over()
        again.finish()


@contextmanager
def redis() -> Iterator[int]:
    """Start a Redis server that keeps everything in memory; yield its port."""
    if not (binary := shutil.which("redis-server")):
        pytest.skip("needs Debian's redis-server")
    port = free_port()
    server = subprocess.Popen(
        [binary, "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        server.terminate()
        server.wait(30)


def test_a_head_with_redis_is_missed_by_nobody(
    recipe_path: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    path, away_s = recipe_path("kept-head", cpus_per_worker=1), 10
    with redis() as port, running_nodes(tmp_path / "home", port) as nodes:
        recipe = load_recipe(path)
        register_champions(nodes.tracking_uri, recipe, tmp_path / "adapters", seed=1)
        serving = tmp_path / "serving"
        serving.mkdir()
        deployed = start(serving, "serve", str(path), "--cluster", nodes.dashboard)
        assert deployed.wait(300) == 0, output_of(serving)
        client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none", max_retries=0)

        def adapters_of(seed: int) -> dict[str, str]:
            asked = {"num_inference_steps": 4, "seed": seed}
            answer = client.images.generate(prompt="a pilot", extra_body=asked)
            found: dict[str, str] = answer.data[0].provenance["adapters"]
            return found

        assert adapters_of(99)
        run = Run(path, nodes, tmp_path / "run")
        run.wait_until(step=8)
        fault.strikes(
            f"the head's GCS is killed for {away_s} s, its state is in Redis",
            "nothing: pictures and training go on",
        )
        nodes.cluster.head_node.kill_gcs_server()
        struck = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(adapters_of, range(24)))
        time.sleep(max(0.0, struck + away_s - time.monotonic()))
        nodes.cluster.head_node.start_gcs_server()
        at = run.step()
        run.wait_until(step=min(at + 4, NUM_UPDATES))
        fault.over()
        assert adapters_of(98)
        run.finish()


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs Debian's faketime")
def test_clocks_that_differ_by_an_hour_change_nothing(
    recipe_path: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    """Begun on the node whose clock is ahead, the only one that is large enough, then killed, and
    gone on with on one whose clock is right.
    """
    path = recipe_path("ahead", cpus_per_worker=3)
    with running_nodes(tmp_path / "home") as nodes:
        with fast_clock_node(nodes, ahead_s=3600):
            run = Run(path, nodes, tmp_path / "run")
            run.wait_until(step=8)
            fault.strikes("the clock of a training node is an hour ahead", "nothing")
            run.process.kill()
            run.process.wait()
            at = run.step()
        nodes.cluster.add_node(
            num_cpus=3, temp_dir=f"{nodes.folder}/right", node_ip_address="127.0.0.4"
        )
        again = Run(path, nodes, tmp_path / "again")
        again.wait_until(step=at + 4)
        fault.over()
        again.finish()
