"""Tiny pipelines that diffuse: UNets, and transformers of PixArt."""

from typing import Any

import torch
from diffusers import (
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    PixArtTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from fairgen.portraits import build_tokenizer
from tests.families.codecs import vae
from tests.families.encoders import clip, t5
from tests.tiny import tiny_pipeline

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def unet(**options: Any) -> UNet2DConditionModel:
    """Return a UNet that reads prompts by cross-attention."""
    return UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=4,
        **options,
    )


def lcm() -> DiffusionPipeline:
    """Return a distilled pipeline, whose guidance is an input."""
    parts = dict(tiny_pipeline().components)
    parts["unet"] = unet(cross_attention_dim=16, time_cond_proj_dim=8)
    parts["scheduler"] = LCMScheduler(**NOISE, clip_sample=False)
    return StableDiffusionPipeline(**parts, requires_safety_checker=False)


def sdxl(
    scheduler: Any, zeros: bool = True, widths: tuple[int, int] = (16, 16)
) -> DiffusionPipeline:
    """Return a pipeline of Stable Diffusion XL, with encoders of such widths, 32 together."""
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip(width=widths[0]),
        text_encoder_2=clip(projected=True, width=widths[1]),
        tokenizer=build_tokenizer(),
        tokenizer_2=build_tokenizer(),
        unet=unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=16 + 6 * 4,
        ),
        scheduler=scheduler,
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    )


def pixart(kind: type[DiffusionPipeline], sample_size: int) -> DiffusionPipeline:
    """Return a pipeline of PixArt, for latents of so many pixels."""
    transformer = PixArtTransformer2DModel(
        num_attention_heads=3,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        norm_num_groups=2,
        cross_attention_dim=24,
        sample_size=sample_size,
        patch_size=2,
        caption_channels=32,
        use_additional_conditions=sample_size == 128,
    )
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.3)
    scheduler = DPMSolverMultistepScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02)
    return kind(vae=vae(), transformer=transformer, scheduler=scheduler, **t5())
