"""A comparison's worker on the embedded model in two steps, in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fairgen.baselines.words import Words
from pipelines.experiments.comparison.conditions import PLAIN, EvalCondition
from pipelines.experiments.comparison.files import load_cost, load_embedded, score_path
from pipelines.experiments.comparison.systems import BASE, COMPARED_SYSTEMS, FAIRGEN
from pipelines.experiments.comparison.worker import ComparisonWorker
from pipelines.experiments.worker import Base, FairGen
from pipelines.recipe.recipe import load_recipe
from tests.pipelines.registered import random_adapters

THINGS = EvalCondition("no-people", "no people", "no people", concepts=("car",))
WORDS = next(compared for compared in COMPARED_SYSTEMS if compared.name == "words_quota")


@pytest.fixture
def worker(write_recipe: Callable[..., Path], tmp_path: Path) -> ComparisonWorker:
    path = write_recipe(
        generation={"steps": 2, "batch_size": 2}, evaluation={"target": {"gender": "uniform"}}
    )
    recipe = load_recipe(path).model_copy(update={"base": "fairgen/portraits/model"})
    folders = random_adapters(recipe, "gender", tmp_path / "adapters", seed=1)
    return ComparisonWorker(recipe, folders, own_rows=400, max_rows=400, folder=tmp_path / "run")


def test_rivals_and_the_engine_are_measured_beside_the_base_model(
    worker: ComparisonWorker, tmp_path: Path
) -> None:
    for method in (Base, FairGen, Words):
        worker.learn(method)
    rows = {method: load_cost(tmp_path / "run", method).denoiser_rows for method in (Base, FairGen)}
    assert rows == {Base: 0, FairGen: 400}
    for condition, concept in ((PLAIN, "doctor"), (THINGS, "car")):
        pictures = {}
        for compared in (BASE, FAIRGEN, WORDS):
            worker.paint(compared, condition, concept, 2)
            path = score_path(tmp_path / "run", condition, compared.name, concept)
            assert path.exists()
            pictures[compared] = [image.tobytes() for image in load_embedded(path).images]
        assert pictures[WORDS] != pictures[BASE]
        assert (pictures[FAIRGEN] == pictures[BASE]) == (condition == THINGS)
