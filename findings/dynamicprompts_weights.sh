#!/usr/bin/env bash
# dynamicprompts 0.31.0: an option's weight in exponential notation is read as text, in silence.
#
# Expected: `{1e-05::rare|0.99999::common}` draws "rare" once in 100,000 prompts; Python writes small shares so.
# Behaviour: the number is no weight but part of the option: it gets the weight 1, and is painted with its number.
# Output seen: of 1000 draws of {1e-05::rare|0.99999::common}, 497 are '1e-05::rare'; of {0.00001::rare|0.99999::common}, none is 'rare'
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dynamicprompts==0.31.0
"$folder/venv/bin/python" - <<'PY'
from collections import Counter

from dynamicprompts.generators import RandomPromptGenerator

found = {}
for line in ("{1e-05::rare|0.99999::common}", "{0.00001::rare|0.99999::common}"):
    drawn = Counter(RandomPromptGenerator(seed=0).generate(line, 1000))
    found[line] = drawn
    print(f"{line}: {dict(drawn)}")
first, second = found.values()
assert 400 < first["1e-05::rare"] < 600 and second["common"] >= 999, found
PY
echo "as it was seen"
