#!/usr/bin/env bash
# diffusers 0.42.1: a model in one file whose fp8 weights have scales beside them is loaded without the scales.
#
# Expected: tensors of a file that nobody reads are an error, as they are in torch's own `load_state_dict`; or each weight is
# multiplied by its scale, which is how such files are made.
# Behaviour: `from_single_file` takes the fp8 numbers for the weights and passes over the scales. No error is raised: the model
# paints noise.
# Output seen: tensors in the file that are no weights: 14; an adapted layer's largest weight over its true one: 448.0
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PY'
import sys
from pathlib import Path

import torch
from diffusers import QwenImageTransformer2DModel
from safetensors.torch import save_file

torch.manual_seed(0)
denoiser = QwenImageTransformer2DModel(
    patch_size=1, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16,
    num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
)  # fmt: skip
folder = Path(sys.argv[1])
denoiser.save_config(folder / "config" / "transformer")
tensors, scales = {}, {}
for name, tensor in denoiser.state_dict().items():
    tensors[name] = tensor
    if tensor.ndim == 2 and "transformer_blocks" in name:
        tensor = tensor / tensor.abs().max()  # so that the true weights reach to 1
        denoiser.get_parameter(name).data.copy_(tensor)
        scales[name.replace("weight", "scale_weight")] = torch.tensor([1 / 448])
        tensors[name] = (tensor * 448).to(torch.float8_e4m3fn)
save_file({**tensors, **scales}, folder / "model.safetensors")
loaded = QwenImageTransformer2DModel.from_single_file(
    str(folder / "model.safetensors"), config=str(folder / "config"), subfolder="transformer",
    torch_dtype=torch.float32,
)  # fmt: skip
path = "transformer_blocks.0.attn.add_k_proj"
one, other = (model.get_submodule(path).weight.abs().max() for model in (loaded, denoiser))
ratio = float(one / other)
print(f"tensors in the file that are no weights: {len(scales)}; an adapted layer's largest weight "
      f"over its true one: {ratio:.1f}")
assert len(scales) > 0 and round(ratio) == 448
PY
echo "as it was seen"
