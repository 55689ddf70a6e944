"""What is asked of the library's pipeline is done, or refused by its name before it is counted."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairgen.adapters import Adapter
from fairgen.indicator import TargetDistribution
from fairgen.ledger import Ledger, assign
from fairgen.pipeline import FairGenPipeline, ImageRecord
from tests.families import tiny
from tests.pipeline_options import adapters_for, call_options
from tests.tiny import tiny_pipeline

PROMPT = "a photo of a doctor"
STEP = {"num_inference_steps": 1}


def target(**cells: float) -> TargetDistribution:
    """Return a target over gender, category -> share."""
    return TargetDistribution(
        attributes=("gender",),
        cells=tuple((name,) for name in cells),
        probabilities=tuple(cells.values()),
    )


SKIN = TargetDistribution(
    attributes=("skin",), cells=(("light",), ("dark",)), probabilities=(0.5, 0.5)
)
BOTH = TargetDistribution(
    attributes=("gender", "skin"),
    cells=(("woman", "light"), ("man", "dark")),
    probabilities=(0.5, 0.5),
)


def given_by(ledger: Ledger) -> int:
    """Return how many pictures a recorded ledger counts as given since it was last asked, over all
    streams.
    """
    return sum(sum(stream.counts) for stream in ledger.changes().values() if stream is not None)


def open_gate(*_: object) -> Any:
    raise AssertionError("a target that cannot be met is refused before the gate is asked")


@pytest.mark.parametrize("gate", [open_gate, None])
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (SKIN, r"fairness: got 'skin', allowed are \['gender'\]"),
        (BOTH, r"fairness: got 'skin', allowed are \['gender'\]"),
        (target(woman=0.5, nb=0.5), r"fairness\.gender: got 'nb', allowed are \['woman', 'man'\]"),
    ],
)
def test_a_target_without_adapters_is_refused_each_time_and_nothing_is_counted(
    pipe: StableDiffusionPipeline, asked: TargetDistribution, message: str, gate: Any
) -> None:
    ledger = Ledger(recorded=True)
    with FairGenPipeline(pipe, adapters_for(pipe), gate=gate, ledger=ledger) as fair:
        for _ in range(4):
            with pytest.raises(ValueError, match=message):
                fair(PROMPT, 1, asked, **STEP)
            with pytest.raises(ValueError, match=message):
                fair(PROMPT, 1, asked, seed=1, **STEP)
    assert given_by(ledger) == 0


def test_a_target_of_loaded_adapters_is_met_and_categories_of_no_share_need_none(
    pipe: StableDiffusionPipeline,
) -> None:
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        records = fair(PROMPT, 4, target(woman=0.75, man=0.25, nb=0.0), **STEP).records
    assert Counter(record.categories["gender"] for record in records) == {"woman": 3, "man": 1}


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("fairness", [None, "off"])
@pytest.mark.parametrize("method", ["Quota", "quotta", None, ["quota"]])
def test_only_the_two_ways_of_assignment_are_allowed(
    pipe: StableDiffusionPipeline, method: Any, fairness: Any, seed: int | None
) -> None:
    fair = FairGenPipeline(pipe, adapters_for(pipe))
    with pytest.raises(ValueError, match=r"assignment: got .*, allowed are \['quota', 'iid'\]"):
        fair(["a car", PROMPT], 1, fairness, seed=seed, assignment=method, **STEP)
    with pytest.raises(ValueError, match=r"assignment: got .*, allowed are \['quota', 'iid'\]"):
        assign(SKIN, 2, 0, method)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num_images": 0}, "num_images: got 0, allowed are whole numbers from 1 on"),
        ({"num_images": -3}, "num_images: got -3, allowed are"),
        ({"num_images": 1.5}, "num_images: got 1.5, allowed are"),
        ({"num_images": True}, "num_images: got True, allowed are"),
        ({"batch_size": 0}, "batch_size: got 0, allowed are whole numbers from 1 on"),
        ({"batch_size": -1}, "batch_size: got -1, allowed are"),
        ({"batch_size": None}, "batch_size: got None, allowed are"),
        ({"seed": -1}, "seed: got -1, allowed are whole numbers from 0 to"),
        ({"seed": 2**64}, f"seed: got {2**64}, allowed are whole numbers from 0 to {2**63 - 2}"),
        ({"seed": 2**63 - 1}, f"allowed are whole numbers from 0 to {2**63 - 2}"),  # of two
        ({"seed": 1.5}, "seed: got 1.5, allowed are"),
        ({"seed": "7"}, "seed: got '7', allowed are"),
    ],
)
def test_numbers_that_give_no_pictures_are_refused(
    pipe: StableDiffusionPipeline, asked: dict[str, Any], message: str
) -> None:
    ledger = Ledger(recorded=True)
    fair = FairGenPipeline(pipe, adapters_for(pipe), ledger=ledger)
    with pytest.raises(ValueError, match=message):
        fair(PROMPT, **{"num_images": 2} | asked, **STEP)
    assert given_by(ledger) == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"fairness": "uniform"}, "fairness: got 'uniform', allowed are 'off' or a table"),
        ({"fairness": ["gender"]}, r"fairness: got \['gender'\], allowed are 'off' or a table"),
        ({"fairness": True}, "fairness: got True, allowed are 'off' or a table"),
        ({"categories": "woman"}, r"categories: got 'woman', allowed is a table over \['gender'\]"),
        ({"categories": ["woman"]}, r"categories: got \['woman'\], allowed is a table"),
        ({"categories": {"gender": ["woman"]}}, r"categories.gender: got \['woman'\], allowed are"),
        ({"original_prompt": 5}, "original_prompt: got 5, allowed is one text"),
        ({"original_prompt": [PROMPT]}, "original_prompt: got .*, allowed is one text"),
    ],
)
def test_what_has_another_type_is_named(
    pipe: StableDiffusionPipeline, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FairGenPipeline(pipe, adapters_for(pipe))(PROMPT, 2, **asked, **STEP)


def test_shares_of_numpy_are_met(pipe: StableDiffusionPipeline) -> None:
    shares = {"gender": {"woman": np.float32(0.75), "man": np.float32(0.25)}}
    records = FairGenPipeline(pipe, adapters_for(pipe))(PROMPT, 4, shares, **STEP).records
    assert Counter(record.categories["gender"] for record in records) == {"woman": 3, "man": 1}


def test_the_largest_seeds_and_those_of_numpy_paint(pipe: StableDiffusionPipeline) -> None:
    fair = FairGenPipeline(pipe, adapters_for(pipe))
    for seed in (2**63 - 2, np.int64(3)):
        records = fair(PROMPT, np.int32(2), seed=seed, **STEP).records
        assert [record.seed for record in records] == [seed, int(seed) + 1]
        assert ImageRecord.model_validate_json(records[1].model_dump_json()) == records[1]


def test_a_record_says_how_the_weights_are_stored_when_it_is_painted() -> None:
    pipe = tiny_pipeline()
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        found = [fair(PROMPT, 1, **STEP).records[0].storage]
        for move in (fair.to, pipe.to):  # the pipeline's own, too
            move(torch.bfloat16 if move == fair.to else torch.float32)
            found += [record.storage for record in fair(PROMPT, 2, **STEP).records]
    assert found == ["float32", "bfloat16", "bfloat16", "float32", "float32"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("/tmp", "adapters: got '/tmp', allowed is a list of adapters and of their folders"),
        (Path("/tmp"), "adapters: got PosixPath.*, allowed is a list"),
        (None, "adapters: got None, allowed is a list"),
        ([5], "adapters: got 5 in it, allowed is a list"),
    ],
)
def test_adapters_come_in_a_list(pipe: StableDiffusionPipeline, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FairGenPipeline(pipe, given)
    with pytest.raises(ValueError, match="adapters: got gender-woman, allowed is a list"):
        FairGenPipeline(pipe, adapters_for(pipe)[0])


@pytest.mark.parametrize("half", [0, 1])
def test_adapters_without_effect_or_not_finite_are_refused_when_they_are_loaded(
    pipe: StableDiffusionPipeline, half: int
) -> None:
    woman, man = adapters_for(pipe)
    pairs = {path: list(pair) for path, pair in man.directions.items()}
    for pair in pairs.values():
        pair[half] = torch.zeros_like(pair[half])
    empty = Adapter(man.metadata, {path: (down, up) for path, (down, up) in pairs.items()})
    with pytest.raises(ValueError, match="directions of 'gender-man': got zeros on every projec"):
        FairGenPipeline(pipe, [woman, empty])
    endless = {path: (down, up * float("inf")) for path, (down, up) in man.directions.items()}
    with pytest.raises(ValueError, match="of 'gender-man': got numbers that are not finite"):
        FairGenPipeline(pipe, [woman, Adapter(man.metadata, endless)])
    path = next(iter(pairs))
    one_layer = Adapter(man.metadata, empty.directions | {path: man.directions[path]})
    assert FairGenPipeline(pipe, [woman, one_layer])(PROMPT, 2, **STEP).images


@pytest.mark.parametrize("family", ["SD 1.x", "SDXL", "Chroma"])
def test_of_a_list_of_negative_prompts_each_prompt_has_its_own(family: str) -> None:
    pipe, options = tiny(family), call_options(family)
    prompts, undesired = [PROMPT, "a portrait of a nurse"], ["blurry", "a female face"]
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        both = fair(prompts, 1, seed=0, negative_prompt=undesired, **options)
        each = [
            fair(prompt, 1, seed=0, negative_prompt=text, **options)
            for prompt, text in zip(prompts, undesired, strict=True)
        ]
        alone = fair(PROMPT, 1, seed=0, negative_prompt=undesired[:1], **options)
        for texts in ([], ["blurry"], ["blurry"] * 3):
            with pytest.raises(ValueError, match=f"negative_prompt: got {len(texts)} texts, allo"):
                fair(prompts, 1, negative_prompt=texts, **options)
    assert [record for one in each for record in one.records] == both.records
    assert [set(record.categories) for record in both.records] == [{"gender"}, set()]
    for image, (one,) in zip(both.images, (found.images for found in each), strict=True):
        assert image.tobytes() == one.tobytes()
    assert alone.images[0].tobytes() == both.images[0].tobytes()
