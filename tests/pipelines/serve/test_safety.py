"""The endpoint delivers no picture that the base model's safety checker flags; the record, the
figures and the log of decisions say so. It is off where the recipe says so by name only.
"""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.recipe import load_pipe
from pipelines.recipe.recipe import Recipe, load_recipe
from tests.pipelines.endpoint import Endpoint, open_endpoint
from tests.pipelines.records import read_provenance
from tests.pipelines.registered import register_champions
from tests.tiny import add_safety_checker, tiny_pipeline

MakeRecipe = Callable[..., Path]


@pytest.fixture(scope="module")
def checked_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked-base")
    add_safety_checker(tiny_pipeline(), threshold=0.5).save_pretrained(folder)
    return folder


def recipe_on(base: Path, folder: Path, make_recipe: MakeRecipe, **generation: Any) -> Recipe:
    path = make_recipe(folder, "checked")
    content = yaml.safe_load(path.read_text()) | {"base": str(base)}
    content["generation"] |= generation
    path.write_text(yaml.safe_dump(content))
    return load_recipe(path)


def is_black(picture: Any) -> bool:
    with Image.open(io.BytesIO(base64.b64decode(picture.b64_json))) as image:
        return bool(np.asarray(image.convert("RGB")).max() == 0)


def count(endpoint: Endpoint, metric: str) -> float:
    lines = endpoint.get("/metrics").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{metric}_total ")))


@pytest.mark.slow
def test_a_flagged_picture_is_black_and_everything_says_so(
    checked_base: Path,
    make_recipe: MakeRecipe,
    tracking_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipe_on(checked_base, tmp_path, make_recipe)
    register_champions(tracking_uri, recipe, tmp_path / "adapters", seed=1)
    decisions = tmp_path / "decisions.jsonl"
    for endpoint in open_endpoint(recipe, tracking_uri=tracking_uri, decisions=decisions):
        pictures = endpoint.generate(n=16, seed=0)
        words = [picture.provenance["safety_checker"] for picture in pictures]
        assert set(words) == {"passed", "flagged"}
        assert [is_black(picture) for picture in pictures] == [w == "flagged" for w in words]
        for picture, word in zip(pictures, words, strict=True):
            inside = read_provenance(base64.b64decode(picture.b64_json))
            assert inside is not None and inside.safety_checker == word
        assert count(endpoint, "fairgen_images_flagged") == words.count("flagged")
        assert count(endpoint, "fairgen_images_delivered") == 16
    (line,) = map(json.loads, decisions.read_text().splitlines())
    assert (line["delivered"], line["flagged"]) == (16, words.count("flagged"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    arguments = ["generate", "a doctor", "-n", "16", "--seed", "0", "-o", str(tmp_path / "out")]
    painted = CliRunner().invoke(app, [*arguments, "--recipe", str(tmp_path / "checked.yaml")])
    assert painted.exit_code == 0, painted.output
    records = json.loads((tmp_path / "out" / "records.json").read_text())
    num_flagged = [record["safety_checker"] for record in records].count("flagged")
    assert num_flagged and f"{num_flagged} pictures are black: the base model's" in painted.stderr
    off = recipe_on(checked_base, tmp_path, make_recipe, safety_checker=False)
    for endpoint in open_endpoint(off, tracking_uri=tracking_uri):
        pictures = endpoint.generate(n=4, seed=0)
        assert {picture.provenance["safety_checker"] for picture in pictures} == {"off"}
        assert not any(is_black(picture) for picture in pictures)


def test_the_checker_is_off_by_name_only(
    checked_base: Path, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    on = recipe_on(checked_base, tmp_path, make_recipe)
    off = recipe_on(checked_base, tmp_path, make_recipe, safety_checker=False)
    assert load_pipe(on).safety_checker is not None and load_pipe(off).safety_checker is None
    assert on.recipe_hash == off.recipe_hash


def test_yaml_s_off_turns_it_off(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    path = make_recipe(tmp_path, "off")
    path.write_text(path.read_text().replace("generation:", "generation:\n  safety_checker: off"))
    assert load_recipe(path).generation.safety_checker is False
