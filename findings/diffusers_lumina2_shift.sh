#!/usr/bin/env bash
# diffusers 0.42.1: Lumina2Pipeline shifts noise levels by the number of channels, not by the picture's size.
#
# Expected: with use_dynamic_shifting a larger picture gets more noise, as with FLUX's pipelines, whose code this is.
# Behaviour: the number of tokens is read off dimension 1 of the latents. FLUX's are packed there, Lumina's are N x C x h x w:
# all sizes get the shift of as many tokens as there are channels.
# Output seen: second time step of two at 16 x 16 pixels 622.5, at 64 x 64 pixels 622.5; as a flow of so many tokens: 614.8, 652.5
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel
from diffusers.pipelines.lumina2.pipeline_lumina2 import calculate_shift

torch.manual_seed(0)
scheduler = FlowMatchEulerDiscreteScheduler(
    use_dynamic_shifting=True, base_image_seq_len=4, max_image_seq_len=64, base_shift=0.5, max_shift=1.15
)
pipe = Lumina2Pipeline(
    scheduler=scheduler,
    vae=AutoencoderKL(latent_channels=4, norm_num_groups=2, block_out_channels=(4,), shift_factor=0.1),
    text_encoder=None,
    tokenizer=None,
    transformer=Lumina2Transformer2DModel(
        sample_size=8, in_channels=4, hidden_size=32, num_layers=1, num_refiner_layers=1, num_attention_heads=4, num_kv_heads=2,
        multiple_of=16, axes_dim_rope=(4, 2, 2), axes_lens=(300, 16, 16), cap_feat_dim=32,
    ),
)
pipe.set_progress_bar_config(disable=True)
painted, asked = [], []
for side in (16, 64):
    pipe(
        prompt_embeds=torch.zeros(1, 8, 32), prompt_attention_mask=torch.ones(1, 8, dtype=torch.long), height=side, width=side,
        num_inference_steps=2, guidance_scale=1.0, output_type="latent",
    )
    painted.append(round(float(pipe.scheduler.timesteps[1]), 1))
    scheduler.set_timesteps(sigmas=[1.0, 0.5], mu=calculate_shift((side // 16) ** 2, 4, 64, 0.5, 1.15))
    asked.append(round(float(scheduler.timesteps[1]), 1))
print(
    f"second time step of two at 16 x 16 pixels {painted[0]}, at 64 x 64 pixels {painted[1]}; "
    f"as a flow of so many tokens: {asked[0]}, {asked[1]}"
)
assert painted[0] == painted[1] and asked[0] < asked[1], (painted, asked)
PY
echo "as it was seen"
