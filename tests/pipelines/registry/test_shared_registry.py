"""The shared registry, MLflow over PostgreSQL: nothing is lost or doubled by many at once, the door
is locked, and what a local registry holds moves there.
"""

import multiprocessing
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from fairgen.adapters import load_adapter
from pipelines.cli.app import app
from pipelines.recipe.recipe import load_recipe
from pipelines.registry import Curves, Registry, TrainingRuns, promote, push
from pipelines.registry.local_server import free_port
from pipelines.registry.run_view import share_view, view_pages
from pipelines.registry.trained import TrainedAttribute
from tests.pipelines.browser import headless_browser, open_registry
from tests.pipelines.registered import evaluation_of, random_adapters
from tests.pipelines.shared_registry import PASSWORD, USER, postgres, registry_server

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the registry; this process logs in as its user."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("shared-registry")
    with postgres() as database, registry_server(database, folder) as uri:
        patch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        yield uri
        patch.undo()


def train_and_register(uri: str, path: Path, folder: Path, seed: int, job: int) -> list[str]:
    """Do to the registry what a whole run does: curves, versions, promotion; one process each."""
    recipe = load_recipe(path)
    gender = recipe.attribute("gender")
    folders = random_adapters(recipe, "gender", folder / str(job), seed)
    trained = TrainedAttribute(folders=folders, training_seconds=1, denoiser_rows=1)
    with TrainingRuns(uri, recipe) as runs:
        run = runs.open_job("gender")
        curves = Curves(uri, run)
        for step in range(1, 11):
            curves.add({"step": float(step), f"loss-{job}": 1 / step})
        curves.close()
        found = runs.register_adapter_set(gender, trained, evaluation_of(recipe, 0.0, 0.97))
        runs.close_job("gender", finished=True)
    return [f"{version.name}/{version.version}" for version in found]


def test_a_view_that_many_keep_at_once_is_kept(shared: str) -> None:
    client = MlflowClient(shared)
    for index in range(5):
        experiment = client.create_experiment(f"viewed-{index}")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _, named=experiment: share_view(client, named), range(8)))
        assert f"viewed-{index}" in dict(view_pages(client))
    with pytest.raises(MlflowException, match="No Experiment"):
        share_view(client, "987654321")


