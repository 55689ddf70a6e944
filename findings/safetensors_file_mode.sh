#!/usr/bin/env bash
# safetensors 0.8.0: save_file leaves a file that only its owner may read, whatever the umask says.
#
# Expected: a written file has the mode that the umask gives to every other file, 644 with a umask of 022, so that another
# user, a container or a web server may read the weights.
# Behaviour: the file is written under a temporary name of mode 600 and renamed; the mode stays.
# Output seen: with umask 022 a plain file has mode 644, the one of save_file 600
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy
umask 022
FOLDER=$folder "$folder/venv/bin/python" - <<'PY'
import os
from pathlib import Path

import numpy
from safetensors.numpy import save_file

folder = Path(os.environ["FOLDER"])
(folder / "plain").touch()
save_file({"weight": numpy.zeros(2, dtype=numpy.float32)}, folder / "weights.safetensors")
plain, weights = ((folder / name).stat().st_mode & 0o777 for name in ("plain", "weights.safetensors"))
print(f"with umask 022 a plain file has mode {plain:o}, the one of save_file {weights:o}")
assert (plain, weights) == (0o644, 0o600), (plain, weights)
PY
echo "as it was seen"
