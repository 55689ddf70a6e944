"""The disk of a registry fills while artifacts are logged: the run says so, and goes on later."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import Registry, TrainingRuns, tracking_server
from pipelines.registry.trained import TrainedAttribute
from tests.faults import Fault
from tests.pipelines.disk import small_disk
from tests.pipelines.registered import evaluation_of, random_adapters

pytestmark = [pytest.mark.chaos, pytest.mark.mlflow, pytest.mark.slow]
_ROOM = 20_000  # bytes left: for rows of the database, not for weights


def register(uri: str, recipe: Recipe, folders: tuple[Path, ...]) -> None:
    """Register a set as the end of a run does."""
    trained = TrainedAttribute(folders=folders, training_seconds=1, denoiser_rows=1)
    with TrainingRuns(uri, recipe) as runs:
        runs.open_job("gender")
        evaluation = evaluation_of(recipe, 0.0, 0.97)
        runs.register_adapter_set(recipe.attribute("gender"), trained, evaluation)
        runs.close_job("gender", finished=True)


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")
def test_a_disk_that_fills_while_artifacts_are_logged_costs_that_run_only(
    write_recipe: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    recipe, disk = load_recipe(write_recipe("full-registry")), tmp_path / "disk"
    first = random_adapters(recipe, "gender", tmp_path / "first", seed=1)
    second = random_adapters(recipe, "gender", tmp_path / "second", seed=2)
    with small_disk(disk, size_kib=64 * 1024), tracking_server(disk) as uri:
        register(uri, recipe, first)
        before = Registry(uri, recipe).champions()["gender"]
        fault.strikes(
            "the registry's disk is full while adapters are logged",
            "the run ends with the server's error; what was champion stays",
        )
        filler = disk / "filler"
        filler.write_bytes(bytes(os.statvfs(disk).f_bavail * 4096 - _ROOM))
        with pytest.raises((MlflowException, OSError), match="No space left on device"):
            register(uri, recipe, second)
        assert Registry(uri, recipe).champions()["gender"] == before
        filler.unlink()
        register(uri, recipe, second)
        fault.over()
        after = Registry(uri, recipe).champions()["gender"]
        assert after.adapter_set != before.adapter_set and len(after.members) == 2
        assert len({v.tags["adapter_set"] for v in Registry(uri, recipe).versions()}) == 2
