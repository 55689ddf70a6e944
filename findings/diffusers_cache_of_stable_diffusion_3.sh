#!/usr/bin/env bash
# diffusers 0.42.1: a first-block cache is put on the denoiser of Stable Diffusion 3 without a word, and its pipeline paints no more.
#
# Expected: a denoiser whose blocks the caches know takes them by `enable_cache`, as FLUX's does, or they are refused.
# Behaviour: the denoiser has no `enable_cache`; `apply_first_block_cache` takes it, and the pipeline, which names no pass to the
# cache as FLUX's does, ends with a ValueError at its next call.
# Output seen: enable_cache: FLUX True, Stable Diffusion 3 False; painted before: True; the cache: applied; painted after:
# ValueError, No cache context is set
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 \
  accelerate==1.15.0
"$folder/venv/bin/python" 2>/dev/null <<'PY'
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from diffusers.hooks import FirstBlockCacheConfig, apply_first_block_cache

torch.manual_seed(0)
denoiser = SD3Transformer2DModel(
    sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
    num_attention_heads=2, joint_attention_dim=16, caption_projection_dim=16,
    pooled_projection_dim=16, pos_embed_max_size=16,
)  # fmt: skip
codec = AutoencoderKL(
    block_out_channels=(8,), norm_num_groups=4, latent_channels=4, shift_factor=0.0,
    down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",),
)  # fmt: skip
names = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
pipe = StableDiffusion3Pipeline(
    transformer=denoiser, vae=codec, scheduler=FlowMatchEulerDiscreteScheduler(), **dict.fromkeys(names)
)
pipe.set_progress_bar_config(disable=True)


def paint() -> bool:
    images = pipe(
        prompt_embeds=torch.zeros(1, 4, 16), pooled_prompt_embeds=torch.zeros(1, 16),
        guidance_scale=1.0, num_inference_steps=2, height=8, width=8,
    ).images  # fmt: skip
    return len(images) == 1


has = [hasattr(kind, "enable_cache") for kind in (FluxTransformer2DModel, SD3Transformer2DModel)]
before = paint()
apply_first_block_cache(denoiser, FirstBlockCacheConfig(threshold=0.1))
try:
    paint()
    after = "True"
except ValueError as error:
    after = f"ValueError, {str(error).split('.')[0]}"
print(f"enable_cache: FLUX {has[0]}, Stable Diffusion 3 {has[1]}; painted before: {before}; the cache: applied; "
      f"painted after: {after}")
assert has == [True, False] and before and after == "ValueError, No cache context is set"
PY
echo "as it was seen"
