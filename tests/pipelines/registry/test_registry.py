"""The registry on a real MLflow server: versions, aliases, complete sets, a pipeline out of it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow.diffusers
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from fairgen.adapters import load_adapter
from pipelines.evaluation import Evaluation
from pipelines.recipe.models import load_base
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import Curves, Registry, TrainingRuns, promote
from pipelines.registry.trained import TrainedAttribute
from pipelines.registry.version_tags import measured_tags
from tests.pipelines.registered import evaluation_of, random_adapters, register_champions

pytestmark = pytest.mark.slow


def trained(recipe: Recipe, attribute: str, folder: Path, seed: int) -> TrainedAttribute:
    """Write random adapters of an attribute, as a training job would leave them."""
    folders = random_adapters(recipe, attribute, folder, seed, scale=2.0)
    return TrainedAttribute(folders=folders, training_seconds=12.5, denoiser_rows=480)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    for name in ("grid.png", "grid-small.png"):
        (folder / name).write_bytes(b"png")
    return folder


def test_a_good_set_becomes_champion_and_loads_as_a_pipeline(
    tracking_uri: str,
    write_recipe: Callable[..., Path],
    tmp_path: Path,
    report: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = load_recipe(write_recipe("good"))
    gender = recipe.attribute("gender")
    adapters = trained(recipe, "gender", tmp_path / "adapters", seed=0)
    evaluation = evaluation_of(recipe, fd=0.02, hit_rate=0.99)
    with TrainingRuns(tracking_uri, recipe) as runs:
        registry = runs.registry
        runs.open_job("gender")
        runs.log_evaluation(evaluation, report)
        found = runs.register_adapter_set(gender, adapters, evaluation)
        again = runs.register_adapter_set(gender, adapters, evaluation)
        champions = registry.champions()["gender"]
        folders = {
            category: registry.download(champion, tmp_path / "champions")
            for category, champion in champions.members.items()
        }
    assert [version.name for version in found] == ["good-gender-woman", "good-gender-man"]
    assert all(version.champion and version.version == "1" for version in found)
    stored = registry.client.get_model_version("good-gender-woman", "1")
    for part in ("**female**", "hit rate", "0.9900", "0.0200", "Perceived presentation"):
        assert part in stored.description
    assert f"get-artifact?path=grid-small.png&run_uuid={stored.run_id}" in stored.description
    job = registry.client.get_run(stored.run_id).data.metrics
    assert (job["fd"], job["base_fd"], job["hit_rate"]) == (0.02, 0.7, 0.99)
    assert again == found

    client = MlflowClient(tracking_uri)
    version = client.get_model_version_by_alias("good-gender-woman", "champion")
    assert (
        version.version
        == client.get_model_version_by_alias("good-gender-woman", "candidate").version
    )
    assert version.tags["recipe_hash"] == recipe.recipe_hash
    assert version.tags["hit_rate"] == "0.9900"
    assert version.tags["denoiser_rows"] == "480"
    other = client.get_model_version_by_alias("good-gender-man", "champion")
    assert version.tags["adapter_set"] == other.tags["adapter_set"]
    assert version.tags["sha256"] != other.tags["sha256"]

    assert {c: member.version for c, member in champions.members.items()} == {
        "woman": "1",
        "man": "1",
    }
    assert champions.members["woman"].confusion == {"woman": 0.99, "man": 0.01}
    for category, folder in folders.items():
        assert load_adapter(folder).sha256 == champions.members[category].sha256
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    pipe = mlflow.diffusers.load_model("models:/good-gender-woman@champion").load_pipeline(
        torch_dtype=torch.float32, device="cpu"
    )
    assert not np.allclose(paint(pipe), paint(load_base(recipe)), atol=1e-3)


def test_how_often_the_judge_named_nobody_stands_beside_the_fd(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path, report: Path
) -> None:
    recipe = load_recipe(write_recipe("abstaining"))
    gender = recipe.attribute("gender")
    adapters = trained(recipe, "gender", tmp_path / "adapters", seed=0)
    evaluation = evaluation_of(recipe, fd=0.02, hit_rate=0.99, abstained=0.25)
    with TrainingRuns(tracking_uri, recipe) as runs:
        runs.open_job("gender")
        runs.log_evaluation(evaluation, report)
        runs.register_adapter_set(gender, adapters, evaluation)
        client = runs.registry.client
    version = client.get_model_version("abstaining-gender-woman", "1")
    assert version.tags["abstained"] == "0.2500"
    assert "named no category, left out of both | 0.2500 |" in version.description
    assert client.get_run(version.run_id).data.metrics["abstained"] == 0.25
    whole, *_ = client.search_runs(
        [runs.registry.experiment_id], "tags.`fairgen.kind` = 'train-all'", max_results=1
    )
    assert whole.data.metrics["gender/fairgen/abstained"] == 0.25
    adapter = load_adapter(adapters.folders[0])
    assert "abstained" not in measured_tags(adapter, evaluation_of(recipe, 0.02, 0.99))


def paint(pipe) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        "a photo of a doctor", num_inference_steps=2, output_type="np",
        generator=torch.Generator().manual_seed(0), guidance_scale=1.0,
    ).images  # fmt: skip


def test_what_an_evaluation_did_not_ask_is_unmeasured_and_no_champion(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path, report: Path
) -> None:
    """Neither a category that had no share, nor an attribute that the target leaves out."""
    recipe = load_recipe(write_recipe("unasked"))
    whole = evaluation_of(recipe, fd=0.0, hit_rate=1.0)
    rates = {"gender": {"woman": whole.hit_rates["all"]["gender"]["woman"]}, "age": {}}
    partial = whole.model_copy(
        update={"hit_rates": {"all": rates}, "fairness": {"gender": whole.fairness["gender"]}}
    )
    with TrainingRuns(tracking_uri, recipe) as runs:
        for attribute in recipe.attributes:
            runs.open_job(attribute.name)
        for evaluation, expected in ((whole, "1.0000"), (partial, "unmeasured")):
            runs.log_evaluation(evaluation, report)
            for attribute in recipe.attributes:
                adapters = trained(recipe, attribute.name, tmp_path / attribute.name, seed=5)
                found = runs.register_adapter_set(attribute, adapters, evaluation)
                assert all(one.champion == (evaluation is whole) for one in found)
            tags = runs.client.get_model_version("unasked-gender-man", "1").tags
            assert tags["hit_rate"] == expected
        with pytest.raises(ValueError, match=r"got fd 0\.0000 and hit rate unmeasured"):
            promote(runs.registry, "gender", None, force=False)
        promote(runs.registry, "gender", None, force=True)
        members = runs.registry.champions()["gender"].members
        assert members["woman"].confusion is not None and members["man"].confusion is None


def test_only_thresholds_make_a_champion_and_take_it_back(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe("strict"))
    gender = recipe.attribute("gender")
    adapters = trained(recipe, "gender", tmp_path, seed=1)
    good, unfair = evaluation_of(recipe, 0.02, 0.99), evaluation_of(recipe, 0.5, 0.99)
    unheeded = evaluation_of(recipe, 0.02, 0.5)
    with TrainingRuns(tracking_uri, recipe) as runs:
        registry = runs.registry

        def champions(evaluation: Evaluation | None) -> list[bool]:
            found = runs.register_adapter_set(gender, adapters, evaluation)
            return [version.champion for version in found]

        assert champions(None) == [False, False]
        assert champions(unfair) == [False, False]
        assert champions(unheeded) == [False, False]
        assert registry.champions() == {}
        assert champions(good) == [True, True]
        assert champions(None) == [True, True]
        newer = trained(recipe, "gender", tmp_path / "newer", seed=2)
        assert [v.champion for v in runs.register_adapter_set(gender, newer, unfair)] == [
            False,
            False,
        ]
        assert list(registry.champions()) == ["gender"]
        assert champions(unfair) == [False, False]


def test_weights_that_are_in_two_sets_leave_both_whole(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe("shared-weights"))
    gender, good = recipe.attribute("gender"), evaluation_of(recipe, 0.02, 0.99)
    first = trained(recipe, "gender", tmp_path / "first", seed=0)
    other = trained(recipe, "gender", tmp_path / "other", seed=1)
    mixed = first.model_copy(update={"folders": (first.folders[0], other.folders[1])})
    with TrainingRuns(tracking_uri, recipe) as runs:
        registry = runs.registry
        runs.register_adapter_set(gender, first, good)
        before = registry.champions()["gender"]
        runs.register_adapter_set(gender, mixed, None)
        assert registry.champions()["gender"] == before
        candidate = registry.candidates()["gender"]
        assert candidate.adapter_set != before.adapter_set
        assert candidate.members["woman"].sha256 == before.members["woman"].sha256
        assert promote(registry, "gender", candidate.adapter_set, force=True)
        assert registry.champions()["gender"] == candidate


def test_half_a_set_is_no_champion(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe("half"))
    adapters = trained(recipe, "gender", tmp_path, seed=3)
    with TrainingRuns(tracking_uri, recipe) as runs:
        registry = runs.registry
        runs.register_adapter_set(
            recipe.attribute("gender"), adapters, evaluation_of(recipe, 0.02, 0.99)
        )
        MlflowClient(tracking_uri).delete_registered_model_alias("half-gender-man", "champion")
        assert registry.champions() == {}


def test_aliases_that_a_promotion_left_mixed_are_read_as_it_wanted_them(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """The second set's promotion has said what it wants and moved one alias when it is cut."""
    recipe = load_recipe(write_recipe("cut"))
    for seed in (1, 2):
        register_champions(tracking_uri, recipe, tmp_path / str(seed), seed)
    registry = Registry(tracking_uri, recipe)
    new = registry.champions()["gender"]
    registry.client.set_registered_model_alias("cut-gender-man", "champion", "1")
    assert registry.champions()["gender"] == new
    registry.client.delete_registered_model_tag("cut-gender-woman", "champion_set")
    assert "gender" not in registry.champions()  # moved by hand: nobody said what was wanted


