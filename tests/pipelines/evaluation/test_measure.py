"""A prompt is planned, painted by any source and scored; the engine paints as the library does."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

from fairgen.backbones import load_backbone
from fairgen.indicator import TargetDistribution
from fairgen.judging import JudgeConfig
from fairgen.pipeline import FairGenPipeline
from fairgen.sampling import Sampling
from pipelines.evaluation import (
    EngineSource,
    Judges,
    PromptPlan,
    draw_categories,
    measure_prompt,
    pick_shown,
    plan_prompt,
    shown_cells,
)
from pipelines.recipe import EvaluationSize, load_recipe
from tests.fairgen.test_adapters import make_adapter
from tests.tiny import AGE, ATTRIBUTES, GENDER, save_tiny_clip, tiny_pipeline

TARGET = TargetDistribution.from_request({"gender": "uniform", "age": "uniform"}, ATTRIBUTES)


def plan(*categories: dict[str, str], first_seed: int = 3) -> PromptPlan:
    return PromptPlan(
        concept="doctor", template="a photo of {subject}", phrase="happy doctor",
        seeds=range(first_seed, first_seed + len(categories)), categories=categories,
    )  # fmt: skip


def test_one_call_of_the_official_code_draws_once() -> None:
    cells = [tuple(asked.values()) for asked in draw_categories(TARGET, "call", 10, seed=3)]
    assert len(set(cells[:4])) == len(set(cells[4:8])) == len(set(cells[8:])) == 1
    assert len({tuple(a.values()) for a in draw_categories(TARGET, "call", 400, seed=3)}) == 4


def test_a_quota_is_exact_and_nothing_asks_nothing() -> None:
    cells = Counter(tuple(asked.values()) for asked in draw_categories(TARGET, "quota", 8, seed=0))
    assert set(cells.values()) == {2} and len(cells) == 4
    assert draw_categories(TARGET, "nothing", 2, seed=0) == [{}, {}]


def test_systems_share_the_pictures_seeds_and_every_prompt_and_system_draws_by_itself(
    write_recipe: Callable[..., Path],
) -> None:
    recipe = load_recipe(write_recipe())

    def planned(concept: str, system: str, phrase: str = "{concept}") -> PromptPlan:
        return plan_prompt(recipe, concept, 24, TARGET, "iid", system, phrase)

    doctor = planned("doctor", "iid")
    assert planned("doctor", "iid") == doctor
    others = [
        planned("doctor", "words"), planned("doctor", "iid", "poor {concept}"),
        planned("nurse", "iid"),
    ]  # fmt: skip
    assert [other.seeds == doctor.seeds for other in others] == [True, True, False]
    assert all(other.categories != doctor.categories for other in others)
    another = load_recipe(write_recipe("again", evaluation={"seed": recipe.evaluation.seed + 1}))
    assert plan_prompt(another, "doctor", 24, TARGET, "iid", "iid").seeds != doctor.seeds


def test_the_pictures_that_are_shown_hold_the_cells_that_are_wanted() -> None:
    woman, man = {"gender": "woman"}, {"gender": "man"}
    assert pick_shown([man, woman, man, woman], [woman, woman, man]) == [1, 3, 0]
    assert pick_shown([man, man, man], [woman, man]) == [0, 1]  # nobody was asked for a woman
    assert pick_shown([{}, {}, {}], [man, woman]) == [0, 1]
    assert pick_shown([man], [man, woman]) == [0]


def test_the_rows_of_a_grid_show_every_category_and_cell(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe())
    size = EvaluationSize(num_images=24, concepts=("doctor", "nurse", "teacher"))
    rows = shown_cells(recipe, size)
    assert list(rows) == list(size.concepts)
    counts = Counter(tuple(cell.values()) for row in rows.values() for cell in row)
    assert len(counts) == 4 and max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_the_engine_paints_what_the_library_paints_in_batches_of_the_given_size(
    guidance_scale: float,
) -> None:
    adapters = [make_adapter(tiny_pipeline(), category=category) for category in ("woman", "man")]
    pipe = tiny_pipeline()
    backbone = load_backbone(pipe)
    rows: list[int] = []
    source = EngineSource(backbone, Sampling(4, guidance_scale), batch_size=2, adapters=adapters)
    backbone.denoiser.register_forward_pre_hook(
        lambda _, args, options: rows.append(len(args[0] if args else options["sample"])),
        with_kwargs=True,
    )
    asked = [{"gender": "woman"}, {}, {"gender": "man"}]
    images = source.paint(plan(*asked))
    assert max(rows) == (4 if guidance_scale > 1 else 2)
    source.close()
    library = FairGenPipeline(tiny_pipeline(), adapters)
    for index, categories in enumerate(asked):
        target = (
            TargetDistribution.from_request({"gender": {categories["gender"]: 1.0}}, (GENDER,))
            if categories
            else "off"
        )
        (expected,) = library(
            "a photo of a happy doctor", fairness=target, seed=3 + index, num_inference_steps=4,
            guidance_scale=guidance_scale,
        ).images  # fmt: skip
        difference = np.asarray(images[index], float) - np.asarray(expected, float)
        assert np.abs(difference).max() <= 1


def test_a_closed_source_leaves_the_model_as_it_was() -> None:
    backbone = load_backbone(tiny_pipeline())
    (before,) = EngineSource(backbone, Sampling(2, 3.0), batch_size=1).paint(plan({}))
    adapters = [make_adapter(tiny_pipeline(), category=category) for category in ("woman", "man")]
    source = EngineSource(backbone, Sampling(2, 3.0), batch_size=1, adapters=adapters)
    (changed,) = source.paint(plan({"gender": "woman"}))
    source.close()
    (after,) = EngineSource(backbone, Sampling(2, 3.0), batch_size=1).paint(plan({}))
    assert before.tobytes() == after.tobytes() != changed.tobytes()


def test_a_picture_that_cannot_be_painted_ends_with_its_reason() -> None:
    backbone = load_backbone(tiny_pipeline())
    with torch.no_grad():
        backbone.denoiser.conv_out.weight.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="picture 0: latents are not finite"):
        EngineSource(backbone, Sampling(2, 3.0), batch_size=2).paint(plan({}, {}))


def test_a_score_compares_with_the_reference_of_the_same_seeds(tmp_path: Path) -> None:
    class Noise:
        """Paints noise of each seed, brighter where a woman is asked."""

        def paint(self, plan: PromptPlan) -> list[Image.Image]:
            images = []
            for seed, categories in zip(plan.seeds, plan.categories, strict=True):
                noise = np.random.default_rng(seed).integers(0, 128, (64, 64, 3))
                images.append(Image.fromarray((noise + 100 * len(categories)).astype(np.uint8)))
            return images

    config = TypeAdapter(JudgeConfig).validate_python(
        {"kind": "clip", "path": save_tiny_clip(tmp_path)}
    )
    judges = Judges((GENDER, AGE), config.load(Path(), (GENDER, AGE), ("doctor",)))
    base, reference = measure_prompt(Noise(), plan({}, {}), judges, "base")
    score, _ = measure_prompt(Noise(), plan({"gender": "woman"}, {}), judges, "fairgen", reference)
    assert (score.system, score.concept, score.num_images) == ("fairgen", "doctor", 2)
    assert score.psnr[0] < 20 and score.psnr[1] == 100
    assert base.psnr == [100, 100] and base.seen.keys() == {"gender", "age"}
    assert reference.features.shape[0] == len(reference.images) == 2
