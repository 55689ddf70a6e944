#!/usr/bin/env bash
# torch 2.13.0: under torch.no_grad(), whether a layer's weights require gradients still chooses the kernel.
#
# Expected: with gradients off, `requires_grad` of a linear layer's weights changes nothing: freezing a pipeline for
# sampling gives the same pictures, bit for bit.
# Behaviour: for a three-dimensional input that is not contiguous (as attention over a codec's pixels has it),
# weights that require gradients are multiplied by one mm over the folded rows, frozen ones by a bmm. The two may round
# otherwise: in a Stable Diffusion codec of 8 channels by 5e-07, a grey level in some pictures.
# Output seen: requires_grad=True: aten::mm; requires_grad=False: aten::bmm
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.profiler import ProfilerActivity, profile

layer = torch.nn.Linear(8, 8)
x = torch.randn(2, 8, 64).transpose(1, 2)
used = {}
for frozen in (False, True):
    layer.requires_grad_(not frozen)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as seen:
        layer(x)
    used[frozen] = {event.key for event in seen.key_averages()} & {"aten::mm", "aten::bmm", "aten::addmm"}
    print(f"requires_grad={not frozen}:", *sorted(used[frozen]))
assert used == {False: {"aten::mm"}, True: {"aten::bmm"}}, used
PY
echo "as it was seen"
