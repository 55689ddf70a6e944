"""What Krea 2's pipeline does in a way of its own: tokens, one sequence, Turbo's shift, sisters."""

from typing import Any

import pytest
import torch
from diffusers import Krea2Pipeline
from torch import Tensor

from fairgen.backbones import PromptReader, load_backbone
from fairgen.bank import AdapterBank
from fairgen.base_model import fingerprint, is_same_base
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.test_families import (
    PROMPT,
    adapters_of,
    open_backbone,
    options_of,
    same,
)
from tests.fairgen.backbones.test_prompt_reader import LONG
from tests.families import SIZE_PX, tiny
from tests.painted import assert_same, ours, theirs

FAMILY = "Krea 2 Raw"
HEAD, TAIL, LENGTH, NUM_PIXELS = 34, 5, 512, 16
PROMPTS = [PROMPT, "a nurse"]


def num_tokens(pipe: Krea2Pipeline, prompt: str) -> int:
    return len(pipe.tokenizer(prompt)["input_ids"]) + TAIL


def test_what_is_read_are_a_prompt_s_tokens_and_those_that_follow_on_them() -> None:
    backbone = open_backbone(FAMILY)
    pipe = backbone.pipe
    prefix, suffix = pipe.prompt_template_encode_prefix, pipe.prompt_template_encode_suffix
    tokens = pipe.tokenizer(prefix + PROMPT + suffix, return_tensors="pt")
    assert pipe.tokenizer(prefix)["input_ids"] == tokens["input_ids"][0, :HEAD].tolist()
    with torch.no_grad():
        states = pipe.text_encoder(**tokens, output_hidden_states=True).hidden_states
    context = backbone.encode(PROMPTS)
    expected = torch.stack([states[1], states[2]], dim=2)[0, HEAD:]
    torch.testing.assert_close(context["text"][0], expected, atol=1e-3, rtol=1e-3)
    assert context["mask"].sum(1).tolist() == [num_tokens(pipe, prompt) for prompt in PROMPTS]


def prediction(backbone: Any, context: Any, arguments: dict[str, Tensor] | None = None) -> Tensor:
    """Return what the denoiser predicts of a context; `arguments` are the pipeline's own layout."""
    shape = backbone.latent_shape()
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    t_N = torch.tensor([900.0, 400.0])
    with torch.no_grad():
        if arguments is None:
            return backbone.denoise(x, t_N, context)
        packed = backbone.pipe._pack_latents(x, 2, *shape)
        ids = backbone.pipe.prepare_position_ids(LENGTH, 4, 4, x.device)
        velocity = backbone.denoiser(packed, timestep=t_N / 1000, position_ids=ids, **arguments)
        return backbone.pipe._unpack_latents(velocity.sample, SIZE_PX, SIZE_PX)[:, :, 0]


def as_the_pipeline_reads(backbone: Any) -> dict[str, Tensor]:
    with torch.no_grad():
        text, mask = backbone.pipe.encode_prompt(PROMPTS)
    return {"encoder_hidden_states": text, "encoder_attention_mask": mask}


def test_what_fills_up_is_left_out_and_the_prediction_is_the_same() -> None:
    backbone = open_backbone(FAMILY)
    expected = prediction(backbone, None, as_the_pipeline_reads(backbone))
    torch.testing.assert_close(prediction(backbone, backbone.encode(PROMPTS)), expected)


@pytest.mark.parametrize("layout", ["engine", "pipeline"])
@pytest.mark.parametrize("part", ["text_fusion.refiner_blocks.0", "transformer_blocks.1"])
@pytest.mark.parametrize("letter", ["q", "k", "v", "out.0"])
def test_exactly_the_prompt_s_tokens_are_adapted(layout: str, part: str, letter: str) -> None:
    backbone = open_backbone(FAMILY)
    (woman, _) = adapters_of(FAMILY, 4)
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    draw = torch.Generator().manual_seed(0)
    bank.add("drawn", {path: (torch.randn(down.shape, generator=draw),
                              torch.randn(up.shape, generator=draw))
                       for path, (down, up) in woman.directions.items()})  # fmt: skip
    context, arguments = backbone.encode(PROMPTS), None
    if layout == "pipeline":
        arguments = as_the_pipeline_reads(backbone)
        pixels = torch.empty(2, NUM_PIXELS, 16)
        positions = backbone.positions_in(arguments | {"hidden_states": pixels})
        length = LENGTH
    else:
        positions = backbone.text_positions(context, backbone.latent_shape())
        length = num_tokens(backbone.pipe, PROMPT)
    layer, seen = backbone.denoiser.get_submodule(f"{part}.attn.to_{letter}"), []
    bare = type(layer).forward
    with bank.gated(torch.tensor([[0.0], [1.0]]), positions):
        handle = layer.register_forward_hook(
            lambda _, inputs, output: seen.append(output - bare(layer, inputs[0]))
        )
        prediction(backbone, context, arguments)
        handle.remove()
    changed = seen[0].abs().amax(-1) > 0
    num_words = len(backbone.pipe.tokenizer(PROMPTS[1])["input_ids"])
    at = torch.arange(changed.shape[1])
    start = num_words if layout == "engine" else LENGTH - TAIL
    of_prompt = (at < num_words) | ((at >= start) & (at < start + TAIL))
    assert changed.shape[1] == length + NUM_PIXELS * part.startswith("transformer")
    assert not changed[0].any() and torch.equal(changed[1], of_prompt)


