"""What a pipeline puts before each prompt for its language model is a setting of the base model: by
default the pipeline's own, the same where adapters are learnt and where they are worn.
"""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from fairgen.backbones import PromptReader, load_backbone
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.test_families import adapters_of, discovery
from tests.families import as_the_engine, size_of, tiny
from tests.painted import PROMPT, as_numbers, assert_same, theirs

ARGUMENT = "complex_human_instruction"
OTHER = "Name the colors of a\nhat: "
LONG = "a photo of a doctor with a red hat and a blue coat, " * 60
families = pytest.mark.parametrize("family", ["SANA", "SANA-Sprint"])


def own_instruction(pipe: DiffusionPipeline) -> str:
    return "\n".join(inspect.signature(type(pipe).__call__).parameters[ARGUMENT].default)


def painted(pipe: DiffusionPipeline, instruction: str | None, **options: Any) -> np.ndarray:
    """Return what an engine paints with an instruction."""
    engine = Engine(load_backbone(pipe, size_of(pipe), instruction))
    asked = {"prompt": PROMPT, "seed": 7, "num_steps": 4, "guidance_scale": 4.0}
    (image,) = engine.paint([ImageJob(**asked | options)])
    engine.close()
    return as_numbers(image)


@families
def test_the_engine_paints_with_the_instruction_that_it_is_given(family: str) -> None:
    pipe = tiny(family)
    found = {}
    for instruction, lines in (
        (None, {}),
        ("", None),
        (OTHER, [OTHER]),
        (OTHER, OTHER.split("\n")),
    ):
        given = lines if isinstance(lines, dict) else {ARGUMENT: lines}
        found[instruction] = painted(pipe, instruction)
        assert_same(found[instruction], theirs(pipe, **given))
    assert np.array_equal(found[None], painted(pipe, own_instruction(pipe)))
    pictures = [picture.tobytes() for picture in found.values()]
    assert len(set(pictures)) == 3


def test_a_negative_prompt_is_read_without_one_and_no_prompt_is_the_empty_negative_one() -> None:
    pipe = tiny("SANA")
    picture = painted(pipe, OTHER, negative_prompt=PROMPT)
    assert_same(picture, theirs(pipe, negative_prompt=PROMPT, **{ARGUMENT: [OTHER]}))
    backbone = load_backbone(pipe, instruction=OTHER)
    none, empty = backbone.encode([None])["text"], backbone.encode([""])["text"]
    assert torch.equal(none, backbone.encode_negative([""])["text"])
    assert not torch.equal(none, empty)


@families
@pytest.mark.parametrize("lines", [[OTHER], None, [], ["", ""]])
def test_a_call_of_the_library_s_pipeline_reads_the_instruction_that_it_is_given(
    family: str, lines: list[str] | None
) -> None:
    pipe, adapters = tiny(family), adapters_of(family)
    options = {**as_the_engine(pipe, 4), ARGUMENT: lines}
    generators = [torch.Generator().manual_seed(3)]
    bare = pipe(PROMPT, generator=generators, **options).images[0]
    with FairGenPipeline(pipe, adapters) as fair:
        off = fair(PROMPT, 1, "off", seed=3, **options).images[0]
        on = fair(PROMPT, 1, {"gender": {"woman": 1.0}}, seed=3, **options).images[0]
    assert off.tobytes() == bare.tobytes() != on.tobytes()
    if lines != ["", ""]:  # a line that no recipe can ask for
        engine = Engine(load_backbone(pipe, size_of(pipe), "\n".join(lines or ())))
        engine.load("woman", adapters[0])
        gated = ImageJob(PROMPT, 3, {"woman": 1.0}, num_steps=4, guidance_scale=4.0)
        assert_same(as_numbers(engine.paint([gated])[0]), as_numbers(on))


@families
def test_adapters_are_learnt_on_prompts_behind_the_instruction(family: str) -> None:
    pipe = tiny(family)
    learnt = {}
    for instruction in (None, own_instruction(pipe), "", OTHER):
        found = discovery(load_backbone(pipe, size_of(pipe), instruction))
        found.update()
        learnt[instruction] = found.adapters("fp32", "0123")[0].sha256
        found.bank.close()
    assert learnt[None] == learnt[own_instruction(pipe)]
    assert len(set(learnt.values())) == 3


@families
@pytest.mark.parametrize("instruction", [None, "", OTHER])
@pytest.mark.parametrize("max_tokens", [300, 40])
def test_a_prompt_is_read_as_far_behind_an_instruction(
    family: str, instruction: str | None, max_tokens: int
) -> None:
    pipe = tiny(family)
    backbone = load_backbone(pipe, instruction=instruction)
    prompt = f"  {LONG}"
    cut_at = PromptReader(backbone).cut_at(prompt, max_tokens)
    assert cut_at is not None and 2 < cut_at < len(LONG)
    options = backbone.instruction_options(backbone.instruction_in({}))

    def read(text: str) -> torch.Tensor:
        encoded = pipe.encode_prompt([text], max_sequence_length=max_tokens, **options)
        return encoded[0]

    with torch.no_grad():
        whole = read(prompt)
        assert torch.equal(whole, read(prompt[:cut_at] + " and nothing that is read"))
        assert not torch.equal(whole, read(prompt[: cut_at - 6] + " and nothing that is read"))


def test_how_far_a_call_s_own_instruction_lets_a_prompt_be_read_is_in_its_record() -> None:
    pipe = tiny("SANA")
    with FairGenPipeline(pipe, adapters_of("SANA")) as fair:
        for lines in ([OTHER], None):
            options = {**as_the_engine(pipe, 1), ARGUMENT: lines}
            (record,) = fair(LONG, 1, "off", seed=1, **options).records
            reader = PromptReader(load_backbone(pipe, instruction="\n".join(lines or ())))
            assert record.prompt_cut_at == reader.cut_at(LONG)


@pytest.mark.parametrize("family", ["SD 1.x", "PixArt-sigma", "FLUX.1 dev"])
@pytest.mark.parametrize("instruction", ["", OTHER])
def test_a_family_that_puts_nothing_before_a_prompt_refuses_one(
    family: str, instruction: str
) -> None:
    with pytest.raises(ValueError, match=r"^instruction: got '.*', allowed is none: .*Pipeline"):
        load_backbone(tiny(family), instruction=instruction)
