"""What Ideogram 4 does in a way of its own: two transformers, of which one reads text."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from fairgen.backbones import load_backbone
from fairgen.bank import AdapterBank
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.test_families import (
    PROMPT,
    adapters_of,
    discovery,
    open_backbone,
    options_of,
    same,
)
from tests.families import SIZE_PX, tiny
from tests.painted import assert_same, ours, theirs

pytestmark = pytest.mark.slow

FAMILY = "Ideogram 4"
HEAD, NUM_PIXELS = 3, 16  # tokens: `<|im_start|>user` and a new line; of the picture
LAYER = "layers.1.attention."
WOMAN = {"gender": {"woman": 1.0}}


def num_tokens(prompt: str) -> int:
    text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    return len(tiny(FAMILY).tokenizer(text)["input_ids"])


def test_what_is_read_is_what_thirteen_layers_of_the_language_model_say_of_the_message() -> None:
    backbone = open_backbone(FAMILY)
    pipe, seen = backbone.pipe, list[torch.Tensor]()
    for at in (0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 35):
        layer = pipe.text_encoder.language_model.layers[at]
        layer.register_forward_hook(lambda *call: seen.append(call[-1]))
    with torch.no_grad():
        pipe.text_encoder(
            **pipe.tokenizer(
                f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n",
                return_tensors="pt",
            )
        )
    expected = torch.stack(seen, -1).flatten(2)
    context = backbone.encode([PROMPT, "nurse", None])
    length = num_tokens(PROMPT)
    assert context["mask"].sum(1).tolist() == [length, num_tokens("nurse"), 0]
    torch.testing.assert_close(context["text"][:1], expected, atol=1e-4, rtol=1e-4)
    one, other, none = context["text"]
    torch.testing.assert_close(one[:HEAD], other[:HEAD], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(one[HEAD], other[HEAD], atol=1e-2) and not none.any()


@pytest.mark.parametrize("layout", ["engine", "pipeline"])
@pytest.mark.parametrize("letter", ["q", "k", "v", "out.0"])
def test_exactly_the_prompt_s_tokens_are_adapted(layout: str, letter: str) -> None:
    backbone = open_backbone(FAMILY)
    (woman, _) = adapters_of(FAMILY)
    bank, draw = AdapterBank(backbone.denoiser, list(woman.directions)), torch.Generator()
    bank.add("drawn", {path: (torch.randn(down.shape, generator=draw),
                              torch.randn(up.shape, generator=draw))
                       for path, (down, up) in woman.directions.items()})  # fmt: skip
    prompts = [PROMPT, "nurse", PROMPT]
    context, shape = backbone.encode(prompts), backbone.latent_shape()
    longest, x = num_tokens(PROMPT), torch.randn(3, *shape)
    positions, seen = backbone.text_positions(context, shape), list[torch.Tensor]()
    if layout == "pipeline":  # which fills all prompts up
        longest = 40
        text, *ids = backbone.pipe.encode_prompt(prompts, 4, 4, longest, backbone.device)
        arguments = dict(zip(("position_ids", "segment_ids", "indicator"), ids, strict=True))
        positions = backbone.positions_in(arguments)
    layer = backbone.denoiser.get_submodule(f"{LAYER}to_{letter}")
    bare, t_N = type(layer).forward, torch.tensor([900.0, 400.0, 400.0])
    with bank.gated(torch.tensor([[1.0], [1.0], [0.0]]), positions), torch.no_grad():
        handle = layer.register_forward_hook(
            lambda _, inputs, output: seen.append(output - bare(layer, inputs[0]))
        )
        if layout == "engine":
            backbone.denoise(x, t_N, context)
        else:
            padded = torch.cat([torch.zeros(3, longest, 16), x.flatten(2).mT], 1)
            backbone.denoiser(padded, t_N / 1000, text, **arguments)
        handle.remove()
    changed = seen[0].abs().amax(-1) > 0
    assert changed.shape == (3, longest + NUM_PIXELS) and not changed[2].any()
    for row, prompt in zip(changed, prompts[:2], strict=False):
        start = longest - num_tokens(prompt) + HEAD
        assert row.nonzero().flatten().tolist() == list(range(start, longest))


def test_a_row_without_text_is_the_other_transformer_s_and_what_fills_up_is_not_seen() -> None:
    backbone = open_backbone(FAMILY)
    prompts = [PROMPT, None, "nurse", None]
    x = torch.randn(4, *backbone.latent_shape(), generator=torch.Generator().manual_seed(0))
    t_N, context = torch.tensor([900.0, 400.0, 10.0, 700.0]), backbone.encode(prompts)
    contexts = [backbone.encode([prompt])[0] for prompt in prompts]
    assert backbone.parts(contexts) == backbone.parts(context) == [[0, 2], [1, 3]]
    position_ids, segment_ids, indicator = backbone.pipe._prepare_ids([0], 4, 4, 0, "cpu")
    with torch.no_grad():
        together = backbone.denoise(x, t_N, context)
        for row in range(4):
            alone = backbone.denoise(x[[row]], t_N[[row]], backbone.stack([contexts[row]]))
            torch.testing.assert_close(together[[row]], alone, atol=1e-5, rtol=1e-4)
        for row in (1, 3):
            bare = backbone.pipe.unconditional_transformer(
                x[[row]].flatten(2).mT, 1 - t_N[[row]] / 1000, torch.zeros(1, NUM_PIXELS, 104),
                position_ids, segment_ids, indicator,
            ).sample  # fmt: skip
            expected = -bare.mT.reshape(x[[row]].shape)
            torch.testing.assert_close(together[[row]], expected, atol=1e-5, rtol=1e-4)


def test_learnt_adapters_paint_the_same_in_the_engine_and_in_the_pipeline() -> None:
    pipe, adapters = tiny(FAMILY), adapters_of(FAMILY, 4)
    fair, engine = FairGenPipeline(pipe, adapters), Engine(open_backbone(FAMILY))
    for adapter in adapters:
        engine.load(adapter.name, adapter)
    (expected,) = fair(PROMPT, 1, WOMAN, seed=3, **options_of(pipe)).images
    worn = [{"gender-woman": 1.0}, {"gender-man": 1.0}, {}]
    jobs = [ImageJob(PROMPT, 3, gates, 4, 4.0) for gates in worn]
    painted = engine.paint([*jobs, ImageJob("nurse", 4, worn[0], 3, 2.0)])
    assert same(painted[0], expected)
    assert not any(same(painted[0], other) for other in painted[1:])


def test_in_the_engine_a_guided_picture_wears_its_adapter_on_one_row_of_two() -> None:
    engine, rows = Engine(open_backbone(FAMILY)), dict[str, list[int]]()
    for adapter in adapters_of(FAMILY):
        engine.load(adapter.name, adapter)
    pipe = engine.backbone.pipe
    for name in ("transformer", "unconditional_transformer"):
        getattr(pipe, name).register_forward_pre_hook(
            lambda _, args, given, name=name: rows.setdefault(name, []).append(
                len(given["hidden_states"])
            ),
            with_kwargs=True,
        )
    adapted = ImageJob(PROMPT, 1, {"gender-woman": 1.0}, num_steps=2, guidance_scale=4.0)
    engine.paint([adapted, ImageJob("nurse", 2, {}, num_steps=2, guidance_scale=1.0)])
    assert rows == {"transformer": [2, 2], "unconditional_transformer": [1, 1]}


def test_a_negative_prompt_is_refused_and_an_empty_one_is_none() -> None:
    engine = Engine(open_backbone(FAMILY))
    with pytest.raises(ValueError, match="negative_prompt: got 'a car', allowed is none"):
        engine.submit([ImageJob(PROMPT, 1, negative_prompt="a car")])
    pipe = tiny(FAMILY)
    assert_same(ours(pipe, negative_prompt=""), theirs(pipe))


def test_what_is_to_be_kept_of_no_prompt_is_read_by_the_transformer_that_learns() -> None:
    found = discovery(open_backbone(FAMILY))
    preserved = [prompt for _ in range(8) for prompt in found.batch().preserved]
    assert "" in preserved and None not in preserved
    losses = [found.update() for _ in range(4)]
    assert losses[0].keep == pytest.approx(0, abs=1e-9) and losses[-1].keep > 0


def test_one_scale_at_all_steps_is_the_engine_s_and_a_schedule_the_pipeline_s_own() -> None:
    pipe = tiny(FAMILY)
    bare, one = theirs(pipe), {"guidance_scale": None, "guidance_schedule": [4.0] * 4}
    assert_same(theirs(pipe, **one), bare)
    assert_same(ours(pipe), bare)
    ends = options_of(pipe) | {"guidance_scale": None, "guidance_schedule": [7.0, 7.0, 7.0, 3.0]}
    fair = FairGenPipeline(pipe, adapters_of(FAMILY, 4))
    expected = pipe(PROMPT, generator=torch.Generator().manual_seed(3), **ends).images[0]
    (off,) = fair(PROMPT, 1, "off", seed=3, **ends).images
    (on,) = fair(PROMPT, 1, WOMAN, seed=3, **ends).images
    assert off.tobytes() == expected.tobytes() and not same(on, off)
    (steady,) = fair(PROMPT, 1, "off", seed=3, **options_of(pipe, 7.0)).images
    assert not same(steady, off)


@pytest.mark.parametrize("size", [(SIZE_PX, SIZE_PX), (SIZE_PX // 2, 2 * SIZE_PX)])
@pytest.mark.parametrize("config", [{}, {"shift": 3.0}])
def test_noise_levels_follow_the_size_and_the_scheduler(
    size: tuple[int, int], config: dict[str, Any]
) -> None:
    pipe = tiny(FAMILY)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(**config)
    width, height = size
    painted = ours(pipe, width_px=width, height_px=height)
    assert_same(painted, theirs(pipe, width=width, height=height))


def test_noise_levels_that_are_shifted_by_the_size_are_refused() -> None:
    pipe = tiny(FAMILY)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    with pytest.raises(ValueError, match="mu"):
        theirs(pipe)
    with pytest.raises(ValueError, match=r"^scheduler\.use_dynamic_shifting: got True, allowed is"):
        Engine(load_backbone(pipe, SIZE_PX))


def test_a_prompt_that_is_longer_than_the_pipeline_takes_is_refused() -> None:
    backbone = open_backbone(FAMILY)
    with pytest.raises(ValueError, match=r"^prompt: got \d+ tokens, allowed are at most 2048"):
        backbone.encode(["1" * 2050])


def test_how_far_the_pipeline_fills_a_prompt_up_is_not_seen() -> None:
    pipe = tiny(FAMILY)
    assert_same(theirs(pipe, max_sequence_length=2048), ours(pipe))
    assert np.abs(ours(pipe) - ours(pipe, prompt="nurse")).max() > 2
