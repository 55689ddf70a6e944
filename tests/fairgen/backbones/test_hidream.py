"""What HiDream does in a way of its own: three texts in a row, sizes, experts, samplers."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from torch import Tensor
from torch.nn import functional

from fairgen.backbones import Backbone, PromptReader, load_backbone
from fairgen.bank import AdapterBank
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.adapted_layers import changes_of
from tests.fairgen.backbones.test_families import (
    PROMPT,
    adapters_of,
    denoised,
    learnt,
    open_backbone,
    options_of,
)
from tests.families import ready, size_of, tiny
from tests.families.hidream import hidream
from tests.painted import as_numbers, assert_same, ours, theirs

pytestmark = pytest.mark.slow

WOMAN = {"gender": {"woman": 1.0}}
LONG = "A photo of an accountant who works at a wooden desk, with soft light, " * 12
DYNAMIC = {"use_dynamic_shifting": True, "max_shift": 9.0}
LENGTH, NUM_PIXELS = 128, 64
DOUBLE, SINGLE = "double_stream_blocks.0.block.attn1.", "single_stream_blocks.0.block.attn1."


def dev() -> DiffusionPipeline:
    torch.manual_seed(0)
    return ready(hidream(dev=True))


def at_tokens(*prompts: str) -> Tensor:
    """Return where the prompts' tokens stand, in T5's text and twice in the language model's: T5
    ends each with a token of its own, the language model begins it with one.
    """
    num_words = torch.tensor([[len(prompt.split())] for prompt in prompts])
    at = torch.arange(LENGTH)
    t5, llama = at < num_words + 1, (at >= 1) & (at < num_words + 1)
    return torch.cat([t5, llama, llama], 1)


@pytest.mark.parametrize("path", [DOUBLE + "to_k_t", DOUBLE + "to_out_t", SINGLE + "to_v"])
def test_adapters_act_at_the_prompt_s_own_tokens(path: str) -> None:
    backbone = open_backbone("HiDream")
    (woman, _) = adapters_of("HiDream")
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    bank.add("woman", woman.directions)
    context = backbone.encode([PROMPT, "a nurse"])
    positions = backbone.text_positions(context, backbone.latent_shape())
    with (
        bank.gated(torch.ones(2, 1), positions),
        changes_of(backbone.denoiser, path) as changed,
    ):
        denoised(backbone)
    expected = at_tokens(PROMPT, "a nurse")
    if path.startswith("single"):
        expected = functional.pad(expected, (NUM_PIXELS, 0))
    assert torch.equal(changed[0], expected)


def test_the_picture_s_own_projections_of_two_streams_are_left_alone() -> None:
    found = open_backbone("HiDream").projections("qkvo")
    ends = [path.split(".attn1.")[1] for path in found]
    assert ends == ["to_q_t", "to_k_t", "to_v_t", "to_out_t", "to_q", "to_k", "to_v", "to_out"]


@pytest.mark.parametrize("told", [{}, {"negative_prompt": "a car"}, {"guidance_scale": 1.0}])
@pytest.mark.parametrize("path", [DOUBLE + "to_v_t", SINGLE + "to_v"])
def test_rows_that_read_the_prompt_wear_adapters_at_its_tokens(
    path: str, told: dict[str, Any]
) -> None:
    pipe = tiny("HiDream")
    fair = FairGenPipeline(pipe, adapters_of("HiDream"))
    with changes_of(pipe.transformer, path) as changed:
        fair(PROMPT, 2, WOMAN, seed=3, **options_of(pipe) | told)
    tokens = functional.pad(
        at_tokens(PROMPT, PROMPT), (NUM_PIXELS if path.startswith("single") else 0, 0)
    )
    expected = tokens if "guidance_scale" in told else torch.cat([tokens & False, tokens])
    assert len(changed) == 4 and all(torch.equal(found, expected) for found in changed)


def test_prompts_of_one_encoder_each_are_found() -> None:
    pipe = tiny("HiDream")
    fair = FairGenPipeline(pipe, adapters_of("HiDream"))
    with changes_of(pipe.transformer, DOUBLE + "to_v_t") as changed:
        fair(PROMPT, 1, WOMAN, seed=3, prompt_3="a nurse", prompt_4="a", **options_of(pipe))
    t5, llama = at_tokens("a nurse")[0, :LENGTH], at_tokens("a")[0, LENGTH:]
    assert torch.equal(changed[0][1], torch.cat([t5, llama]))


@pytest.mark.parametrize("size", [(112, 144), (64, 256)])
def test_a_picture_that_is_not_square_is_the_pipeline_s(size: tuple[int, int]) -> None:
    """It is filled up to the longest sequence, by a token and by none."""
    pipe, (width, height) = tiny("HiDream"), size
    adapters, options = adapters_of("HiDream"), options_of(pipe)
    expected = theirs(pipe, width=width, height=height)
    assert expected.shape == (height, width, 3)
    assert_same(ours(pipe, width_px=width, height_px=height), expected)
    fair = FairGenPipeline(pipe, adapters)
    options |= {"width": width, "height": height}
    (worn,) = fair(PROMPT, 1, WOMAN, seed=7, **options).images
    fair.close()
    engine = Engine(load_backbone(pipe, size_of(pipe)))
    for adapter in adapters:
        engine.load(adapter.name, adapter)
    job = ImageJob(PROMPT, 7, {"gender-woman": 1.0}, 4, 4.0, width_px=width, height_px=height)
    (image,) = engine.paint([job])
    engine.close()
    assert_same(as_numbers(image), as_numbers(worn))
    assert (as_numbers(worn) != expected).any()


@pytest.mark.parametrize(("width", "height"), [(64, 64), (256, 256), (128, 32)])
def test_a_size_that_the_pipeline_would_change_is_refused(width: int, height: int) -> None:
    pipe = tiny("HiDream")
    painted = pipe(PROMPT, width=width, height=height, num_inference_steps=1).images[0].size
    assert painted != (width, height)
    own = "x".join(map(str, painted))
    message = rf"^size: got {width}x{height}, allowed are .* it paints this one at {own}$"
    with pytest.raises(ValueError, match=message):
        Engine(load_backbone(pipe, 128)).submit(
            [ImageJob(PROMPT, 1, width_px=width, height_px=height)]
        )


def test_published_sizes_are_painted() -> None:
    backbone = load_backbone(tiny("HiDream"))
    backbone.pipe.vae_scale_factor = 8
    backbone.denoiser.register_to_config(patch_size=2)
    for width, height in ((1024, 1024), (768, 1360), (880, 1168), (832, 1248)):
        for one, other in ((width, height), (height, width)):
            assert backbone.latent_shape(one, other) == (4, other // 8, one // 8)


def loss(backbone: Backbone, noise: Tensor) -> Tensor:
    context, t_N = backbone.encode([PROMPT]), torch.tensor([600.0])
    return (backbone.denoise(noise, t_N, context) ** 2).mean()


@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradients_are_those_of_the_whole_layer_with_its_experts(checkpointed: bool) -> None:
    backbone = open_backbone("HiDream")
    backbone.denoiser.double()
    for name, parameter in backbone.denoiser.named_parameters():
        parameter.data *= 3 if ".experts." in name else 1  # so that they count
    if checkpointed:
        backbone.denoiser.enable_gradient_checkpointing()
    noise = torch.randn(1, *backbone.latent_shape(), generator=torch.Generator().manual_seed(0))
    weight = backbone.denoiser.get_submodule(DOUBLE + "to_v_t").weight
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).to(weight)
    (gradient,) = torch.autograd.grad(loss(backbone, noise.double()), weight)
    assert not any(module.training for module in backbone.denoiser.modules())
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * 1e-4 * direction
            values.append(loss(backbone, noise.double()))
            weight -= sign * 1e-4 * direction
    expected = (values[0] - values[1]) / 2e-4
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-4, atol=0)


def test_dev_paints_without_guidance_what_its_pipeline_does() -> None:
    """Its pipeline hands no generator to the scheduler, which draws from torch's own."""
    pipe = dev()
    options = options_of(pipe, 0.0)
    torch.manual_seed(7)
    (plain,) = pipe(prompt=PROMPT, **options).images
    assert_same(ours(pipe, guidance_scale=0.0), as_numbers(plain))


