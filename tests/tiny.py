"""A tiny Stable Diffusion pipeline of real classes: random weights, but complete."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPTextModel

from fairgen.attributes import Attribute, Category
from fairgen.portraits.clip import build_clip, build_tokenizer

GENDER = Attribute(
    name="gender",
    categories=(Category(name="woman", word="female"), Category(name="man", word="male")),
)
SKIN = Attribute(
    name="skin",
    categories=tuple(
        Category(name=name, word=f"{name}-skinned") for name in ("light", "tan", "brown", "dark")
    ),
)
AGE = Attribute(
    name="age", categories=(Category(name="young", word="young"), Category(name="old", word="old"))
)
ATTRIBUTES = (GENDER, SKIN, AGE)


def tiny_pipeline(prediction_type: str = "epsilon", seed: int = 0) -> StableDiffusionPipeline:
    """Return a random pipeline with 8 x 8 latents and 16-pixel pictures."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        latent_channels=4,
        norm_num_groups=2,
        sample_size=16,
    )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction_type,
        ),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_tiny_pipeline(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Save the tiny pipeline as a folder that `from_pretrained` loads; return the folder."""
    tiny_pipeline(prediction_type).save_pretrained(folder)
    return folder


def save_tiny_clip(folder: Path) -> Path:
    """Save a random CLIP as a folder that the CLIP judge reads; return the folder."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    build_clip(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    CLIPImageProcessor(size=size, crop_size=size).save_pretrained(folder)
    return folder


def add_safety_checker(pipe: StableDiffusionPipeline, threshold: float) -> StableDiffusionPipeline:
    """Return the pipeline with a random safety checker: pictures of which it thinks more than the
    threshold are flagged. At 0.55 these are some, at -2 all, at 2 none.
    """
    torch.manual_seed(0)
    side = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "projection_dim": 8}  # fmt: skip
    picture = {"image_size": 16, "patch_size": 8}
    config = CLIPConfig(vision_config=side | picture, text_config=side, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config).eval()
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(threshold)
        checker.special_care_embeds_weights.fill_(2.0)
    crop = {"height": 16, "width": 16}
    extractor = CLIPImageProcessor(size=crop, crop_size=crop)
    pipe.register_modules(safety_checker=checker, feature_extractor=extractor)
    return pipe
