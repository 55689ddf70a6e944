#!/usr/bin/env bash
# diffusers 0.42.1: what a pipeline has corrected in its scheduler is lost by from_config.
#
# Expected: Scheduler.from_config(pipe.scheduler.config), the documented way to exchange a scheduler, starts from the
# configuration that the pipeline paints with.
# Behaviour: StableDiffusionPipeline sets clip_sample to False and steps_offset to 1 in a scheduler that came with neither.
# The configuration remembers beside it which fields were left at their defaults (_use_default_values); from_config takes
# those from the class again, also where the scheduler is of the same class. Pictures then clip, and start a step off.
# Output seen: the pipeline's scheduler: clip_sample False, steps_offset 1; from its config: True, 0
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 numpy
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

unet = UNet2DConditionModel(
    sample_size=8, layers_per_block=1, block_out_channels=(8, 16), attention_head_dim=2, norm_num_groups=4,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=16,
)
vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2)
text = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)
pipe = StableDiffusionPipeline(
    vae=vae, text_encoder=CLIPTextModel(text), tokenizer=None, unet=unet, scheduler=DDIMScheduler(),
    safety_checker=None, feature_extractor=None, requires_safety_checker=False,
)
again = DDIMScheduler.from_config(pipe.scheduler.config)
before, after = ((s.config.clip_sample, s.config.steps_offset) for s in (pipe.scheduler, again))
print(f"the pipeline's scheduler: clip_sample {before[0]}, steps_offset {before[1]}; from its config: {after[0]}, {after[1]}")
assert before == (False, 1) and after == (True, 0)
print("as it was seen")
PY
