"""Adapters reach the passes that read the prompt, all of their layers, and no other pass, whatever
the pipeline is told to do: a table of options by family, filled by `make families`.

Each pass of the denoiser is computed again by a bare copy of it, and by a copy with the adapter
merged into its weights: a row equals the one or the other.
"""

import copy
import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from diffusers import (
    AutoPipelineForInpainting,
    DiffusionPipeline,
)
from diffusers.hooks import FirstBlockCacheConfig
from PIL import Image
from torch import Tensor, nn

from fairgen.adapters import Adapter
from fairgen.backbones import load_backbone
from fairgen.bank import LayerNotReached
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.engine import Engine
from fairgen.pipeline import FairGenPipeline
from tests.families import SIZE_PX, tiny
from tests.pipeline_options import (
    OPTIONS,
    PROMPT,
    adapters_for,
    call_options,
    perturbed_attention,
    picture,
)
from tests.tiny import GENDER

WOMAN = {"gender": {"woman": 1.0}}
LEARNING = DiscoveryConfig(num_updates=2, num_rows=4, num_steps=2)
CELLS = [  # the first family of each option is fast, the others run with `make families`
    pytest.param(option, family, marks=[pytest.mark.full] if index else [])
    for option, (_, families) in OPTIONS.items()
    for index, family in enumerate(families)
]


class Passes:
    """What a denoiser was given and what it returned, pass by pass."""

    def __init__(self, denoiser: nn.Module) -> None:
        self.seen: list[tuple[tuple[Any, ...], dict[str, Any], Tensor, dict[str, Any]]] = []
        self._denoiser = denoiser
        self.handle = denoiser.register_forward_hook(self._keep, with_kwargs=True)

    def _keep(self, denoiser: Any, args: Any, options: Any, output: Any) -> None:
        processors = dict(denoiser.attn_processors)
        self.seen.append((args, options, output[0].detach().clone(), processors))


def merged_copy(pipe: DiffusionPipeline, adapters: Sequence[Adapter]) -> Any:
    """Return a copy of the denoiser with adapters merged into its weights."""
    merged = copy.deepcopy(load_backbone(pipe).denoiser)
    with torch.no_grad():
        for adapter in adapters:
            for path, (down, up) in adapter.directions.items():
                merged.get_submodule(path).weight += up @ down
    return merged


@pytest.mark.slow
@pytest.mark.cell("options")
@pytest.mark.parametrize(("option", "family"), CELLS)
def test_adapters_reach_what_reads_the_prompt_and_nothing_else(option: str, family: str) -> None:
    plain = tiny(family)
    adapters = adapters_for(plain)
    make, _ = OPTIONS[option]
    case = make(family)
    beside = [case.lora] if case.lora else []
    source = case.alike or plain
    bare, merged = merged_copy(source, beside), merged_copy(source, [*beside, adapters[0]])
    options = dict(case.options)
    prompt = options.pop("prompt", PROMPT)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    own = {"prompt": prompt} if prompt else {}
    call = load_backbone(case.pipe).call_options(2, own | options)
    is_whole = not beside and case.alike is None
    expected = case.pipe(generator=generators, **call).images if is_whole else None
    with FairGenPipeline(case.pipe, adapters) as fair:
        case.load_later()
        off = fair(prompt, 2, "off", seed=0, **options)
        passes = Passes(load_backbone(case.pipe).denoiser)
        on = fair(prompt, 2, WOMAN, seed=0, **options)
        passes.handle.remove()
        again = fair(prompt, 2, "off", seed=0, **options)
    for one, other, later, moved in zip(
        expected or off.images, off.images, again.images, on.images, strict=True
    ):
        assert one.tobytes() == other.tobytes() == later.tobytes() != moved.tobytes()
    assert [set(record.adapters) for record in on.records] == [{"gender-woman"}] * 2
    assert len(passes.seen) == len(case.passes)
    for letters, (args, given, output, processors) in zip(case.passes, passes.seen, strict=True):
        assert len(output) == 2 * len(letters)
        found = {}
        for letter, model in (("u", bare), ("c", merged)):
            if option != "`fuse_qkv_projections`":
                model.set_attn_processor(dict(processors))
            with torch.no_grad():
                found[letter] = model(*args, **given)[0]
        for index, letter in enumerate(letters):
            rows = slice(2 * index, 2 * index + 2)
            torch.testing.assert_close(output[rows], found[letter][rows], atol=1e-4, rtol=1e-4)
            if letter == "c":
                assert (output[rows] - found["u"][rows]).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["SD 1.x", "SDXL", "FLUX.1 dev"])
