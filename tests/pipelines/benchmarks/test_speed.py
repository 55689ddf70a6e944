"""What a GPU is measured by is the engine and discovery themselves; here on a small shape."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from typer.testing import CliRunner

from fairgen.discovery import Discovery, DiscoveryStats
from fairgen.engine import Engine, ImageJob, RequestHandle
from pipelines.benchmarks.full_size import random_pipeline
from pipelines.benchmarks.memory_estimate import DenoiserShape, PipelineShape, full_size_shapes
from pipelines.benchmarks.speed import family_speed, learning_table, speed_table
from pipelines.cli.app import app
from pipelines.recipe.recipe import Recipe, load_recipe
from tests.pipelines.conftest import SHIPPED
from tests.tiny import tiny_pipeline

SMALL = DenoiserShape(
    picture="64 x 64",
    cls="UNet2DConditionModel",
    config=dict(tiny_pipeline().unet.config),
    inputs={},
    adapted=("attn2.to_k", "attn2.to_v"),
    beside=0,
    pipeline=PipelineShape(
        cls="StableDiffusionPipeline",
        options={"safety_checker": None, "feature_extractor": None,
                 "requires_safety_checker": False},
        text_encoder={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                      "num_attention_heads": 2},
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    found = load_recipe(SHIPPED / "sd15.yaml")
    return found.model_copy(
        update={
            "generation": found.generation.model_copy(update={"steps": 4}),
            "discovery": found.discovery.model_copy(update={"num_steps": 4}),
        }
    )


@pytest.mark.slow
def test_painting_and_learning_are_timed_in_every_size(recipe: Recipe) -> None:
    found = family_speed(recipe, SMALL, "cpu", pictures=(1, 3, 4096), rounds=1)
    assert [row.pictures for row in found.painting] == [1, 3]  # more are too many pixels
    assert all(row.images_per_s > 0 < row.plain_images_per_s for row in found.painting)
    assert all(row.step_s * found.steps * row.images_per_s > 0 for row in found.painting)
    assert [row.checkpointed for row in found.learning] == [True, False]
    assert {row.num_rows for row in found.learning} == {recipe.discovery.num_rows}
    assert all(row.update_s > 0 for row in found.learning)
    assert found.best.images_per_s == max(row.images_per_s for row in found.painting)
    assert [table.row_count for table in (speed_table(found), learning_table(found))] == [2, 2]


@pytest.mark.slow
def test_what_is_timed_wears_three_adapters_and_learns_both_ways(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ImageJob] = []
    recomputed: list[bool] = []
    submit, update = Engine.submit, Discovery.update

    def submitted(engine: Engine, pictures: Sequence[ImageJob]) -> RequestHandle:
        asked.extend(pictures)
        return submit(engine, pictures)

    def updated(discovery: Discovery) -> DiscoveryStats:
        recomputed.append(discovery.backbone.denoiser.is_gradient_checkpointing)
        return update(discovery)

    monkeypatch.setattr(Engine, "submit", submitted)
    monkeypatch.setattr(Discovery, "update", updated)
    family_speed(recipe, SMALL, "cpu", pictures=(3,), rounds=1)
    assert {len(picture.gates) for picture in asked} == {3}
    assert len({tuple(picture.gates) for picture in asked}) == 3
    assert recomputed == [True, True, False, False]


def test_what_is_built_is_as_large_as_the_real_one() -> None:
    sdxl = full_size_shapes()["sdxl"]
    pipe = random_pipeline(sdxl, "meta")
    assert isinstance(pipe, StableDiffusionXLPipeline)
    encoders = sum(p.numel() for e in (pipe.text_encoder, pipe.text_encoder_2)
                   for p in e.parameters())  # fmt: skip
    codec = sum(p.numel() for p in pipe.vae.parameters())
    words = 49408 * (768 + 1280)  # the real vocabulary
    assert encoders + codec + words == pytest.approx(sdxl.beside, rel=0.01)


def test_what_cannot_be_measured_is_refused() -> None:
    other = SMALL.model_copy(update={"pipeline": None})
    with pytest.raises(ValueError, match="shape: got one without a pipeline"):
        random_pipeline(other, "cpu")
    answer = CliRunner().invoke(app, ["speed", "flux"])
    assert answer.exit_code != 0
    assert "got 'flux', allowed are ['sd15', 'sdxl']" in " ".join(answer.output.split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["speed", "--out", str(tmp_path / "speed.json")])
    assert answer.exit_code != 0 and "without a GPU" in " ".join(answer.output.split())
    assert not (tmp_path / "speed.json").exists()
