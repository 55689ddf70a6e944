#!/usr/bin/env bash
# diffusers 0.42.1, torchao 0.18.0: a model that is loaded from one file with a `quantization_config` is not quantised. The same
# configuration quantises the same weights when they are loaded from a folder.
#
# Expected: `from_single_file(..., quantization_config=...)` quantises as `from_pretrained` does: it takes the argument, its
# docstring and warnings speak of quantisation, and GGUF files are read so.
# Behaviour: the quantiser is made for weights that are quantised already, as GGUF's are. Those of a plain checkpoint stay in
# the type that they were loaded in, four times as large as asked for, and nothing is said.
# Output seen: from a folder: Int8Tensor; from one file: none
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 torchao==0.18.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import torch
from diffusers import FluxTransformer2DModel, TorchAoConfig
from safetensors.torch import save_file
from torchao.quantization import Int8WeightOnlyConfig

torch.manual_seed(0)
model = FluxTransformer2DModel(
    in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
    pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
)  # fmt: skip
model.save_pretrained("saved/transformer")
save_file(model.state_dict(), "model.safetensors")


def quantised(loaded):
    kinds = {type(parameter).__name__ for parameter in loaded.parameters()}
    return ", ".join(sorted(kinds - {"Parameter"})) or "none"


options = {"subfolder": "transformer", "quantization_config": TorchAoConfig(Int8WeightOnlyConfig())}
folder = quantised(FluxTransformer2DModel.from_pretrained("saved", **options))
file = quantised(FluxTransformer2DModel.from_single_file("model.safetensors", config="saved", **options))
print(f"from a folder: {folder}; from one file: {file}")
assert (folder, file) == ("Int8Tensor", "none"), (folder, file)
PY
echo "as it was seen"
