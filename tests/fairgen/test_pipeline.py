"""Fairness off is plain diffusers; on is the prescribed distribution, with its provenance."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from fairgen.adapters import save_adapter
from fairgen.ledger import Ledger
from fairgen.pipeline import FairGenPipeline, ImageRecord
from tests.fairgen.test_adapters import make_adapter
from tests.families import tiny
from tests.pipeline_options import adapters_for, call_options
from tests.tiny import AGE, GENDER, add_safety_checker, tiny_pipeline

OPTIONS = {"num_inference_steps": 3, "guidance_scale": 3.0}


def fair_pipeline(pipe: StableDiffusionPipeline) -> FairGenPipeline:
    woman = make_adapter(pipe)
    man = make_adapter(pipe, category="man", word="male")
    flipped = {path: (down, -up) for path, (down, up) in man.directions.items()}
    return FairGenPipeline(pipe, [woman, type(man)(man.metadata, flipped)])


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_fairness_off_is_plain_diffusers_pixel_by_pixel(guidance_scale: float) -> None:
    plain = tiny_pipeline()
    expected = plain(
        "a doctor", num_images_per_prompt=4, num_inference_steps=3, guidance_scale=guidance_scale,
        generator=[torch.Generator().manual_seed(seed) for seed in range(4)],
    ).images  # fmt: skip
    fair = fair_pipeline(tiny_pipeline())
    found = fair(
        "a doctor", 4, "off", seed=0, num_inference_steps=3, guidance_scale=guidance_scale
    ).images
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_pictures_follow_their_records() -> None:
    fair = fair_pipeline(tiny_pipeline())
    output = fair("a doctor", 6, {"gender": "uniform"}, seed=5, **OPTIONS)
    assert Counter(record.categories["gender"] for record in output.records) == {
        "woman": 3,
        "man": 3,
    }
    for image, record in zip(output.images, output.records, strict=True):
        only = {record.categories["gender"]: 1.0}
        again = fair("a doctor", 1, {"gender": only}, seed=record.seed, **OPTIONS).images[0]
        difference = np.asarray(image, float) - np.asarray(again, float)
        assert np.abs(difference).max() <= 1  # one grey level: a batch rounds otherwise than a row


def test_provenance_is_complete() -> None:
    fair = fair_pipeline(tiny_pipeline())
    record = fair(
        "a nurse", 1, {"gender": {"woman": 0.75, "man": 0.25}}, seed=9, **OPTIONS
    ).records[0]
    assert (record.prompt, record.seed, record.probability) == ("a nurse", 9, 0.75)
    assert record.categories == {"gender": "woman"}
    assert record.adapters == {"gender-woman": fair.adapters[0].sha256[:12]}


def test_the_unconditional_rows_stay_bare_under_guidance(pipe: StableDiffusionPipeline) -> None:
    fair, seen = fair_pipeline(pipe), []
    hooked = pipe.unet.get_submodule(fair.bank.projections[0])

    def compare(layer: torch.nn.Linear, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        bare = torch.nn.functional.linear(inputs[0], layer.weight, layer.bias)
        seen.append((output - bare).abs().amax(dim=(1, 2)))

    hooked.register_forward_hook(compare)
    fair("a doctor", 2, {"gender": {"woman": 1.0}}, **OPTIONS)
    assert seen
    for added in seen:
        assert added.shape[0] == 4 and (added[:2] == 0).all() and (added[2:] > 0).all()


def test_batches_do_not_change_the_pictures(pipe: StableDiffusionPipeline) -> None:
    fair = fair_pipeline(pipe)
    whole = fair("a doctor", 5, seed=0, batch_size=8, **OPTIONS)
    parts = fair("a doctor", 5, seed=0, batch_size=2, **OPTIONS)
    assert whole.records == parts.records
    for one, other in zip(whole.images, parts.images, strict=True):
        assert np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 1


def test_another_scheduler_serves_as_well(pipe: StableDiffusionPipeline) -> None:
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    output = fair_pipeline(pipe)("a doctor", 2, **OPTIONS)
    assert len(output.images) == 2


def test_adapters_load_from_folders_and_another_base_is_refused(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    save_adapter(make_adapter(pipe), tmp_path)
    assert FairGenPipeline(pipe, [tmp_path]).bank.names == ("gender-woman",)
    with pytest.raises(ValueError, match="trained on base"):
        FairGenPipeline(tiny_pipeline(seed=1), [str(tmp_path)])


def test_an_adapter_in_memory_is_checked_against_the_base_too(
    pipe: StableDiffusionPipeline,
) -> None:
    with pytest.raises(ValueError, match="gender-woman: trained on base"):
        FairGenPipeline(tiny_pipeline(seed=1), [make_adapter(pipe)])


def test_a_lone_category_cannot_be_balanced(pipe: StableDiffusionPipeline) -> None:
    fair = FairGenPipeline(pipe, [make_adapter(pipe)])
    with pytest.raises(ValueError, match="got 'woman' alone of gender, allowed are two or more"):
        fair("a doctor", 1, **OPTIONS)


def test_a_joint_table_is_delivered_to_the_image(pipe: StableDiffusionPipeline) -> None:
    adapters = [
        make_adapter(pipe, attribute=attribute.name, category=category.name, word=category.word)
        for attribute in (GENDER, AGE)
        for category in attribute.categories
    ]
    fair = FairGenPipeline(pipe, adapters)
    joint = {"woman,old": 0.5, "man,young": 0.25, "man,old": 0.25}
    records = fair("a doctor", 8, {"joint": joint}, seed=3, **OPTIONS).records
    assert Counter((r.categories["gender"], r.categories["age"]) for r in records) == {
        ("woman", "old"): 4,
        ("man", "young"): 2,
        ("man", "old"): 2,
    }
    for record in records:
        assert set(record.adapters) == {f"{name}-{c}" for name, c in record.categories.items()}


def test_a_category_without_adapter_is_refused(pipe: StableDiffusionPipeline) -> None:
    fair = fair_pipeline(pipe)
    with pytest.raises(ValueError, match=r"got \['age'\], allowed are \['gender'\]"):
        fair("a doctor", 1, {"age": "uniform"}, **OPTIONS)


def test_the_pipeline_is_left_as_it_was_found(pipe: StableDiffusionPipeline) -> None:
    pipe.unet.train()
    before = {name: (p.dtype, p.requires_grad) for name, p in pipe.unet.named_parameters()}
    with fair_pipeline(pipe) as fair:
        hooked = pipe.unet.get_submodule(fair.bank.projections[0])
        fair("a doctor", 1, **OPTIONS)
        assert "encode_prompt" not in vars(pipe)
    assert not pipe.unet._forward_hooks and not pipe.unet._forward_pre_hooks
    assert not hooked._forward_hooks and "forward" not in vars(hooked)
    assert pipe.unet.training
    assert {n: (p.dtype, p.requires_grad) for n, p in pipe.unet.named_parameters()} == before


def test_adapters_follow_the_pipeline_to_another_device(pipe: StableDiffusionPipeline) -> None:
    fair = fair_pipeline(pipe).to("meta")
    fair.bank.follow(torch.device("meta"))
    assert {parameter.device.type for parameter in fair.bank.parameters()} == {"meta"}


def test_an_empty_fairness_is_refused_as_the_endpoint_refuses_it(
    pipe: StableDiffusionPipeline,
) -> None:
    with pytest.raises(ValueError, match="fairness: got nothing, allowed are"):
        fair_pipeline(pipe)("a doctor", 1, {}, **OPTIONS)


@pytest.mark.parametrize("option", [{"output_type": "latent"}, {"return_dict": False}])
def test_options_that_return_no_pictures_are_refused(
    pipe: StableDiffusionPipeline, option: dict
) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        fair_pipeline(pipe)("a doctor", 1, **OPTIONS, **option)


def test_the_record_says_what_the_safety_checker_made_black() -> None:
    pipe = add_safety_checker(tiny_pipeline(), threshold=-2.0)  # flags everything
    with fair_pipeline(pipe) as fair:
        output = fair("a doctor", 2, **OPTIONS)
    assert [record.flagged for record in output.records] == [True, True]
    assert all(image.getextrema() == ((0, 0),) * 3 for image in output.images)
    with fair_pipeline(tiny_pipeline()) as fair:
        assert not fair("a doctor", 1, **OPTIONS).records[0].flagged


JOBS = ("doctor", "nurse", "pilot", "chef", "judge", "teacher", "farmer", "soldier")


def genders(records: list[ImageRecord]) -> list[str]:
    return [record.categories["gender"] for record in records]


def test_one_picture_of_each_of_many_prompts_is_balanced(pipe: StableDiffusionPipeline) -> None:
    """In a loop and in a list, and half-way, too."""
    fair = fair_pipeline(pipe)
    one_step = {"num_inference_steps": 1}
    seen = []
    for job in JOBS:
        seen += genders(fair(f"a photo of a {job}", **one_step).records)
        assert abs(seen.count("woman") - len(seen) / 2) <= 1
    seen = genders(fair([f"a photo of a {job}" for job in JOBS], **one_step).records)
    assert Counter(seen) == {"woman": 4, "man": 4}


def test_a_person_in_other_words_is_balanced(pipe: StableDiffusionPipeline) -> None:
    fair = fair_pipeline(pipe)
    prompts = [f"a photo of a doctor in room {index}" for index in range(12)]
    seen = genders(fair(prompts, num_inference_steps=1).records)
    for prefix in range(1, 13):
        assert abs(seen[:prefix].count("woman") - prefix / 2) <= 1


def test_without_a_seed_pictures_are_new_ones_and_torch_decides(
    pipe: StableDiffusionPipeline,
) -> None:
    fair = fair_pipeline(pipe)
    torch.manual_seed(3)
    first = fair("a doctor", **OPTIONS).records[0].seed
    assert fair("a doctor", **OPTIONS).records[0].seed != first
    torch.manual_seed(3)
    assert fair("a doctor", **OPTIONS).records[0].seed == first


def test_a_seed_gives_the_same_pictures_again_and_prompts_differ(
    pipe: StableDiffusionPipeline,
) -> None:
    fair = fair_pipeline(pipe)
    jobs = [f"a photo of a {job}" for job in JOBS]
    whole = fair(jobs, seed=7, **OPTIONS)
    assert len(set(genders(whole.records))) == 2
    fair("a photo of a doctor", **OPTIONS)
    for job, image, record in zip(jobs, whole.images, whole.records, strict=True):
        again = fair(job, seed=7, **OPTIONS)
        assert again.records == [record]
        assert again.images[0].tobytes() == image.tobytes()


def test_a_record_s_seed_and_categories_give_its_picture_again(
    pipe: StableDiffusionPipeline,
) -> None:
    fair = fair_pipeline(pipe)
    output = fair(["a photo of a nurse", "a female pilot"], 2, **OPTIONS)
    for image, record in zip(output.images, output.records, strict=True):
        again = fair(record.prompt, seed=record.seed, categories=record.categories, **OPTIONS)
        difference = np.asarray(image, float) - np.asarray(again.images[0], float)
        assert np.abs(difference).max() <= 1
        assert again.records[0].adapters == record.adapters


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"categories": {"age": "old"}}, r"categories: got 'age', allowed are \['gender'\]"),
        ({"categories": {"gender": "child"}}, r"categories.gender: got 'child', allowed are \["),
        ({"categories": {"gender": "man"}, "fairness": "off"}, "allowed is one of both"),
        ({"prompt": []}, "prompt: got list without prompt_embeds"),
        ({"prompt": ["a doctor", 7]}, "prompt: got list without prompt_embeds"),
    ],
)
def test_what_cannot_be_asked_is_named(
    pipe: StableDiffusionPipeline, asked: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fair_pipeline(pipe)(**{"prompt": "a doctor"} | asked, **OPTIONS)


def test_the_gate_leaves_alone_what_a_prompt_names_and_says_why(
    pipe: StableDiffusionPipeline,
) -> None:
    fair = fair_pipeline(pipe)
    for prompt, reason in (
        ("a female doctor", "named"),
        ("a photo of a car", "no people"),
        ("two doctors", "several people"),
    ):
        output = fair(prompt, seed=0, **OPTIONS)
        (record,) = output.records
        assert (record.categories, record.adapters, record.probability) == ({}, {}, 1.0)
        assert record.gate is not None and record.gate.attributes["gender"].reason == reason
        off = fair(prompt, fairness="off", seed=0, **OPTIONS)
        assert output.images[0].tobytes() == off.images[0].tobytes()
        assert off.records[0].gate is None
    (record,) = fair("a doctor", **OPTIONS).records
    assert record.gate is not None and record.gate.person == "doctor"


def test_without_a_gate_every_prompt_is_acted_on() -> None:
    pipe = tiny_pipeline()
    known = fair_pipeline(pipe).adapters
    fair = FairGenPipeline(pipe, known, gate=None)
    (record,) = fair("two female doctors", **OPTIONS).records
    assert record.gate is None and set(record.categories) == {"gender"}


def test_a_picture_that_failed_is_owed_again(pipe: StableDiffusionPipeline) -> None:
    fair = fair_pipeline(pipe)

    def cut(*_: object) -> None:
        raise RuntimeError("cut")

    seen: list[str] = []
    for _ in range(8):
        seen += genders(fair("a doctor", num_inference_steps=1).records)
        with pytest.raises(RuntimeError, match="cut"):
            fair("a doctor", num_inference_steps=1, callback_on_step_end=cut)
        assert abs(seen.count("woman") - len(seen) / 2) < 1


def test_pipelines_may_share_a_ledger() -> None:
    ledger, seen = Ledger(), []
    for _ in range(6):
        pipe = tiny_pipeline()
        known = fair_pipeline(pipe).adapters
        fair = FairGenPipeline(pipe, known, ledger=ledger)
        seen += genders(fair("a doctor", **OPTIONS).records)
        assert abs(seen.count("woman") - len(seen) / 2) < 1


def test_the_gate_reads_what_the_picture_sees(pipe: StableDiffusionPipeline) -> None:
    """Not what is beyond the encoder, but what the negative prompt names, and the user's words."""
    fair = fair_pipeline(pipe)
    seen = "a photo of a doctor in a room with a hat and a coat"
    (record,) = fair(f"{seen}, a woman", **OPTIONS).records
    assert record.prompt_cut_at in (len(seen), len(seen) + 1)
    assert set(record.categories) == {"gender"}
    (record,) = fair("a doctor", negative_prompt="a female doctor", **OPTIONS).records
    assert record.categories == {} and record.gate is not None
    assert record.gate.attributes["gender"].reason == "negative prompt"
    rewritten = "A doctor, a tall man, at a desk"
    (record,) = fair(rewritten, original_prompt="a doctor", **OPTIONS).records
    assert set(record.categories) == {"gender"} and record.removed
    assert record.prompt is not None and "man" not in record.prompt.split()
    (record,) = fair("a (doctor:1.3)", **OPTIONS).records
    assert record.foreign_signs == ("(doctor:1.3)",)
    with pytest.raises(ValueError, match="original_prompt: allowed is one beside one prompt"):
        fair(["a doctor", "a nurse"], original_prompt="a doctor", **OPTIONS)


