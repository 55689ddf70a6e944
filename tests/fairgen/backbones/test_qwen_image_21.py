"""What Qwen-Image 2.1's pipeline does in a way of its own: tokens, lengths, steps, alpha."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImage21Transformer2DModel

from fairgen.adapters import Adapter
from fairgen.backbones import load_backbone
from fairgen.backbones.qwen_image_21 import QwenImage21Backbone
from fairgen.bank import AdapterBank
from fairgen.engine import Engine, ImageJob, ImageResult
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.test_families import (
    CONFIG,
    PROMPT,
    adapters_of,
    discovery,
    open_backbone,
    options_of,
    same,
)
from tests.families import ready, size_of, tiny
from tests.families.qwen_image_21 import qwen_image_21
from tests.painted import assert_same, ours, theirs

pytestmark = pytest.mark.slow

FAMILY = "Qwen-Image 2.1"
HEAD, NUM_PIXELS = 4, 64  # tokens: of the message before the prompt, and of the picture
SIGMAS = [1.0, 0.7, 0.3]


def test_what_is_read_is_the_user_s_message_before_the_encoder_s_last_norm() -> None:
    backbone = open_backbone(FAMILY)
    pipe = backbone.pipe
    system = pipe.prompt_template_t2i.split("<|im_start|>user")[0]
    tokenize = pipe.processor.tokenizer
    tokens = tokenize(pipe.prompt_template_t2i.format(PROMPT), return_tensors="pt")
    cut = len(tokenize(system)["input_ids"])
    assert tokenize(system)["input_ids"] == tokens["input_ids"][0, :cut].tolist()
    seen: list[torch.Tensor] = []
    norm = pipe.text_encoder.model.language_model.norm
    handle = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        pipe.text_encoder(**tokens)
    handle.remove()
    context = backbone.encode([PROMPT])
    torch.testing.assert_close(context["text"], seen[0][:, cut:])
    before, after = pipe.prompt_template_t2i[len(system) :].split("{}")
    assert before == "<|im_start|>user\n" and len(tokenize(before)["input_ids"]) == HEAD
    num_words = len(tokenize(PROMPT + after)["input_ids"])
    assert context["text"].shape[1] == HEAD + num_words
    others = backbone.encode(["nurse"])["text"]
    torch.testing.assert_close(context["text"][:, :HEAD], others[:, :HEAD])
    assert not torch.allclose(context["text"][:, HEAD], others[:, HEAD], atol=1e-2)


@pytest.mark.parametrize("layout", ["engine", "pipeline"])
@pytest.mark.parametrize("letter", ["q", "k", "v", "out.0"])
def test_exactly_the_prompt_s_tokens_are_adapted(layout: str, letter: str) -> None:
    backbone = open_backbone(FAMILY)
    (woman, _) = adapters_of(FAMILY)
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    draw = torch.Generator().manual_seed(0)
    bank.add("drawn", {path: (torch.randn(down.shape, generator=draw),
                              torch.randn(up.shape, generator=draw))
                       for path, (down, up) in woman.directions.items()})  # fmt: skip
    context = backbone.encode([PROMPT, PROMPT])
    length = context["text"].shape[1]
    positions = backbone.text_positions(context, backbone.latent_shape())
    if layout == "pipeline":
        arguments = {"encoder_hidden_states": context["text"],
                     "hidden_states": torch.empty(2, NUM_PIXELS, 4)}  # fmt: skip
        positions = backbone.positions_in(arguments)
    layer, seen = backbone.denoiser.get_submodule(f"transformer_blocks.1.attn.to_{letter}"), []
    bare = type(layer).forward
    with bank.gated(torch.tensor([[0.0], [1.0]]), positions), torch.no_grad():
        handle = layer.register_forward_hook(
            lambda _, inputs, output: seen.append(output - bare(layer, inputs[0]))
        )
        x = torch.randn(2, *backbone.latent_shape())
        backbone.denoise(x, torch.tensor([900.0, 400.0]), context)
        handle.remove()
    changed = seen[0].abs().amax(-1) > 0
    assert changed.shape == (2, length + NUM_PIXELS) and not changed[0].any()
    assert changed[1].nonzero().flatten().tolist() == list(range(HEAD, length))


def test_where_the_pipeline_knows_the_text_already_no_token_of_the_picture_is_adapted() -> None:
    backbone = open_backbone(FAMILY)
    context = backbone.encode([PROMPT])
    arguments = {"encoder_hidden_states": context["text"], "kv_cache_mode": "cached",
                 "hidden_states": torch.empty(1, NUM_PIXELS, 4)}  # fmt: skip
    for where in backbone.positions_in(arguments).values():
        assert where.mask_NS.shape == (1, NUM_PIXELS) and not where.mask_NS.any()


def opened(adapters: Sequence[Adapter], cache_key_values: bool = True) -> Engine:
    engine = Engine(open_backbone(FAMILY), cache_key_values=cache_key_values)
    for adapter in adapters:
        engine.load(adapter.name, adapter)
    return engine


MIXED = [
    ImageJob(PROMPT, 3, {"gender-man": 1.0}, 4, 4.0),
    ImageJob("a nurse", 4, {"gender-woman": 2.0, "gender-man": -1.0}, 3, 1.0),
    ImageJob("a nurse", 5, {}, 5, 2.0, negative_prompt="a car in a blue coat"),
    ImageJob(PROMPT, 6, {"gender-woman": 1.0}, 4, 4.0, guidance_interval=(0.5, 1.0)),
]


@pytest.mark.parametrize("use_kv_cache", [True, False])
@pytest.mark.parametrize("cache_key_values", [True, False])
def test_a_mixed_batch_is_the_library_s_with_and_without_a_cache(
    use_kv_cache: bool, cache_key_values: bool
) -> None:
    pipe, adapters = tiny(FAMILY), adapters_of(FAMILY, 4)
    fair = FairGenPipeline(pipe, adapters)
    options = options_of(pipe) | {"use_kv_cache": use_kv_cache}
    painted = opened(adapters, cache_key_values).paint(MIXED[:3])
    gates: list[Any] = [{"gender": {"man": 1.0}}, None, "off"]
    for job, image, fairness in zip(MIXED, painted, gates, strict=False):
        if fairness is not None:  # a picture wears two adapters in the engine only
            asked = options | {"num_inference_steps": job.num_steps,
                               "true_cfg_scale": job.guidance_scale,
                               "negative_prompt": job.negative_prompt or " "}  # fmt: skip
            (expected,) = fair(job.prompt, 1, fairness, seed=job.seed, **asked).images
            assert same(image, expected)


def test_rows_that_join_and_leave_read_what_they_read_alone() -> None:
    adapters = adapters_of(FAMILY, 4)
    anew = opened(adapters, cache_key_values=False)
    expected = [anew.paint([job])[0] for job in MIXED]
    engine, found = opened(adapters), {}
    handles = {}
    for job in MIXED:
        handles[engine.submit([job])] = job.seed
        found |= {e.handle: e.image for e in engine.step() if isinstance(e, ImageResult)}
    found |= {e.handle: e.image for e in engine.run() if isinstance(e, ImageResult)}
    by_seed = {handles[handle]: image for handle, image in found.items()}
    for job, image in zip(MIXED, expected, strict=True):
        assert same(by_seed[job.seed], image)
    assert not same(expected[0], opened([]).paint([replace(MIXED[0], gates={})])[0])


def test_after_a_picture_has_begun_no_token_of_text_passes_a_layer_that_reads_it() -> None:
    engine, passed = opened(adapters_of(FAMILY)), []
    for path in engine.bank.projections:
        layer = engine.backbone.denoiser.get_submodule(path)
        layer.register_forward_pre_hook(lambda _, inputs: passed.append(inputs[0].shape[1]))
    engine.submit(MIXED)
    engine.step()
    lengths = [engine.backbone.encode([text])["text"].shape[1] for text in (PROMPT, "a nurse")]
    assert {length + 4 for length in lengths} < set(passed)  # before the first step
    num_begun = len(passed)
    passed.clear()
    list(engine.run())
    assert num_begun > len(engine.bank.projections)
    assert passed and set(passed) == {NUM_PIXELS}


def test_what_is_kept_is_what_a_pass_over_any_picture_makes_of_a_prompt_at_any_step() -> None:
    backbone = open_backbone(FAMILY)
    (woman, _) = adapters_of(FAMILY, 4)
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    bank.add("woman", woman.directions)
    context, shape = backbone.encode([PROMPT, PROMPT]), backbone.latent_shape()
    length = context["text"].shape[1]
    layer, seen = backbone.denoiser.get_submodule("transformer_blocks.1.attn.to_v"), []
    gates = torch.tensor([[0.0], [1.0]])
    with torch.no_grad():
        with bank.gated(gates, backbone.text_positions(context, shape)):
            handle = layer.register_forward_hook(lambda *call: seen.append(call[-1][:, :length]))
            backbone.denoise(torch.randn(2, *shape), torch.tensor([900.0, 10.0]), context)
            handle.remove()
        with bank.gated(gates, backbone.text_positions(context, (4, 2, 2))):
            kept = backbone.read_once(context)["kept"]
    assert kept.shape == (2, length, 2, 2, 4, 16)
    torch.testing.assert_close(kept[:, :, 1, 1].flatten(2), seen[0], atol=1e-5, rtol=1e-4)
    assert (kept[0] - kept[1]).abs().max() > 1e-2


def test_what_fills_a_prompt_up_moves_the_picture_so_lengths_do_not_share_a_pass() -> None:
    backbone = open_backbone(FAMILY)
    prompts = [PROMPT, "a nurse", PROMPT, "a pilot in a long blue coat", "a nurse"]
    x = torch.randn(5, *backbone.latent_shape(), generator=torch.Generator().manual_seed(0))
    t_N, context = torch.tensor([900.0, 400.0, 10.0, 700.0, 400.0]), backbone.encode(prompts)
    contexts = [backbone.encode([prompt])[0] for prompt in prompts]
    assert backbone.parts(contexts) == backbone.parts(context) == [[0, 2], [1, 4], [3]]
    with torch.no_grad():
        together = backbone.denoise(x, t_N, context)
        for row in range(5):
            alone = backbone.denoise(x[[row]], t_N[[row]], backbone.stack([contexts[row]]))
            torch.testing.assert_close(together[[row]], alone, atol=1e-5, rtol=1e-4)
        filled = backbone.denoiser(
            hidden_states=x[[1]].flatten(2).mT,
            timestep=t_N[[1]] / 1000,
            encoder_hidden_states=context["text"][[1]],
            encoder_hidden_states_mask=context["mask"][[1]],
            img_shapes=[[(1, 8, 8)]],
            img_mask=(torch.arange(context["text"].shape[1] + 16) >= context["text"].shape[1])[
                None
            ],
        ).sample[:, -NUM_PIXELS:]
    assert (filled.mT.reshape(1, 4, 8, 8) - together[[1]]).abs().max() > 1e-2


def test_discovery_parts_its_rows_by_length() -> None:
    calls: list[int] = []

    class Counted(QwenImage21Backbone):
        def denoise_equal(self, x_t: Any, *rest: Any) -> torch.Tensor:
            calls.append(len(x_t))
            return super().denoise_equal(x_t, *rest)

    pipe = tiny(FAMILY)
    found = discovery(Counted(pipe, size_of(pipe)))
    assert found.rows
    calls.clear()
    before = found.denoiser_rows
    found.update()
    assert sum(calls) == found.denoiser_rows - before and len(calls) > 4 and max(calls) > 1


def test_sigmas_that_a_pipeline_was_saved_with_are_followed() -> None:
    torch.manual_seed(0)
    pipe = ready(qwen_image_21(sample_sigmas=SIGMAS))
    expected = theirs(pipe)  # asked for four steps, it takes three
    assert_same(ours(pipe, num_steps=3), expected)
    assert np.abs(expected - theirs(tiny(FAMILY), num_inference_steps=3)).max() > 2
    backbone = load_backbone(pipe, size_of(pipe))
    with pytest.raises(ValueError, match=r"^num_steps: got 4, allowed is 3, as many as the pipel"):
        Engine(backbone).submit([ImageJob(PROMPT, 7, num_steps=4)])
    with pytest.raises(ValueError, match=r"^num_steps: got 4, allowed is 3"):
        discovery(backbone)
    discovery(backbone, CONFIG.model_copy(update={"num_steps": 3})).update()


@pytest.mark.parametrize(
    "config",
    [
        {"use_dynamic_shifting": False, "shift": 3.0},
        {"max_image_seq_len": 64, "base_image_seq_len": 16},
    ],
)
def test_the_scheduler_s_shift_is_followed(config: dict[str, Any]) -> None:
    pipe = tiny(FAMILY)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, **config)
    painted = ours(pipe)
    assert_same(painted, theirs(pipe))
    assert np.abs(painted - ours(tiny(FAMILY))).max() > 2


def test_text_that_is_modulated_with_the_step_is_followed() -> None:
    pipe = tiny(FAMILY)
    before = ours(pipe)
    pipe.transformer.register_to_config(causal_condition=False)
    painted = ours(pipe)
    assert_same(painted, theirs(pipe))
    assert np.abs(painted - before).max() > 2


def test_a_transformer_with_which_the_pipeline_fails_is_refused() -> None:
    pipe = tiny(FAMILY)
    pipe.transformer = QwenImage21Transformer2DModel.from_config(
        pipe.transformer.config, patch_size=2
    )
    with pytest.raises(RuntimeError):
        theirs(pipe)
    with pytest.raises(ValueError, match=r"^transformer\.patch_size: got 2, allowed is 1"):
        Engine(load_backbone(pipe, size_of(pipe)))


def test_without_a_negative_prompt_the_pipeline_does_not_guide_and_the_engine_does() -> None:
    pipe = tiny(FAMILY)
    bare = theirs(pipe, negative_prompt=None)
    assert_same(bare, ours(pipe, guidance_scale=1.0))
    assert_same(theirs(pipe, negative_prompt=" "), ours(pipe))
    assert abs(bare - ours(pipe)).max() > 2


def test_an_embedded_prompt_paints_what_the_prompt_does() -> None:
    pipe = tiny(FAMILY)
    fair = FairGenPipeline(pipe, adapters_of(FAMILY))
    options, woman = options_of(pipe), {"gender": {"woman": 1.0}}
    with torch.no_grad():
        text, _, _ = pipe.encode_prompt(["a nurse"])
        negative, _, _ = pipe.encode_prompt([" "])
    embedded = options | {"prompt_embeds": text, "negative_prompt_embeds": negative,
                          "negative_prompt": None}  # fmt: skip
    expected = fair("a nurse", 3, woman, seed=3, **options).images
    painted = fair(None, 3, woman, seed=3, **embedded).images
    for one, other in zip(painted, expected, strict=True):
        assert same(one, other)


def test_what_fills_an_embedded_prompt_up_is_not_adapted() -> None:
    backbone = open_backbone(FAMILY)
    text, mask, _ = backbone.pipe.encode_prompt([PROMPT, "a nurse"])
    arguments = {"encoder_hidden_states": text, "encoder_hidden_states_mask": mask,
                 "hidden_states": torch.empty(2, NUM_PIXELS, 4)}  # fmt: skip
    where = next(iter(backbone.positions_in(arguments).values()))
    assert where.mask_NS.sum(1).tolist() == [n - HEAD for n in mask.sum(1).tolist()]


def test_pictures_keep_their_alpha_channel() -> None:
    pipe = tiny(FAMILY)
    options = options_of(pipe) | {"generator": torch.Generator().manual_seed(7)}
    expected = pipe(PROMPT, **options).images[0]
    (image,) = Engine(load_backbone(pipe, size_of(pipe))).paint([ImageJob(PROMPT, 7, {}, 4, 4.0)])
    assert image.mode == expected.mode == "RGBA" and same(image, expected)
    assert np.asarray(image)[..., 3].std() > 5


def test_adapters_beside_pictures_in_the_prompt_are_refused() -> None:
    backbone = open_backbone(FAMILY)
    with pytest.raises(ValueError, match=r"^image: got 1, allowed is none beside adapters"):
        backbone.positions_in({"image": [object()]})


def test_a_prompt_that_is_longer_than_the_table_of_positions_is_refused() -> None:
    backbone = open_backbone(FAMILY)
    with pytest.raises(ValueError, match=r"^prompt: got \d+ tokens, allowed are under 8192"):
        backbone.encode(["1" * 8200])
