#!/usr/bin/env bash
# diffusers 0.42.1, PEFT 0.21.2: a LoRA that is loaded into a model whose weights are cast to fp8 layer by layer gets layers in
# fp8, and the next pass fails; loaded before the casting, the same LoRA works.
#
# Expected: the order does not matter. `enable_layerwise_casting` is documented to work beside PEFT, and diffusers has a hook
# for it; a base that was loaded in fp8 takes a LoRA later, as one in bf16 does.
# Behaviour: PEFT makes the LoRA's layers in the type that the weights are stored in. They are no part of what was cast, so
# nothing makes them wider while they compute, and addmm has no kernel for fp8 on a CPU. Loaded first they stay in fp32.
# Output seen: before the casting: torch.float32, paints; after it: torch.float8_e4m3fn, NotImplementedError
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 peft==0.21.2 transformers==5.24.0
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig


def tiny():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, layers_per_block=1, block_out_channels=(8, 16), cross_attention_dim=16, attention_head_dim=2,
        norm_num_groups=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip


def cast(unet):
    unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)


def add_lora(unet):
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_k", "to_v"]))


def outcome(*steps):
    unet = tiny()
    for step in steps:
        step(unet)
    dtypes = {str(p.dtype) for name, p in unet.named_parameters() if "lora_A" in name}
    try:
        with torch.no_grad():
            unet(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 3, 16))
    except Exception as error:
        return f"{', '.join(sorted(dtypes))}, {type(error).__name__}"
    return f"{', '.join(sorted(dtypes))}, paints"


before, after = outcome(add_lora, cast), outcome(cast, add_lora)
print(f"before the casting: {before}; after it: {after}")
assert (before, after) == ("torch.float32, paints", "torch.float8_e4m3fn, NotImplementedError"), (before, after)
PY
echo "as it was seen"
