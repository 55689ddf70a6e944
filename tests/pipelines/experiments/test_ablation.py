"""An ablation on the embedded base in a few updates: every change measured, nothing done twice."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from fairgen.discovery import DiscoveryConfig
from pipelines.experiments.ablation.ablate import ablate
from pipelines.experiments.ablation.report import ablation_tables
from pipelines.experiments.ablation.results import Ablation, Curve, Point
from pipelines.experiments.ablation.worker import changed
from pipelines.recipe.recipe import Recipe, load_recipe
from tests.pipelines.registered import finish_training


def small(path: Path, home: Path) -> Recipe:
    """Return a recipe on the embedded model in two steps, whose training has been finished."""
    recipe = load_recipe(path).model_copy(update={"base": "fairgen/portraits/model"})
    generation = recipe.generation.model_copy(update={"steps": 2})
    recipe = recipe.model_copy(update={"generation": generation})
    finish_training(recipe, home)
    return recipe


@pytest.mark.ray
@pytest.mark.slow
def test_every_change_is_measured_once_beside_the_recipes_own(
    cluster: None, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    settings = {"eta": [2.0], "on_policy": [True, False], "orth_weight": [0.1]}  # True is its own
    sections = {
        "ablation": {"rival_rows": 4, "settings": settings}, "discovery": {"num_updates": 3},
    }  # fmt: skip
    recipe = small(write_recipe(**sections), tmp_path)
    report = tmp_path / "report"
    found = ablate(recipe, tmp_path, report, Console(record=True, width=160))
    tried = [(variant.group, variant.value) for variant in found.variants]
    assert tried == [("recipe", ""), ("eta", 2.0), ("on_policy", False), ("orth_weight", 0.1)]
    assert len({v.ssim for v in found.variants}) == len(found.variants)
    for variant in found.variants:
        assert set(variant.drift) == {"gender", "skin", "glasses"}
        assert variant.interval[0] <= variant.fd <= variant.interval[1]
    own, rival = found.curves["fairgen"].points, found.curves["official"].points
    assert [p.denoiser_rows for p in own] == sorted({p.denoiser_rows for p in own})
    assert len(own) == 3  # one after every update
    reached = found.curves["fairgen"].reached(0.97) or own[-1]
    assert rival[-1].denoiser_rows >= 4 * reached.denoiser_rows > rival[-2].denoiser_rows
    assert Ablation.model_validate_json((report / "ablation.json").read_text()) == found
    assert (report / "ablation.png").stat().st_size > 10_000

    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("ablation/*/*.json")}
    lost = next(path for path in files if path.name == "variant-eta-2.0.json")
    before = json.loads(lost.read_text())
    lost.unlink()
    assert ablate(recipe, tmp_path, report, Console(record=True)) == found
    assert json.loads(lost.read_text()) == before
    assert {path for path, at in files.items() if path.stat().st_mtime_ns != at} == {lost}

    console = Console(record=True, width=160)
    console.print(*ablation_tables(found))
    text = console.export_text()
    assert "on_policy" in text and "official loop" in text


def test_an_ablation_needs_its_section(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe()).model_copy(update={"ablation": None})
    with pytest.raises(ValueError, match="ablation: got none in the recipe"):
        ablate(recipe, tmp_path, tmp_path, Console())


def test_a_change_leaves_all_else_and_one_strength_means_all() -> None:
    config = DiscoveryConfig(eta=1.2, category_eta={"tan": 1.5}, rank=8)
    assert changed(config, "recipe", "") == config
    assert changed(config, "rank", 2) == config.model_copy(update={"rank": 2})
    stronger = changed(config, "eta", 2.0)
    assert stronger.eta_of("tan") == stronger.eta_of("dark") == 2.0


def test_the_cost_of_a_hit_rate_is_the_first_point_that_has_it() -> None:
    rates = (0.5, 0.9, 0.98, 0.97)
    points = [
        Point(denoiser_rows=100 * index, gradient_rows=10, hit_rate=rate)
        for index, rate in enumerate(rates)
    ]
    found = Curve(points=points).reached(0.97)
    assert found is not None and found.denoiser_rows == 200
    assert Curve(points=points).reached(0.99) is None
