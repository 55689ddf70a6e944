#!/usr/bin/env bash
# diffusers 0.42.1: QwenImagePipeline crosses the masks of its prompts where a call has several prompts and several pictures of each.
#
# Expected: the pictures of two prompts, two of each in one call, are those of the same prompts and seeds painted one by one, as where
# each prompt is named twice.
# Behaviour: encode_prompt repeats the embedded prompts as 1 1 2 2 and their masks as 1 2 1 2 (`repeat(1, n, 1)` of two dimensions
# tiles the rows). The second picture of the first prompt reads padding as text, and the first of the second prompt reads the
# beginning of its prompt only. The img2img, inpainting and ControlNet pipelines have the same lines.
# Output seen: two of each: [True, False, False, True]; named twice: [True, True, True, True]
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImagePipeline, QwenImageTransformer2DModel

torch.manual_seed(0)
pipe = QwenImagePipeline(
    scheduler=FlowMatchEulerDiscreteScheduler(), vae=None, text_encoder=None, tokenizer=None,
    transformer=QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
    ).eval(),
)
pipe.set_progress_bar_config(disable=True)
prompts = torch.randn(2, 8, 32)  # embedded: the first of 3 tokens, filled up, the second of 8
masks = (torch.arange(8) < torch.tensor([[3], [8]])).long()
prompts = prompts * masks[..., None]


def paint(rows, seeds, num_images=1):
    return pipe(
        prompt_embeds=prompts[rows], prompt_embeds_mask=masks[rows], num_images_per_prompt=num_images, true_cfg_scale=1.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds], height=64, width=64, num_inference_steps=3,
        output_type="latent",
    ).images


alone = [paint([row], [seed])[0] for seed, row in enumerate([0, 0, 1, 1])]


def same(found):
    return [torch.allclose(one, other, atol=1e-4) for one, other in zip(found, alone)]


several, twice = same(paint([0, 1], range(4), num_images=2)), same(paint([0, 0, 1, 1], range(4)))
print(f"two of each: {several}; named twice: {twice}")
assert (several, twice) == ([True, False, False, True], [True] * 4)
PY
echo "as it was seen"
