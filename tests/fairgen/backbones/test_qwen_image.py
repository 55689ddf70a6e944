"""What Qwen-Image's pipeline does in a way of its own: tokens, guidance, embedded prompts."""

from typing import Any

import pytest
import torch
from diffusers import (
    QwenImageControlNetInpaintPipeline,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    QwenImageTransformer2DModel,
)

from fairgen.backbones import PromptReader, load_backbone
from fairgen.backbones.qwen_image import QwenImageBackbone
from fairgen.bank import AdapterBank
from fairgen.baselines.system import guided_prediction, sample
from fairgen.engine import Engine, ImageJob
from fairgen.guidance import GuidedRows
from fairgen.pipeline import FairGenPipeline
from fairgen.sampling import Sampling
from tests.fairgen.backbones.test_families import (
    PROMPT,
    adapters_of,
    denoised,
    discovery,
    open_backbone,
    options_of,
    same,
)
from tests.fairgen.backbones.test_prompt_reader import LONG
from tests.fairgen.engine.test_edits import left_half, picture
from tests.families import SIZE_PX, ready, size_of, tiny
from tests.painted import as_numbers, assert_same, ours, theirs

FAMILY = "Qwen-Image"
HEAD = 34  # tokens that the pipeline cuts off


def test_the_text_stream_holds_the_prompt_s_tokens_and_those_that_follow_on_them() -> None:
    backbone = open_backbone(FAMILY)
    pipe = backbone.pipe
    template: str = pipe.prompt_template_encode
    before, after = template.split("{}")
    tokens = pipe.tokenizer(template.format(PROMPT), return_tensors="pt")
    assert pipe.tokenizer(before)["input_ids"] == tokens["input_ids"][0, :HEAD].tolist()
    with torch.no_grad():
        states = pipe.text_encoder(**tokens, output_hidden_states=True).hidden_states[-1][0]
    context = backbone.encode([PROMPT])
    torch.testing.assert_close(context["text"][0], states[HEAD:])
    num_tokens = len(pipe.tokenizer(PROMPT + after)["input_ids"])
    assert context["mask"].tolist() == [[True] * num_tokens]


def test_adapters_act_on_the_text_stream_and_what_fills_it_up_reaches_no_picture() -> None:
    backbone = open_backbone(FAMILY)
    (woman, _) = adapters_of(FAMILY, 4)
    found = backbone.projections("qkvo")
    assert {path.split(".attn.")[1] for path in found} == {
        "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out",
    }  # fmt: skip
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    bank.add("woman", woman.directions)
    layer, seen = backbone.denoiser.get_submodule(bank.projections[0]), []
    bare = type(layer).forward
    handle = layer.register_forward_hook(
        lambda _, inputs, output: seen.append(output - bare(layer, inputs[0]))
    )
    with bank.gated(torch.tensor([[0.0], [1.0]])):
        together = denoised(backbone)  # the second prompt is the shorter one
    handle.remove()
    changed = seen[0].abs().amax(-1) > 0
    lengths = backbone.encode([PROMPT, "a nurse"])["mask"].sum(1).tolist()
    assert changed.shape == (2, lengths[0]) and lengths[0] > lengths[1]
    assert not changed[0].any() and changed[1].all()
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(2, *backbone.latent_shape(), generator=noise)[1:]
    with bank.gated(torch.ones(1, 1)), torch.no_grad():
        alone = backbone.denoise(x, torch.tensor([400]), backbone.encode(["a nurse"]))
    torch.testing.assert_close(together[1:], alone)


def test_the_cut_is_where_the_pipeline_s_call_stops_reading_to_the_character() -> None:
    backbone = open_backbone(FAMILY)
    cut_at = PromptReader(backbone).cut_at(LONG)
    assert cut_at is not None
    whole = backbone.encode([LONG])["text"]
    assert whole.shape[1] == 512
    assert torch.equal(whole, backbone.encode([LONG[:cut_at] + "!"])["text"])
    assert not torch.equal(whole, backbone.encode([LONG[: cut_at - 1] + "!"])["text"])


def test_a_guided_prediction_is_as_long_as_the_conditional_one_token_by_token() -> None:
    backbone = open_backbone(FAMILY)
    conditional, unconditional = torch.randn(2, 3, *backbone.latent_shape())
    scale_N = torch.tensor([4.0, 1.0, 7.0])
    layout = GuidedRows(3, (0, 2))
    prediction = torch.cat([conditional, unconditional[[0, 2]]])
    found = layout.combine(prediction, scale_N, backbone.guided)
    assert torch.equal(found[1], conditional[1])
    packed = [backbone.pipe._pack_latents(x, 3, 4, 8, 8) for x in (found, conditional)]
    for one, other in zip(*packed, strict=True):
        torch.testing.assert_close(one.norm(dim=-1), other.norm(dim=-1))
    plain = unconditional[0] + 4 * (conditional[0] - unconditional[0])
    ratio = found[0] / plain  # one number a token
    assert ratio.std() > 0.01
    torch.testing.assert_close(ratio, ratio[:1, ::2, ::2].repeat_interleave(2, 1)
                               .repeat_interleave(2, 2).expand_as(ratio))  # fmt: skip


