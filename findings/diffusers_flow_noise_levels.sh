#!/usr/bin/env bash
# diffusers 0.42.1: DPMSolverMultistepScheduler on a flow, as SANA is saved, gives NaN with use_karras_sigmas, and with
# use_exponential_sigmas, use_beta_sigmas and use_lu_lambdas: a picture of one colour, without an error.
#
# Expected: DPMSolverMultistepScheduler.from_config(saved, use_karras_sigmas=True), the documented way to Karras' noise
# levels, spaces the flow's own levels, which lie between 0 and 1, or refuses.
# Behaviour: these four take the place of use_flow_sigmas in set_timesteps, with the levels of a diffusion, up to 157. Each
# step still computes with the flow's alpha = 1 - sigma, whose logarithm is then NaN.
# Output seen: levels up to 1.000 and finite; with use_karras_sigmas up to 157.407, finite: False; the other three alike
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 numpy scipy
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import DPMSolverMultistepScheduler

saved = DPMSolverMultistepScheduler(
    beta_schedule="linear", beta_end=0.02, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
).config
spacings = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")
for spacing in (None, *spacings):
    scheduler = DPMSolverMultistepScheduler.from_config(saved, **({spacing: True} if spacing else {}))
    scheduler.set_timesteps(20)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        x = scheduler.step(torch.zeros_like(x), t, x).prev_sample
    finite = bool(x.isfinite().all())
    print(f"{spacing or 'as saved'}: levels up to {scheduler.sigmas.max():.3f}, finite: {finite}")
    assert finite == (spacing is None) and (scheduler.sigmas.max() < 1) == (spacing is None)
print("as it was seen")
PY
