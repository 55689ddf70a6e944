"""Tiny pipelines of every family, of real classes: random weights, but complete.

Latents are 8 x 8, pictures 16 pixels wide, whatever the family; SANA's are 32 pixels wide, since
its pipelines take multiples of that only.
"""

import inspect
import json
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    LCMScheduler,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from fairgen.portraits import build_tokenizer
from fairgen.portraits.world import vocabulary
from tests.language_models import qwen3
from tests.tiny import tiny_pipeline

SIZE_PX = 16
_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


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
    return 2 * SIZE_PX if "Sana" in type(pipe).__name__ else SIZE_PX


def as_the_engine(pipe: DiffusionPipeline, num_steps: int) -> dict[str, Any]:
    """Return what the family's own pipeline is told to paint as the engine does."""
    same: dict[str, Any] = {"num_inference_steps": num_steps, "guidance_scale": 4.0}
    same |= {"width": size_of(pipe), "height": size_of(pipe)}
    if "PixArt" in type(pipe).__name__ or "Sana" in type(pipe).__name__:
        same |= {"use_resolution_binning": False, "clean_caption": False}
    if "Sprint" in type(pipe).__name__ and num_steps != 2:
        same |= {"intermediate_timesteps": None}
    return same


def _clip(projected: bool = False) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(build_tokenizer()),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=16,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def _t5(multilingual: bool = False) -> dict[str, Any]:
    words = ["<pad>", "</s>", "<unk>", "\u2581", *(f"\u2581{word}" for word in vocabulary())]
    tokenizer = T5Tokenizer(vocab=[(word, -float(i)) for i, word in enumerate(words)], extra_ids=0)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    encoder = (
        UMT5EncoderModel(UMT5Config(vocab_size=len(words), **size))
        if multilingual
        else T5EncoderModel(T5Config(vocab_size=len(words), **size))
    )
    return {"tokenizer": tokenizer, "text_encoder": encoder}


def _vae(latent_channels: int = 4, **options: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        latent_channels=latent_channels,
        norm_num_groups=2,
        sample_size=SIZE_PX,
        **options,
    )


def _unet(**options: Any) -> UNet2DConditionModel:
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


def _lcm() -> DiffusionPipeline:
    parts = dict(tiny_pipeline().components)
    parts["unet"] = _unet(cross_attention_dim=16, time_cond_proj_dim=8)
    parts["scheduler"] = LCMScheduler(**_NOISE, clip_sample=False)
    return StableDiffusionPipeline(**parts, requires_safety_checker=False)


def _sdxl(scheduler: Any, zeros: bool = True) -> DiffusionPipeline:
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_clip(),
        text_encoder_2=_clip(projected=True),
        tokenizer=build_tokenizer(),
        tokenizer_2=build_tokenizer(),
        unet=_unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=16 + 6 * 4,
        ),
        scheduler=scheduler,
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    )


def _pixart(kind: type[DiffusionPipeline], sample_size: int) -> DiffusionPipeline:
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
    return kind(vae=_vae(), transformer=transformer, scheduler=scheduler, **_t5())


def sd3(channels: int = 4, **options: Any) -> DiffusionPipeline:
    """Return a pipeline of Stable Diffusion 3, with latents of so many channels."""
    t5 = _t5()
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
        vae=_vae(channels, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False,
                 use_post_quant_conv=False),
        text_encoder=_clip(projected=True),
        tokenizer=build_tokenizer(),
        text_encoder_2=_clip(projected=True),
        tokenizer_2=build_tokenizer(),
        text_encoder_3=t5["text_encoder"],
        tokenizer_3=t5["tokenizer"],
    )  # fmt: skip


def _flux(dev: bool) -> DiffusionPipeline:
    t5 = _t5()
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
        vae=_vae(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False,
                 use_post_quant_conv=False),
        text_encoder=_clip(),
        tokenizer=build_tokenizer(),
        text_encoder_2=t5["text_encoder"],
        tokenizer_2=t5["tokenizer"],
    )  # fmt: skip


def _z_image(turbo: bool) -> DiffusionPipeline:
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        cap_feat_dim=32, axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    return ZImagePipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if turbo else 6.0),
        vae=_vae(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False,
                 use_post_quant_conv=False),
        **qwen3(),
    )  # fmt: skip


