#!/usr/bin/env bash
# diffusers 0.42.1: Ideogram4Pipeline takes neither num_inference_steps nor guidance_scale by itself: each is refused.
#
# Expected: a call that names only a number of steps, or only a guidance scale, paints, as every other pipeline of the library does;
# the guidance schedule that is the default gives way to the scale, and follows the number of steps.
# Behaviour: the default of guidance_schedule is 48 numbers. Another number of steps is refused for their length, and a scale
# because "only one of" both may be set, though the caller has set one: guidance_schedule=None has to be said beside either.
# Output seen: steps 4: refused; guidance scale 4: refused; both: refused; both and guidance_schedule=None: painted
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Ideogram4Pipeline, Ideogram4Transformer2DModel

torch.manual_seed(0)
blocks = {"down_block_types": ("DownEncoderBlock2D",), "up_block_types": ("UpDecoderBlock2D",), "block_out_channels": (4,)}
transformers = [
    Ideogram4Transformer2DModel(
        in_channels=16, num_layers=1, attention_head_dim=16, num_attention_heads=1, intermediate_size=16, adaln_dim=8,
        llm_features_dim=13, mrope_section=(4, 2, 2),
    )
    for _ in range(2)
]
pipe = Ideogram4Pipeline(
    transformer=transformers[0], unconditional_transformer=transformers[1], text_encoder=None, tokenizer=None,
    vae=AutoencoderKLFlux2(latent_channels=4, norm_num_groups=2, **blocks), scheduler=FlowMatchEulerDiscreteScheduler(),
)
pipe.set_progress_bar_config(disable=True)


def encode_prompt(prompt, grid_h, grid_w, max_sequence_length, device):  # in place of a language model
    text = torch.randn(1, max_sequence_length + grid_h * grid_w, 13)
    return text, *pipe._prepare_ids([5], grid_h, grid_w, max_sequence_length, device)


pipe.encode_prompt = encode_prompt


def outcome(**options):
    try:
        pipe("a cat", height=16, width=16, max_sequence_length=8, **options)
    except ValueError:
        return "refused"
    return "painted"


seen = {
    "default": outcome(),
    "steps 4": outcome(num_inference_steps=4),
    "guidance scale 4": outcome(guidance_scale=4.0),
    "both": outcome(num_inference_steps=4, guidance_scale=4.0),
    "both and guidance_schedule=None": outcome(num_inference_steps=4, guidance_scale=4.0, guidance_schedule=None),
}
print("; ".join(f"{call}: {what}" for call, what in seen.items()))
assert list(seen.values()) == ["painted", "refused", "refused", "refused", "painted"], seen
PY
echo "as it was seen"