def test_pictures_of_dev_come_again_with_their_seeds_in_any_batch() -> None:
    pipe = dev()
    fair, options = FairGenPipeline(pipe, learnt(load_backbone(pipe, 128))), options_of(pipe, 0.0)
    together = fair(PROMPT, 3, WOMAN, seed=3, **options).images
    assert "step" not in vars(pipe.scheduler)
    for index, image in enumerate(together):
        (alone,) = fair(PROMPT, 1, WOMAN, seed=3 + index, **options).images
        assert_same(as_numbers(alone), as_numbers(image))
    (off,) = fair(PROMPT, 1, "off", seed=3, **options).images
    assert_same(as_numbers(off), ours(pipe, 3, guidance_scale=0.0))


def test_dev_learns_along_steps_without_noise_at_the_levels_of_painting() -> None:
    backbone = load_backbone(dev(), 128)
    painting, learning = backbone.solver(4), backbone.training_solver(4)
    assert torch.equal(painting.levels, learning.levels)
    assert painting.draws_noise(0) and not any(map(learning.draws_noise, range(4)))


@pytest.mark.parametrize("config", [{"shift": 3.0}, DYNAMIC])
def test_euler_is_the_pipeline_s(config: dict[str, Any]) -> None:
    pipe = tiny("HiDream")
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(**config)
    assert_same(ours(pipe), theirs(pipe))