def test_projections_that_are_fused_no_more_are_reached(family: str) -> None:
    pipe = tiny(family)
    denoiser, options = load_backbone(pipe).denoiser, call_options(family)
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        before = fair(PROMPT, 2, WOMAN, seed=0, **options)
        denoiser.fuse_qkv_projections()
        fair(PROMPT, 2, WOMAN, seed=0, **options)
        denoiser.unfuse_qkv_projections()
        after = fair(PROMPT, 2, WOMAN, seed=0, **options)
    assert [image.tobytes() for image in after.images] == [i.tobytes() for i in before.images]


@pytest.mark.cell("options", "refused")
@pytest.mark.parametrize(("option", "family"), [("`enable_cache`", "FLUX.1 dev")])
def test_a_cache_that_passes_over_blocks_is_refused(option: str, family: str) -> None:
    pipe = tiny(family)
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        fair(PROMPT, 1, "off", **call_options(family))
        with pytest.raises(LayerNotReached, match="a cache passes over blocks; call `disable_cac"):
            fair(PROMPT, 1, WOMAN, **call_options(family))


def test_an_attention_that_goes_past_a_projection_is_refused() -> None:
    pipe = tiny("SD 1.x")

    class OwnValues:
        """An attention that takes the keys for values."""

        def __call__(
            self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any
        ) -> Tensor:
            keys = attn.to_k(encoder_hidden_states).mean(1, keepdim=True)
            return attn.to_out[0](attn.to_q(hidden_states) + keys)

    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(OwnValues())
        with pytest.raises(LayerNotReached, match=r"1 of \d+ .*goes past it \(OwnValues\)"):
            fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"))


def test_a_helper_that_passes_over_a_block_is_refused() -> None:
    """As DeepCache does at every other step."""
    pipe = tiny("SD 1.x")
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        block = pipe.unet.mid_block.attentions[0]
        block.forward = lambda states, *_, **__: (states,)
        with pytest.raises(LayerNotReached, match="whole block is passed over, as by a helper"):
            fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"))
        del block.forward
        fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"))