def test_discovery_and_the_compared_systems_walk_as_the_pipeline_guides() -> None:
    class Counted(QwenImageBackbone):
        num_guided = 0

        def guided(self, *args: Any) -> torch.Tensor:
            self.num_guided += 1
            return super().guided(*args)

    pipe = tiny(FAMILY)
    backbone = Counted(pipe, SIZE_PX)
    found = discovery(backbone)
    assert found.rows and backbone.num_guided > 0  # on the way to the first states
    before = backbone.num_guided
    found.update()
    assert backbone.num_guided > before  # on the way to the next ones
    found.bank.close()
    predict = guided_prediction(backbone, [PROMPT], Sampling(4, 4.0))
    (image,) = sample(backbone, [7], 4, predict)
    assert_same(as_numbers(image), theirs(pipe))


def test_without_a_negative_prompt_the_pipeline_does_not_guide_and_the_engine_does() -> None:
    pipe = tiny(FAMILY)
    bare = theirs(pipe, negative_prompt=None)
    assert_same(bare, ours(pipe, guidance_scale=1.0))
    assert_same(theirs(pipe, negative_prompt=" "), ours(pipe))
    assert abs(bare - ours(pipe)).max() > 2


@pytest.mark.parametrize("beside", [(), ("a photo of a pilot in a blue coat",)], ids=["", "padded"])
def test_an_embedded_prompt_paints_what_the_prompt_does(beside: tuple[str, ...]) -> None:
    pipe = tiny(FAMILY)
    fair = FairGenPipeline(pipe, adapters_of(FAMILY))
    options, woman = options_of(pipe), {"gender": {"woman": 1.0}}
    with torch.no_grad():
        text, mask = pipe.encode_prompt(["a nurse", *beside])
        negative, negative_mask = pipe.encode_prompt([" "])
    embedded = options | {
        "prompt_embeds": text[:1], "prompt_embeds_mask": None if mask is None else mask[:1],
        "negative_prompt_embeds": negative, "negative_prompt_embeds_mask": negative_mask,
        "negative_prompt": None,
    }  # fmt: skip
    expected = fair("a nurse", 3, woman, seed=3, **options).images
    painted = fair(None, 3, woman, seed=3, **embedded).images
    for one, other in zip(painted, expected, strict=True):
        assert same(one, other)


@pytest.mark.parametrize("option", [{"zero_cond_t": True}, {"use_layer3d_rope": True}])
def test_what_a_transformer_was_saved_with_is_followed(option: dict[str, bool]) -> None:
    pipe = tiny(FAMILY)
    torch.manual_seed(3)
    pipe.transformer = QwenImageTransformer2DModel.from_config(pipe.transformer.config, **option)
    assert_same(ours(ready(pipe)), theirs(pipe))


@pytest.mark.parametrize("option", ["guidance_embeds", "use_additional_t_cond"])
def test_a_transformer_with_which_the_pipeline_fails_is_refused(option: str) -> None:
    pipe = tiny(FAMILY)
    pipe.transformer = QwenImageTransformer2DModel.from_config(
        pipe.transformer.config, **{option: True}
    )
    with pytest.raises((TypeError, ValueError)):
        theirs(pipe, guidance_scale=4.0)
    with pytest.raises(ValueError, match=rf"^transformer\.{option}: got True, allowed is False"):
        Engine(load_backbone(pipe, size_of(pipe)))


def test_a_picture_that_is_not_square_is_the_pipeline_s() -> None:
    pipe = tiny(FAMILY)
    engine = Engine(load_backbone(pipe, SIZE_PX))
    job = ImageJob(PROMPT, 7, num_steps=4, guidance_scale=4.0, width_px=24, height_px=16)
    generator = torch.Generator().manual_seed(7)
    (expected,) = pipe(PROMPT, generator=generator, **options_of(pipe) | {"width": 24}).images
    assert same(engine.paint([job])[0], expected)


@pytest.mark.parametrize(
    ("kind", "beside"),
    [
        (QwenImageControlNetPipeline, {}),
        (QwenImageControlNetInpaintPipeline, {"control_mask": left_half()}),
    ],
)
def test_under_a_controlnet_the_library_s_pipeline_wears_adapters_and_the_engine_refuses(
    kind: Any, beside: dict[str, Any]
) -> None:
    base = tiny(FAMILY)
    torch.manual_seed(1)
    control = QwenImageControlNetModel.from_transformer(
        base.transformer, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        extra_condition_channels=4 if beside else 0,
    )  # fmt: skip
    for layer in (control.controlnet_x_embedder, *control.controlnet_blocks):
        torch.nn.init.normal_(layer.weight, std=0.1)  # they begin as zeros
    pipe = ready(kind(**base.components, controlnet=control))
    with pytest.raises(ValueError, match=r"^controlnet: got QwenImageControlNetModel, allowed is"):
        Engine(load_backbone(pipe, SIZE_PX))
    options = options_of(pipe) | {"control_image": picture()} | beside
    fair = FairGenPipeline(pipe, adapters_of(FAMILY, 4))

    def paint(fairness: Any) -> list[bytes]:
        torch.manual_seed(2)  # for inpainting the pipeline draws the control's latents from it
        return [image.tobytes() for image in fair(PROMPT, 2, fairness, seed=3, **options).images]

    torch.manual_seed(2)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    bare = pipe(PROMPT, num_images_per_prompt=2, generator=generators, **options).images
    off, on = paint("off"), paint({"gender": {"woman": 1.0}})
    assert [image.tobytes() for image in bare] == off
    assert all(one != other for one, other in zip(off, on, strict=True))
