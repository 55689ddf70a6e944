#!/usr/bin/env bash
# diffusers 0.42.1: outside of training mode HiDream's transformer gives gradients that leave its routed experts out.
#
# Expected: eval() turns dropout and the like off, and gradients stay those of what is computed; LoRAs and inputs are optimised
# in eval mode, as from_pretrained leaves a model. Guess before the run: both modes agree in the prediction and its gradient.
# Behaviour: MOEFeedForwardSwiGLU.moe_infer, the path outside of training, is under torch.no_grad(). There is no warning.
# Output seen: feed-forward: outputs differ by 1e-16, gradients of its input by 0.43 of their norm
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 numpy
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers.models.transformers.transformer_hidream_image import MOEFeedForwardSwiGLU

torch.manual_seed(0)
layer = MOEFeedForwardSwiGLU(dim=32, hidden_dim=128, num_routed_experts=4, num_activated_experts=2).double()
x = torch.randn(1, 64, 32, dtype=torch.float64, requires_grad=True)
outputs, gradients = [], []
for is_training in (True, False):
    layer.train(is_training)
    outputs.append(layer(x))
    gradients.append(torch.autograd.grad(outputs[-1].pow(2).sum(), x)[0])
apart = float((outputs[0] - outputs[1]).abs().max())
share = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
print(f"feed-forward: outputs differ by {apart:.0e}, gradients of its input by {share:.2f} of their norm")
assert apart < 1e-9 and share > 0.1
PY
echo "as it was seen"
