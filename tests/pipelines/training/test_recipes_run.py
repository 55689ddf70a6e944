"""The recipes for real models run from end to end, each on its family's tiny pipeline."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import OpenAI
from ray import serve
from rich.console import Console

from pipelines.evaluation import EvaluationWorker, shown_cells, summarise, write_report
from pipelines.recipe.extends import read_content
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import TrainingRuns, free_port
from pipelines.registry.trained import TrainedAttribute
from pipelines.serve.app import build
from pipelines.serve.gateway import create_app
from pipelines.serve.settings import ServeSettings
from pipelines.training.job import TrainingJob, train_attribute
from pipelines.training.workflow import train_all
from tests.families import SIZE_PX, tiny
from tests.pipelines.conftest import SHIPPED
from tests.pipelines.in_process import InProcess, listening
from tests.pipelines.reports import Reports
from tests.tiny import save_tiny_clip

pytestmark = pytest.mark.slow
PORT = free_port()
FAMILY_OF = {
    "sd15": "SD 1.x",
    "sd21": "SD 2.x",
    "sdxl": "SDXL",
    "sd35": "SD 3.5",
    "flux": "FLUX.1 dev",
    "pixart": "PixArt-sigma",
    "sana": "SANA",
    "zimage": "Z-Image",
    "flux2-klein": "FLUX.2 klein base",
    "qwen-image": "Qwen-Image",
    "krea2": "Krea 2 Raw",
}


def test_every_recipe_for_a_real_model_is_run() -> None:
    shipped = {path.stem for path in SHIPPED.glob("*.yaml")}
    assert set(FAMILY_OF) == {name for name in shipped if not name.startswith("portraits")}


def cut_down(path: Path, folder: Path, judge: Path) -> Recipe:
    """Return a shipped recipe with another base and judge, a few updates and pictures."""
    content = read_content(path)
    content["discovery"] |= {"num_updates": 2, "num_rows": 4, "num_steps": 3}
    content["joint_round"] |= {"num_updates": 2}
    content["generation"] |= {"steps": 2, "size_px": SIZE_PX, "batch_size": 4}
    content["judge"]["path"] = str(judge)
    content["evaluation"] |= {
        size: {"num_images": 4, "concepts": ["doctor"]} for size in ("quick", "full")
    }
    content["thresholds"] = {
        name: {"max_fd": 1.5, "min_hit_rate": 0.0} for name in content["thresholds"]
    }
    (folder / path.name).write_text(yaml.safe_dump(content))
    return load_recipe(folder / path.name, base=str(folder / "base"))


@pytest.mark.parametrize("name", FAMILY_OF)
def test_a_recipe_trains_measures_registers_and_serves(
    name: str, tracking_uri: str, tmp_path: Path
) -> None:
    tiny(FAMILY_OF[name]).save_pretrained(tmp_path / "base")
    recipe = cut_down(SHIPPED / f"{name}.yaml", tmp_path, save_tiny_clip(tmp_path / "clip"))
    alone = {a.name: train(recipe, a.name, tmp_path / "alone") for a in recipe.attributes}
    trained = {
        found.name: train(
            recipe,
            found.name,
            tmp_path / "peers",
            start=alone[found.name],
            peers=tuple(f for other, fs in alone.items() if other != found.name for f in fs),
        )
        for found in recipe.attributes
    }

    worker = EvaluationWorker(
        recipe, [folder for folders in trained.values() for folder in folders]
    )
    base_pictures = worker.paint_base("car")
    cells = shown_cells(recipe, recipe.evaluation.quick)["doctor"]
    scores, shown = worker.measure("doctor", 4, cells)
    assert worker.unchanged("car", base_pictures)
    evaluation = summarise(recipe, scores, {"car": True})
    write_report(evaluation, {"doctor": shown}, tmp_path / "report")
    assert set(evaluation.fairness) == {"gender", "race", "age", "gender x race"}
    assert (tmp_path / "report" / "grid.png").exists()

    with TrainingRuns(tracking_uri, recipe) as runs:
        for attribute in recipe.attributes:
            finished = TrainedAttribute(
                folders=trained[attribute.name], training_seconds=1, denoiser_rows=1
            )
            runs.open_job(attribute.name)
            versions = runs.register_adapter_set(attribute, finished, evaluation)
            runs.close_job(attribute.name, finished=True)
            assert all(version.champion for version in versions)

    settings = ServeSettings(poll_s=None, tracking_uri=tracking_uri)
    backend = InProcess(settings, recipe)
    with listening(create_app(backend, settings, recipe)) as address:
        client = OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        ask = {"fairness": {"race": "uniform", "gender": {"woman": 1.0}}}
        pictures = client.images.generate(prompt="a photo of a pilot", n=4, extra_body=ask).data
    backend.generator.close()
    races = Counter(picture.provenance["categories"]["race"] for picture in pictures)
    assert races == {"wmelh": 1, "asian": 1, "black": 1, "indian": 1}


@pytest.mark.ray
@pytest.mark.full  # the embedded model's recipe goes through it each time
@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_a_recipe_goes_through_the_cluster(
    name: str,
    cluster: None,
    tracking_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    tiny(FAMILY_OF[name]).save_pretrained(tmp_path / "base")
    whole = cut_down(SHIPPED / f"{name}.yaml", tmp_path, save_tiny_clip(tmp_path / "clip"))
    content = yaml.safe_load((path := tmp_path / f"{name}.yaml").read_text())
    content |= {"joint_round": None, "joint_stages": [], "registry": {
        "prefix": f"{whole.registry.prefix}-cluster", "experiment": f"{name}-cluster"}}  # fmt: skip
    content["attributes"] = content["attributes"][:1]
    content["thresholds"] = {"gender": content["thresholds"]["gender"]}
    content["evaluation"] |= {"target": {"gender": "uniform"}, "joints": []}
    path.write_text(yaml.safe_dump(content))
    recipe = load_recipe(path, base=str(tmp_path / "base"))
    outcome = train_all(
        recipe, recipe.evaluation.quick, tmp_path / "home", tmp_path / "report", Console()
    )
    categories = sum(len(attribute.names) for attribute in recipe.attributes)
    assert [version.champion for version in outcome.registered] == [True] * categories

    settings = ServeSettings(recipe=path, base=str(tmp_path / "base"), tracking_uri=tracking_uri)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(build(settings), name=name, route_prefix="/")
    try:
        client = OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", max_retries=0)
        ask = {"fairness": {"gender": "uniform"}}
        pictures = client.images.generate(prompt="a photo of a pilot", n=4, extra_body=ask).data
    finally:
        serve.shutdown()
    genders = Counter(picture.provenance["categories"]["gender"] for picture in pictures)
    assert genders == {"woman": 2, "man": 2}


def train(recipe: Recipe, attribute: str, folder: Path, **peers: Any) -> tuple[Path, ...]:
    """Train an attribute as a job does, and return its finished adapters."""
    reports = Reports(folder / attribute)
    train_attribute(TrainingJob(recipe, attribute, "", "", **peers), reports)
    last = reports.checkpoints[max(reports.checkpoints)]
    return tuple(last / "adapters" / name for name in recipe.adapter_names(attribute))
