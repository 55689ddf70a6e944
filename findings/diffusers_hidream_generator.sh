#!/usr/bin/env bash
# diffusers 0.42.1: HiDreamImagePipeline with the scheduler of Dev and Fast paints another picture each time from one seed.
#
# Expected: "generator: one or a list of torch generator(s) to make generation deterministic", so the same generator gives
# the same picture. Guess before the run: the pipeline hands it to FlowMatchLCMScheduler.step, which takes one.
# Behaviour: step is called without it, and draws the noise that it adds from torch's own generator.
# Output seen: FlowMatchLCMScheduler: pictures of one seed differ by 255 grey levels; UniPCMultistepScheduler: by 0
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 numpy
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import numpy as np
import torch
from diffusers import (
    AutoencoderKL, FlowMatchLCMScheduler, HiDreamImagePipeline, HiDreamImageTransformer2DModel, UniPCMultistepScheduler,
)

torch.manual_seed(0)
transformer = HiDreamImageTransformer2DModel(
    patch_size=16, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
    caption_channels=[32, 16], text_emb_dim=32, axes_dims_rope=(8, 4, 4), max_resolution=(128, 128), llama_layers=[0, 1],
).eval()
codec = AutoencoderKL(
    block_out_channels=(8,), norm_num_groups=2, shift_factor=0.1, scaling_factor=0.4, mid_block_add_attention=False,
)
encoders = {f"{part}{at}": None for part in ("text_encoder", "tokenizer") for at in ("", "_2", "_3", "_4")}
prompt = {
    "prompt_embeds_t5": torch.randn(1, 8, 32), "prompt_embeds_llama3": torch.randn(2, 1, 8, 16),
    "pooled_prompt_embeds": torch.randn(1, 32),
}
flow = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
for scheduler, is_same in ((FlowMatchLCMScheduler(shift=6.0), False), (flow, True)):
    pipe = HiDreamImagePipeline(scheduler=scheduler, vae=codec, transformer=transformer, **encoders)
    pipe.set_progress_bar_config(disable=True)
    painted = [
        np.asarray(
            pipe(
                **prompt, height=128, width=128, guidance_scale=0.0, num_inference_steps=4,
                generator=torch.Generator().manual_seed(7),
            ).images[0], int,
        )
        for _ in range(2)
    ]
    most = np.abs(painted[0] - painted[1]).max()
    print(f"{type(scheduler).__name__}: pictures of one seed differ by {most} grey levels")
    assert (most == 0) == is_same
PY
echo "as it was seen"