def test_the_longest_prompt_is_as_asked_of_clip_as_well() -> None:
    """Its CLIPs read 128 tokens like the others, whatever their tokenizers say."""
    backbone = load_backbone(tiny("HiDream"))
    reader, words = PromptReader(backbone), LONG.split()
    cut_at = reader.cut_at(LONG)
    assert cut_at is not None and len(LONG[:cut_at].split()) == 127 < len(words)
    short = reader.cut_at(LONG, 8)
    assert short is not None and LONG[:short].split() == words[:7]
    near, far = (theirs(backbone.pipe, prompt=LONG[:end]) for end in (cut_at, len(LONG)))
    assert np.array_equal(near, far)


def test_embedded_prompts_do_not_say_where_their_tokens_stand() -> None:
    pipe = tiny("HiDream")
    fair = FairGenPipeline(pipe, adapters_of("HiDream"))
    with torch.no_grad():
        text, *_ = pipe.encode_prompt(["a nurse"], do_classifier_free_guidance=False)
    options = options_of(pipe, 1.0) | {"prompt_embeds_t5": text}
    assert fair(PROMPT, 1, "off", seed=3, **options).images
    with pytest.raises(ValueError, match=r"^prompt_embeds_t5: allowed is none: it does not say"):
        fair(PROMPT, 1, WOMAN, seed=3, **options)


def test_a_prompt_that_is_all_embedded_paints_without_fairness_as_the_pipeline_does() -> None:
    pipe = tiny("HiDream")
    fair, options = FairGenPipeline(pipe, adapters_of("HiDream")), options_of(pipe)
    names = "prompt_embeds_t5", "prompt_embeds_llama3", "pooled_prompt_embeds"
    with torch.no_grad():
        encoded = pipe.encode_prompt(*["a nurse"] * 4)
    pairs = zip(names, encoded[::2], encoded[1::2], strict=True)
    embedded = {}
    for name, one, none in pairs:
        embedded |= {name: one, f"negative_{name}": none}
    painted = fair(None, 2, "off", seed=3, **options, **embedded).images
    expected = fair("a nurse", 2, "off", seed=3, **options).images
    assert [one.tobytes() for one in painted] == [one.tobytes() for one in expected]
    with pytest.raises(ValueError, match=r"^prompt_embeds_t5: allowed is none: .* as a text$"):
        fair(None, 1, WOMAN, seed=3, **options, **embedded)
    with pytest.raises(ValueError, match=r"^prompt: got NoneType without prompt_embeds_t5"):
        fair(None, 1, WOMAN, seed=3, **options)
