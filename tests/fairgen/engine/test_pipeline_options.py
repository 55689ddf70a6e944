"""What else a saved pipeline says is followed by the engine as by the pipeline: what no prompt and
an empty one mean, its image processor, its watermark; or it is refused by name at the start.
"""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from diffusers.image_processor import VaeImageProcessor

from fairgen.backbones import load_backbone
from fairgen.engine import Engine, ImageJob
from tests.families import FAMILIES, KINDS, SIZE_PX, tiny
from tests.painted import assert_same, ours, theirs

# their guidance, or have none
TOLD = ["SD LCM", "FLUX.1 dev", "FLUX.1 schnell", "SANA-Sprint", "FLUX.2 klein", "FLUX.2 dev"]
BY_ONE = ["FLUX.2 klein base", "Ideogram 4"]  # their pipelines take no negative prompt
GUIDED = [family for family in FAMILIES if family not in (*TOLD, *BY_ONE)]
OPTIONS = {  # of every family's pipeline, beside its parts
    "requires_safety_checker",  # has no influence: `safety_checker` itself is asked
    "force_zeros_for_empty_prompt",  # followed
    "requires_aesthetics_score",  # refused
    "add_watermarker",  # followed: `pipe.watermark` is applied
    "is_distilled",  # followed: there is no guidance
}


class Watermark:
    """Marks pixels as a pipeline's watermark does, and moves them to main memory."""

    def apply_watermark(self, images: torch.Tensor) -> torch.Tensor:
        marked = images.cpu().float().clone()
        marked[..., ::3] = 0.5
        return marked


@pytest.mark.parametrize("family", FAMILIES)
def test_every_option_of_a_pipeline_is_known(family: str) -> None:
    backbone = load_backbone(tiny(family))
    for kind in backbone.pipelines:
        parameters = inspect.signature(kind.__init__).parameters.values()
        flags = {p.name for p in parameters if "bool" in str(p.annotation)}
        parts = {p.name for p in parameters} - flags - {"self"}
        assert flags <= OPTIONS
        assert parts <= {
            "vae", "text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4",
            "tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4", "unet", "transformer",
            "scheduler", "safety_checker", "feature_extractor", "image_encoder", "controlnet",
            "adapter", "pag_applied_layers", "processor",
            "unconditional_transformer", "prompt_enhancer_head",
            "text_encoder_select_layers", "patch_size", "sample_sigmas",  # followed
        }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", GUIDED)
@pytest.mark.parametrize("prompt", ["", "a photo of a doctor"])
@pytest.mark.parametrize("negative", [None, "", "a photo of a car"])
def test_an_empty_prompt_is_not_no_prompt(family: str, prompt: str, negative: str | None) -> None:
    pipe = tiny(family)
    given: dict[str, Any] = {} if negative is None else {"negative_prompt": negative}
    assert_same(ours(pipe, prompt=prompt, **given), theirs(pipe, prompt=prompt, **given))


@pytest.mark.parametrize("family", [*TOLD, *BY_ONE])
def test_an_empty_prompt_is_that_of_a_pipeline_without_negative_ones(family: str) -> None:
    pipe = tiny(family)
    assert_same(ours(pipe, prompt=""), theirs(pipe, prompt=""))


def test_where_empty_prompts_are_zeros_none_and_an_empty_one_differ() -> None:
    pipe = tiny("SDXL")
    assert not np.array_equal(ours(pipe), ours(pipe, negative_prompt=""))
    plain = tiny("SDXL Turbo")  # `force_zeros_for_empty_prompt` is off
    assert np.array_equal(ours(plain), ours(plain, negative_prompt=""))


@pytest.mark.parametrize("family", KINDS)
def test_an_image_processor_that_does_not_normalize_is_followed(family: str) -> None:
    pipe = tiny(family)
    kind: type[VaeImageProcessor] = type(pipe.image_processor)
    pipe.image_processor = kind(vae_scale_factor=pipe.vae_scale_factor, do_normalize=False)
    assert_same(ours(pipe), theirs(pipe))


def test_a_watermark_is_that_of_the_pipeline() -> None:
    pipe = tiny("SDXL")
    bare = ours(pipe)
    pipe.watermark = Watermark()
    marked = ours(pipe)
    assert_same(marked, theirs(pipe))
    assert np.all(marked[:, ::3] == 191) and np.array_equal(marked[:, 1::3], bare[:, 1::3])


def test_a_model_that_asks_for_an_aesthetics_score_is_refused() -> None:
    pipe = tiny("SDXL")
    parts = {name: part for name, part in pipe.components.items() if part is not None}
    refiner = StableDiffusionXLImg2ImgPipeline(
        **parts, requires_aesthetics_score=True, add_watermarker=False
    )
    with pytest.raises(ValueError, match=r"^requires_aesthetics_score: got True, allowed is False"):
        Engine(load_backbone(refiner, SIZE_PX))


def test_a_pipeline_that_follows_another_picture_is_refused() -> None:
    pipe = tiny("SD 1.x")
    control = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 8))
    controlled = StableDiffusionControlNetPipeline(
        **pipe.components, controlnet=control, requires_safety_checker=False
    )
    with pytest.raises(ValueError, match=r"^controlnet: got ControlNetModel, allowed is none"):
        Engine(load_backbone(controlled, SIZE_PX))


def test_a_pipeline_that_paints_in_a_way_of_its_own_is_refused() -> None:
    class RescaledPipeline(StableDiffusionPipeline):
        def __call__(self, *args: Any, **options: Any) -> Any:
            return super().__call__(*args, **options | {"guidance_rescale": 0.7})

    parts = tiny("SD 1.x").components
    pipe = RescaledPipeline(**parts, requires_safety_checker=False)
    with pytest.raises(ValueError, match=r"^base: got RescaledPipeline, which paints in a way of "):
        Engine(load_backbone(pipe, SIZE_PX))


def test_steps_that_the_scheduler_cannot_take_are_refused_with_the_most() -> None:
    engine = Engine(load_backbone(tiny("SD LCM"), SIZE_PX))
    engine.submit([ImageJob("a doctor", 1, num_steps=50)])
    with pytest.raises(ValueError, match=r"^num_steps: got 51, allowed are at most 50 with LCMSch"):
        engine.submit([ImageJob("a doctor", 1, num_steps=51)])
