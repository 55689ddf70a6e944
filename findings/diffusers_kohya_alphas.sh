#!/usr/bin/env bash
# diffusers 0.42.1 with peft 0.21.2: a kohya LoRA whose layers have alphas of their own loads with the first layer's for all.
#
# Expected: a layer's strength is its alpha / rank, and 1 where the file has no alpha for it, as kohya's own code, ComfyUI
# and A1111 have it.
# Behaviour: alphas that differ become an alpha_pattern whose names begin with "^"; PEFT compares names in another way, none
# matches, and every layer gets the alpha of the first, in silence. A layer without an alpha gets it, too.
# Output seen: alphas 1, 2, 4, 8 at rank 4: strengths 0.25, 0.25, 0.25, 0.25; alphas 2, 2, none, none: 0.5, 0.5, 0.5, 0.5
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 diffusers==0.42.1 peft==0.21.2 transformers==5.24.0 numpy
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

unet = UNet2DConditionModel(
    sample_size=8, layers_per_block=1, block_out_channels=(8, 16), attention_head_dim=2, norm_num_groups=4,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=16,
)
layers = {name: layer for name, layer in unet.named_modules() if name.endswith("attn2.to_k")}


def strengths(alphas):
    """Return the strength of each layer once diffusers has loaded a file with these alphas."""
    tensors = {}
    for (name, layer), alpha in zip(layers.items(), alphas, strict=True):
        key = "lora_unet_" + name.replace(".", "_")
        tensors[f"{key}.lora_down.weight"] = torch.randn(4, layer.in_features)
        tensors[f"{key}.lora_up.weight"] = torch.randn(layer.out_features, 4)
        if alpha is not None:
            tensors[f"{key}.alpha"] = torch.tensor(float(alpha))
    state, network_alphas, metadata = Loader.lora_state_dict(tensors, unet_config=unet.config, return_lora_metadata=True)
    Loader.load_lora_into_unet(state, network_alphas, unet, adapter_name="lora", metadata=metadata)
    found = [unet.get_submodule(name).scaling["lora"] for name in layers]
    unet.delete_adapters("lora")
    return found


own, missing, same = strengths([1, 2, 4, 8]), strengths([2, 2, None, None]), strengths([2, 2, 2, 2])
print("alphas 1, 2, 4, 8 at rank 4:", own)
print("alphas 2, 2, none, none:", missing)
assert same == [0.5] * 4, same
assert own == [0.25] * 4 and missing == [0.5] * 4, (own, missing)
PY
echo "as it was seen"
