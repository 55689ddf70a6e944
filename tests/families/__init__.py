"""Tiny pipelines of every family, of real classes: random weights, but complete.

Latents are 8 x 8, pictures 16 pixels wide, whatever the family; SANA's are 32 pixels wide, since
its pipelines take multiples of that only, Lumina 2's, HunyuanDiT's and Kandinsky 5's 64,
Qwen-Image 2.1's 128: the sides of their latents are an eighth or a sixteenth whatever the codec.
HiDream's are 128, as its latents.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    SanaPipeline,
)

from tests.families.chroma import chroma
from tests.families.codecs import SIZE_PX
from tests.families.diffusion import NOISE, lcm, pixart, sdxl
from tests.families.flows import aura_flow, flux, klein, sana, sana_sprint, sd3, z_image
from tests.families.flux2_dev import flux2_dev
from tests.families.hidream import hidream
from tests.families.hunyuan_dit import hunyuan_dit
from tests.families.ideogram4 import ideogram4
from tests.families.kandinsky5 import kandinsky5
from tests.families.kolors import kolors
from tests.families.krea2 import tiny_krea2
from tests.families.lumina2 import lumina2
from tests.families.qwen_image import tiny_qwen_image
from tests.families.qwen_image_21 import qwen_image_21
from tests.tiny import tiny_pipeline

__all__ = [
    "FAMILIES",
    "FLOW_DPM",
    "KIN",
    "KINDS",
    "SIZE_PX",
    "WITH_LOADER",
    "as_the_engine",
    "ready",
    "size_of",
    "tiny",
]


def tiny(family: str, seed: int = 0) -> DiffusionPipeline:
    """Return a random pipeline of a family of `FAMILIES`."""
    torch.manual_seed(seed)
    return ready(FAMILIES[family]())


def ready(pipe: DiffusionPipeline) -> DiffusionPipeline:
    """Return a pipeline as loaded ones are, and silent."""
    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()  # as from_pretrained leaves them
    pipe.set_progress_bar_config(disable=True)
    return pipe


def size_of(pipe: DiffusionPipeline) -> int:
    """Return the side of a tiny pipeline's pictures, in pixels."""
    name = type(pipe).__name__
    if "QwenImage21" in name:
        return 8 * SIZE_PX
    if "Lumina2" in name or "Hunyuan" in name or "Kandinsky" in name:
        return 4 * SIZE_PX
    if "HiDream" in name:
        return 8 * SIZE_PX
    return 2 * SIZE_PX if "Sana" in name else SIZE_PX


def as_the_engine(
    pipe: DiffusionPipeline, num_steps: int, guidance_scale: float = 4.0
) -> dict[str, Any]:
    """Return what the family's own pipeline is told to paint as the engine does."""
    same: dict[str, Any] = {"num_inference_steps": num_steps}
    same |= {"width": size_of(pipe), "height": size_of(pipe)}
    if "QwenImage" in type(pipe).__name__:  # which guides from a negative prompt alone
        same |= {"true_cfg_scale": guidance_scale, "negative_prompt": " "}
    else:
        same |= {"guidance_scale": guidance_scale}
    if "PixArt" in type(pipe).__name__ or "Sana" in type(pipe).__name__:
        same |= {"use_resolution_binning": False, "clean_caption": False}
    if "Hunyuan" in type(pipe).__name__:
        same |= {"use_resolution_binning": False}
    if "Ideogram" in type(pipe).__name__:  # whose scale is a step's, unless it is told otherwise
        same |= {"guidance_schedule": None, "max_sequence_length": 64}
    if "Sprint" in type(pipe).__name__ and num_steps != 2:
        same |= {"intermediate_timesteps": None}
    return same


# of the models as they are published
FLOW_DPM = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "SD 1.x": tiny_pipeline,
    "SD 2.x": lambda: tiny_pipeline("v_prediction"),
    "SD LCM": lcm,
    "SDXL": lambda: sdxl(EulerDiscreteScheduler(**NOISE, steps_offset=1,
                                                 timestep_spacing="leading")),
    "SDXL Turbo": lambda: sdxl(
        EulerAncestralDiscreteScheduler(**NOISE, timestep_spacing="trailing"), zeros=False
    ),
    "PixArt-alpha": lambda: pixart(PixArtAlphaPipeline, 8),
    "PixArt-sigma": lambda: pixart(PixArtSigmaPipeline, 8),
    "PixArt-alpha 1024": lambda: pixart(PixArtAlphaPipeline, 128),
    "SD 3": sd3,
    "SD 3.5": lambda: sd3(qk_norm="rms_norm", dual_attention_layers=(0,)),
    "FLUX.1 dev": lambda: flux(dev=True),
    "FLUX.1 schnell": lambda: flux(dev=False),
    "Z-Image": lambda: z_image(turbo=False),
    "Z-Image-Turbo": lambda: z_image(turbo=True),
    "FLUX.2 klein": lambda: klein(distilled=True),
    "FLUX.2 klein base": lambda: klein(distilled=False),
    "SANA": lambda: sana(SanaPipeline, DPMSolverMultistepScheduler(**FLOW_DPM)),
    "SANA-Sprint": sana_sprint,
    "AuraFlow": aura_flow,
    "Qwen-Image": tiny_qwen_image,
    "Krea 2 Raw": lambda: tiny_krea2(distilled=False),
    "Krea 2 Turbo": lambda: tiny_krea2(distilled=True),
    "Chroma": chroma,
    "Lumina 2": lumina2,
    "HunyuanDiT": hunyuan_dit,
    "Kolors": kolors,
    "Qwen-Image 2.1": qwen_image_21,
    "Kandinsky 5": kandinsky5,
    "HiDream": hidream,
    "FLUX.2 dev": flux2_dev,
    "Ideogram 4": ideogram4,
}  # fmt: skip
# one of each kind of denoiser and of prompt, for what hardly depends on the family
KINDS = ("SD 1.x", "SDXL", "PixArt-sigma", "SD 3.5", "FLUX.1 dev")
# of another setting than the row beside them: all that is the family's own is tested with that, too
KIN = (
    "SD 2.x", "SD LCM", "SDXL Turbo", "PixArt-alpha", "PixArt-alpha 1024", "SD 3", "FLUX.1 schnell",
    "Z-Image-Turbo", "FLUX.2 klein base", "Krea 2 Turbo",
)  # fmt: skip
# diffusers loads LoRAs into these
WITH_LOADER = [family for family in FAMILIES if not family.startswith(("PixArt", "Hunyuan"))]
