"""What Kandinsky 5's pipeline does in a way of its own: tokens, lengths, sizes, channels last."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Kandinsky5Transformer3DModel

from fairgen.backbones import PromptReader, load_backbone
from fairgen.bank import AdapterBank
from fairgen.baselines.system import guided_prediction, sample
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from fairgen.sampling import Sampling
from tests.fairgen.backbones.test_families import (
    PROMPT,
    adapters_of,
    open_backbone,
    options_of,
    same,
)
from tests.fairgen.backbones.test_prompt_reader import LONG
from tests.families import size_of, tiny
from tests.painted import as_numbers, assert_same, ours, theirs

pytestmark = pytest.mark.slow

FAMILY = "Kandinsky 5"
HEAD = 40  # tokens that the pipeline cuts off


def test_what_is_read_are_a_prompt_s_tokens_and_the_message_s_end() -> None:
    backbone = open_backbone(FAMILY)
    pipe, tokenize = backbone.pipe, backbone.pipe.tokenizer.tokenizer
    before, after = pipe.prompt_template.split("{}")
    tokens = tokenize(before + PROMPT + after, return_tensors="pt")
    assert tokenize(before)["input_ids"] == tokens["input_ids"][0, :HEAD].tolist()
    with torch.no_grad():
        states = pipe.text_encoder(**tokens, output_hidden_states=True).hidden_states[-1][0]
    context = backbone.encode([PROMPT, "nurse"])
    lengths = [len(tokenize(text + after)["input_ids"]) for text in (PROMPT, "nurse")]
    torch.testing.assert_close(context["text"][0], states[HEAD:])
    assert context["mask"].sum(1).tolist() == lengths and lengths[0] > lengths[1]
    assert context["pooled"].shape == (2, 1, 16) and len(set(context["pooled"][:, 0, 0])) == 2


@pytest.mark.parametrize("letter", ["to_query", "to_key", "to_value", "out_layer"])
def test_adapters_act_on_the_cross_attention_of_their_row_alone(letter: str) -> None:
    backbone = open_backbone(FAMILY)
    (woman, _) = adapters_of(FAMILY)
    assert {path.split(".")[0] for path in woman.directions} == {"visual_transformer_blocks"}
    assert {path.split(".")[2] for path in woman.directions} == {"cross_attention"}
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    draw = torch.Generator().manual_seed(0)
    bank.add("drawn", {path: (torch.randn(down.shape, generator=draw),
                              torch.randn(up.shape, generator=draw))
                       for path, (down, up) in woman.directions.items()})  # fmt: skip
    path = f"visual_transformer_blocks.1.cross_attention.{letter}"
    layer, seen = backbone.denoiser.get_submodule(path), []
    bare, context = type(layer).forward, backbone.encode([PROMPT, PROMPT])
    assert backbone.text_positions(context, backbone.latent_shape()) is None
    with bank.gated(torch.tensor([[0.0], [1.0]])), torch.no_grad():
        handle = layer.register_forward_hook(
            lambda _, inputs, output: seen.append(output - bare(layer, inputs[0]))
        )
        x = torch.randn(2, *backbone.latent_shape())
        backbone.denoise(x, torch.tensor([900.0, 400.0]), context)
        handle.remove()
    changed = seen[0].abs().amax(-1) > 0
    of_text = letter in ("to_key", "to_value")
    assert changed.shape == (2, context["text"].shape[1] if of_text else 16)
    assert not changed[0].any() and changed[1].all()


def test_what_fills_a_prompt_up_is_read_so_lengths_do_not_share_a_pass() -> None:
    backbone = open_backbone(FAMILY)
    prompts = [PROMPT, "nurse", PROMPT, "a pilot in a long blue coat"]
    x = torch.randn(4, *backbone.latent_shape(), generator=torch.Generator().manual_seed(0))
    t_N, context = torch.tensor([900.0, 400.0, 10.0, 700.0]), backbone.encode(prompts)
    assert backbone.parts(context) == [[0, 2], [1], [3]]
    with torch.no_grad():
        together = backbone.denoise(x, t_N, context)
        for row, prompt in enumerate(prompts):
            alone = backbone.denoise(x[[row]], t_N[[row]], backbone.encode([prompt]))
            torch.testing.assert_close(together[[row]], alone, atol=1e-2, rtol=1e-2)  # bf16 inside
        filled = context[[1]].clone()
        filled["mask"][:] = True
        assert (backbone.denoise(x[[1]], t_N[[1]], filled) - together[[1]]).abs().max() > 0.05


def test_the_compared_systems_draw_noise_as_the_pipeline_does() -> None:
    pipe = tiny(FAMILY)
    backbone = load_backbone(pipe, size_of(pipe))
    predict = guided_prediction(backbone, [PROMPT], Sampling(4, 4.0))
    (image,) = sample(backbone, [7], 4, predict)
    assert_same(as_numbers(image), theirs(pipe))
    drawn, plain = (
        each((4, 8, 8), generator=torch.Generator().manual_seed(7))
        for each in (backbone.noise, torch.randn)
    )
    assert drawn.shape == plain.shape and torch.equal(drawn.permute(1, 2, 0).ravel(), plain.ravel())


@pytest.mark.parametrize("prompt", ["  a   photo of\na nurse ", "a nurse &amp;amp; a doctor"])
def test_prompts_are_cleaned_as_the_pipeline_cleans_them(prompt: str) -> None:
    pipe = tiny(FAMILY)
    assert_same(ours(pipe, prompt=prompt), theirs(pipe, prompt=prompt))
    assert PromptReader(load_backbone(pipe)).cut_at(prompt) is None


def test_where_a_prompt_is_cut_counts_what_is_cleaned_away_before() -> None:
    reader = PromptReader(open_backbone(FAMILY))
    cut_at = reader.cut_at(LONG)
    assert cut_at is not None and reader.cut_at("   " + LONG) == cut_at + 3


def test_a_picture_has_the_size_that_was_asked_for() -> None:
    pipe = tiny(FAMILY)
    engine = Engine(load_backbone(pipe, size_of(pipe)))
    job = ImageJob(PROMPT, 7, num_steps=4, guidance_scale=4.0, width_px=96, height_px=64)
    options = options_of(pipe) | {"width": 96, "generator": torch.Generator().manual_seed(7)}
    pipe.resolutions = [(96, 64)]
    assert same(engine.paint([job])[0], pipe(PROMPT, **options).image[0])
    with pytest.raises(ValueError, match=r"^size: got 4096x64, allowed are up to 2048 pixels a si"):
        engine.submit([ImageJob(PROMPT, 7, width_px=4096, height_px=64)])


def test_prompts_are_words() -> None:
    pipe = tiny(FAMILY)
    fair, options = FairGenPipeline(pipe, adapters_of(FAMILY)), options_of(pipe, 1.0)
    names = "prompt_embeds_qwen", "prompt_embeds_clip", "prompt_cu_seqlens"
    with torch.no_grad():
        embedded = dict(zip(names, pipe.encode_prompt("a nurse"), strict=True))
    with pytest.raises(ValueError, match=r"^prompt: got NoneType without prompt_embeds, allowed"):
        fair(None, 1, {"gender": {"woman": 1.0}}, seed=3, **options, **embedded)


def test_what_the_pipeline_fails_with_is_refused() -> None:
    pipe = tiny(FAMILY)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    with pytest.raises(ValueError, match="mu"):
        theirs(pipe)
    with pytest.raises(ValueError, match=r"^scheduler\.use_dynamic_shifting: got True, allowed is"):
        Engine(load_backbone(pipe, size_of(pipe)))
    pipe = tiny(FAMILY)
    pipe.transformer = Kandinsky5Transformer3DModel.from_config(
        pipe.transformer.config, visual_cond=True
    )
    with pytest.raises(RuntimeError):
        theirs(pipe)
    with pytest.raises(ValueError, match=r"^transformer\.visual_cond: got True, allowed is False"):
        Engine(load_backbone(pipe, size_of(pipe)))


def test_other_shifts_of_the_noise_levels_are_followed() -> None:
    pipe = tiny(FAMILY)
    before = ours(pipe)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=9.0)
    assert_same(ours(pipe), theirs(pipe))
    assert np.abs(ours(pipe) - before).max() > 2
