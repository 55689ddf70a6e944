"""A comparison on a tiny base through real Ray: every contender measured, nothing done twice."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fairgen.baselines.official import Official
from pipelines.experiments.comparison.compare import compare, run_name
from pipelines.experiments.comparison.comparison import Comparison
from pipelines.experiments.comparison.conditions import PLAIN, EvalCondition, eval_conditions
from pipelines.experiments.comparison.files import (
    best_setting,
    load_pictures,
    save_pictures,
    sweep_point_path,
)
from pipelines.experiments.comparison.systems import COMPARED_SYSTEMS, asked_target
from pipelines.experiments.comparison.tables import robustness_table
from pipelines.files import write
from pipelines.recipe.evaluation_config import ComparisonSize
from pipelines.recipe.recipe import Recipe, load_recipe
from tests.pipelines.registered import finish_training

SIZE = ComparisonSize(num_images=4, training_share=1.0)


def small(path: Path) -> Recipe:
    """Return a recipe on the embedded model, whose pictures its judge can see, in two steps."""
    recipe = load_recipe(path).model_copy(update={"base": "fairgen/portraits/model"})
    full = recipe.evaluation.full.model_copy(update={"concepts": ("doctor", "nurse")})
    evaluation = recipe.evaluation.model_copy(update={"full": full})
    generation = recipe.generation.model_copy(update={"steps": 2})
    concepts = recipe.concepts.model_copy(update={"no_people": ("car",)})
    assert recipe.comparison is not None
    comparison = recipe.comparison.model_copy(update={"quick": SIZE})
    return recipe.model_copy(
        update={
            "evaluation": evaluation,
            "generation": generation,
            "comparison": comparison,
            "concepts": concepts,
        }
    )


@pytest.mark.ray
@pytest.mark.slow
def test_every_contender_is_measured_once(
    cluster: None, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe, home, report = small(write_recipe()), tmp_path / "home", tmp_path / "report"
    console = Console(record=True, width=160)
    finish_training(recipe, home, denoiser_rows=100)
    found = compare(recipe, False, home, report, console)
    names = [contender.name for contender in COMPARED_SYSTEMS]
    assert list(found.systems) == names
    assert all(list(systems) == names for systems in found.fairness.values())
    assert Comparison.model_validate_json((report / "compare.json").read_text()) == found
    assert found.preservation["base"].ssim == pytest.approx(1, abs=1e-4)
    assert found.systems["fairgen"].cost.denoiser_rows == 200
    assert 200 <= found.systems["official"].cost.denoiser_rows < 500
    for name in ("official", "h_space", "uce", "fair_diffusion", "concept_sliders"):
        card = found.systems[name]
        assert len(card.sweep) >= 3
        assert (
            card.setting == max(card.sweep, key=lambda trial: trial.recognised - trial.fd).setting
        )
    page = (report / "compare.html").read_text()
    assert all(card.title in page for card in found.systems.values())
    assert "http" not in page.replace("http-equiv", "")  # it needs no network
    assert page.count('class="strip"') == 2 * len(COMPARED_SYSTEMS)
    assert set(found.quality) == set(names)
    for slug, held in found.conditions.items():
        assert set(held) == {"base", "words_quota", "fairgen"}, slug
        assert held["base"].ssim == pytest.approx(1, abs=1e-4) and held["base"].unchanged == 1
        assert set(held["base"].drift.values()) <= {0.0}
    thing, named = found.conditions["no-people"], found.conditions["explicit-0"]
    assert thing["fairgen"].unchanged == 1 > thing["words_quota"].unchanged
    assert thing["fairgen"].fd == {} == thing["fairgen"].drift
    assert set(named["fairgen"].fd) == {"age"} == set(named["fairgen"].hit_rates)
    assert named["base"].obeyed is not None and found.conditions["plain"]["base"].obeyed is None
    alone = found.conditions["alone-age"]["fairgen"]
    assert set(alone.hit_rates) == {"age"} and set(alone.drift) == {"gender", "skin", "glasses"}
    assert set(found.conditions["plain"]["fairgen"].hit_rates) == {"gender", "age"}

    console.print(robustness_table(found, eval_conditions(recipe)))
    lines = console.export_text(clear=False).splitlines()
    rows = {line.split("│")[1].strip(): line for line in lines if line.startswith("│")}
    gaps = [
        abs(share / 10 - found.conditions[f"share-{share / 10:g}"]["fairgen"].delivered)
        for share in range(11)
    ]
    assert f"{max(gaps):.3f}" in rows["FairGen, quota"] and "1.000" in rows["FairGen, quota"]

    files = {path: path.stat().st_mtime_ns for path in home.rglob("compare/**/*") if path.is_file()}
    (lost,) = home.glob("compare/*/plain/words/nurse.json")
    before = json.loads(lost.read_text())
    lost.unlink()
    again = compare(recipe, False, home, report, console)
    assert again == found and json.loads(lost.read_text()) == before
    changed = {path for path, at in files.items() if path.stat().st_mtime_ns != at}
    assert changed == {lost, lost.with_suffix(".png"), lost.with_suffix(".safetensors")}
    painted = 2 * (len(COMPARED_SYSTEMS) - 1)
    assert f"paint contenders: {painted - 1}/{painted} of an earlier run" in console.export_text()


def test_a_comparison_needs_finished_adapters(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe())
    with pytest.raises(ValueError, match=r"got no finished training of \['age', 'gender'\]"):
        compare(recipe, False, tmp_path, tmp_path, Console())
    without = recipe.model_copy(update={"comparison": None})
    with pytest.raises(ValueError, match="comparison: got none in the recipe"):
        compare(without, False, tmp_path, tmp_path, Console())


def test_other_settings_do_not_find_old_results(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe())
    slower = recipe.generation.model_copy(update={"steps": 30})
    larger = SIZE.model_copy(update={"num_images": 5})
    more = SIZE.model_copy(update={"training_share": 0.5})
    keys = {run_name(recipe, size) for size in (SIZE, larger, more)}
    keys.add(run_name(recipe.model_copy(update={"generation": slower}), SIZE))
    assert len(keys) == 4


def test_each_condition_changes_one_thing(write_recipe: Callable[..., Path]) -> None:
    found = eval_conditions(small(write_recipe()))
    assert len({condition.slug for condition in found}) == len(found)
    assert Counter(condition.group for condition in found) == {
        "guidance": 7, "steps": 3, "phrase": 3, "explicit": 1, "share": 11, "alone": 2,
        "no people": 1,
    }  # fmt: skip
    for condition in found:
        changed = {name for name in vars(PLAIN) if vars(condition)[name] != vars(PLAIN)[name]}
        changed -= {"slug", "group", "label"}
        assert len(changed - {"concepts"}) == 1 or changed == {"concepts"}
    shares = [condition.target["gender"] for condition in found if condition.group == "share"]
    assert shares[0] == {"woman": 0, "man": 1} and shares[10] == {"woman": 1, "man": 0}
    for condition in found:
        assert condition.phrase.format(concept="doctor").count("doctor") == 1


def test_fairgen_is_asked_for_what_the_gate_leaves_free_and_calibrated_for_what_it_misses(
    write_recipe: Callable[..., Path],
) -> None:
    recipe = small(write_recipe())
    found = {contender.name: contender for contender in COMPARED_SYSTEMS}
    explicit = next(c for c in eval_conditions(recipe) if c.group == "explicit")  # names gender
    thing = next(c for c in eval_conditions(recipe) if c.group == "no people")
    misses = {"age": {"young": {"young": 0.8, "old": 0.2}, "old": {"young": 0.0, "old": 1.0}}}

    def asked(name: str, condition: EvalCondition, concept: str, confusions=None) -> dict:
        target = asked_target(recipe, found[name], condition, concept, confusions or {})
        return {attribute: target.marginal(attribute) for attribute in target.attributes}

    assert set(asked("fairgen", PLAIN, "doctor")) == {"gender", "age"}
    assert set(asked("fairgen", explicit, "doctor")) == {"age"}
    assert set(asked("words_quota", explicit, "doctor")) == {"gender", "age"}
    assert asked("fairgen", thing, "car") == {}
    turned = asked("calibrated", PLAIN, "doctor", misses)
    assert turned["age"] == pytest.approx({"young": 0.625, "old": 0.375}, abs=1e-4)
    assert [name for name, one in found.items() if one.calibrated] == ["calibrated"]


def test_the_setting_with_the_fairest_recognised_pictures_is_taken(tmp_path: Path) -> None:
    low, middle, *_, high = Official.settings
    assert best_setting(tmp_path, Official) == low
    for setting, fd, recognised in ((low, 0.6, 1.0), (middle, 0.3, 0.9), (high, 0.1, 0.2)):
        path = sweep_point_path(tmp_path, Official, setting)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps({"setting": setting, "fd": fd, "recognised": recognised}))
    assert best_setting(tmp_path, Official) == middle


def test_pictures_come_back_from_their_strip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(3)]
    save_pictures(tmp_path / "doctor.json", images)
    for one, other in zip(load_pictures(tmp_path / "doctor.json"), images, strict=True):
        assert one.tobytes() == other.tobytes()
