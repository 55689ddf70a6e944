"""Tiny pipelines of flows."""

from typing import Any

from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderKLFlux2,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)

from fairgen.portraits import build_tokenizer
from tests.families.codecs import SIZE_PX, dc, vae
from tests.families.encoders import clip, gemma, qwen3, t5


def sd3(channels: int = 4, **options: Any) -> DiffusionPipeline:
    """Return a pipeline of Stable Diffusion 3, with latents of so many channels."""
    reader = t5()
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=channels,
        out_channels=channels,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
        **options,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(channels, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False,
                 use_post_quant_conv=False),
        text_encoder=clip(projected=True),
        tokenizer=build_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=build_tokenizer(),
        text_encoder_3=reader["text_encoder"],
        tokenizer_3=reader["tokenizer"],
    )  # fmt: skip


def flux(dev: bool) -> DiffusionPipeline:
    """Return a pipeline of FLUX.1, dev or schnell."""
    reader = t5()
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=dev,
        axes_dims_rope=(4, 4, 8),
    )
    return FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0 if dev else 1.0, use_dynamic_shifting=dev
        ),
        vae=vae(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False,
                 use_post_quant_conv=False),
        text_encoder=clip(),
        tokenizer=build_tokenizer(),
        text_encoder_2=reader["text_encoder"],
        tokenizer_2=reader["tokenizer"],
    )  # fmt: skip


def z_image(turbo: bool) -> DiffusionPipeline:
    """Return a pipeline of Z-Image."""
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        cap_feat_dim=32, axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    return ZImagePipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if turbo else 6.0),
        vae=vae(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False,
                 use_post_quant_conv=False),
        **qwen3(),
    )  # fmt: skip


def klein(distilled: bool) -> DiffusionPipeline:
    """Return a pipeline of FLUX.2 klein."""
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=48, timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    for parameter in transformer.parameters():  # so that prompts are seen in the pictures
        parameter.data *= 1.5
    codec = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        latent_channels=4,
        norm_num_groups=2,
        sample_size=SIZE_PX,
    )
    codec.bn.running_mean.normal_(std=0.2)
    codec.bn.running_var.uniform_(0.5, 2)
    return Flux2KleinPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=codec,
        is_distilled=distilled,
        **qwen3(width=16, num_layers=28),
    )


def sana(kind: type[DiffusionPipeline], scheduler: Any, **options: Any) -> DiffusionPipeline:
    """Return a pipeline of SANA."""
    transformer = SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=16,
        cross_attention_dim=32,
        caption_channels=32,
        sample_size=8,
        **options,
    )
    return kind(vae=dc(), transformer=transformer, scheduler=scheduler, **gemma())


def sana_sprint() -> DiffusionPipeline:
    """Return a pipeline of SANA-Sprint."""
    return sana(
        SanaSprintPipeline, SCMScheduler(), guidance_embeds=True, qk_norm="rms_norm_across_heads"
    )


def aura_flow() -> DiffusionPipeline:
    """Return a pipeline of AuraFlow."""
    transformer = AuraFlowTransformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=2,
        attention_head_dim=8, num_attention_heads=2, joint_attention_dim=32,
        caption_projection_dim=16, out_channels=4, pos_embed_max_size=256,
    )  # fmt: skip
    for parameter in transformer.parameters():  # prompts are few of 264 tokens, and barely seen
        parameter.data *= 2
    return AuraFlowPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
        vae=vae(scaling_factor=0.13025),
        **t5(multilingual=True),
    )
