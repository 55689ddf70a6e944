"""What AuraFlow's pipeline does in a way of its own: positions, sizes, embedded prompts."""

import pytest
import torch
from torch.nn import functional

from fairgen.backbones import load_backbone
from fairgen.engine import Engine, ImageJob
from tests.fairgen.backbones.test_families import PROMPT, open_backbone
from tests.families import SIZE_PX, tiny

NUM_REGISTERS, NUM_PIXELS = 8, 16


def test_adapters_act_at_the_prompt_s_tokens_behind_the_registers_and_not_on_padding() -> None:
    backbone = open_backbone("AuraFlow")
    prompts = [PROMPT, "a nurse"]
    context = backbone.encode(prompts)
    read = backbone.pipe.tokenizer(prompts, padding="max_length", max_length=256)
    mask = torch.tensor(read["attention_mask"], dtype=torch.bool)
    alone = functional.pad(mask, (NUM_REGISTERS, 0))
    shape = backbone.latent_shape()
    arguments = {"encoder_hidden_states": context["text"], "hidden_states": torch.empty(2, *shape)}
    for found in (backbone.text_positions(context, shape), backbone.positions_in(arguments)):
        assert found is not None and found.keys() == set(backbone.projections("qkvo"))
        for path, where in found.items():
            expected = alone if "joint" in path else functional.pad(alone, (0, NUM_PIXELS))
            assert torch.equal(where.mask_NS, expected)


def test_the_picture_s_own_projections_of_two_streams_are_left_alone() -> None:
    found = open_backbone("AuraFlow").projections("qkvo")
    ends = {path.split(".attn.")[1] for path in found if path.startswith("joint")}
    assert ends == {"add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"}
    assert len(found) == 4 * 3


def test_a_side_past_the_table_of_positions_is_refused() -> None:
    engine = Engine(load_backbone(tiny("AuraFlow"), SIZE_PX))
    engine.submit([ImageJob(PROMPT, 1, width_px=64, height_px=16)])
    with pytest.raises(ValueError, match=r"^size: got a side of 68 pixels, allowed are at most 64"):
        engine.submit([ImageJob(PROMPT, 1, width_px=16, height_px=68)])
