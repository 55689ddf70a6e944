#!/usr/bin/env bash
# diffusers 0.42.1: with timestep_spacing="trailing" some numbers of steps give one step more than asked, the last one
# at time step -1.
#
# Expected: set_timesteps(n) gives n time steps from 999 down to one above 0, for every n up to the 1000 of training.
# Behaviour: the steps come from numpy.arange(1000, 0, -1000 / n), whose end rounding lets in or not. For 62 of the 1000
# numbers there are n + 1 steps; DDIMScheduler takes -1 as an index, the noisiest level, at the very end of the picture.
# Output seen: 62 numbers of steps give one more, the first 61, 103, 121; the last time step of 61 is -1
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 numpy
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
from diffusers import DDIMScheduler

scheduler = DDIMScheduler(timestep_spacing="trailing")
longer = []
for n in range(1, 1001):
    scheduler.set_timesteps(n)
    if len(scheduler.timesteps) == n + 1:
        longer.append(n)
scheduler.set_timesteps(61)
last = int(scheduler.timesteps[-1])
first = ", ".join(map(str, longer[:3]))
print(f"{len(longer)} numbers of steps give one more, the first {first}; the last time step of 61 is {last}")
assert len(longer) == 62 and longer[:3] == [61, 103, 121] and last == -1
print("as it was seen")
PY
