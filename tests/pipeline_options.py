"""Set-ups of tiny pipelines: what a pipeline may be told besides, and what its passes read then."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate import cpu_offload, cpu_offload_with_hook
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    ControlNetModel,
    DiffusionPipeline,
    FluxControlNetModel,
    FluxControlNetPipeline,
    SanaControlNetModel,
    SanaControlNetPipeline,
    SanaSprintImg2ImgPipeline,
    SD3ControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
)
from diffusers.hooks import apply_group_offloading
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import Tensor, nn

from fairgen.adapters import Adapter, AdapterMetadata, save_adapter
from fairgen.backbones import load_backbone
from fairgen.base_model import fingerprint
from tests.families import SIZE_PX, ready, tiny
from tests.tiny import GENDER

PROMPT = "a photo of a doctor"
STEPS = 4
UNETS = ("SD 1.x", "SDXL")
GUIDED = (*UNETS, "PixArt-sigma", "SD 3", "SD 3.5", "SANA")
TOLD = ("FLUX.1 dev", "SANA-Sprint")  # their guidance, beside the one prompt
ALL = (*GUIDED, *TOLD)
WITH_LORA = tuple(family for family in ALL if "PixArt" not in family)


@dataclass
class Case:
    """A pipeline set up in some way, how it is called, and what its passes are to read: "u" for
    unconditional and "c" for conditional, a letter for both of its pictures.
    """

    pipe: DiffusionPipeline
    options: dict[str, Any]
    passes: list[str]
    lora: Adapter | None = None  # of the user, on the pipeline beside ours
    load_later: Callable[[], None] = lambda: None  # once our adapters are on it
    alike: DiffusionPipeline | None = None  # has what is on the pipeline, if it is more than a LoRA


def adapters_for(pipe: DiffusionPipeline, rank: int = 2, size: float = 0.5) -> list[Adapter]:
    """Return random adapters of visible size, one a category, on all projections."""
    backbone, adapters = load_backbone(pipe), []
    for seed, category in enumerate(GENDER.categories):
        draw = torch.Generator().manual_seed(seed)
        directions = {}
        for path in backbone.projections("qkvo"):
            layer = backbone.denoiser.get_submodule(path)
            layer = getattr(layer, "base_layer", layer)
            down = torch.randn(rank, layer.in_features, generator=draw) / layer.in_features**0.5
            directions[path] = down, torch.randn(layer.out_features, rank, generator=draw) * size
        metadata = AdapterMetadata(
            attribute="gender", category=category.name, word=category.word, rank=rank, alpha=rank,
            eta=1.0, base_fingerprint=fingerprint(backbone.denoiser), projections="qkvo",
            recipe_hash="0123", denoiser_name=backbone.denoiser_name,
        )  # fmt: skip
        adapters.append(Adapter(metadata, directions))
    return adapters


def call_options(family: str, guidance_scale: float = 4.0) -> dict[str, Any]:
    side = 2 * SIZE_PX if "SANA" in family else SIZE_PX
    options = {"num_inference_steps": STEPS, "height": side, "width": side}
    return options | {"guidance_scale": guidance_scale}


def usual_passes(family: str) -> list[str]:
    return ["c" if family in TOLD else "uc"] * STEPS


def as_usual(family: str) -> Case:
    return Case(tiny(family), call_options(family), usual_passes(family))


def without_guidance(family: str) -> Case:
    return Case(tiny(family), call_options(family, 1.0), ["c"] * STEPS)


def negative_prompt(family: str) -> Case:
    case = as_usual(family)
    case.options["negative_prompt"] = "a car"
    return case


def true_guidance(family: str) -> Case:
    """A negative prompt with a pass of its own beside the embedded guidance."""
    case = negative_prompt(family)
    case.options["true_cfg_scale"] = 3.0
    case.passes = ["c", "u"] * STEPS
    return case


def skip_layer_guidance(family: str) -> Case:
    case = as_usual(family)
    case.options |= {"skip_guidance_layers": [0], "skip_layer_guidance_stop": 1.0,
                     "skip_layer_guidance_start": 0.0}  # fmt: skip
    case.passes = ["uc"] + ["uc", "c"] * (STEPS - 1)
    return case


def perturbed_attention(family: str, guidance_scale: float = 4.0) -> Case:
    layers = "mid" if family in UNETS else "blocks.1"
    pipe = AutoPipelineForText2Image.from_pipe(
        tiny(family), enable_pag=True, pag_applied_layers=[layers]
    )
    pipe.set_progress_bar_config(disable=True)
    letters = "ucc" if guidance_scale > 1 else "cc"
    return Case(pipe, call_options(family, guidance_scale), [letters] * STEPS)


def perturbed_attention_alone(family: str) -> Case:
    return perturbed_attention(family, 1.0)


def guidance_that_ends(family: str) -> Case:
    """The documented callback that turns guidance off half-way."""
    case, inputs = as_usual(family), ["prompt_embeds"]
    if family == "SDXL":
        inputs += ["add_text_embeds", "add_time_ids"]
    if "SD 3" in family:
        inputs += ["pooled_prompt_embeds"]

    def end(pipe: Any, index: int, _: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if index + 1 != STEPS // 2:
            return {}
        pipe._guidance_scale = 0.0
        return {name: tensors[name].chunk(2)[-1] for name in inputs}

    case.options |= {"callback_on_step_end": end, "callback_on_step_end_tensor_inputs": inputs}
    case.passes = ["uc"] * (STEPS // 2) + ["c"] * (STEPS // 2)
    return case


def embedded_prompt(family: str) -> Case:
    case = as_usual(family)
    names = {
        "SD 1.x": ("prompt_embeds", "negative_prompt_embeds"),
        "SDXL": ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
                 "negative_pooled_prompt_embeds"),
        "PixArt-sigma": ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds",
                         "negative_prompt_attention_mask"),
        "SD 3": ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
                   "negative_pooled_prompt_embeds"),
        "FLUX.1 dev": ("prompt_embeds", "pooled_prompt_embeds"),
        "SANA": ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds",
                 "negative_prompt_attention_mask"),
        "SANA-Sprint": ("prompt_embeds", "prompt_attention_mask"),
    }[family.replace("3.5", "3")]  # fmt: skip
    encode: Any = case.pipe.encode_prompt
    with torch.no_grad():
        if family == "SD 1.x":
            encoded = encode(PROMPT, "cpu", 1, True)
        elif family == "SANA-Sprint":
            encoded = encode(PROMPT)
        elif family in ("PixArt-sigma", "SANA"):
            encoded = encode(PROMPT, True)
        elif family == "SDXL":
            encoded = encode(PROMPT, do_classifier_free_guidance=True)
        else:
            encoded = encode(*([PROMPT] + [None] * (2 if "SD 3" in family else 1)))
    case.options |= dict(zip(names, encoded, strict=False))
    case.options["prompt_embeds"] = case.options["prompt_embeds"] * 1.1  # a weighted prompt
    case.options["prompt"] = None
    if family in ("PixArt-sigma", "SANA"):
        case.options["negative_prompt"] = None
    return case


def picture() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 255, (SIZE_PX, SIZE_PX, 3), np.uint8)
    return Image.fromarray(values)


def image_to_image(family: str) -> Case:
    case = as_usual(family)
    if family == "SANA-Sprint":  # which AutoPipeline does not know
        case.pipe = ready(SanaSprintImg2ImgPipeline(**case.pipe.components))
    else:
        case.pipe = AutoPipelineForImage2Image.from_pipe(case.pipe)
    case.options |= {"image": picture(), "strength": 0.5}
    case.passes = usual_passes(family)[: STEPS // 2]
    return case


def inpainting(family: str) -> Case:
    case = as_usual(family)
    case.pipe = AutoPipelineForInpainting.from_pipe(case.pipe)
    mask = Image.new("L", (SIZE_PX, SIZE_PX), 255)
    case.options |= {"image": picture(), "mask_image": mask, "strength": 1.0}
    return case


def controlnet(family: str) -> Case:
    case = as_usual(family)
    pipe, parts = case.pipe, dict(case.pipe.components)
    torch.manual_seed(5)
    kinds: dict[str, tuple[Callable[[], nn.Module], type[DiffusionPipeline]]] = {
        "SD 1.x": (lambda: ControlNetModel.from_unet(pipe.unet,
                                                     conditioning_embedding_out_channels=(4, 8)),
                   StableDiffusionControlNetPipeline),
        "SDXL": (lambda: ControlNetModel.from_unet(pipe.unet,
                                                   conditioning_embedding_out_channels=(4, 8)),
                 StableDiffusionXLControlNetPipeline),
        "SD 3": (lambda: SD3ControlNetModel.from_transformer(pipe.transformer, num_layers=1,
                                                             num_extra_conditioning_channels=0),
                 StableDiffusion3ControlNetPipeline),
        "FLUX.1 dev": (lambda: FluxControlNetModel(
                           **{name: pipe.transformer.config[name] for name in (
                               "in_channels", "attention_head_dim", "num_attention_heads",
                               "joint_attention_dim", "pooled_projection_dim", "guidance_embeds",
                               "axes_dims_rope")}, num_layers=1, num_single_layers=1),
                       FluxControlNetPipeline),
        "SANA": (lambda: SanaControlNetModel.from_config(pipe.transformer.config, num_layers=1),
                 SanaControlNetPipeline),
    }  # fmt: skip
    make, kind = kinds[family.replace("3.5", "3")]
    if family == "SD 1.x":
        parts["requires_safety_checker"] = False
    case.pipe = kind(**parts, controlnet=make().eval())
    case.pipe.set_progress_bar_config(disable=True)
    name = "image" if family in UNETS else "control_image"
    case.options[name] = picture()
    return case


def lora_after(family: str) -> Case:
    """A LoRA that the user loads into the pipeline that ours are on already."""
    case = as_usual(family)
    case.lora = adapters_for(case.pipe, size=0.2)[1]
    pipe: Any = case.pipe

    def load() -> None:
        with TemporaryDirectory() as folder:
            save_adapter(case.lora, Path(folder))
            pipe.load_lora_weights(folder)

    case.load_later = load
    return case


def lora_before(family: str) -> Case:
    case = lora_after(family)
    case.load_later()
    case.load_later = lambda: None
    return case


def peft_model(family: str) -> Case:
    """A denoiser in PEFT's own wrapper, with a LoRA of the user."""
    case = as_usual(family)
    case.lora = adapters_for(case.pipe, size=0.2)[1]
    backbone, directions = load_backbone(case.pipe), case.lora.directions
    rank = case.lora.metadata.rank
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(directions))
    wrapped = get_peft_model(backbone.denoiser, config).eval()
    for path, (down, up) in directions.items():
        layer = backbone.denoiser.get_submodule(path)
        layer.lora_A["default"].weight.data.copy_(down)
        layer.lora_B["default"].weight.data.copy_(up)
    setattr(case.pipe, backbone.denoiser_name, wrapped)
    return case


