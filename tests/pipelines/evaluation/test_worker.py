"""An evaluation's worker on a tiny base model, in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fairgen.adapters import save_adapter
from pipelines.evaluation import EvaluationWorker
from pipelines.recipe.recipe import load_recipe
from tests.fairgen.test_adapters import make_adapter
from tests.tiny import save_tiny_clip, tiny_pipeline


@pytest.fixture
def worker(write_recipe: Callable[..., Path], tmp_path: Path) -> EvaluationWorker:
    clip = {"kind": "clip", "path": str(save_tiny_clip(tmp_path / "clip"))}
    target = {"gender": "uniform"}
    recipe = load_recipe(
        write_recipe(
            judge=clip, second_judge=clip, generation={"steps": 2, "batch_size": 2},
            evaluation={"target": target},
        )
    )  # fmt: skip
    folders = [tmp_path / category for category in ("woman", "man")]
    for folder in folders:
        save_adapter(make_adapter(tiny_pipeline(), category=folder.name), folder)
    return EvaluationWorker(recipe, folders)


def test_a_prompt_without_people_is_compared_with_the_model_without_adapters(
    worker: EvaluationWorker,
) -> None:
    base_pictures = worker.paint_base("car")
    assert len(base_pictures) == 4
    assert worker.unchanged("car", base_pictures)
    assert not worker.unchanged("car", base_pictures[::-1])


def test_the_base_model_cannot_be_painted_once_adapters_are_loaded(
    worker: EvaluationWorker,
) -> None:
    worker.measure("doctor", 2)
    with pytest.raises(RuntimeError, match="got a model with adapters, allowed is one without"):
        worker.paint_base("car")


def test_every_system_is_scored_on_the_same_seeds(worker: EvaluationWorker) -> None:
    cells = [{"gender": name} for name in ("man", "man", "woman", "man")]
    scores, shown = worker.measure("doctor", 10, cells)
    assert [score.system for score in scores] == ["base", "iid", "fairgen"] == list(shown)
    assert all(len(set(pictures)) == 4 for pictures in shown.values())
    base, iid, fairgen = scores
    assert iid.asked["gender"] != sorted(iid.asked["gender"])
    assert base.psnr == [100] * 10 and max(fairgen.psnr) < 100
    assert base.asked["gender"] == [] and sorted(fairgen.asked["gender"]) == [0] * 5 + [1] * 5
    assert fairgen.second is not None and fairgen.second.seen["gender"] == fairgen.seen["gender"]
