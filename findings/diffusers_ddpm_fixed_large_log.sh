#!/usr/bin/env bash
# diffusers 0.42.1: DDPMScheduler with variance_type="fixed_large_log" steps to NaN, in silence.
#
# Expected: it is one of the documented variances, fixed_large kept as a logarithm; a step adds the same noise as fixed_large.
# Behaviour: the logarithm is taken, and the root of it, which is below zero, in place of its exponential. Every picture is black.
# Output seen: fixed_small finite, fixed_small_log finite, fixed_large finite, fixed_large_log NaN
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import DDPMScheduler

found = {}
for kind in ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"):
    scheduler = DDPMScheduler(variance_type=kind, clip_sample=False)
    scheduler.set_timesteps(4)
    x, generator = torch.ones(1, 4, 8, 8), torch.Generator().manual_seed(0)
    stepped = scheduler.step(torch.zeros_like(x), scheduler.timesteps[0], x, generator=generator).prev_sample
    found[kind] = "NaN" if bool(stepped.isnan().any()) else "finite"
print(", ".join(f"{kind} {what}" for kind, what in found.items()))
assert [kind for kind, what in found.items() if what == "NaN"] == ["fixed_large_log"], found
PY
echo "as it was seen"
