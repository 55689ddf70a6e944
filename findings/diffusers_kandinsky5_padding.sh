#!/usr/bin/env bash
# diffusers 0.42.1: Kandinsky5T2IPipeline reads the padding of a shorter prompt: beside a longer one it paints another picture.
#
# Expected: the lengths of the prompts (prompt_cu_seqlens), which encode_prompt returns and a call with embedded prompts demands,
# say which tokens count; what fills a prompt up to the longest of its batch changes nothing.
# Behaviour: the lengths are used for the longest prompt's positions only. The transformer takes no mask, so its text blocks and
# its cross-attention read padding as they read words.
# Output seen: other padding behind the first prompt: its latents move by 2.94, the second's by 0.00
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, Kandinsky5T2IPipeline, Kandinsky5Transformer3DModel

torch.manual_seed(0)
transformer = Kandinsky5Transformer3DModel(
    in_visual_dim=4, out_visual_dim=4, in_text_dim=16, in_text_dim2=8, time_dim=16, model_dim=24, ff_dim=24, num_text_blocks=1,
    num_visual_blocks=1, axes_dims=(4, 4, 4),
)
for parameter in transformer.parameters():  # some are zero until a model is trained
    parameter.data.normal_(std=0.3)
pipe = Kandinsky5T2IPipeline(
    transformer=transformer, vae=AutoencoderKL(latent_channels=4, norm_num_groups=2, block_out_channels=(4,)),
    text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None,
    scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
)
pipe.resolutions = [(64, 64)]  # of the published model they are 1024 x 1024 and larger
pipe.set_progress_bar_config(disable=True)
text, pooled = torch.randn(2, 8, 16), torch.randn(2, 8)
lengths = torch.tensor([0, 4, 12], dtype=torch.int32)  # four tokens, and eight
other = text.clone()
other[0, 4:] = torch.randn(4, 16)


def latents(text):
    return pipe(
        prompt_embeds_qwen=text, prompt_embeds_clip=pooled, prompt_cu_seqlens=lengths, height=64, width=64,
        num_inference_steps=2, guidance_scale=1.0, output_type="latent", generator=torch.Generator().manual_seed(0),
    ).image


moved = (latents(other) - latents(text)).abs().flatten(1).amax(1).tolist()
print(f"other padding behind the first prompt: its latents move by {moved[0]:.2f}, the second's by {moved[1]:.2f}")
assert moved[0] > 0.01 and moved[1] == 0, moved
PY
echo "as it was seen"
