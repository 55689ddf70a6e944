"""Tiny pipelines as one file: their tensors under the names that checkpoints in one file have."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from tests.families import ready, tiny
from tests.families.diffusion import sdxl

Tensors = dict[str, Tensor]
_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_CODEC_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding": "token_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers.": "transformer.resblocks.",
    "layer_norm": "ln_",
    ".fc1.": ".c_fc.",
    ".fc2.": ".c_proj.",
    ".self_attn": ".attn",
}


def latent_diffusion(pipe: DiffusionPipeline) -> Tensors:
    """Return the tensors of a Stable Diffusion 1.x or XL pipeline."""
    found = {f"model.diffusion_model.{k}": v for k, v in _unet(pipe.unet).items()}
    found |= {f"first_stage_model.{k}": v for k, v in _codec(pipe.vae.state_dict()).items()}
    is_xl = "text_encoder_2" in pipe.components
    first = "conditioner.embedders.0" if is_xl else "cond_stage_model"
    encoder = pipe.text_encoder.state_dict()
    found |= {f"{first}.transformer.text_model.{k}": v for k, v in encoder.items()}
    if is_xl:
        encoder = _open_clip(pipe.text_encoder_2.state_dict())
        found |= {f"conditioner.embedders.1.model.{k}": v for k, v in encoder.items()}
    return found


def z_image(pipe: DiffusionPipeline) -> Tensors:
    """Return the tensors of a Z-Image pipeline's transformer."""
    found: Tensors = {}
    for name, tensor in pipe.transformer.state_dict().items():
        name = name.replace("all_final_layer.2-1.", "final_layer.")
        name = name.replace("all_x_embedder.2-1.", "x_embedder.")
        name = name.replace(".attention.to_out.0.", ".attention.out.")
        name = re.sub(r"\.attention\.norm_([kq])\.", r".attention.\1_norm.", name)
        found[f"model.diffusion_model.{name}"] = tensor
    return found


def _unet(unet: UNet2DConditionModel) -> Tensors:
    per_block = unet.config.layers_per_block
    found = {}
    for name, tensor in unet.state_dict().items():
        for ours, theirs in _TOP.items():
            name = re.sub(rf"^{re.escape(ours)}\.", f"{theirs}.", name)
        if match := re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name):
            side, block, kind, layer, rest = match.groups()
            where = "input_blocks" if side == "down" else "output_blocks"
            first = int(block) * (per_block + 1) + (side == "down")
            match kind:
                case "resnets":
                    name = f"{where}.{first + int(layer)}.0.{rest}"
                case "attentions":
                    name = f"{where}.{first + int(layer)}.1.{rest}"
                case "downsamplers":
                    name = f"{where}.{first + per_block}.0.{rest.replace('conv', 'op')}"
                case "upsamplers":
                    behind = 2 if hasattr(unet.up_blocks[int(block)], "attentions") else 1
                    name = f"{where}.{first + per_block}.{behind}.{rest}"
        if re.match(r"(input|output)_blocks\.\d+\.0\.|middle_block\.[02]\.", name):
            for ours, theirs in _RESNET.items():
                name = name.replace(f".{ours}.", f".{theirs}.")
        found[name] = tensor
    return found


def _open_clip(tensors: Tensors) -> Tensors:
    found: Tensors = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("text_model.")
        for ours, theirs in _OPEN_CLIP.items():
            name = name.replace(ours, theirs)
        if match := re.search(r"attn\.([qkv])_proj\.(weight|bias)", name):
            joined = name.replace(match[0], f"attn.in_proj_{match[2]}")
            order = ["q", "k", "v"].index(match[1])
            whole = found.setdefault(joined, torch.empty(3 * len(tensor), *tensor.shape[1:]))
            whole[order * len(tensor) : (order + 1) * len(tensor)] = tensor
        elif name == "text_projection.weight":
            found["text_projection"] = tensor.T
        else:
            found[name] = tensor
    return found


def _codec(tensors: Tensors) -> Tensors:
    num_blocks = len({name.split(".")[2] for name in tensors if ".up_blocks." in name})
    found = {}
    for name, tensor in tensors.items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
        if match := re.search(r"up_blocks\.(\d+)\.", name):
            name = name.replace(match[0], f"up.{num_blocks - 1 - int(match[1])}.")
            name = name.replace(".resnets.", ".block.").replace(".upsamplers.0.", ".upsample.")
        name = re.sub(r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", name)
        if "mid_block.attentions.0." in name:
            name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
            for ours, theirs in _CODEC_ATTENTION.items():
                name = name.replace(f".attn_1.{ours}.", f".attn_1.{theirs}.")
            if tensor.ndim == 2:
                tensor = tensor[:, :, None, None]  # a convolution of one pixel there
        found[
            name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        ] = tensor
    return found


FORMS: dict[str, tuple[Callable[[DiffusionPipeline], Tensors], tuple[str, ...]]] = {
    "SD 1.x": (latent_diffusion, ("unet", "vae", "text_encoder")),
    "SD 2.x": (latent_diffusion, ("unet", "vae", "text_encoder")),
    "SDXL": (latent_diffusion, ("unet", "vae", "text_encoder", "text_encoder_2")),
    "Z-Image": (z_image, ("transformer",)),
    "FLUX.1 dev": (lambda pipe: pipe.transformer.state_dict(), ("transformer",)),
    "FLUX.2 klein": (lambda pipe: pipe.transformer.state_dict(), ("transformer",)),
    "AuraFlow": (lambda pipe: pipe.transformer.state_dict(), ("transformer",)),
    "SD 3.5": (lambda pipe: pipe.transformer.state_dict(), ("transformer",)),
}


def save_in_one_file(family: str, folder: Path) -> tuple[DiffusionPipeline, Path, Path]:
    """Return a pipeline, its file, and its configuration with another seed's weights in all parts
    that the file does not hold, and with none in those that it does.
    """
    pipe = tiny(family)
    if family == "SDXL":  # whose encoders are told apart by their widths
        pipe = ready(sdxl(pipe.scheduler, widths=(8, 24)))
    form, held = FORMS[family]
    file, config = folder / "model.safetensors", folder / "config"
    save_file({name: tensor.contiguous().clone() for name, tensor in form(pipe).items()}, file)
    pipe.save_pretrained(config)
    for part in held:
        for weights in (config / part).glob("*.safetensors"):
            weights.unlink()
    return pipe, file, config
