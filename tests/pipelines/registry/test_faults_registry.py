"""A registry that is hurt while adapters are registered and promoted: nothing lost or doubled."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from fairgen.adapters import load_adapter
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import Registry, TrainingRuns, promote, push
from pipelines.registry.local_server import free_port
from pipelines.registry.trained import TrainedAttribute
from tests.faults import Fault
from tests.pipelines.processes import wait_for
from tests.pipelines.registered import evaluation_of, random_adapters
from tests.pipelines.shared_registry import (
    PASSWORD,
    USER,
    Postgres,
    postgres,
    start_postgres,
    start_registry,
    stop,
)
from tests.pipelines.wire import wire

pytestmark = [pytest.mark.chaos, pytest.mark.postgres, pytest.mark.slow]


@dataclass
class Shared:
    """A shared registry whose two servers can be killed and started again."""

    database: Postgres
    folder: Path
    port: int
    server: Popen[bytes]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill_server(self) -> None:
        """Kill MLflow: the server and the worker that it has started share a group."""
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def start_server(self) -> None:
        self.server = start_registry(self.database, self.folder, self.port)

    def kill_database(self) -> None:
        self.database.process.kill()
        self.database.process.wait()

    def start_database(self) -> None:
        self.database = start_postgres(self.database.folder, self.database.port)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")  # the default of a run
    folder, port = tmp_path_factory.mktemp("hurt-registry"), free_port()
    with postgres() as database:
        found = Shared(database, folder, port, start_registry(database, folder, port))
        yield found
        stop(found.server, signal.SIGTERM)
        stop(found.database.process, signal.SIGINT)
    patch.undo()


def register(uri: str, path: Path, folder: Path, seed: int = 1) -> None:
    """Register and promote a set of random adapters, as the end of a run does."""
    recipe = load_recipe(path)
    gender = recipe.attribute("gender")
    folders = random_adapters(recipe, "gender", folder / str(seed), seed)
    trained = TrainedAttribute(folders=folders, training_seconds=1, denoiser_rows=1)
    with TrainingRuns(uri, recipe) as runs:
        runs.open_job("gender")
        runs.register_adapter_set(gender, trained, evaluation_of(recipe, 0.0, 0.97))
        runs.close_job("gender", finished=True)


def promote_forever(uri: str, path: Path) -> None:
    """Promote one set after the other, without an end."""
    registry = Registry(uri, load_recipe(path))
    sets = sets_of(registry)
    while True:
        for adapter_set in sets:
            promote(registry, "gender", adapter_set, force=False)


def sets_of(registry: Registry) -> list[str]:
    """Return the sets of gender's versions."""
    return sorted({v.tags["adapter_set"] for v in registry.versions() if "gender" in v.name})


def num_versions(registry: Registry) -> int:
    return sum("gender" in version.name for version in registry.versions())


def num_runs(uri: str, recipe: Recipe) -> int:
    registry = Registry(uri, recipe)
    query = f"tags.`fairgen.recipe` = '{recipe.name}'"
    return len(registry.client.search_runs([registry.experiment_id], query))


def assert_one_champion_set(uri: str, recipe: Recipe) -> None:
    """Assert that there is one version a category, together a set, and that it is champion."""
    registry = Registry(uri, recipe)
    versions = [v for v in registry.versions() if "gender" in v.name]
    assert Counter(v.name for v in versions) == Counter(
        recipe.registered_name("gender", category) for category in ("woman", "man")
    )
    (adapter_set,) = sets_of(registry)
    assert registry.champions()["gender"].adapter_set == adapter_set
    assert all(set(v.aliases) == {"candidate", "champion"} for v in versions)


@pytest.mark.parametrize("killed", ["server", "database"])
def test_a_server_killed_while_adapters_are_registered_costs_a_pause(
    shared: Shared, make_recipe: Callable[..., Path], tmp_path: Path, fault: Fault,
    outage_s: float, killed: str,
) -> None:  # fmt: skip
    path = make_recipe(tmp_path, f"hurt-{killed}")
    recipe = load_recipe(path)
    before = Registry(shared.uri, recipe)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            register(shared.uri, path, tmp_path)
        except BaseException as error:
            errors.append(error)

    registering = threading.Thread(target=run)
    registering.start()
    wait_for(lambda: num_versions(before) >= 1)
    away_s = min(outage_s, 30)
    what = "the MLflow server" if killed == "server" else "PostgreSQL"
    fault.strikes(
        f"{what} is killed while adapters are registered, and comes back after {away_s:g} s",
        "the run waits, and then ends as usual",
    )
    kill, start = (
        (shared.kill_server, shared.start_server)
        if killed == "server"
        else (shared.kill_database, shared.start_database)
    )
    kill()
    time.sleep(away_s)
    start()
    registering.join()
    assert errors == []
    fault.over()
    assert_one_champion_set(shared.uri, recipe)