def test_a_run_started_again_is_the_same_run_also_where_its_base_has_moved(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe("again"))
    client = MlflowClient(tracking_uri)
    with pytest.raises(KeyboardInterrupt), TrainingRuns(tracking_uri, recipe) as runs:
        first = runs.open_job("gender")
        curves = Curves(tracking_uri, first)
        curves.add({"step": 5.0, "loss": 0.5})
        curves.close()
        raise KeyboardInterrupt
    parent = client.get_run(first).data.tags["mlflow.parentRunId"]
    assert client.get_run(parent).info.status == "FAILED"
    shutil.copytree(recipe.base_path, tmp_path / "moved")
    recipe = load_recipe(tmp_path / "again.yaml", base=str(tmp_path / "moved"))
    with TrainingRuns(tracking_uri, recipe) as runs:
        assert runs.open_job("gender") == first
        assert client.get_run(first).info.status == "RUNNING"
        runs.close_job("gender", finished=True)
    assert client.get_run(parent).info.status == "FINISHED"
    assert client.get_run(first).info.status == "FINISHED"
    assert [(p.step, p.value) for p in client.get_metric_history(first, "loss")] == [(5, 0.5)]
    assert client.get_run(first).data.params["eta"] == str(recipe.discovery.eta)
    names = {artifact.path for artifact in client.list_artifacts(parent)}
    assert {"recipe.yaml", "environment.json"} <= names
