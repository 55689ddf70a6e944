#!/usr/bin/env bash
# diffusers 0.42.1: how many steps an img2img or inpainting pipeline takes at one strength depends on the family.
#
# Expected: the same strength and number of steps leave the same number of steps in every family, and an inpainting pipeline that
# is told no strength takes all of the steps that it was asked for.
# Behaviour: Stable Diffusion and SDXL take int(steps * strength), SD 3 and FLUX what int(steps - steps * strength) leaves: one
# rounds down, the other up. 0.29 of 100 steps is 28.999999999999996 to the first, which takes 28. SDXL's inpainting has a strength
# of 0.9999 by default, so that it takes one step fewer than asked.
# Output seen: 10 steps at 0.55: SDXL 5, SD 3 6; 100 steps at 0.29: SDXL 28, SD 3 29; SDXL inpainting, 10 steps by default: 9
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 numpy pillow
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import (
    AutoencoderKL, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel,
    StableDiffusion3Img2ImgPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline, UNet2DConditionModel,
)

torch.manual_seed(0)


def codec(channels, **statistics):
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(4, 8),
        latent_channels=channels, norm_num_groups=2, sample_size=16, **statistics,
    ).eval()


def steps_taken(pipe, **options):
    """Return how often a pipeline calls its callback."""
    taken = []
    pipe.set_progress_bar_config(disable=True)
    pipe(
        image=torch.rand(1, 3, 16, 16), prompt_embeds=torch.randn(1, 4, 32), guidance_scale=1.0, output_type="latent",
        callback_on_step_end=lambda pipe, index, t, tensors: taken.append(index) or {}, **options,
    )
    return len(taken)


unet = UNet2DConditionModel(
    sample_size=8, layers_per_block=1, block_out_channels=(8, 16), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=2, norm_num_groups=4, cross_attention_dim=32,
    addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=16 + 6 * 4,
).eval()
parts = dict(
    unet=unet, vae=codec(4), scheduler=EulerDiscreteScheduler(), text_encoder=None, text_encoder_2=None, tokenizer=None,
    tokenizer_2=None, add_watermarker=False,
)
sdxl, inpainting = StableDiffusionXLImg2ImgPipeline(**parts), StableDiffusionXLInpaintPipeline(**parts)
transformer = SD3Transformer2DModel(
    sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
    joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=32, pos_embed_max_size=16,
).eval()
sd3 = StableDiffusion3Img2ImgPipeline(
    transformer=transformer, vae=codec(4, scaling_factor=1.5, shift_factor=0.06),
    scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    text_encoder=None, text_encoder_2=None, text_encoder_3=None, tokenizer=None, tokenizer_2=None, tokenizer_3=None,
)
seen = []
for steps, strength in ((10, 0.55), (100, 0.29)):
    one = steps_taken(sdxl, num_inference_steps=steps, strength=strength, pooled_prompt_embeds=torch.randn(1, 16))
    other = steps_taken(
        sd3, num_inference_steps=steps, strength=strength, pooled_prompt_embeds=torch.randn(1, 32), height=16, width=16
    )
    seen.append((one, other))
    print(f"{steps} steps at {strength}: SDXL {one}, SD 3 {other}")
default = steps_taken(
    inpainting, num_inference_steps=10, mask_image=torch.ones(1, 1, 16, 16), height=16, width=16,
    pooled_prompt_embeds=torch.randn(1, 16),
)
print(f"SDXL inpainting, 10 steps by default: {default}")
assert seen == [(5, 6), (28, 29)] and default == 9, (seen, default)
PY
echo "as it was seen"
