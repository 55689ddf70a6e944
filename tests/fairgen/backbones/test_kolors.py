"""What Kolors does in a way of its own: prompts filled up on the left, and read without a mask."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForText2Image,
    DiffusionPipeline,
    KolorsPipeline,
    StableDiffusionXLInpaintPipeline,
)
from torch import Tensor

from fairgen.backbones import PromptReader, load_backbone
from fairgen.backbones.kolors import KolorsBackbone
from fairgen.bank import AdapterBank
from fairgen.engine import Engine, StartImage
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
from tests.families import size_of, tiny
from tests.painted import assert_same, ours, theirs

LONG = "A photo of an accountant who works at a wooden desk, with soft light, " * 12
WOMAN = {"gender": {"woman": 1.0}}
SIDES = ("width", "height")
LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2."


def at_tokens(*prompts: str) -> Tensor:
    """Return where the prompts' own tokens stand, of 256: at the end, behind two."""
    tokenizer, rows = tiny("Kolors").tokenizer, []
    for prompt in prompts:
        own = min(len(tokenizer.tokenize(prompt)), 254)
        rows.append(torch.arange(256) >= 256 - own)
    return torch.stack(rows)


@pytest.mark.parametrize("letter", ["to_k", "to_v", "to_q"])
def test_adapters_act_at_the_prompt_s_own_tokens(letter: str) -> None:
    backbone = open_backbone("Kolors")
    (woman, _) = adapters_of("Kolors", 4)
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    bank.add("woman", woman.directions)
    positions = backbone.text_positions(backbone.encode([PROMPT, "a nurse"]), (4, 8, 8))
    with (
        bank.gated(torch.ones(2, 1), positions),
        changes_of(backbone.denoiser, LAYER + letter) as changed,
    ):
        denoised(backbone)
    pixels = torch.ones(2, 16, dtype=torch.bool)
    assert torch.equal(changed[0], pixels if letter == "to_q" else at_tokens(PROMPT, "a nurse"))


@pytest.mark.parametrize("prompt", [PROMPT, "a", "", LONG])
def test_a_prompt_of_any_length_is_found(prompt: str) -> None:
    backbone = open_backbone("Kolors")
    text = backbone.encode([prompt, "a nurse"])["text"]
    for weight in (1.0, 1.1):  # as of a weighted prompt
        found = backbone.positions_in({"encoder_hidden_states": text * weight})
        assert found is not None and set(found) == set(backbone.projections("kv"))
        for where in found.values():
            assert torch.equal(where.mask_NS, at_tokens(prompt, "a nurse"))


