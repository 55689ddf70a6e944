"""A running endpoint measured from outside gives the figures of the library's own evaluation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from fairgen.judging import prompt_fairness
from pipelines.benchmarks.audit import audit_endpoint
from pipelines.cli.app import app
from pipelines.evaluation import EvaluationWorker, evaluation_targets
from pipelines.recipe.evaluation_config import EvaluationSize
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.serve.gateway import create_app
from pipelines.serve.settings import ServeSettings
from tests.pipelines.conftest import SHIPPED
from tests.pipelines.in_process import InProcess, listening
from tests.pipelines.registered import register_champions

SIZE = EvaluationSize(num_images=8, concepts=("doctor", "nurse"))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The shipped recipe, base model and judge, in four steps and with gender only."""
    content = yaml.safe_load((SHIPPED / "portraits.yaml").read_text())
    content["attributes"] = content["attributes"][:1]
    content["thresholds"] = {"gender": content["thresholds"]["gender"]}
    content |= {"overrides": {}, "joint_stages": [], "second_judge": content["judge"]}
    content.pop("ablation")
    content["evaluation"] |= {"target": {"gender": "uniform"}, "joints": []}
    content["generation"] |= {"steps": 4, "guidance_interval": [0, 1]}  # random adapters are weak
    content["registry"]["prefix"] = "audited"
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_recipe(path)


@pytest.mark.slow
def test_an_endpoint_is_measured_as_its_users_see_it(
    recipe: Recipe, tracking_uri: str, tmp_path: Path
) -> None:
    register_champions(tracking_uri, recipe, tmp_path / "adapters", seed=1)
    settings = ServeSettings(tracking_uri=tracking_uri, poll_s=None)
    backend = InProcess(settings, recipe)
    steps: list[tuple[int, int]] = []
    with listening(create_app(backend, settings, recipe)) as address:
        found = audit_endpoint(
            recipe, address + "/", SIZE, tmp_path / "out", lambda _, *at: steps.append(at)
        )
    backend.generator.close()
    assert steps[-1] == (64, 64) and len(steps) == 64  # 2 x (2 people x 8 + 4 others x 4)
    assert found.no_people_unchanged == dict.fromkeys(recipe.concepts.no_people, True)
    assert found.second_fairness == found.fairness  # both judges are the same here
    assert found.preservation["base"].ssim == pytest.approx(1, abs=1e-4)
    assert found.preservation["fairgen"].ssim < 0.9999
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluation.json", "grid.png", "grid-small.png", "bars.png",
    }  # fmt: skip
    folders = sorted(path for path in (tmp_path / "adapters").iterdir())
    target = evaluation_targets(recipe)["gender"]
    attributes = {attribute.name: attribute for attribute in recipe.attributes}
    alignment: list[float] = []
    for concept in SIZE.concepts:
        scores, _ = EvaluationWorker(recipe, folders).measure(concept, SIZE.num_images)
        own = {score.system: prompt_fairness(score, target, attributes) for score in scores}
        over_http = found.fairness["gender"]["base"].prompts[concept]
        assert over_http.soft_fd == pytest.approx(own["base"].soft_fd, abs=1e-4)
        assert over_http.model_copy(update={"soft_fd": own["base"].soft_fd}) == own["base"]
        (base,) = (score for score in scores if score.system == "base")
        alignment += base.clip_t
    assert found.preservation["base"].clip_t == pytest.approx(np.mean(alignment), abs=1e-4)
    for rows in found.hit_rates["all"].values():
        assert all(sum(row.values()) == pytest.approx(1) for row in rows.values())


def test_an_endpoint_that_refuses_ends_the_command_with_its_reason(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ServeSettings()
    backend = InProcess(settings, recipe)
    monkeypatch.setenv("FAIRGEN_API_KEYS", "a-secret-of-20-chars")
    with listening(create_app(backend, settings, recipe)) as address:
        monkeypatch.setenv("FAIRGEN_API_KEY", "another")
        with pytest.raises(ValueError, match=r"401, .*the API key is missing or wrong"):
            audit_endpoint(recipe, address, SIZE, Path("unused"), lambda *_: None)
    backend.generator.close()


def test_no_endpoint_ends_the_command_with_its_reason(write_recipe: Callable[..., Path]) -> None:
    arguments = ["evaluate", str(write_recipe()), "--endpoint", "http://127.0.0.1:9"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "127.0.0.1:9" in result.stderr
