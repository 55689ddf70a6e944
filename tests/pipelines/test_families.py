"""Every family goes through the workflow: adapters are trained, registered, and served.

One family of each kind in every run of the tests, all of them with --full.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from openai import OpenAI
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from fairgen.adapters import load_adapter
from pipelines.cli.app import app
from pipelines.recipe.models import load_base
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import TrainingRuns
from pipelines.registry.trained import TrainedAttribute
from pipelines.serve.gateway import create_app
from pipelines.serve.settings import ServeSettings
from pipelines.training.job import TrainingJob, train_attribute
from tests.families import FAMILIES, KINDS, WITH_LOADER, as_the_engine, size_of, tiny
from tests.families.single_file import save_in_one_file
from tests.pipelines.in_process import InProcess, listening
from tests.pipelines.registered import evaluation_of
from tests.pipelines.reports import Reports

pytestmark = pytest.mark.slow


def marked(families: Iterable[str]) -> list[Any]:
    """Return families as parameters, those beside `KINDS` for --full."""
    return [
        pytest.param(family, marks=() if family in KINDS else pytest.mark.full)
        for family in families
    ]


IN_ONE_FILE = {"SDXL in one file": "SDXL", "Z-Image in one file": "Z-Image"}
GENERATION = {"steps": 3, "guidance_scale": 3.0, "scheduler": "own"}


@dataclass
class Trained:
    """A family's recipe, its file and base, and where its finished adapters lie, by attribute."""

    path: Path
    base: str
    recipe: Recipe
    folders: dict[str, tuple[Path, ...]]


