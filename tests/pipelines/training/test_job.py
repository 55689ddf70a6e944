"""The training loop as a plain function: what it reports, and that a resumed run is the
uninterrupted one.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fairgen.adapters import load_adapter
from fairgen.discovery import Discovery, DiscoveryStats
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.training.job import TrainingJob, train_attribute
from tests.families import tiny
from tests.pipelines.registered import random_adapters
from tests.pipelines.reports import Reports, assert_same_adapters


def job_of(recipe: Recipe) -> TrainingJob:
    return TrainingJob(recipe, "gender", tracking_uri="", run_id="")


def test_reports_metrics_and_ends_with_loadable_adapters(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe())
    reports = Reports(tmp_path / "whole")
    train_attribute(job_of(recipe), reports)
    assert [metrics["step"] for metrics in reports.metrics] == [2, 4, 5, 6]
    assert all({"loss", "keep", "relative_error"} <= set(metrics) for metrics in reports.metrics)
    assert sorted(reports.checkpoints) == [2, 4, 6]
    assert not (reports.checkpoints[4] / "adapters").exists()
    for name in recipe.adapter_names("gender"):
        adapter = load_adapter(reports.checkpoints[6] / "adapters" / name)
        assert adapter.name == name
        assert adapter.metadata.recipe_hash == recipe.recipe_hash
        assert all(
            torch.isfinite(part).all() for pair in adapter.directions.values() for part in pair
        )


def test_resumed_equals_uninterrupted(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe())
    whole, rest = Reports(tmp_path / "whole"), Reports(tmp_path / "rest")
    train_attribute(job_of(recipe), whole)
    train_attribute(job_of(recipe), rest, whole.checkpoints[4])
    assert [metrics["step"] for metrics in rest.metrics] == [5, 6]
    assert_same_adapters(whole.checkpoints[6] / "adapters", rest.checkpoints[6] / "adapters")


def test_resuming_a_finished_checkpoint_trains_no_further(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe())
    whole, again = Reports(tmp_path / "whole"), Reports(tmp_path / "again")
    train_attribute(job_of(recipe), whole)
    train_attribute(job_of(recipe), again, whole.checkpoints[6])
    assert again.metrics == []


def test_directions_are_kept_apart_from_those_of_the_company(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(
        write_recipe(discovery={"orth_weight": 0.1, "rank": 1}, joint_round={"eta": 1.0})
    )
    alone, beside = Reports(tmp_path / "alone"), Reports(tmp_path / "beside")
    train_attribute(job_of(recipe), alone)
    assert {metrics["orth"] for metrics in alone.metrics} == {0}
    start, peers = (random_adapters(recipe, name, tmp_path, seed=1) for name in ("gender", "age"))
    train_attribute(replace(job_of(recipe), start=start, peers=peers), beside)
    assert min(metrics["orth"] for metrics in beside.metrics) > 0


@pytest.mark.parametrize("asked", [False, True])
def test_gradients_are_checkpointed_where_the_recipe_says_so(
    write_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    seen: list[bool] = []
    update = Discovery.update

    def updated(discovery: Discovery) -> DiscoveryStats:
        seen.append(discovery.backbone.denoiser.is_gradient_checkpointing)
        return update(discovery)

    monkeypatch.setattr(Discovery, "update", updated)
    recipe = load_recipe(write_recipe(jobs={"gradient_checkpointing": asked}))
    train_attribute(job_of(recipe), Reports(tmp_path / "whole"))
    assert set(seen) == {asked}


def test_checkpoints_of_a_denoiser_that_has_none_are_refused(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    tiny("HunyuanDiT").save_pretrained(tmp_path / "base")
    path = write_recipe(jobs={"gradient_checkpointing": True})
    recipe = load_recipe(path, base=str(tmp_path / "base"))
    with pytest.raises(ValueError, match=r"^jobs.gradient_checkpointing: got True, allowed is Fal"):
        train_attribute(job_of(recipe), Reports(tmp_path / "whole"))


def test_an_unknown_attribute_is_refused(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe())
    with pytest.raises(
        ValueError, match=r"attribute: got 'height', allowed are \['gender', 'age'\]"
    ):
        recipe.attribute("height")
