"""What HunyuanDiT does in a way of its own: tokens of two encoders, padding that is exchanged."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fairgen.backbones import load_backbone
from fairgen.bank import AdapterBank
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.adapted_layers import changes_of
from tests.fairgen.backbones.test_families import (
    PROMPT,
    adapters_of,
    denoised,
    open_backbone,
    options_of,
)
from tests.families import size_of, tiny
from tests.painted import as_numbers, assert_same, theirs

PROMPTS = [PROMPT, "a nurse"]


def at_tokens() -> Tensor:
    """Return where the tokens of `PROMPTS` stand, BERT's of 77 and T5's of 256 behind them."""
    pipe, rows = tiny("HunyuanDiT"), []
    for prompt in PROMPTS:
        parts = (pipe.tokenizer, 77), (pipe.tokenizer_2, 256)
        rows.append(
            torch.cat([torch.arange(size) < len(read(prompt)["input_ids"]) for read, size in parts])
        )
    return torch.stack(rows)


@pytest.mark.parametrize("letter", ["to_k", "to_v", "to_q"])
def test_adapters_act_at_the_prompt_s_tokens_of_both_encoders(letter: str) -> None:
    backbone = open_backbone("HunyuanDiT")
    (woman, _) = adapters_of("HunyuanDiT", 4)
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    bank.add("woman", woman.directions)
    context = backbone.encode(PROMPTS)
    positions = backbone.text_positions(context, (4, 8, 8))
    with (
        bank.gated(torch.ones(2, 1), positions),
        changes_of(backbone.denoiser, f"blocks.1.attn2.{letter}") as changed,
    ):
        denoised(backbone)
    expected = torch.ones(2, 16, dtype=torch.bool) if letter == "to_q" else at_tokens()
    assert torch.equal(changed[0], expected)


def test_the_pipeline_s_passes_have_the_same_positions() -> None:
    backbone = open_backbone("HunyuanDiT")
    context = backbone.encode(PROMPTS)
    arguments = {
        "text_embedding_mask": context["mask"],
        "text_embedding_mask_t5": context["mask_2"],
    }
    found = backbone.positions_in(arguments)
    assert found is not None and set(found) == set(backbone.projections("kv"))
    for where in found.values():
        assert torch.equal(where.mask_NS, at_tokens())


def test_the_picture_s_own_attention_is_not_adapted() -> None:
    found = open_backbone("HunyuanDiT").projections("qkvo")
    assert len(found) == 4 * 4 and all(".attn2." in path for path in found)


@pytest.mark.parametrize("size", [(64, 128), (112, 64)])
def test_a_picture_that_is_no_square_has_the_pipeline_s_positions(size: tuple[int, int]) -> None:
    pipe = tiny("HunyuanDiT")
    width, height = size
    engine = Engine(load_backbone(pipe, size_of(pipe)))
    asked = {"num_steps": 4, "guidance_scale": 4.0, "width_px": width, "height_px": height}
    (image,) = engine.paint([ImageJob(PROMPT, 7, **asked)])
    assert image.size == size
    assert_same(as_numbers(image), theirs(pipe, width=width, height=height))


def test_embedded_prompts_paint_what_the_prompts_do() -> None:
    pipe = tiny("HunyuanDiT")
    fair = FairGenPipeline(pipe, adapters_of("HunyuanDiT"))
    embedded: dict[str, Any] = {}
    for index, end in enumerate(("", "_2")):
        names = ("prompt_embeds", "negative_prompt_embeds", "prompt_attention_mask",
                 "negative_prompt_attention_mask")  # fmt: skip
        with torch.no_grad():
            encoded = pipe.encode_prompt(PROMPT, text_encoder_index=index)
        embedded |= dict(zip([name + end for name in names], encoded, strict=True))
    options, woman = options_of(pipe), {"gender": {"woman": 1.0}}
    expected = fair(PROMPT, 3, woman, seed=3, **options).images
    painted = fair(None, 3, woman, seed=3, **options, **embedded).images
    for one, other in zip(painted, expected, strict=True):
        assert one.tobytes() == other.tobytes()
