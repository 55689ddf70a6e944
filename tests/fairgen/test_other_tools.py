"""The bank is just there, gated, whatever else a pipeline does: from a picture, under a ControlNet,
with another sampler, beside a LoRA that has nothing to do with it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DiffusionPipeline,
    EulerAncestralDiscreteScheduler,
    FluxImg2ImgPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from PIL import Image
from safetensors.torch import save_file

from fairgen.pipeline import FairGenPipeline
from tests.fairgen.backbones.test_families import PROMPT, adapters_of
from tests.families import SIZE_PX, tiny

GUIDE = Image.fromarray(
    np.random.default_rng(0).integers(0, 255, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
)
FROM_A_PICTURE = {
    "SD 1.x": StableDiffusionImg2ImgPipeline,
    "SDXL": StableDiffusionXLImg2ImgPipeline,
    "SD 3": StableDiffusion3Img2ImgPipeline,
    "FLUX.1 dev": FluxImg2ImgPipeline,
}
CONTROLLED = {
    "SD 1.x": StableDiffusionControlNetPipeline,
    "SDXL": StableDiffusionXLControlNetPipeline,
}
Open = Callable[[], DiffusionPipeline]


def from_a_picture(family: str) -> DiffusionPipeline:
    pipe = FROM_A_PICTURE[family](**tiny(family).components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def controlled(family: str) -> DiffusionPipeline:
    base = tiny(family)
    torch.manual_seed(1)
    control = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(4, 8))
    for layer in (*control.controlnet_down_blocks, control.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.1)  # they begin as zeros
    pipe = CONTROLLED[family](**base.components, controlnet=control.eval())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def with_another_sampler(family: str) -> DiffusionPipeline:
    pipe = tiny(family)
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe


def beside_a_lora(family: str, folder: Path) -> DiffusionPipeline:
    pipe = tiny(family)
    noise = torch.Generator().manual_seed(2)
    tensors = {}
    for name, layer in pipe.unet.named_modules():
        if name.endswith(("attn1.to_q", "attn2.to_k")):
            down = torch.randn(2, layer.in_features, generator=noise)
            up = torch.randn(layer.out_features, 2, generator=noise)
            tensors |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    save_file(tensors, folder / "style.safetensors")
    pipe.load_lora_weights(folder, weight_name="style.safetensors", adapter_name="style")
    return pipe


def check(open_pipe: Open, family: str, **options: object) -> None:
    """Off is the pipeline itself; on, every picture is what it is when all show its category."""
    options = {"num_inference_steps": 4, "guidance_scale": 4.0} | options
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    bare = open_pipe()(PROMPT, generator=generators, num_images_per_prompt=2, **options).images
    fair = FairGenPipeline(open_pipe(), adapters_of(family, num_updates=8))

    def paint(fairness: object) -> list[Image.Image]:
        return fair(PROMPT, 2, fairness, seed=3, **options).images

    off, women, men = (
        paint(asked) for asked in ("off", {"gender": {"woman": 1.0}}, {"gender": {"man": 1.0}})
    )
    mixed = fair(PROMPT, 2, {"gender": "uniform"}, seed=3, **options)
    for index, record in enumerate(mixed.records):
        assert bare[index].tobytes() == off[index].tobytes() != women[index].tobytes()
        assert women[index].tobytes() != men[index].tobytes()
        alike = women if record.categories["gender"] == "woman" else men
        difference = np.asarray(alike[index], float) - np.asarray(mixed.images[index], float)
        assert np.abs(difference).max() <= 1
    assert {record.categories["gender"] for record in mixed.records} == {"woman", "man"}


@pytest.mark.slow
@pytest.mark.parametrize("family", FROM_A_PICTURE)
def test_from_a_picture(family: str) -> None:
    sides = {"width": SIZE_PX, "height": SIZE_PX} if family in ("SD 3", "FLUX.1 dev") else {}
    image = [GUIDE] * 2 if family == "SD 3" else GUIDE  # it takes one a generator
    check(lambda: from_a_picture(family), family, image=image, strength=0.75, **sides)


@pytest.mark.parametrize("family", CONTROLLED)
def test_under_a_controlnet(family: str) -> None:
    check(lambda: controlled(family), family, image=GUIDE)


@pytest.mark.parametrize("family", ["SD 1.x", "SD 2.x", "SDXL"])
def test_with_another_sampler(family: str) -> None:
    check(lambda: with_another_sampler(family), family)


@pytest.mark.parametrize("family", ["SD 1.x", "SDXL"])
def test_beside_a_lora_that_has_nothing_to_do_with_it(family: str, tmp_path: Path) -> None:
    check(lambda: beside_a_lora(family, tmp_path), family)
    with_style, without = (
        FairGenPipeline(pipe, adapters_of(family, num_updates=8))(
            PROMPT, 1, {"gender": {"woman": 1.0}}, seed=3, num_inference_steps=4
        ).images[0]
        for pipe in (beside_a_lora(family, tmp_path), tiny(family))
    )
    assert with_style.tobytes() != without.tobytes()  # the LoRA still acts