def test_what_is_sought_among_embedded_tokens_is_embedded_as_they_are() -> None:
    backbone = open_backbone("Kolors")
    assert isinstance(backbone, KolorsBackbone)
    with torch.no_grad():
        text = backbone.encode(["", PROMPT])["text"]
    first = 256 - 2 - len(backbone.pipe.tokenizer.tokenize(PROMPT))
    torch.testing.assert_close(backbone.head, text[0, -2:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(backbone.head, text[1, first : first + 2], atol=1e-4, rtol=1e-4)


def perturbed() -> DiffusionPipeline:
    return AutoPipelineForText2Image.from_pipe(
        tiny("Kolors"), enable_pag=True, pag_applied_layers=["mid"]
    )


def from_a_picture() -> DiffusionPipeline:
    return AutoPipelineForImage2Image.from_pipe(tiny("Kolors"))


@pytest.mark.parametrize(
    ("pipe_of", "told", "rows"),
    [
        (lambda: tiny("Kolors"), {}, "uc"),
        (lambda: tiny("Kolors"), {"negative_prompt": "a car"}, "uc"),
        (lambda: tiny("Kolors"), {"guidance_scale": 1.0}, "c"),
        (perturbed, {}, "ucc"),
        (from_a_picture, {"image": picture(), "strength": 0.5}, "uc"),
    ],
    ids=["usual", "negative", "unguided", "perturbed", "picture"],
)
def test_rows_that_read_the_prompt_wear_adapters_at_its_tokens(
    pipe_of: Any, told: dict[str, Any], rows: str
) -> None:
    pipe = pipe_of()
    options = options_of(pipe) | told
    if "image" in told:
        options = {name: given for name, given in options.items() if name not in SIDES}
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    bare = pipe(prompt=PROMPT, num_images_per_prompt=2, generator=generators, **options).images
    fair = FairGenPipeline(pipe, adapters_of("Kolors"))
    off = fair(PROMPT, 2, "off", seed=3, **options).images
    with changes_of(pipe.unet, LAYER + "to_v") as changed:
        on = fair(PROMPT, 2, WOMAN, seed=3, **options).images
    for one, other, moved in zip(bare, off, on, strict=True):
        assert one.tobytes() == other.tobytes() != moved.tobytes()
    tokens = at_tokens(PROMPT, PROMPT)
    expected = torch.cat([tokens if row == "c" else tokens & False for row in rows])
    assert all(torch.equal(found, expected) for found in changed)
    assert len(changed) == (2 if "image" in told else 4)


def embedded(pipe: DiffusionPipeline) -> dict[str, Tensor]:
    """Return what the pipeline encodes of `PROMPT` and of no prompt, as its arguments."""
    with torch.no_grad():
        encoded = pipe.encode_prompt(PROMPT)
    names = "prompt_embeds", "pooled_prompt_embeds"
    pairs = ("", names[0]), ("negative_", names[0]), ("", names[1]), ("negative_", names[1])
    return {sign + name: one for (sign, name), one in zip(pairs, encoded, strict=True)}


def test_embedded_prompts_paint_what_the_prompts_do() -> None:
    pipe = tiny("Kolors")
    fair = FairGenPipeline(pipe, adapters_of("Kolors"))
    options = options_of(pipe)
    expected = fair(PROMPT, 3, WOMAN, seed=3, **options).images
    painted = fair(None, 3, WOMAN, seed=3, **options, **embedded(pipe)).images
    for one, other in zip(painted, expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_without_their_encoder_embedded_prompts_are_found_only_once_they_were_before() -> None:
    pipe = tiny("Kolors")
    fair, late = (FairGenPipeline(pipe, adapters_of("Kolors")) for _ in range(2))
    options = options_of(pipe) | embedded(pipe)
    expected = fair(None, 2, WOMAN, seed=3, **options).images
    pipe.text_encoder = None
    again = fair(None, 2, WOMAN, seed=3, **options).images
    assert [one.tobytes() for one in again] == [one.tobytes() for one in expected]
    assert late(None, 2, "off", seed=3, **options).images
    with pytest.raises(ValueError, match="text_encoder: got None, allowed is the pipeline's own"):
        late(None, 2, WOMAN, seed=3, **options)


def test_a_longest_prompt_that_is_asked_is_not_what_the_pipeline_reads() -> None:
    """Its pipeline does not hand it on (diffusers 0.42.1)."""
    pipe = tiny("Kolors")
    assert np.array_equal(theirs(pipe), theirs(pipe, max_sequence_length=3))
    reader = PromptReader(load_backbone(pipe))
    assert reader.cut_at(PROMPT, 3) is None
    assert reader.cut_at(LONG, 3) == reader.cut_at(LONG)
    fair = FairGenPipeline(pipe, adapters_of("Kolors"))
    (record,) = fair(PROMPT, 1, "off", max_sequence_length=3, **options_of(pipe)).records
    assert record.prompt_cut_at is None


def test_a_long_prompt_is_cut_behind_the_last_token_that_is_read() -> None:
    pipe = tiny("Kolors")
    cut_at, tokens = PromptReader(load_backbone(pipe)).cut_at(LONG), pipe.tokenizer
    assert cut_at is not None
    read = tokens(LONG)["input_ids"][:256]
    assert tokens(LONG[:cut_at])["input_ids"] == read != tokens(LONG[: cut_at - 1])["input_ids"]


def test_an_edit_under_a_mask_is_that_of_stable_diffusion_xl() -> None:
    """There is no inpainting pipeline of its own (diffusers 0.42.1)."""
    pipe = tiny("Kolors")
    inpainting = StableDiffusionXLInpaintPipeline(
        vae=pipe.vae, unet=pipe.unet, scheduler=pipe.scheduler, text_encoder=None,
        text_encoder_2=None, tokenizer=None, tokenizer_2=None, add_watermarker=False,
    )  # fmt: skip
    told: dict[str, Any] = {"image": picture(), "mask_image": left_half(), "strength": 0.5}
    expected = theirs(inpainting, prompt=None, **embedded(pipe), **told)
    assert_same(expected, ours(pipe, start=StartImage(picture(), 0.5, left_half())))


def test_empty_prompts_that_are_zeros_are_refused() -> None:
    """The pipeline has no pooled embedding of them, and fails (diffusers 0.42.1)."""
    zeros = KolorsPipeline(**tiny("Kolors").components, force_zeros_for_empty_prompt=True)
    with pytest.raises(ValueError, match=r"^force_zeros_for_empty_prompt: got True, allowed is Fa"):
        Engine(load_backbone(zeros, size_of(zeros)))


@pytest.mark.parametrize("name", ["latents_mean", "latents_std"])
def test_a_codec_that_normalizes_is_refused(name: str) -> None:
    pipe = tiny("Kolors")
    pipe.vae.register_to_config(**{name: [0.1] * 4})
    with pytest.raises(ValueError, match=rf"^vae\.{name}: got \[0\.1, .*, allowed is None"):
        Engine(load_backbone(pipe, size_of(pipe)))