def test_eight_jobs_at_once_lose_and_double_nothing(
    shared: str, make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """Four register the same adapters, four their own."""
    path = make_recipe(tmp_path, "crowd")
    seeds = [0, 0, 0, 0, 1, 2, 3, 4]
    context = multiprocessing.get_context("forkserver")  # torch and mlflow are imported once
    context.set_forkserver_preload([__name__, "mlflow.diffusers", "diffusers"])
    with ProcessPoolExecutor(8, mp_context=context) as pool:
        jobs = [
            pool.submit(train_and_register, shared, path, tmp_path, seed, job)
            for job, seed in enumerate(seeds)
        ]
        registered = [job.result() for job in jobs]
    assert len({tuple(found) for found in registered[:4]}) == 1
    assert len({tuple(found) for found in registered}) == 5

    recipe, client = load_recipe(path), MlflowClient(shared)
    registry = Registry(shared, recipe)
    versions = [v for v in registry.versions() if "gender" in v.name]
    sets = Counter(v.tags["adapter_set"] for v in versions)
    assert len(sets) == 5 and set(sets.values()) == {2}
    for aliased in (registry.champions(), registry.candidates()):  # whose wish came last
        assert aliased["gender"].adapter_set in sets

    (experiment,) = client.search_experiments(filter_string="name = 'crowd'")
    recipe_jobs = client.search_runs([experiment.experiment_id], "tags.`fairgen.kind` = 'train'")
    points = {
        name: {(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)}
        for run in recipe_jobs
        for name in run.data.metrics
    }
    assert points == {
        f"loss-{job}": {(step, 1 / step) for step in range(1, 11)} for job in range(8)
    }


def test_promotions_at_once_leave_one_complete_set(
    shared: str, make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_recipe(tmp_path, "contested")
    recipe = load_recipe(path)
    for seed in (0, 1):
        train_and_register(shared, path, tmp_path, seed, seed)
    registry = Registry(shared, recipe)
    sets = sorted({v.tags["adapter_set"] for v in registry.versions() if "gender" in v.name})
    assert len(sets) == 2
    rng, ended = random.Random(0), []
    for _ in range(8):
        start = threading.Barrier(4)

        def promote_after(
            adapter_set: str, wait_s: float, start: threading.Barrier = start
        ) -> None:
            own = Registry(shared, recipe)
            start.wait()
            time.sleep(wait_s)
            promote(own, "gender", adapter_set, force=False)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(promote_after, sets * 2, [rng.random() * 0.2 for _ in range(4)]))
        ended.append(registry.champions()["gender"].adapter_set)
    assert set(ended) <= set(sets)


def test_a_local_registry_moves_there_with_all_that_it_holds(
    shared: str,
    tracking_uri: str,
    make_recipe: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make_recipe(tmp_path, "moved")
    recipe = load_recipe(path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "grid.png").write_bytes(b"png")
    for seed in (0, 1):
        train_and_register(tracking_uri, path, tmp_path, seed, seed)
    local, moved = Registry(tracking_uri, recipe), Registry(shared, recipe)
    with TrainingRuns(tracking_uri, recipe) as runs:
        runs.log_evaluation(evaluation_of(recipe, 0.0, 0.97), tmp_path / "report")
    first = next(v.tags["adapter_set"] for v in local.versions() if v.version == "1")
    promote(local, "gender", first, force=False)

    with monkeypatch.context() as cut, pytest.raises(ConnectionError, match="cut"):
        cut.setattr("pipelines.registry.migration.copy_artifacts", cut_off)
        push(local, moved, lambda *_: None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    for new in (4, 0):  # the second time there is nothing to bring
        done = CliRunner().invoke(app, ["registry", "push", str(path), "--to", shared])
        assert done.exit_code == 0 and f"{new} versions are new in {shared}" in done.stdout
    assert moved.versions() == local.versions()
    assert len(moved.client.search_runs([moved.experiment_id])) == len(
        local.client.search_runs([local.experiment_id])
    )
    assert (
        moved.champions() == local.champions() and moved.champions()["gender"].adapter_set == first
    )
    champion = moved.champions()["gender"].members["woman"]
    downloaded = load_adapter(moved.download(champion, tmp_path / "there"))
    assert downloaded.sha256 == champion.sha256
    assert moved.download_grid(champion, tmp_path) is not None
    client = moved.client
    run = client.get_model_version(champion.name, champion.version).run_id
    assert [p.value for p in client.get_metric_history(run, "loss-0")] == [
        1 / s for s in range(1, 11)
    ]
    parent = client.get_run(client.get_run(run).data.tags["mlflow.parentRunId"])
    assert parent.data.tags["fairgen.recipe_hash"] == recipe.recipe_hash


@pytest.mark.browser
def test_the_registry_is_browsed(
    shared: str, make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """Versions and aliases, an adapter's tags, a run's figures and pictures."""
    path = make_recipe(tmp_path, "browsed")
    recipe = load_recipe(path)
    for seed in (0, 1):
        train_and_register(shared, path, tmp_path, seed, seed)
    (tmp_path / "report").mkdir()
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "report" / "grid.png")
    with TrainingRuns(shared, recipe) as runs:
        registry = runs.registry
        runs.log_evaluation(evaluation_of(recipe, 0.0, 0.97), tmp_path / "report")
    champion = registry.champions()["gender"].members["woman"]
    run = registry.client.get_model_version(champion.name, champion.version).run_id
    there = shared.replace("://", f"://{USER}:{PASSWORD}@")
    pages = {
        dict(view_pages(registry.client))["browsed"]: ["Run Name", "fd", "hit_rate", "browsed"],
        f"#/models/{champion.name}": ["Version 1", "Version 2", "champion", "candidate"],
        f"#/models/{champion.name}/versions/{champion.version}": [
            "champion", "adapter_set", champion.adapter_set, "hit_rate", "0.97", "Draws people as",
        ],
        f"#/experiments/{registry.experiment_id}/runs/{run}": ["browsed-gender", "loss-0", "eta"],
        f"#/experiments/{registry.experiment_id}/runs/{run}/artifacts/grid.png": ["grid.png"],
    }  # fmt: skip
    with headless_browser(tmp_path / "profile") as driver:
        open_registry(driver, there)  # logged in: the page wants an address without a password
        for place, (page, texts) in enumerate(pages.items()):
            driver.get("about:blank")
            driver.get(f"{shared}/{page}")
            for text in texts:
                WebDriverWait(driver, 60).until(
                    lambda _, text=text: text in driver.find_element(By.TAG_NAME, "body").text,
                    f"{text!r} is not on {page}",
                )
            driver.save_screenshot(tmp_path / f"{place}.png")
        WebDriverWait(driver, 60).until(
            lambda _: any(
                image.get_property("naturalWidth") == 64
                for image in driver.find_elements(By.TAG_NAME, "img")
            ),
            "the grid is not shown",
        )
        driver.save_screenshot(tmp_path / "grid.png")


def cut_off(*_: object) -> None:
    raise ConnectionError("cut")


def test_pushing_to_nowhere_or_without_a_key_says_so(
    shared: str,
    tracking_uri: str,
    write_recipe: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_recipe("pushed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    nowhere = f"http://127.0.0.1:{free_port()}"
    for to, message in (
        (nowhere, f"to: got '{nowhere}', which does not answer"),
        (tracking_uri, "which is where it would come from"),
    ):
        refused = CliRunner().invoke(app, ["registry", "push", str(path), "--to", to])
        assert refused.exit_code == 2 and message in " ".join(refused.stderr.split())
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    refused = CliRunner().invoke(app, ["registry", "push", str(path), "--to", shared])
    assert refused.exit_code == 2 and f"to: {shared} cannot be used" in refused.stderr


def test_the_registry_is_closed_to_strangers(shared: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{shared}/api/2.0/mlflow/experiments/get?experiment_id=0")
    probe = urllib.request.Request(f"{shared}/health", headers={"Host": "localhost"})
    assert urllib.request.urlopen(probe).status == 200
    rebound = urllib.request.Request(
        f"{shared}/api/2.0/mlflow/experiments/search", headers={"Host": "evil.example"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(rebound)
