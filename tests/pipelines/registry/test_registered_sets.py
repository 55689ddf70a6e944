"""Sets that the registry holds are measured as they are: candidates to be promoted, champions on a
fine-tune of their base to be told about only.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fairgen.adapters import load_adapter
from fairgen.backbones import load_backbone
from fairgen.discovery import STRENGTHS
from pipelines.recipe.recipe import load_recipe
from pipelines.registry import Registry
from pipelines.training.workflow import evaluate_candidates, evaluate_champions, fit_champions
from tests.families import tiny
from tests.pipelines.registered import register_champions
from tests.tiny import save_tiny_clip, tiny_pipeline

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def quick(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the sections of a recipe that is measured in seconds, in the shared registry."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    clip = {"kind": "clip", "path": str(save_tiny_clip(tmp_path / "clip"))}
    few = {size: {"num_images": 2, "concepts": ["doctor"]} for size in ("quick", "full")}
    return {"judge": clip, "second_judge": clip, "evaluation": few, "generation": {"steps": 2}}


def test_candidates_are_judged_and_champions_are_only_measured_also_on_a_sibling(
    cluster: None,
    tracking_uri: str,
    make_recipe: Callable[..., Path],
    tmp_path: Path,
    quick: dict[str, Any],
) -> None:
    impossible = {name: {"max_fd": 1.5, "min_hit_rate": 1.0} for name in ("gender", "age")}
    path = make_recipe(tmp_path, "sets", thresholds=impossible, **quick)
    recipe = load_recipe(path)
    with pytest.raises(ValueError, match=r"no complete set of champions of \['age', 'gender'\]"):
        evaluate_champions(recipe, tmp_path, tmp_path / "report", Console())
    loose = {"thresholds": {n: t.model_copy(update={"min_hit_rate": 0.0})
                            for n, t in recipe.thresholds.items()}}  # fmt: skip
    register_champions(tracking_uri, recipe.model_copy(update=loose), tmp_path, seed=1)

    def champions() -> dict[str, str]:
        found = Registry(tracking_uri, recipe).champions()
        return {name: champion.adapter_set for name, champion in found.items()}

    before = champions()
    tiny_pipeline(seed=1).save_pretrained(tmp_path / "sibling")
    sibling = load_recipe(path, base=str(tmp_path / "sibling"))
    told = evaluate_champions(sibling, tmp_path, tmp_path / "report", Console())
    assert told.evaluation is not None and told.registered == [] and champions() == before
    assert (tmp_path / "report" / "grid.png").exists()
    told = fit_champions(sibling, recipe, tmp_path, tmp_path / "report", Console())
    assert told.evaluation is not None and told.registered == [] and champions() == before

    tiny("SDXL").save_pretrained(tmp_path / "other")
    other = load_recipe(path, base=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"^gender-woman: trained on base \S+, this base is \S+$"):
        evaluate_champions(other, tmp_path, tmp_path / "report", Console())

    judged = evaluate_candidates(recipe, tmp_path, tmp_path / "report", Console())
    assert judged.evaluation is not None and len(judged.registered) == 4
    missed = {
        attribute.name
        for attribute in recipe.attributes
        if min(judged.evaluation.hit_rate(attribute.name, c, "all") for c in attribute.names) < 1
    }
    assert missed and set(champions()) == set(before) - missed


def test_champions_are_fitted_to_a_fine_tune_and_registered_under_its_own_name(
    cluster: None,
    tracking_uri: str,
    make_recipe: Callable[..., Path],
    tmp_path: Path,
    quick: dict[str, Any],
) -> None:
    source = load_recipe(make_recipe(tmp_path, "learnt-on", ["gender"], **quick))
    register_champions(tracking_uri, source, tmp_path, seed=1)
    tiny_pipeline(seed=1).save_pretrained(tmp_path / "fine-tune")
    path = make_recipe(tmp_path, "fine-tuned", ["gender"], **quick)
    recipe = load_recipe(path, base=str(tmp_path / "fine-tune"))
    console = Console(record=True, width=120)
    more = recipe.attribute("gender").categories[0].model_copy(update={"name": "anybody"})
    other = recipe.attribute("gender").model_copy(
        update={"categories": (more, *recipe.attribute("gender").categories[1:])}
    )
    with pytest.raises(ValueError, match=r"gender: got champions of \['man', 'woman'\]"):
        fit_champions(
            recipe.model_copy(update={"attributes": (other,)}), source, tmp_path, tmp_path, console
        )
    found = fit_champions(recipe, source, tmp_path, tmp_path / "report", console)
    assert len(found.registered) == 2 and "gender-woman" in console.export_text()
    registry = Registry(tracking_uri, recipe)
    runs = registry.client.search_runs([registry.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    for version in registry.candidates()["gender"].members.values():
        adapter = load_adapter(registry.download(version, tmp_path / "fitted"))
        assert adapter.metadata.scale in STRENGTHS
        adapter.check_base(load_backbone(tiny_pipeline(seed=1)).fingerprint)
