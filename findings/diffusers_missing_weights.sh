#!/usr/bin/env bash
# diffusers 0.42.1, transformers 5.24.0: a saved pipeline that lacks weights is loaded without an error, in two ways.
#
# Expected: `from_pretrained` raises for a part that lacks a weight, as torch's own `load_state_dict` does.
# Behaviour: what a text encoder lacks is filled with random numbers, others at each load, and a log alone says so. A denoiser
# is returned with parameters that have no numbers, on the device "meta": the error comes when it is moved or called.
# Output seen: a text encoder that lacks a weight: loaded, the same numbers at two loads: False; a denoiser: loaded,
# parameters without numbers: 1
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 \
  accelerate==1.15.0
"$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PY'
import json
import sys
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

folder = Path(sys.argv[1])
tokens = [*"abcdefghijklmnopqrstuvwxyz", "<|startoftext|>", "<|endoftext|>"]
(folder / "tokenizer").mkdir()
(folder / "tokenizer" / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
(folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
encoder = CLIPTextModel(
    CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )
)  # fmt: skip
denoiser = UNet2DConditionModel(
    sample_size=8, block_out_channels=(32,), layers_per_block=1, cross_attention_dim=16,
    attention_head_dim=8, norm_num_groups=8, down_block_types=("CrossAttnDownBlock2D",),
    up_block_types=("UpBlock2D",), mid_block_type=None,
)  # fmt: skip
pipe = StableDiffusionPipeline(
    vae=AutoencoderKL(block_out_channels=(8,), norm_num_groups=4),
    text_encoder=encoder, tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
    unet=denoiser, scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None,
    requires_safety_checker=False,
)  # fmt: skip


def loaded_without(part: str) -> list[DiffusionPipeline]:
    saved = folder / f"without-{part}"
    pipe.save_pretrained(saved)
    (file,) = (saved / part).glob("*.safetensors")
    tensors = load_file(file)
    del tensors[next(name for name in tensors if name.endswith(("to_k.weight", "k_proj.weight")))]
    save_file(tensors, file, metadata={"format": "pt"})
    return [DiffusionPipeline.from_pretrained(saved) for _ in range(2)]


numbers = [
    torch.cat([p.flatten() for p in found.text_encoder.parameters()])
    for found in loaded_without("text_encoder")
]
same = torch.equal(*numbers)
without = sum(p.is_meta for p in loaded_without("unet")[0].unet.parameters())
print(f"a text encoder that lacks a weight: loaded, the same numbers at two loads: {same}; "
      f"a denoiser: loaded, parameters without numbers: {without}")
assert not same and without == 1
PY
echo "as it was seen"
