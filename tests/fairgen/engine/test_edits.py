"""Pictures that are begun from others: the engine paints what the family's own img2img and
inpainting pipelines paint.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderTiny,
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    ChromaImg2ImgPipeline,
    ChromaPipeline,
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    SanaSprintImg2ImgPipeline,
    SanaSprintPipeline,
)
from PIL import Image

from fairgen.backbones import load_backbone
from fairgen.engine import Engine, ImageJob, StartImage
from fairgen.portraits import MODEL
from tests.families import FAMILIES, SIZE_PX, ready, size_of, tiny
from tests.families.flows import sd3
from tests.painted import NUM_STEPS, PROMPT, as_numbers, assert_same, ours, theirs

# of these there is no img2img pipeline
NONE = ("PixArt", "FLUX.2", "AuraFlow", "Krea 2", "Lumina 2", "Hunyuan", "HiDream",
        "Qwen-Image 2.1", "Kandinsky", "Ideogram")  # fmt: skip
BEGINNERS = [f for f in FAMILIES if not f.startswith(NONE) and f != "SANA"]
UNKNOWN = {  # to AutoPipeline
    SanaSprintPipeline: SanaSprintImg2ImgPipeline,
    ChromaPipeline: ChromaImg2ImgPipeline,
}
UNMASKED = (
    "SD 3",
    "SANA-Sprint",
    "Chroma",
    "Kolors",
)  # elsewhere, or no inpainting pipeline at all
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def image_to_image(pipe: DiffusionPipeline) -> DiffusionPipeline:
    """Return the pipeline of the same parts that begins from a picture."""
    for kind, kin in UNKNOWN.items():
        if isinstance(pipe, kind):
            return ready(kin(**pipe.components))
    return AutoPipelineForImage2Image.from_pipe(pipe)


def picture(size: tuple[int, int] = (SIZE_PX, SIZE_PX), seed: int = 1) -> Image.Image:
    """Return a picture with an edge and some texture."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def left_half() -> Image.Image:
    mask = Image.new("L", (SIZE_PX, SIZE_PX), 0)
    mask.paste(255, (0, 0, SIZE_PX // 2, SIZE_PX))
    return mask


@pytest.mark.parametrize("strength", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("family", BEGINNERS)
def test_an_edit_is_that_of_the_img2img_pipeline(family: str, strength: float) -> None:
    pipe = tiny(family)
    before = picture((size_of(pipe), size_of(pipe)))
    expected = theirs(image_to_image(pipe), image=before, strength=strength)

    assert_same(expected, ours(pipe, start=StartImage(before, strength)))


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("family", [f for f in BEGINNERS if not f.startswith(UNMASKED)])
def test_an_edit_under_a_mask_is_that_of_the_inpainting_pipeline(
    family: str, strength: float
) -> None:
    pipe = tiny(family)
    their_pipe = AutoPipelineForInpainting.from_pipe(pipe)
    expected = theirs(their_pipe, image=picture(), mask_image=left_half(), strength=strength)

    assert_same(expected, ours(pipe, start=StartImage(picture(), strength, left_half())))


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_an_edit_of_sd3_under_a_mask_has_the_latents_of_its_inpainting_pipeline(
    strength: float,
) -> None:
    """The pipeline decodes without the codec's shift (diffusers 0.42.1): pixels differ, latents do
    not. It wants 16 channels.
    """
    pipe = wide_sd3()
    their_pipe = AutoPipelineForInpainting.from_pipe(pipe)
    latents = their_pipe(
        PROMPT, image=picture(), mask_image=left_half(), strength=strength, height=SIZE_PX,
        width=SIZE_PX, num_inference_steps=NUM_STEPS, guidance_scale=4.0, output_type="latent",
        generator=torch.Generator().manual_seed(7),
    ).images  # fmt: skip
    codec = load_backbone(pipe).codec
    (expected,) = codec.pictures(codec.decode(latents))

    assert_same(
        as_numbers(expected), ours(pipe, start=StartImage(picture(), strength, left_half()))
    )


def wide_sd3() -> DiffusionPipeline:
    torch.manual_seed(0)
    return ready(sd3(channels=16))


SCHEDULERS: dict[str, Callable[[], Any]] = {
    "ddim leading": lambda: DDIMScheduler(**NOISE, clip_sample=False, steps_offset=1),
    "ddim trailing": lambda: DDIMScheduler(
        **NOISE, clip_sample=False, timestep_spacing="trailing"
    ),
    "ddim linspace": lambda: DDIMScheduler(
        **NOISE, clip_sample=False, timestep_spacing="linspace", set_alpha_to_one=False
    ),
    "dpm++ 2m": lambda: DPMSolverMultistepScheduler(**NOISE),
    "dpm++ 2m karras": lambda: DPMSolverMultistepScheduler(**NOISE, use_karras_sigmas=True),
    "dpm++ 2m, noise left": lambda: DPMSolverMultistepScheduler(
        **NOISE, final_sigmas_type="sigma_min", lower_order_final=False
    ),
    "dpm++ sde": lambda: DPMSolverMultistepScheduler(
        **NOISE, algorithm_type="sde-dpmsolver++"
    ),
    "euler": lambda: EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"),
    "euler karras": lambda: EulerDiscreteScheduler(**NOISE, use_karras_sigmas=True),
    "euler ancestral": lambda: EulerAncestralDiscreteScheduler(**NOISE),
    "lcm": lambda: LCMScheduler(**NOISE, clip_sample=False),
}  # fmt: skip


@pytest.mark.parametrize("mask", [None, left_half()], ids=["whole", "masked"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_an_edit_follows_every_scheduler(scheduler: str, mask: Image.Image | None) -> None:
    pipe = tiny("SD 1.x")
    pipe.scheduler = SCHEDULERS[scheduler]()
    asked: dict[str, Any] = {"image": picture(), "strength": 0.7, "num_inference_steps": 9}
    kind: Any = AutoPipelineForImage2Image
    if mask is not None:
        kind, asked["mask_image"] = AutoPipelineForInpainting, mask

    expected = theirs(kind.from_pipe(pipe), **asked)

    assert_same(expected, ours(pipe, num_steps=9, start=StartImage(picture(), 0.7, mask)))


FLOWS: dict[str, dict[str, Any]] = {
    "karras": {"use_karras_sigmas": True},
    "dynamic": {"use_dynamic_shifting": True, "max_shift": 4.0},
    "terminal": {"shift_terminal": 0.1},
}


@pytest.mark.parametrize("family", ["SD 3", "FLUX.1 dev"])
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("strength", [0.29, 0.55, 0.7])
def test_an_edit_follows_every_flow(family: str, flow: str, strength: float) -> None:
    pipe = tiny(family)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **FLOWS[flow])
    expected = theirs(
        AutoPipelineForImage2Image.from_pipe(pipe),
        image=picture(), strength=strength, num_inference_steps=10,
    )  # fmt: skip

    assert_same(expected, ours(pipe, num_steps=10, start=StartImage(picture(), strength)))


@pytest.mark.parametrize("strength", [0.15, 0.29, 0.3, 0.7, 0.99])
def test_strength_leaves_the_steps_that_the_pipeline_leaves(strength: float) -> None:
    for family in ("SD 1.x", "SDXL", "FLUX.1 dev"):
        pipe = tiny(family)
        expected = theirs(
            AutoPipelineForImage2Image.from_pipe(pipe),
            image=picture(), strength=strength, num_inference_steps=7,
        )  # fmt: skip
        start = StartImage(picture(), strength)
        assert_same(expected, ours(pipe, num_steps=7, start=start))


def test_an_edit_follows_a_tiny_codec() -> None:
    pipe = tiny("SD 1.x")
    pipe.vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
    ).eval()  # fmt: skip
    for kind, asked, mask in (
        (AutoPipelineForImage2Image, {}, None),
        (AutoPipelineForInpainting, {"mask_image": left_half()}, left_half()),
    ):
        their_pipe = kind.from_pipe(pipe)  # type: ignore[attr-defined]
        expected = theirs(their_pipe, image=picture(), strength=0.5, **asked)
        assert_same(expected, ours(pipe, start=StartImage(picture(), 0.5, mask)))


def test_a_codec_with_mean_and_deviation_reads_as_it_paints() -> None:
    pipe = tiny("SDXL")
    pipe.vae.register_to_config(latents_mean=[0.1] * 4, latents_std=[0.7] * 4)
    expected = theirs(AutoPipelineForImage2Image.from_pipe(pipe), image=picture(), strength=0.5)

    assert_same(expected, ours(pipe, start=StartImage(picture(), 0.5)))


def test_edits_and_new_pictures_share_a_batch() -> None:
    pipe = tiny("SD 1.x")
    jobs = [
        ImageJob("a photo of a nurse", seed=1, num_steps=6),
        _edit(seed=2, strength=0.5),
        _edit(seed=3, strength=0.8, mask=left_half()),
        _edit(seed=4, strength=1.0, image=picture(seed=5)),
    ]
    engine = Engine(load_backbone(pipe, SIZE_PX))
    alone = [as_numbers(engine.paint([job])[0]) for job in jobs]
    together = [as_numbers(image) for image in engine.paint(jobs)]
    engine.close()

    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_an_edit_takes_only_the_steps_that_its_strength_leaves() -> None:
    engine = Engine(load_backbone(tiny("SD 1.x"), SIZE_PX))
    engine.submit([_edit(strength=0.5, num_steps=10, preview_at=(2,))])
    events, num_steps = [], 0
    while engine.pending:
        events += engine.step()
        num_steps += 1
    engine.close()

    assert num_steps == 5
    assert [(event.step, event.final) for event in events] == [(2, False), (5, True)]  # type: ignore[union-attr]


def test_what_a_mask_leaves_stays_in_previews_and_at_the_end() -> None:
    pipe = DiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    engine = Engine(load_backbone(pipe))
    doctor = ImageJob("a photo of a doctor", seed=3, num_steps=12)
    (before,) = engine.paint([doctor])
    side = before.width
    mask = Image.new("L", before.size, 0)
    mask.paste(255, (0, side // 2, side, side))
    start = StartImage(before, 1.0, mask)
    engine.submit([replace(doctor, prompt="a photo of a chef", start=start, preview_at=(6,))])
    shown = [as_numbers(event.image) for event in engine.run()]  # type: ignore[union-attr]
    engine.close()

    face, clothes = np.s_[: 3 * side // 8], np.s_[5 * side // 8 :]
    assert len(shown) == 2
    for image in shown:
        changed = np.abs(image - as_numbers(before))
        assert changed[clothes].mean() > 3 * changed[face].mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": 0.0}, "strength: got 0.0, allowed are over 0 to 1"),
        ({"strength": 1.5}, "strength: got 1.5, allowed are over 0 to 1"),
        ({"strength": float("nan")}, "strength: got nan, allowed are over 0 to 1"),
        ({"strength": 0.1}, "strength: got 0.1, which leaves none of 6 steps"),
        ({"image": picture((32, 16))}, "image: got 32x16 pixels, allowed are 16x16"),
        ({"image": picture().convert("L")}, "image: got mode L, allowed is RGB"),
        ({"mask": Image.new("RGB", (16, 16))}, "mask: got mode RGB, allowed is L"),
        ({"mask": Image.new("L", (8, 8))}, "mask: got 8x8 pixels, allowed are 16x16"),
    ],
)
def test_what_cannot_be_begun_from_is_refused(changes: dict[str, Any], message: str) -> None:
    engine = Engine(load_backbone(tiny("SD 1.x"), SIZE_PX))
    with pytest.raises(ValueError, match=message):
        engine.submit([_edit(**changes)])
    engine.close()


def test_a_family_without_such_pipelines_refuses() -> None:
    engine = Engine(load_backbone(tiny("PixArt-sigma"), SIZE_PX))
    with pytest.raises(ValueError, match="image: got one, allowed is none: PixArtSigmaPipeline"):
        engine.submit([_edit()])
    engine.close()


def _edit(
    *,
    image: Image.Image | None = None,
    strength: float = 0.5,
    mask: Image.Image | None = None,
    seed: int = 0,
    num_steps: int = 6,
    **options: Any,
) -> ImageJob:
    start = StartImage(image or picture(), strength, mask)
    return ImageJob("a photo of a doctor", seed, num_steps=num_steps, start=start, **options)
