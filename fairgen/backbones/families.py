"""The registry of families: which backbone a diffusers pipeline gets."""

from diffusers import DiffusionPipeline

from fairgen.backbones.aura_flow import AuraFlowBackbone
from fairgen.backbones.backbone import Backbone
from fairgen.backbones.chroma import ChromaBackbone
from fairgen.backbones.flux import FluxBackbone
from fairgen.backbones.flux2 import Flux2Backbone
from fairgen.backbones.flux2_dev import Flux2DevBackbone
from fairgen.backbones.hidream import HiDreamBackbone
from fairgen.backbones.hunyuan_dit import HunyuanDiTBackbone
from fairgen.backbones.ideogram4 import Ideogram4Backbone
from fairgen.backbones.kandinsky5 import Kandinsky5Backbone
from fairgen.backbones.kolors import KolorsBackbone
from fairgen.backbones.krea2 import Krea2Backbone
from fairgen.backbones.lumina2 import Lumina2Backbone
from fairgen.backbones.pixart import PixArtBackbone
from fairgen.backbones.qwen_image import QwenImageBackbone
from fairgen.backbones.qwen_image_21 import QwenImage21Backbone
from fairgen.backbones.sana import SanaBackbone, SanaSprintBackbone
from fairgen.backbones.stable_diffusion import StableDiffusionBackbone
from fairgen.backbones.stable_diffusion_3 import StableDiffusion3Backbone
from fairgen.backbones.stable_diffusion_xl import StableDiffusionXLBackbone
from fairgen.backbones.z_image import ZImageBackbone

FAMILIES: list[type[Backbone]] = [
    StableDiffusionBackbone,
    StableDiffusionXLBackbone,
    PixArtBackbone,
    StableDiffusion3Backbone,
    FluxBackbone,
    ZImageBackbone,
    Flux2Backbone,
    SanaBackbone,
    SanaSprintBackbone,
    AuraFlowBackbone,
    QwenImageBackbone,
    Krea2Backbone,
    ChromaBackbone,
    Lumina2Backbone,
    HunyuanDiTBackbone,
    KolorsBackbone,
    QwenImage21Backbone,
    Kandinsky5Backbone,
    HiDreamBackbone,
    Flux2DevBackbone,
    Ideogram4Backbone,
]


def register_backbone(family: type[Backbone]) -> type[Backbone]:
    """Add a family, which then comes before those of its pipelines' base classes; a decorator.

    Raises ValueError for a family that names no pipelines.
    """
    if not getattr(family, "pipelines", ()):
        raise ValueError(f"pipelines: got none of {family.__name__}, allowed are one or more")
    FAMILIES.insert(0, family)
    return family


def load_backbone(
    pipe: DiffusionPipeline, size_px: int = 0, instruction: str | None = None
) -> Backbone:
    """Return the family's backbone around a pipeline; `size_px` is a picture's side where none is
    asked for, 0 the model's own. `instruction` is put before each prompt, in place of what the
    pipeline puts there itself.

    Raises ValueError that lists the families, and for an instruction of one that has none.
    """
    for family in FAMILIES:
        if isinstance(pipe, family.pipelines):
            return family(pipe, size_px, instruction)
    known = sorted(cls.__name__ for family in FAMILIES for cls in family.pipelines)
    raise ValueError(
        f"base: got a {type(pipe).__name__}, allowed are {known}; another family takes a file of "
        "its own, which says how it encodes, what one pass of its denoiser is, and which layers "
        "read the prompt: docs/new-family.md"
    )