def test_the_layers_within_a_token_and_the_gates_are_left_alone() -> None:
    found = open_backbone(FAMILY).projections("qkvo")
    assert {path.rsplit(".attn.")[0] for path in found} == {
        "text_fusion.refiner_blocks.0", "transformer_blocks.0", "transformer_blocks.1",
    }  # fmt: skip
    assert {path.rsplit(".attn.")[1] for path in found} == {"to_q", "to_k", "to_v", "to_out.0"}


@pytest.mark.parametrize("family", [FAMILY, "Krea 2 Turbo"])
def test_the_shift_is_the_pipeline_s_at_any_size_and_one_for_turbo(family: str) -> None:
    pipe = tiny(family)
    backbone = load_backbone(pipe, SIZE_PX)
    shifts = {backbone._shift_mu((4, side, 2 * side), 4) for side in (8, 16, 64)}
    assert (shifts == {1.15}) == (family == "Krea 2 Turbo")
    job = ImageJob(PROMPT, 7, num_steps=4, guidance_scale=4.0, width_px=24, height_px=16)
    generator = torch.Generator().manual_seed(7)
    (expected,) = pipe(PROMPT, generator=generator, **options_of(pipe) | {"width": 24}).images
    assert same(Engine(backbone).paint([job])[0], expected)


def test_guidance_counts_from_0() -> None:
    backbone = open_backbone(FAMILY)
    assert not backbone.is_guided(0.0) and backbone.is_guided(0.5)
    pipe = backbone.pipe
    assert_same(ours(pipe, guidance_scale=0.0), theirs(pipe, guidance_scale=0.0))
    assert_same(ours(pipe, guidance_scale=0.5), theirs(pipe, guidance_scale=0.5))


def test_turbo_wears_what_raw_has_learnt_where_it_is_told_that_they_are_sisters() -> None:
    raw, turbo = tiny(FAMILY), tiny("Krea 2 Turbo", seed=1)
    one, other = fingerprint(raw.transformer), fingerprint(turbo.transformer)
    assert is_same_base(one, other, siblings=True) and not is_same_base(one, other)
    adapters = adapters_of(FAMILY)
    with pytest.raises(ValueError, match="base"):
        FairGenPipeline(turbo, adapters)
    fair = FairGenPipeline(turbo, adapters, siblings=True)
    options = options_of(turbo, 0.0)
    off = fair(PROMPT, 1, "off", seed=3, **options).images[0]
    on = fair(PROMPT, 1, {"gender": {"woman": 1.0}}, seed=3, **options).images[0]
    assert off.tobytes() != on.tobytes()


def test_an_embedded_prompt_paints_what_the_prompt_does() -> None:
    pipe = tiny(FAMILY)
    fair = FairGenPipeline(pipe, adapters_of(FAMILY))
    with torch.no_grad():
        text, mask = pipe.encode_prompt("a nurse")
    options, woman = options_of(pipe), {"gender": {"woman": 1.0}}
    expected = fair("a nurse", 3, woman, seed=3, **options).images
    embedded = options | {"prompt_embeds": text, "prompt_embeds_mask": mask}
    painted = fair(None, 3, woman, seed=3, **embedded).images
    for one, other in zip(painted, expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_the_cut_is_where_the_pipeline_stops_reading_to_the_character() -> None:
    backbone = open_backbone(FAMILY)
    cut_at = PromptReader(backbone).cut_at(LONG)
    assert cut_at is not None
    whole = backbone.encode([LONG])["text"]
    assert whole.shape[1] == LENGTH
    assert torch.equal(whole, backbone.encode([LONG[:cut_at] + "!"])["text"])
    assert not torch.equal(whole, backbone.encode([LONG[: cut_at - 1] + "!"])["text"])


@pytest.mark.parametrize("option", [{"patch_size": 1}, {"text_encoder_select_layers": (0, 2)}])
def test_what_a_pipeline_was_saved_with_is_followed(option: dict[str, Any]) -> None:
    pipe = tiny(FAMILY)
    parts = dict(pipe.components)
    if "patch_size" in option:
        kind, config = type(pipe.transformer), dict(pipe.transformer.config)
        parts["transformer"] = kind.from_config(config | {"in_channels": 4})
    asked = {"text_encoder_select_layers": (1, 2)} | option
    found = Krea2Pipeline(**parts, **asked)
    found.set_progress_bar_config(disable=True)
    assert_same(ours(found), theirs(found))