@pytest.fixture(scope="module", params=[*marked(FAMILIES), *IN_ONE_FILE])
def trained(
    request: pytest.FixtureRequest,
    make_recipe: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    """Train a tiny pipeline's adapters as a job does, without Ray."""
    folder, base, loading = tmp_path_factory.mktemp("family"), "base", {}
    family = IN_ONE_FILE.get(request.param, request.param)
    pipe = tiny(family)
    if family == request.param:
        pipe.save_pretrained(folder / base)
    else:
        base = "model.safetensors"
        _, _, config = save_in_one_file(family, folder)
        loading = {"loading": {"config": str(config)}}
    name = request.param.lower().replace(" ", "-").replace(".", "")
    generation = GENERATION | {"size_px": size_of(pipe)}
    path = make_recipe(folder, name, generation=generation, **loading)
    recipe = load_recipe(path, base=str(folder / base))
    folders = {}
    for attribute in recipe.attributes:
        reports = Reports(folder / attribute.name)
        train_attribute(TrainingJob(recipe, attribute.name, "", ""), reports)
        last = reports.checkpoints[max(reports.checkpoints)]
        names = recipe.adapter_names(attribute.name)
        folders[attribute.name] = tuple(last / "adapters" / name for name in names)
    return Trained(path, str(folder / base), recipe, folders)


@pytest.fixture(scope="module")
def registered(trained: Trained, tracking_uri: str) -> Trained:
    """Register them as champions, with made-up figures."""
    with TrainingRuns(tracking_uri, trained.recipe) as runs:
        for attribute in trained.recipe.attributes:
            finished = TrainedAttribute(
                folders=trained.folders[attribute.name], training_seconds=1, denoiser_rows=1
            )
            runs.open_job(attribute.name)
            versions = runs.register_adapter_set(
                attribute, finished, evaluation_of(trained.recipe, fd=0.0, hit_rate=0.97)
            )
            runs.close_job(attribute.name, finished=True)
            assert all(version.champion for version in versions)
    return trained


@pytest.fixture(scope="module")
def client(registered: Trained, tracking_uri: str) -> Iterator[OpenAI]:
    settings = ServeSettings(poll_s=None, tracking_uri=tracking_uri)
    backend = InProcess(settings, registered.recipe)
    with listening(create_app(backend, settings, registered.recipe)) as address:
        yield OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    backend.generator.close()


@pytest.mark.cell("train")
def test_a_family_s_adapters_are_trained(trained: Trained) -> None:
    for folder in (folder for folders in trained.folders.values() for folder in folders):
        adapter = load_adapter(folder)
        moved = sum(float((up @ down).norm()) for down, up in adapter.directions.values())
        assert moved > 0 and adapter.metadata.recipe_hash == trained.recipe.recipe_hash


@pytest.mark.cell("register")
def test_a_family_s_adapters_are_registered(registered: Trained, tracking_uri: str) -> None:
    with TrainingRuns(tracking_uri, registered.recipe) as runs:
        registry = runs.registry
        champions = registry.champions()
    for attribute, folders in registered.folders.items():
        members = champions[attribute].members.values()
        assert [m.sha256 for m in members] == [load_adapter(folder).sha256 for folder in folders]


@pytest.mark.parametrize("trained", marked(WITH_LOADER), indirect=True)
def test_a_family_s_registered_version_is_a_model_of_mlflow(
    registered: Trained, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(registered.recipe)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    name = registered.recipe.registered_name("gender", "woman")
    pipe = mlflow.diffusers.load_model(f"models:/{name}@champion").load_pipeline(
        torch_dtype=torch.float32, device="cpu"
    )
    pipe.set_progress_bar_config(disable=True)
    pictures = [
        found(
            prompt="a photo of a doctor", output_type="np",
            generator=torch.Generator().manual_seed(0),
            **as_the_engine(base, 2, guidance_scale=1.0),
        )[0]
        for found in (base, pipe)
    ]  # fmt: skip
    assert np.abs(pictures[0] - pictures[1]).max() > 1e-4


@pytest.mark.cell("export")
@pytest.mark.cell("import")
def test_a_family_s_adapters_leave_and_come_back(
    registered: Trained, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    of_registry = ["--recipe", str(registered.path), "--base", registered.base]
    for category in ("woman", "man"):
        name, out = f"gender-{category}", tmp_path / category
        asked = ["export", name, "--format", "peft", "-o", str(out), *of_registry]
        assert CliRunner().invoke(app, asked).exit_code == 0
        card = ModelCard.load(out / "README.md", ignore_metadata_errors=False)
        assert card.data.base_model == registered.base and category in card.data.tags
        assert "| 0.9700 |" in card.text and "perceived presentation in a picture" in card.text
    name = registered.recipe.registered_name("gender", "woman")

    def bring(woman: str, man: str) -> str:
        files = [f"woman={tmp_path / woman}", f"man={tmp_path / man}"]
        return CliRunner().invoke(app, ["import", "gender", *files, *of_registry]).stdout

    assert f"{name} version 1: candidate" in bring("woman", "man")  # the very same weights
    assert "candidate" not in bring("man", "woman")  # each says what it is
    for category in ("woman", "man"):
        weights = tmp_path / category / "adapter_model.safetensors"
        save_file(load_file(weights), weights)
    assert f"{name} version 2: candidate" in bring("man", "woman")
    with TrainingRuns(tracking_uri, registered.recipe) as runs:
        registry = runs.registry
        candidate = registry.candidates()["gender"].members["woman"]
        assert registry.champions()["gender"].members["woman"].version == "1"
        back = load_adapter(registry.download(candidate, tmp_path))
    man = load_adapter(registered.folders["gender"][1])
    for path, (down, up) in back.directions.items():
        ours, theirs = up @ down, man.directions[path][1] @ man.directions[path][0]
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("trained", ["SD 1.x"], indirect=True)
def test_an_adapter_or_file_that_is_not_there_is_refused(
    trained: Trained, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    of_registry = ["--recipe", str(trained.path), "--base", trained.base]
    for asked, message in (
        (["export", "gender-child"], "adapter: got 'gender-child', allowed are the champions"),
        (["export", "gender-woman", "--format", "onnx"], "format: got 'onnx', allowed are"),
        (["import", "gender", f"woman={tmp_path}"], "got ['woman'], allowed is one file for each"),
        (["import", "gender", "woman"], "files: got ['woman'], allowed is CATEGORY=FILE"),
        (["import", "height", "tall=x"], "attribute: got 'height', allowed are"),
        (["import", "gender", f"woman={tmp_path}", f"man={tmp_path}"], "holds no pytorch_lora"),
    ):
        refused = CliRunner().invoke(app, [*asked, *of_registry])
        assert refused.exit_code == 2 and message in " ".join(refused.stderr.split())


@pytest.mark.cell("serve")
def test_a_family_is_served_in_the_prescribed_distribution(client: OpenAI) -> None:
    ask = {"fairness": {"gender": "uniform", "age": {"old": 1.0}}, "seed": 5}
    pictures = client.images.generate(prompt="a photo of a doctor", n=4, extra_body=ask).data
    records = [picture.provenance for picture in pictures]
    assert Counter(record["categories"]["gender"] for record in records) == {"woman": 2, "man": 2}
    assert {record["categories"]["age"] for record in records} == {"old"}
    off = client.images.generate(
        prompt="a photo of a doctor", n=4, extra_body={"fairness": "off", "seed": 5}
    ).data
    for fair, bare in zip(pictures, off, strict=True):
        assert fair.b64_json != bare.b64_json and not bare.provenance["adapters"]