def test_answers_that_break_off_cost_nothing(
    shared: Shared, make_recipe: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    path = make_recipe(tmp_path, "broken-off")
    recipe = load_recipe(path)
    fault.strikes(
        "of every kind of request the registry's first answer breaks off after its head",
        "everything is asked for again, and nothing is there twice",
    )
    with wire(shared.port) as broken:
        broken.breaks_answers = True
        uri = f"http://127.0.0.1:{broken.port}"
        register(uri, path, tmp_path)
        promote(Registry(uri, recipe), "gender", None, force=True)
        (champions,) = Registry(uri, recipe).champions().values()
        folders = [
            Registry(uri, recipe).download(champion, tmp_path / "downloaded")
            for champion in champions.members.values()
        ]
    fault.over()
    assert len(broken.broken) > 20
    assert_one_champion_set(shared.uri, recipe)
    assert [load_adapter(folder).sha256 for folder in folders] == [
        champion.sha256 for champion in champions.members.values()
    ]
    assert num_runs(shared.uri, recipe) == 2


def test_answers_that_break_off_while_a_registry_is_pushed_cost_nothing(
    shared: Shared, tracking_uri: str, make_recipe: Callable[..., Path], tmp_path: Path,
    fault: Fault,
) -> None:  # fmt: skip
    path = make_recipe(tmp_path, "pushed-over-a-broken-wire")
    recipe = load_recipe(path)
    register(tracking_uri, path, tmp_path)
    fault.strikes(
        "of every kind of request the first answer breaks off while a registry is pushed",
        "it is all there, once",
    )
    with wire(shared.port) as broken:
        broken.breaks_answers = True
        there = Registry(f"http://127.0.0.1:{broken.port}", recipe)
        push(Registry(tracking_uri, recipe), there, lambda *_: None)
    fault.over()
    assert_one_champion_set(shared.uri, recipe)
    assert num_runs(shared.uri, recipe) == num_runs(tracking_uri, recipe) == 2


def test_a_run_killed_while_it_registers_is_ended_by_the_same_command(
    shared: Shared, make_recipe: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    path = make_recipe(tmp_path, "cut-off")
    registry = Registry(shared.uri, load_recipe(path))
    context = multiprocessing.get_context("spawn")
    run = context.Process(target=register, args=(shared.uri, path, tmp_path))
    run.start()
    wait_for(lambda: num_versions(registry) >= 1)
    fault.strikes("a run is killed while it registers", "half a set, which nobody is served")
    run.kill()
    run.join()
    assert registry.champions() == {}
    register(shared.uri, path, tmp_path)
    fault.over()
    assert_one_champion_set(shared.uri, load_recipe(path))


@pytest.mark.full
def test_a_promotion_killed_at_any_moment_leaves_a_complete_set(
    shared: Shared, make_recipe: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    path = make_recipe(tmp_path, "half-moved")
    for seed in (1, 2):
        register(shared.uri, path, tmp_path, seed)
    registry = Registry(shared.uri, load_recipe(path))
    sets, rng = sets_of(registry), random.Random(0)
    fault.strikes("a promotion is killed half-way, eight times", "the old set, or the new one")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "mlflow.diffusers", "diffusers"])
    mixed = 0
    for _ in range(8):
        promoting = context.Process(target=promote_forever, args=(shared.uri, path))
        promoting.start()
        before = registry.champions()["gender"].adapter_set
        wait_for(lambda before=before: registry.champions()["gender"].adapter_set != before)
        time.sleep(rng.random() * 0.3)
        promoting.kill()
        promoting.join()
        assert registry.champions()["gender"].adapter_set in sets
        versions = [v for v in registry.versions() if "champion" in v.aliases]
        mixed += len({v.tags["adapter_set"] for v in versions if "gender" in v.name}) > 1
    promote(registry, "gender", sets[0], force=False)
    fault.over()
    assert registry.champions()["gender"].adapter_set == sets[0]
    fault.seen += f" (aliases were left mixed {mixed} times)"
