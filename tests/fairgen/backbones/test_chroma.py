"""What Chroma does in a way of its own: the tokens that are kept, checkpoints, masked edits."""

import numpy as np
import pytest
import torch
from diffusers import ChromaInpaintPipeline

from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank
from fairgen.engine import StartImage
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.adapted_layers import changes_of
from tests.fairgen.backbones.test_families import (
    PROMPT,
    adapters_of,
    denoised,
    open_backbone,
    options_of,
)
from tests.fairgen.engine.test_edits import left_half, picture
from tests.families import ready, tiny
from tests.painted import assert_same, ours, theirs


def tokens_of(backbone: Backbone, prompt: str) -> int:
    """Return how many tokens a prompt has, with the one that ends it."""
    return len(backbone.pipe.tokenizer(prompt)["input_ids"])


def test_adapters_act_at_the_prompt_s_tokens_and_the_one_of_padding_that_is_kept() -> None:
    backbone = open_backbone("Chroma")
    (woman, _) = adapters_of("Chroma", 4)
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    bank.add("woman", woman.directions)
    context = backbone.encode([PROMPT, "a nurse"])
    positions = backbone.text_positions(context, (4, 8, 8))
    with (
        bank.gated(torch.ones(2, 1), positions),
        changes_of(backbone.denoiser, "transformer_blocks.1.attn.add_v_proj") as changed,
    ):
        denoised(backbone)
    lengths = torch.tensor([[tokens_of(backbone, text) + 1] for text in (PROMPT, "a nurse")])
    assert torch.equal(changed[0], torch.arange(512) < lengths)


def test_the_pipeline_s_passes_have_the_same_positions() -> None:
    backbone = open_backbone("Chroma")
    context = backbone.encode([PROMPT, "a nurse"])
    arguments = {
        "encoder_hidden_states": context["text"],
        "attention_mask": torch.cat([context["mask"], torch.ones(2, 16)], 1),
    }
    found, expected = backbone.positions_in(arguments), backbone.text_positions(context, (4, 8, 8))
    assert found is not None and expected is not None
    assert found.keys() == expected.keys() == set(backbone.projections("qkvo"))
    for path, where in found.items():
        assert torch.equal(where.mask_NS, expected[path].mask_NS)


def test_only_the_text_stream_of_two_streams_is_adapted() -> None:
    found = open_backbone("Chroma").projections("qkvo")
    ends = {path.split(".attn.")[1] for path in found}
    assert ends == {"add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"}
    assert len(found) == 4 * 2 and not [path for path in found if path.startswith("single")]


def test_checkpointed_passes_predict_the_same() -> None:
    """diffusers leaves the mask out of checkpointed blocks of one stream (0.42.1)."""
    backbone = open_backbone("Chroma")
    expected, denoiser = denoised(backbone), backbone.denoiser
    denoiser.enable_gradient_checkpointing()
    checkpointed = denoiser._gradient_checkpointing_func
    context, t_N = backbone.encode([PROMPT, "a nurse"]), torch.tensor([900, 400])
    noise = torch.Generator().manual_seed(0)
    predicted = backbone.denoise(torch.randn(2, 4, 8, 8, generator=noise), t_N, context)
    torch.testing.assert_close(predicted, expected)
    assert denoiser._gradient_checkpointing_func is checkpointed  # it is left as it was


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_an_edit_under_a_mask_is_that_of_its_inpainting_pipeline(strength: float) -> None:
    """The pipeline asks for a field that no Chroma has (diffusers 0.42.1)."""
    pipe = tiny("Chroma")
    inpaint = ready(ChromaInpaintPipeline(**pipe.components))
    asked = {"image": picture(), "mask_image": left_half(), "strength": strength}
    with pytest.raises(AttributeError, match="guidance_embeds"):
        theirs(inpaint, **asked)
    pipe.transformer.register_to_config(guidance_embeds=False)
    expected = theirs(inpaint, **asked, max_sequence_length=512)
    assert_same(expected, ours(pipe, start=StartImage(picture(), strength, left_half())))


def test_an_embedded_prompt_paints_what_the_prompt_does() -> None:
    pipe = tiny("Chroma")
    fair = FairGenPipeline(pipe, adapters_of("Chroma"))
    with torch.no_grad():
        text, _, mask, *_ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    embedded = {"prompt_embeds": text, "prompt_attention_mask": mask}
    options, woman = options_of(pipe), {"gender": {"woman": 1.0}}
    expected = fair(PROMPT, 3, woman, seed=3, **options).images
    painted = fair(None, 3, woman, seed=3, **options, **embedded).images
    assert not np.array_equal(np.asarray(painted[0]), np.asarray(painted[1]))
    for one, other in zip(painted, expected, strict=True):
        assert one.tobytes() == other.tobytes()
