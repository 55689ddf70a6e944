#!/usr/bin/env bash
# diffusers 0.42.1: two inpainting pipelines decode otherwise than they encode, so that what was to stay changes.
#
# Expected: where nothing is painted anew (a black mask) an inpainting pipeline returns what its codec makes of the picture,
# decode(encode(picture)), as the img2img pipelines of the same families do.
# Behaviour: StableDiffusion3InpaintPipeline subtracts the codec's shift_factor when it encodes and adds none when it decodes
# (0.0609 in the released models). StableDiffusionXLInpaintPipeline applies a codec's latents_mean and latents_std when it
# decodes, and not when it encodes; codecs of SDXL's kind that have them, such as Playground v2.5's, are decoded from latents
# stretched by the deviation.
# Output seen: SD 3: the codec's own picture False, off by the shift True
#              SDXL: the codec's own picture False, stretched by mean and deviation True
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 numpy pillow
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import (
    AutoencoderKL, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel,
    StableDiffusion3InpaintPipeline, StableDiffusionXLInpaintPipeline, UNet2DConditionModel,
)

torch.manual_seed(0)
picture = torch.rand(1, 3, 16, 16)
options = dict(
    image=picture, mask_image=torch.zeros(1, 1, 16, 16), strength=0.5, num_inference_steps=4, height=16, width=16,
    guidance_scale=1.0, output_type="pt",
)


def codec(channels, **statistics):
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(4, 8),
        latent_channels=channels, norm_num_groups=2, sample_size=16, **statistics,
    ).eval()


def compare(pipe, changed, **embedded):
    """Return whether the picture is the codec's own, and whether it is the one of changed latents."""
    pipe.set_progress_bar_config(disable=True)
    painted = pipe(**options, **embedded, generator=torch.Generator().manual_seed(0)).images
    with torch.no_grad():
        clean = pipe.vae.encode(2 * picture - 1).latent_dist.sample(torch.Generator().manual_seed(0))
        shown = [(pipe.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1) for latents in (clean, changed(clean))]
    return [torch.allclose(painted, one, atol=1e-4) for one in shown]


transformer = SD3Transformer2DModel(
    sample_size=8, patch_size=2, in_channels=16, out_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=2,
    joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=32, pos_embed_max_size=16,
).eval()
sd3 = StableDiffusion3InpaintPipeline(
    transformer=transformer, vae=codec(16, scaling_factor=1.5305, shift_factor=0.0609),
    scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    text_encoder=None, text_encoder_2=None, text_encoder_3=None, tokenizer=None, tokenizer_2=None, tokenizer_3=None,
)
own, off = compare(
    sd3, lambda clean: clean - 0.0609, prompt_embeds=torch.randn(1, 4, 32), pooled_prompt_embeds=torch.randn(1, 32)
)
print(f"SD 3: the codec's own picture {own}, off by the shift {off}")
assert off and not own

unet = UNet2DConditionModel(
    sample_size=8, layers_per_block=1, block_out_channels=(8, 16), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=2, norm_num_groups=4, cross_attention_dim=32,
    addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=16 + 6 * 4,
).eval()
sdxl = StableDiffusionXLInpaintPipeline(
    unet=unet, vae=codec(4, latents_mean=[0.5] * 4, latents_std=[2.0] * 4), scheduler=EulerDiscreteScheduler(),
    text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None, add_watermarker=False,
)
own, off = compare(
    sdxl, lambda clean: 2.0 * clean + 0.5, prompt_embeds=torch.randn(1, 4, 32), pooled_prompt_embeds=torch.randn(1, 16)
)
print(f"SDXL: the codec's own picture {own}, stretched by mean and deviation {off}")
assert off and not own
PY
echo "as it was seen"