def test_the_gate_reads_the_texts_of_further_encoders_and_lists() -> None:
    pipe = tiny("SDXL")
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:

        def acts(prompt: str, **texts: Any) -> bool:
            (record,) = fair(prompt, **call_options("SDXL"), **texts).records
            return record.categories.keys() == {"gender"}

        assert acts("a photo of a doctor", prompt_2="oil on canvas, best quality")
        assert acts("oil on canvas", prompt_2="a photo of a doctor")
        assert not acts("a photo of a doctor", prompt_2="a photo of a female doctor")
        assert not acts("a photo of a doctor", prompt_2="female")
        assert not acts("a photo of a doctor", negative_prompt_2="woman")
        assert not acts("a photo of a doctor", negative_prompt=["woman"])


def test_calls_of_several_threads_wait_for_each_other(pipe: StableDiffusionPipeline) -> None:
    fair = fair_pipeline(pipe)

    def painted(category: str) -> list[np.ndarray]:
        pinned = {"gender": category}
        paint = partial(fair, "a doctor", seed=3, categories=pinned, **OPTIONS)
        return [np.asarray(paint().images[0]) for _ in range(3)]

    expected = [painted(category)[0] for category in ("woman", "man")]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(painted, ("woman", "man")))
    for alone, pictures in zip(expected, found, strict=True):
        assert all(np.array_equal(alone, picture) for picture in pictures)