def _klein(distilled: bool) -> DiffusionPipeline:
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=48, timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    for parameter in transformer.parameters():  # so that prompts are seen in the pictures
        parameter.data *= 1.5
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        latent_channels=4,
        norm_num_groups=2,
        sample_size=SIZE_PX,
    )
    vae.bn.running_mean.normal_(std=0.2)
    vae.bn.running_var.uniform_(0.5, 2)
    return Flux2KleinPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=vae,
        is_distilled=distilled,
        **qwen3(width=16, num_layers=28),
    )


def _gemma() -> dict[str, Any]:
    """Return a tokenizer of bytes' pairs, learnt from the world's words, and a language model."""
    call = inspect.signature(SanaPipeline.__call__).parameters
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    learnt.train_from_iterator(
        [" ".join(vocabulary()) * 3, *call["complex_human_instruction"].default],
        trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False),
    )
    found = json.loads(learnt.to_str())["model"]
    pairs = [tuple(pair) for pair in found["merges"]]
    tokenizer = GemmaTokenizer(vocab=found["vocab"], merges=pairs, add_bos_token=True)
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        initializer_range=0.5,  # or no word is told from another
    )
    return {"tokenizer": tokenizer, "text_encoder": Gemma2Model(config)}


def dc(**options: Any) -> AutoencoderDC:
    """Return a codec of deep compression that takes a quarter of each side."""
    least: dict[str, Any] = {
        "latent_channels": 4,
        "attention_head_dim": 4,
        "encoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
        "decoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
        "encoder_block_out_channels": (4, 8, 8),
        "decoder_block_out_channels": (4, 8, 8),
        "encoder_layers_per_block": (1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1),
        "encoder_qkv_multiscales": ((), (), (5,)),
        "decoder_qkv_multiscales": ((), (), (5,)),
        "scaling_factor": 0.41407,
    }
    return AutoencoderDC(**least | options)


def _sana(kind: type[DiffusionPipeline], scheduler: Any, **options: Any) -> DiffusionPipeline:
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
    return kind(vae=dc(), transformer=transformer, scheduler=scheduler, **_gemma())


def _sana_sprint() -> DiffusionPipeline:
    return _sana(
        SanaSprintPipeline, SCMScheduler(), guidance_embeds=True, qk_norm="rms_norm_across_heads"
    )


def _aura_flow() -> DiffusionPipeline:
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
        vae=_vae(scaling_factor=0.13025),
        **_t5(multilingual=True),
    )


# of the models as they are published
FLOW_DPM = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "SD 1.x": tiny_pipeline,
    "SD 2.x": lambda: tiny_pipeline("v_prediction"),
    "SD LCM": _lcm,
    "SDXL": lambda: _sdxl(EulerDiscreteScheduler(**_NOISE, steps_offset=1,
                                                 timestep_spacing="leading")),
    "SDXL Turbo": lambda: _sdxl(
        EulerAncestralDiscreteScheduler(**_NOISE, timestep_spacing="trailing"), zeros=False
    ),
    "PixArt-alpha": lambda: _pixart(PixArtAlphaPipeline, 8),
    "PixArt-sigma": lambda: _pixart(PixArtSigmaPipeline, 8),
    "PixArt-alpha 1024": lambda: _pixart(PixArtAlphaPipeline, 128),
    "SD 3": sd3,
    "SD 3.5": lambda: sd3(qk_norm="rms_norm", dual_attention_layers=(0,)),
    "FLUX.1 dev": lambda: _flux(dev=True),
    "FLUX.1 schnell": lambda: _flux(dev=False),
    "Z-Image": lambda: _z_image(turbo=False),
    "Z-Image-Turbo": lambda: _z_image(turbo=True),
    "FLUX.2 klein": lambda: _klein(distilled=True),
    "FLUX.2 klein base": lambda: _klein(distilled=False),
    "SANA": lambda: _sana(SanaPipeline, DPMSolverMultistepScheduler(**FLOW_DPM)),
    "SANA-Sprint": _sana_sprint,
    "AuraFlow": _aura_flow,
}  # fmt: skip
# one of each kind of denoiser and of prompt, for what hardly depends on the family
KINDS = ("SD 1.x", "SDXL", "PixArt-sigma", "SD 3.5", "FLUX.1 dev")
# diffusers loads LoRAs into these
WITH_LOADER = [family for family in FAMILIES if not family.startswith("PixArt")]