def load_ip_adapter(pipe: Any) -> None:
    """Load a random IP-Adapter, whose pictures are embedded in eight numbers."""
    denoiser, draw = load_backbone(pipe).denoiser, torch.Generator().manual_seed(1)
    is_unet, layers = hasattr(pipe, "unet"), {}
    names = [n for n in denoiser.attn_processors if "attn2" in n or n.startswith("transformer_")]
    for index, name in enumerate(names):
        attention = denoiser.get_submodule(name.rpartition(".")[0])
        reads_text = attention.to_k if is_unet else attention.add_k_proj
        key = 2 * index + 1 if is_unet else index
        for part in ("to_k_ip", "to_v_ip"):
            weight = torch.randn(reads_text.weight.shape, generator=draw) * 0.1
            layers[f"{key}.{part}.weight"] = weight
            if not is_unet:
                layers[f"{key}.{part}.bias"] = torch.zeros(len(weight))
    width = reads_text.in_features
    projection = {
        "proj.weight": torch.randn(4 * width, 8, generator=draw),
        "proj.bias": torch.zeros(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    weights = {"image_proj": projection, "ip_adapter": layers}
    encoder = "image_encoder_folder" if is_unet else "image_encoder_pretrained_model_name_or_path"
    pipe.load_ip_adapter(weights, subfolder="", weight_name="", **{encoder: None})


def ip_adapter_after(family: str) -> Case:
    """A picture as a prompt beside the words, by an IP-Adapter that is loaded after ours."""
    case, alike = as_usual(family), tiny(family)
    load_ip_adapter(alike)
    case.alike, case.load_later = alike, lambda: load_ip_adapter(case.pipe)
    shown, none = torch.ones(1, 1, 8), torch.zeros(1, 1, 8)
    case.options |= (
        {"ip_adapter_image_embeds": [torch.cat([none, shown])]}
        if family in UNETS
        else {"ip_adapter_image_embeds": [shown], "negative_ip_adapter_image_embeds": [none]}
    )
    return case


def ip_adapter_before(family: str) -> Case:
    case = ip_adapter_after(family)
    case.load_later()
    case.load_later = lambda: None
    return case


def compiled_in_place(family: str) -> Case:
    case = as_usual(family)
    denoiser = load_backbone(case.pipe).denoiser
    for parameter in denoiser.parameters():
        parameter.requires_grad_(False)
    denoiser.compile(backend="eager")
    return case


def compiled_wrapper(family: str) -> Case:
    case = as_usual(family)
    backbone = load_backbone(case.pipe)
    compiled = torch.compile(backbone.denoiser.requires_grad_(False), backend="eager")
    setattr(case.pipe, backbone.denoiser_name, compiled)
    return case


def compiled_blocks(family: str) -> Case:
    case = as_usual(family)
    denoiser = load_backbone(case.pipe).denoiser.requires_grad_(False)
    denoiser.compile_repeated_blocks(backend="eager", fullgraph=True)
    return case


def fused_projections(family: str) -> Case:
    case = as_usual(family)
    load_backbone(case.pipe).denoiser.fuse_qkv_projections()
    return case


def group_offload(family: str) -> Case:
    case = as_usual(family)
    apply_group_offloading(
        load_backbone(case.pipe).denoiser, onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"), offload_type="leaf_level",
    )  # fmt: skip
    return case


def model_offload(family: str) -> Case:
    """A denoiser that comes to its device for its pass, as `enable_model_cpu_offload` leaves it."""
    case = as_usual(family)
    cpu_offload_with_hook(load_backbone(case.pipe).denoiser, execution_device="cpu")
    return case


def sequential_offload(family: str) -> Case:
    """Weights on no device until a layer runs, as `enable_sequential_cpu_offload` leaves them."""
    case = as_usual(family)
    cpu_offload(load_backbone(case.pipe).denoiser, execution_device="cpu")
    return case


OPTIONS: dict[str, tuple[Callable[[str], Case], tuple[str, ...]]] = {
    "guidance": (as_usual, ALL),
    "no guidance": (without_guidance, ALL),
    "negative prompt": (negative_prompt, GUIDED),
    "true CFG": (true_guidance, ("FLUX.1 dev",)),
    "skip-layer guidance": (skip_layer_guidance, ("SD 3.5",)),
    "perturbed attention (PAG)": (perturbed_attention, (*UNETS, "PixArt-sigma", "SD 3", "SANA")),
    "PAG without guidance": (perturbed_attention_alone, (*UNETS, "PixArt-sigma", "SD 3", "SANA")),
    "guidance that ends half-way": (guidance_that_ends, (*UNETS, "SD 3", "SD 3.5")),
    "embedded prompt": (embedded_prompt, ALL),
    "image to image": (image_to_image, tuple(f for f in WITH_LORA if f != "SANA")),
    "inpainting": (inpainting, (*UNETS, "FLUX.1 dev")),
    "ControlNet": (controlnet, tuple(f for f in WITH_LORA if f != "SANA-Sprint")),
    "`compile()`": (compiled_in_place, ALL),
    "`torch.compile(...)`": (compiled_wrapper, ALL),
    "`compile_repeated_blocks`": (compiled_blocks, (*UNETS, "FLUX.1 dev")),
    "`fuse_qkv_projections`": (
        fused_projections,
        (*UNETS, "PixArt-sigma", "SD 3", "FLUX.1 dev", "SANA", "SANA-Sprint"),
    ),
    "another LoRA, before": (lora_before, WITH_LORA),
    "another LoRA, after": (lora_after, WITH_LORA),
    "a `PeftModel`": (peft_model, (*UNETS, "SD 3.5", "FLUX.1 dev")),
    "an IP-Adapter, before": (ip_adapter_before, (*UNETS, "FLUX.1 dev")),
    "an IP-Adapter, after": (ip_adapter_after, (*UNETS, "FLUX.1 dev")),
    "model offload": (model_offload, ALL),
    "group offload": (group_offload, ALL),
    "sequential offload": (sequential_offload, ALL),
}
