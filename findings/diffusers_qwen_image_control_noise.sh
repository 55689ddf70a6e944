#!/usr/bin/env bash
# diffusers 0.42.1: QwenImageControlNetInpaintPipeline draws a part of its noise from torch's own generator, so that the same
# `generator` gives another picture each time.
#
# Expected: `generator` is there "to make generation deterministic": the same call with the same seed gives the same picture, as
# QwenImageControlNetPipeline gives it.
# Behaviour: prepare_image_with_mask draws the latents of the masked picture with `latent_dist.sample()`, without the generator.
# torch.manual_seed before each call makes pictures the same again.
# Output seen: the same seed: another picture; with torch seeded as well: the same picture
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 numpy pillow
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import torch
from diffusers import (
    AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageControlNetInpaintPipeline, QwenImageControlNetModel,
    QwenImageTransformer2DModel,
)

torch.manual_seed(0)
heads = dict(attention_head_dim=16, num_attention_heads=2)
transformer = QwenImageTransformer2DModel(
    in_channels=16, out_channels=4, num_layers=2, joint_attention_dim=32, axes_dims_rope=(4, 6, 6), **heads
).eval()
control = QwenImageControlNetModel.from_transformer(transformer, num_layers=2, extra_condition_channels=4, **heads).eval()
for layer in (control.controlnet_x_embedder, *control.controlnet_blocks):
    torch.nn.init.normal_(layer.weight, std=0.1)  # they begin as zeros
codec = AutoencoderKLQwenImage(
    base_dim=4, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False], latents_mean=[0.0] * 4,
    latents_std=[1.0] * 4,
).eval()
pipe = QwenImageControlNetInpaintPipeline(
    scheduler=FlowMatchEulerDiscreteScheduler(), vae=codec, text_encoder=None, tokenizer=None, transformer=transformer,
    controlnet=control,
)
pipe.set_progress_bar_config(disable=True)
prompt, picture = torch.randn(1, 6, 32), torch.rand(1, 3, 16, 16)


def paint(*, seeded):
    if seeded:
        torch.manual_seed(1)
    return pipe(
        prompt_embeds=prompt, prompt_embeds_mask=torch.ones(1, 6).long(), control_image=picture,
        control_mask=torch.ones(1, 1, 16, 16), generator=torch.Generator().manual_seed(7), true_cfg_scale=1.0, height=16,
        width=16, num_inference_steps=2, output_type="latent",
    ).images


def twice(**options):
    return "the same picture" if torch.equal(paint(**options), paint(**options)) else "another picture"


alone, seeded = twice(seeded=False), twice(seeded=True)
print(f"the same seed: {alone}; with torch seeded as well: {seeded}")
assert (alone, seeded) == ("another picture", "the same picture")
PY
echo "as it was seen"
