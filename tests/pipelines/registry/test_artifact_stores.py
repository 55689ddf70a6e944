"""Where a server keeps its files is known before anything is trained: a store without its package,
or a folder of another machine.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.recipe.recipe import load_recipe
from pipelines.registry import Registry
from pipelines.registry.server import check_artifacts

REMOTE, HERE = "http://mlflow.example:5000", "http://127.0.0.1:5000"


@pytest.mark.slow
def test_an_experiment_in_a_store_without_its_package_is_told(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe, uri = load_recipe(make_recipe(tmp_path, "cloud")), f"sqlite:///{tmp_path}/runs.db"
    client = MlflowClient(uri)
    client.create_experiment("cloud", artifact_location="gs://bucket/there")
    registry = Registry(uri, recipe)
    with pytest.raises(
        ValueError, match=r"^artifacts: sqlite.* keeps them at gs://bucket/there, for"
    ):
        _ = registry.experiment_id
    with pytest.raises(ValueError, match="a package is missing here"):
        _ = registry.experiment_id


@pytest.mark.parametrize(
    "location", ["gs://bucket/x", "abfss://box@somebody.dfs.core.windows.net/"]
)
def test_a_store_without_its_package_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match=f"keeps them at {location}, for which a package is miss"):
        check_artifacts(REMOTE, location)


@pytest.mark.parametrize("location", ["/srv/mlflow/artifacts/1", "file:///srv/mlflow/artifacts/1"])
def test_a_folder_of_another_machine_is_refused(location: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"keeps them at {location}, which is not on this machine"):
        check_artifacts(REMOTE, location)
    check_artifacts(HERE, location)
    check_artifacts("sqlite:///runs.db", location)
    check_artifacts(REMOTE, f"{tmp_path}/1")  # a folder that both share


@pytest.mark.parametrize("location", ["mlflow-artifacts:/1", "s3://bucket/1"])
def test_what_can_be_used_is_let_pass(location: str) -> None:
    check_artifacts(REMOTE, location)
