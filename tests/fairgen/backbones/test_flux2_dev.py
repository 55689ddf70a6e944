"""What FLUX.2 dev does in a way of its own: a message of the system, prompts at the end."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from torch import Tensor
from torch.nn import functional

from fairgen.backbones import PromptReader, load_backbone
from fairgen.bank import AdapterBank
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.adapted_layers import changes_of
from tests.fairgen.backbones.test_families import (
    PROMPT,
    adapters_of,
    denoised,
    discovery,
    open_backbone,
    options_of,
)
from tests.fairgen.engine.test_edits import picture
from tests.families import SIZE_PX, tiny
from tests.painted import as_numbers, assert_same, ours, theirs

pytestmark = pytest.mark.slow

WOMAN = {"gender": {"woman": 1.0}}
OTHER = "Name the colors of a hat."
LONG = "A photo of an accountant who works at a wooden desk, with soft light, " * 60
LENGTH, NUM_PIXELS = 512, 16
DOUBLE = "transformer_blocks.0.attn.add_k_proj"
SINGLE = "single_transformer_blocks.0.attn.to_qkv_mlp_proj"


def at_tokens(*prompts: str, side: str = "left") -> Tensor:
    """Return where the prompts' own tokens stand, of 512, and the one that ends them: last, or in
    front of what fills up.
    """
    pipe = tiny("FLUX.2 dev")
    tokenizer, at, rows = pipe.tokenizer.tokenizer, torch.arange(LENGTH), []
    before = f"<s>[SYSTEM_PROMPT]{pipe.system_message}[/SYSTEM_PROMPT][INST]"
    num_before = len(tokenizer(before, add_special_tokens=False)["input_ids"])
    for prompt in prompts:
        own = len(tokenizer.tokenize(prompt)) + 1
        rows.append(at >= (LENGTH - own if side == "left" else num_before))
    return torch.stack(rows)


@pytest.mark.parametrize("path", [DOUBLE, SINGLE])
def test_adapters_act_at_the_prompt_s_own_tokens(path: str) -> None:
    backbone = open_backbone("FLUX.2 dev")
    (woman, _) = adapters_of("FLUX.2 dev")
    bank = AdapterBank(
        backbone.denoiser, list(woman.directions), torch.device("cpu"), backbone.columns()
    )
    bank.add("woman", woman.directions)
    context = backbone.encode([PROMPT, "a nurse"])
    positions = backbone.text_positions(context, backbone.latent_shape())
    with (
        bank.gated(torch.ones(2, 1), positions),
        changes_of(backbone.denoiser, path) as changed,
    ):
        denoised(backbone)
    num_pixels = NUM_PIXELS if path == SINGLE else 0
    assert torch.equal(changed[0], functional.pad(at_tokens(PROMPT, "a nurse"), (0, num_pixels)))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("prompt", [PROMPT, "a", "", "a [INST] nurse"])
def test_a_prompt_of_any_length_is_found(prompt: str, side: str) -> None:
    backbone = open_backbone("FLUX.2 dev")
    backbone.pipe.tokenizer.tokenizer.padding_side = side
    text = backbone.encode([prompt, "a nurse"])["text"]
    arguments = {"encoder_hidden_states": text, "hidden_states": torch.empty(2, NUM_PIXELS, 16)}
    found = backbone.positions_in(arguments)
    assert found is not None and found.keys() == set(backbone.projections("qkvo"))
    assert torch.equal(found[DOUBLE].mask_NS, at_tokens(prompt, "a nurse", side=side))


@pytest.mark.parametrize(
    "told",
    [{}, {"text_encoder_out_layers": (5, 15, 25)}, {"max_sequence_length": 256}, {"image": None}],
)
def test_rows_that_read_the_prompt_wear_adapters_at_its_tokens(told: dict[str, Any]) -> None:
    pipe = tiny("FLUX.2 dev")
    fair = FairGenPipeline(pipe, adapters_of("FLUX.2 dev"))
    if "image" in told:
        told = {"image": picture().resize((64, 64))}
    options = options_of(pipe) | told
    with changes_of(pipe.transformer, SINGLE) as changed:
        fair(PROMPT, 2, WOMAN, seed=3, **options)
    length = told.get("max_sequence_length", LENGTH)
    num_pixels = NUM_PIXELS + (256 if "image" in told else 0)
    expected = functional.pad(at_tokens(PROMPT, PROMPT)[:, LENGTH - length :], (0, num_pixels))
    assert len(changed) == 4 and all(torch.equal(found, expected) for found in changed)


def test_an_embedded_prompt_paints_what_the_prompt_does() -> None:
    pipe = tiny("FLUX.2 dev")
    fair = FairGenPipeline(pipe, adapters_of("FLUX.2 dev"))
    with torch.no_grad():
        text, _ = pipe.encode_prompt(PROMPT)
    options = options_of(pipe)
    expected = fair(PROMPT, 2, WOMAN, seed=3, **options).images
    painted = fair(None, 2, WOMAN, seed=3, prompt_embeds=text, **options).images
    for one, other in zip(painted, expected, strict=True):
        assert one.tobytes() == other.tobytes()


def told(message: str | None) -> DiffusionPipeline:
    """Return a pipeline that is told a message of the system, None its own."""
    pipe = tiny("FLUX.2 dev")
    if message is not None:
        pipe.system_message = message
    return pipe


@pytest.mark.parametrize("message", [None, "", OTHER])
def test_the_engine_paints_with_the_instruction_that_it_is_given(message: str | None) -> None:
    adapters = adapters_of("FLUX.2 dev")
    engine = Engine(load_backbone(tiny("FLUX.2 dev"), SIZE_PX, message))
    engine.load("woman", adapters[0])
    jobs = [ImageJob(PROMPT, 7, gates, 4, 4.0) for gates in ({}, {"woman": 1.0})]
    bare, worn = engine.paint(jobs)
    pipe = told(message)
    assert_same(as_numbers(bare), theirs(pipe))
    assert_same(as_numbers(bare), ours(pipe))
    fair = FairGenPipeline(pipe, adapters)
    (expected,) = fair(PROMPT, 1, WOMAN, seed=7, **options_of(pipe)).images
    assert_same(as_numbers(worn), as_numbers(expected))
    assert (as_numbers(worn) != as_numbers(bare)).any()
    assert message is None or (as_numbers(bare) != theirs(told(None))).any()


def test_adapters_are_learnt_on_prompts_behind_the_instruction() -> None:
    learnt = {}
    own = tiny("FLUX.2 dev").system_message
    for message in (None, own, OTHER):
        found = discovery(load_backbone(tiny("FLUX.2 dev"), SIZE_PX, message))
        found.update()
        learnt[message] = found.adapters("fp32", "0123")[0].sha256
        found.bank.close()
    assert learnt[None] == learnt[own] != learnt[OTHER]


@pytest.mark.parametrize("message", [None, "", OTHER])
@pytest.mark.parametrize("max_tokens", [400, 200])
def test_a_prompt_is_read_as_far_behind_an_instruction(
    message: str | None, max_tokens: int
) -> None:
    pipe = told(message)
    cut_at = PromptReader(load_backbone(pipe)).cut_at(LONG, max_tokens)
    assert cut_at is not None and 0 < cut_at < len(LONG)

    def read(text: str) -> Tensor:
        return pipe.encode_prompt(text, max_sequence_length=max_tokens)[0]

    with torch.no_grad():
        whole = read(LONG)
        assert torch.equal(whole, read(LONG[:cut_at] + " and nothing that is read"))
        assert not torch.equal(whole, read(LONG[: cut_at - 4] + " and nothing that is read"))


def test_guidance_is_an_input_of_the_model() -> None:
    pipe = tiny("FLUX.2 dev")
    pictures = [ours(pipe, guidance_scale=scale) for scale in (1.0, 4.0)]
    assert not np.array_equal(*pictures)
    for scale, painted in zip((1.0, 4.0), pictures, strict=True):
        assert_same(painted, theirs(pipe, guidance_scale=scale))
    engine = Engine(load_backbone(pipe, SIZE_PX))
    engine.submit([ImageJob(PROMPT, 1, num_steps=2, guidance_scale=4.0)])
    engine.step()
    assert engine.last_rows == 1
