"""What Lumina 2 does in a way of its own: an instruction before prompts, guidance that keeps norms,
a shift that follows the channels.
"""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from fairgen.backbones import Backbone, PromptReader, load_backbone
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
from tests.families import size_of, tiny
from tests.painted import as_numbers, assert_same, ours, theirs

OTHER = "a hat and a blue coat"
NUM_PIXELS = 16


def tokens_before(backbone: Backbone, instruction: str) -> int:
    """Return how many tokens a prompt's first one comes behind."""
    text, at = backbone.as_read("doctor", instruction)
    read = backbone.pipe.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return next(index for index, (_, end) in enumerate(read) if end > at)


def painted(instruction: str | None, **options: Any) -> np.ndarray:
    """Return what an engine paints with an instruction."""
    pipe = tiny("Lumina 2")
    engine = Engine(load_backbone(pipe, size_of(pipe), instruction))
    for adapter in adapters_of("Lumina 2"):
        engine.load(adapter.name, adapter)
    asked = {"prompt": PROMPT, "seed": 7, "num_steps": 4, "guidance_scale": 4.0}
    (image,) = engine.paint([ImageJob(**asked | options)])
    engine.close()
    return as_numbers(image)


@pytest.mark.parametrize("layer", ["context_refiner.0.attn.to_q", "layers.0.attn.to_v"])
def test_adapters_act_at_the_prompt_s_own_tokens(layer: str) -> None:
    backbone = open_backbone("Lumina 2")
    (woman, _) = adapters_of("Lumina 2", 4)
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    bank.add("woman", woman.directions)
    context = backbone.encode([PROMPT, "a nurse"])
    positions = backbone.text_positions(context, (4, 8, 8))
    with (
        bank.gated(torch.ones(2, 1), positions),
        changes_of(backbone.denoiser, layer) as changed,
    ):
        denoised(backbone)
    own = backbone.instruction_in({})
    assert own == backbone.pipe.system_prompt and tokens_before(backbone, own) > 10
    lengths = [
        len(backbone.pipe.tokenizer(backbone.as_read(prompt, own)[0])["input_ids"])
        for prompt in (PROMPT, "a nurse")
    ]
    num_positions = max(lengths) + NUM_PIXELS if layer.startswith("layers") else 256
    at = torch.arange(num_positions).expand(2, -1)
    expected = (at >= tokens_before(backbone, own)) & (at < torch.tensor(lengths)[:, None])
    assert torch.equal(changed[0], expected)


def test_what_reads_the_picture_alone_is_not_adapted() -> None:
    found = open_backbone("Lumina 2").projections("qkvo")
    assert {path.split(".")[0] for path in found} == {"context_refiner", "layers"}
    assert len(found) == 4 * 3


@pytest.mark.parametrize("instruction", [None, "", OTHER])
def test_the_engine_paints_with_the_instruction_that_it_is_given(instruction: str | None) -> None:
    pipe = tiny("Lumina 2")
    assert_same(painted(instruction), theirs(pipe, system_prompt=instruction))
    negative = theirs(pipe, system_prompt=instruction, negative_prompt="a photo of a car")
    assert_same(painted(instruction, negative_prompt="a photo of a car"), negative)


@pytest.mark.parametrize("instruction", ["", OTHER])
def test_adapters_are_worn_behind_an_instruction_that_a_call_brings(instruction: str) -> None:
    pipe = tiny("Lumina 2")
    options = options_of(pipe) | {"system_prompt": instruction}
    with FairGenPipeline(pipe, adapters_of("Lumina 2")) as fair:
        (worn,) = fair(PROMPT, 1, {"gender": {"woman": 1.0}}, seed=7, **options).images
    gated = painted(instruction, gates={"gender-woman": 1.0})
    assert_same(gated, as_numbers(worn))
    assert not np.array_equal(gated, painted(instruction))
    backbone = open_backbone("Lumina 2")
    with torch.no_grad():
        _, mask, *_ = pipe.encode_prompt(PROMPT, False, system_prompt=instruction)
    arguments = {"encoder_attention_mask": mask, "hidden_states": torch.empty(1, 4, 8, 8),
            "system_prompt": instruction}  # fmt: skip
    where = backbone.positions_in(arguments)
    assert where is not None
    first = int(where["layers.0.attn.to_q"].mask_NS[0].nonzero()[0])
    assert first == tokens_before(backbone, instruction) > 0


def test_adapters_are_learnt_behind_the_instruction() -> None:
    pipe, learnt = tiny("Lumina 2"), {}
    for instruction in (None, pipe.system_prompt, "", OTHER):
        found = discovery(load_backbone(pipe, size_of(pipe), instruction))
        found.update()
        learnt[instruction] = found.adapters("fp32", "0123")[0].sha256
        found.bank.close()
    assert learnt[None] == learnt[pipe.system_prompt]
    assert len(set(learnt.values())) == 3


@pytest.mark.parametrize("instruction", [None, "", OTHER])
def test_a_prompt_is_read_as_far_as_its_instruction_leaves_room(instruction: str | None) -> None:
    pipe, long = tiny("Lumina 2"), "  a photo of a doctor with a red hat, " * 60
    backbone = load_backbone(pipe, instruction=instruction)
    cut_at = PromptReader(backbone).cut_at(long, 60)
    assert cut_at is not None and 2 < cut_at < len(long)

    def read(text: str) -> Tensor:
        return pipe.encode_prompt(text, False, system_prompt=instruction, max_sequence_length=60)[0]

    with torch.no_grad():
        whole = read(long)
        assert torch.equal(whole, read(long[:cut_at] + " and nothing that is read"))
        assert not torch.equal(whole, read(long[: cut_at - 6] + " and nothing that is read"))


def test_guidance_keeps_the_norm_of_each_row_of_the_conditional_prediction() -> None:
    backbone, draw = open_backbone("Lumina 2"), torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 4, 8, 8, generator=draw)
    found = backbone.guided(one, other, 4.0)
    torch.testing.assert_close(found.norm(dim=-1), other.norm(dim=-1))
    straight = one + 4.0 * (other - one)
    assert torch.cosine_similarity(found, straight, dim=-1).min() > 0.999


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.75])
def test_guidance_that_is_cut_off_is_an_interval(ratio: float) -> None:
    pipe = tiny("Lumina 2")
    assert_same(ours(pipe, guidance_interval=(0.0, ratio)), theirs(pipe, cfg_trunc_ratio=ratio))


def test_a_shift_by_size_is_the_pipeline_s_by_channels() -> None:
    """It takes the channels for the number of tokens (diffusers 0.42.1)."""
    pipe = tiny("Lumina 2")
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_image_seq_len=2, max_image_seq_len=64, max_shift=9.0
    )
    assert_same(ours(pipe), theirs(pipe))