@pytest.mark.parametrize("family", ["SD 1.x", "FLUX.1 dev"])
def test_a_helper_that_wraps_the_denoiser_changes_nothing(family: str) -> None:
    """As cache-dit does, whose function names none of the arguments."""
    pipe = tiny(family)
    denoiser = load_backbone(pipe).denoiser
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        before = fair(PROMPT, 2, WOMAN, seed=0, **call_options(family))
        own = denoiser.forward

        def wrapped(self: nn.Module, *args: Any, **options: Any) -> Any:
            return own(*args, **options)

        denoiser.forward = functools.update_wrapper(functools.partial(wrapped, denoiser), wrapped)
        after = fair(PROMPT, 2, WOMAN, seed=0, **call_options(family))
    for one, other in zip(before.images, after.images, strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_denoiser_in_a_wrapper_of_others_is_refused_by_name() -> None:
    pipe = tiny("SD 1.x")
    pipe.unet = nn.DataParallel(pipe.unet)
    with pytest.raises(ValueError, match=r"^unet: got a DataParallel, allowed is a model of diff"):
        FairGenPipeline(pipe, [])


def test_a_denoiser_that_was_exchanged_is_refused() -> None:
    pipe = tiny("SD 1.x")
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        pipe.unet = tiny("SD 1.x", seed=1).unet
        with pytest.raises(LayerNotReached, match="was it exchanged"):
            fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"))


def test_a_prompt_that_a_callback_exchanges_is_refused() -> None:
    pipe = tiny("SD 1.x")

    def exchange(*_: Any) -> dict[str, Tensor]:
        return {"prompt_embeds": _[3]["prompt_embeds"] * 2}

    inputs = {"callback_on_step_end": exchange,
              "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}  # fmt: skip
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        fair(PROMPT, 1, "off", **call_options("SD 1.x"), **inputs)
        with pytest.raises(ValueError, match="reads an embedding that the pipeline has not encod"):
            fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"), **inputs)
        fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"))  # and nothing is left behind


@pytest.mark.parametrize("family", ["SD 1.x", "FLUX.1 dev"])
def test_a_negative_prompt_that_is_the_prompt_itself(family: str) -> None:
    pipe = tiny(family)
    options = {**call_options(family), "negative_prompt": PROMPT}
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        if family == "FLUX.1 dev":  # a pass each, which nothing tells apart
            with pytest.raises(ValueError, match="prompt: got what the negative prompt is, too"):
                fair(PROMPT, 1, WOMAN, **options, true_cfg_scale=2.0)
            return
        passes = Passes(pipe.unet)
        fair(PROMPT, 2, WOMAN, **options)
        for _, _, output, _ in passes.seen[:1]:
            assert (output[:2] - output[2:]).abs().max() > 1e-3


def test_an_empty_prompt_is_the_negative_one_where_none_is_given() -> None:
    pipe = tiny("Chroma")
    message = r"^prompt: got what the negative prompt is, too \(an empty one where none is given\)"
    with FairGenPipeline(pipe, adapters_for(pipe), gate=None) as fair:
        with pytest.raises(ValueError, match=message):
            fair("", 1, WOMAN, **call_options("Chroma"))
        assert fair("", 1, WOMAN, **call_options("Chroma"), negative_prompt="a car").images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_images_per_prompt": 2}, "num_images_per_prompt: allowed is 'num_images'"),
        ({"generator": None}, "generator: allowed is 'seed'"),
        ({"prompt_embeds": torch.zeros(2, 4, 16)}, "prompt_embeds: got 2 rows, allowed is 1"),
        ({"prompt_embeds": torch.zeros(1, 4, 16)}, "prompt: got str with prompt_embeds"),
    ],
)
def test_options_that_contradict_ours_are_refused(options: dict[str, Any], message: str) -> None:
    pipe = tiny("SD 1.x")
    with (
        FairGenPipeline(pipe, adapters_for(pipe)) as fair,
        pytest.raises(ValueError, match=message),
    ):
        fair(PROMPT, 2, WOMAN, **call_options("SD 1.x"), **options)


@pytest.mark.parametrize("family", ["SD 1.x", "PixArt-sigma"])
def test_what_the_engine_does_not_paint_is_refused_at_its_start(family: str) -> None:
    guided = perturbed_attention(family).pipe
    with pytest.raises(ValueError, match="allowed is it without perturbed guidance"):
        Engine(load_backbone(guided))


def test_a_denoiser_made_for_inpainting_learns_and_paints_by_its_pipeline_only() -> None:
    pipe = tiny("SD 1.x")
    torch.manual_seed(3)
    pipe.unet = type(pipe.unet).from_config({**pipe.unet.config, "in_channels": 9}).eval()
    pipe = AutoPipelineForInpainting.from_pipe(pipe)
    backbone = load_backbone(pipe)
    for start in (Engine, lambda b: Discovery(b, GENDER, ("doctor",), ("a {subject}",), LEARNING)):
        with pytest.raises(ValueError, match=r"latent_channels: got 4, allowed is 9"):
            start(backbone)
    mask = Image.new("L", (SIZE_PX, SIZE_PX), 255)
    options = call_options("SD 1.x") | {"image": picture(), "mask_image": mask}
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        off = fair(PROMPT, 1, "off", seed=0, **options).images[0]
        assert fair(PROMPT, 1, WOMAN, seed=0, **options).images[0].tobytes() != off.tobytes()
