#!/usr/bin/env bash
# diffusers 0.42.1: a kohya LoRA of FLUX.1 loads without its layers beside the blocks, in silence.
#
# Expected: `lora_unet_txt_in`, `lora_unet_img_in` and `lora_unet_final_layer_linear`, which kohya's trainer writes when it is
# asked for them, act on the transformer's context_embedder, x_embedder and proj_out, or loading says that they do not.
# Behaviour: they are converted to names without the prefix "transformer.", which loading then filters for; none is worn. The
# alpha of the final layer is dropped while it is converted, with or without the prefix.
# Output seen: worn: ['transformer_blocks.0.attn.to_add_out'] of 4 layers
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 diffusers==0.42.1 peft==0.21.2 transformers==5.24.0 numpy
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders import FluxLoraLoaderMixin as Loader

transformer = FluxTransformer2DModel(
    in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
    joint_attention_dim=32, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
)
sizes = {  # layer -> inputs and outputs
    "double_blocks_0_txt_attn_proj": (32, 32), "txt_in": (32, 32), "img_in": (16, 32), "final_layer_linear": (32, 16),
}
tensors = {}
for name, (inputs, outputs) in sizes.items():
    tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(4, inputs)
    tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(outputs, 4)
    tensors[f"lora_unet_{name}.alpha"] = torch.tensor(2.0)
state, alphas, metadata = Loader.lora_state_dict(tensors, return_alphas=True, return_lora_metadata=True)
Loader.load_lora_into_transformer(state, alphas, transformer, adapter_name="lora", metadata=metadata)
worn = [name for name, layer in transformer.named_modules() if "lora" in getattr(layer, "lora_A", {})]
print(f"worn: {worn} of {len(sizes)} layers")
assert worn == ["transformer_blocks.0.attn.to_add_out"], worn
PY
echo "as it was seen"
