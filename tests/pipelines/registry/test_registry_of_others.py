"""A registry in which others have registered, deleted and collected: what is ours goes on."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from fairgen.adapters import load_adapter
from pipelines.cli.app import app
from pipelines.recipe import Recipe, load_recipe
from pipelines.registry import Registry, TrainedAttribute, TrainingRuns, promote, push
from pipelines.registry.local_server import tracking_server
from pipelines.registry.server import current, every
from tests.pipelines.registered import evaluation_of, random_adapters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def other_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second registry, to move to."""
    with tracking_server(tmp_path_factory.mktemp("other")) as uri:
        yield uri


def register(uri: str, recipe: Recipe, folder: Path, seed: int = 0) -> list[str]:
    """Register both attributes of a recipe as champions; return their sets."""
    sets = []
    evaluation = evaluation_of(recipe, 0.0, 0.97)
    with TrainingRuns(uri, recipe) as runs:
        for attribute in recipe.attributes:
            folders = random_adapters(recipe, attribute.name, folder / str(seed), seed)
            trained = TrainedAttribute(folders=folders, training_seconds=1, denoiser_rows=1)
            runs.open_job(attribute.name)
            runs.register_adapter_set(attribute, trained, evaluation)
            runs.close_job(attribute.name, finished=True)
            sets.append(runs.registry.champions()[attribute.name].adapter_set)
    return sets


@pytest.fixture
def recipe(request: pytest.FixtureRequest, write_recipe: Callable[..., Path]) -> Recipe:
    name = request.node.name.removeprefix("test_")[:40].strip("_").replace("_", "-")
    return load_recipe(write_recipe(name))


def by_hand(uri: str, recipe: Recipe) -> str:
    """Register gender-woman's first weights once more, in MLflow itself; return the version."""
    client, name = MlflowClient(uri), recipe.registered_name("gender", "woman")
    (first,) = client.search_model_versions(f"name = '{name}'")
    with current(uri):
        return str(mlflow.register_model(first.source, name).version)


def test_a_version_registered_by_hand_is_passed_over_and_named(
    tracking_uri: str, other_uri: str, recipe: Recipe, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gender, _ = register(tracking_uri, recipe, tmp_path)
    number = by_hand(tracking_uri, recipe)
    name = recipe.registered_name("gender", "woman")
    MlflowClient(tracking_uri).set_registered_model_alias(name, "champion", number)

    registry = Registry(tracking_uri, recipe)
    with caplog.at_level(logging.WARNING):
        versions = registry.versions()
    assert len(versions) == 4 and number not in {v.version for v in versions if v.name == name}
    assert f"{name} version {number} was not registered by FairGen" in caplog.text
    champions = registry.champions()  # what was promoted last, and the other attribute
    assert set(champions) == {"gender", "age"}
    assert champions["gender"].adapter_set == gender
    assert champions["gender"].members["woman"].version != number

    assert push(registry, Registry(other_uri, recipe), lambda *_: None) == 4
    assert all(version.champion for version in promote(registry, "gender", gender, force=False))
    assert registry.aliased(name, "champion") != number
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    path = tmp_path / f"{recipe.name}.yaml"
    listed = CliRunner().invoke(app, ["adapters", str(path)], env={"COLUMNS": "200"})
    assert listed.exit_code == 0 and name in listed.stdout


def test_deleted_runs_and_a_deleted_experiment_end_nothing(
    tracking_uri: str, other_uri: str, recipe: Recipe, tmp_path: Path
) -> None:
    register(tracking_uri, recipe, tmp_path)
    registry = Registry(tracking_uri, recipe)
    champion = registry.champions()["gender"].members["woman"]
    run = registry.client.get_model_version(champion.name, champion.version).run_id
    registry.client.delete_run(run)

    moved = Registry(other_uri, recipe)
    assert push(registry, moved, lambda *_: None) == 4
    assert push(registry, moved, lambda *_: None) == 0
    there = moved.champions()["gender"].members["woman"]
    assert there.sha256 == champion.sha256
    stand_in = moved.client.get_run(
        moved.client.get_model_version(there.name, there.version).run_id
    )
    assert (
        "deleted" in stand_in.info.run_name
        and "deleted" in stand_in.data.tags["mlflow.note.content"]
    )

    registry.client.delete_experiment(registry.experiment_id)
    register(tracking_uri, recipe, tmp_path, seed=1)
    again = Registry(tracking_uri, recipe)
    assert again.client.get_experiment(again.experiment_id).lifecycle_stage == "active"
    assert {v.version for v in again.versions()} == {"1", "2"}


def test_models_stand_in_the_recipe_s_experiment_whatever_became_of_mlflow_s_own(
    recipe: Recipe, tmp_path: Path
) -> None:
    with tracking_server(tmp_path / "home") as uri:
        client = MlflowClient(uri)
        client.delete_experiment("0")
        register(uri, recipe, tmp_path)
        registry = Registry(uri, recipe)
        models = client.search_logged_models([registry.experiment_id])
        assert len(models) == 4 and {str(model.status) for model in models} == {"READY"}
        assert {model.source_run_id for model in models} == {
            registry.client.get_model_version(found.name, found.version).run_id
            for found in registry.versions()
        }


def test_what_was_collected_is_said_to_be_gone_and_registered_anew(
    recipe: Recipe, tmp_path: Path
) -> None:
    """As `mlflow gc` leaves it: the entries are there, their files are not."""
    store = tmp_path / "home"
    with tracking_server(store) as uri:
        register(uri, recipe, tmp_path)
        registry = Registry(uri, recipe)
        champion = registry.champions()["gender"].members["woman"]
        assert load_adapter(registry.download(champion, tmp_path / "a")).sha256 == champion.sha256
        shutil.rmtree(store / "artifacts")
        with pytest.raises(ValueError, match=rf"{champion.name} version 1: its files are gone"):
            registry.download(champion, tmp_path / "b")
        assert registry.download_grid(champion, tmp_path / "b") is None
        register(uri, recipe, tmp_path)
        anew = Registry(uri, recipe).champions()["gender"].members["woman"]
        assert (anew.version, anew.sha256) == ("2", champion.sha256)
        assert load_adapter(registry.download(anew, tmp_path / "c")).sha256 == champion.sha256


@pytest.mark.parametrize(
    "tag", ["nothing", "[]", '{"woman": "much"}', '{"woman": 2}', '{"woman": NaN}', "3"]
)
def test_a_tag_that_is_no_table_costs_its_own_attribute_s_calibration_only(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path, tag: str
) -> None:
    recipe = load_recipe(write_recipe("tagged"))
    register(tracking_uri, recipe, tmp_path)
    registry = Registry(tracking_uri, recipe)
    champion = registry.champions()["gender"].members["woman"]
    client = registry.client
    client.set_model_version_tag(champion.name, champion.version, "confusion", tag)
    found = registry.champions()
    assert found["gender"].members["woman"].confusion is None
    assert found["age"].members["old"].confusion is not None


def test_every_page_of_a_search_is_read(tracking_uri: str, recipe: Recipe) -> None:
    registry = Registry(tracking_uri, recipe)
    client, here = registry.client, [registry.experiment_id]
    made = {client.create_run(here[0], run_name=f"run-{n}").info.run_id for n in range(12)}
    assert client.search_runs(here, max_results=5).token  # one page does not hold them all
    assert {run.info.run_id for run in every(client.search_runs, here, max_results=5)} == made
