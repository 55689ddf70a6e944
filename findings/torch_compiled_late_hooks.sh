#!/usr/bin/env bash
# torch 2.13.0: whether a module that was compiled and called sees forward hooks that come later depends on how its layers are
# called; where it does not, nothing is said.
#
# Expected: a hook on a layer inside is called at the next pass, since the code is guarded and made anew.
# Behaviour: hooks are no part of the guards (torch._dynamo.config.skip_nnmodule_hook_guards is True). A layer that the forward
# names (self.inner) runs on without the hook, and what it would have added to the output is missing; a layer of an nn.Sequential
# is called with it. Under torch.compiler.set_stance("force_eager") hooks are always called.
# Output seen: calls of a late hook: in a class 0, in a Sequential 1; with set_stance("force_eager"), in a class 1
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy
cat > "$folder/hooks.py" <<'PY'
import torch
from torch import nn


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return self.inner(x) + 1


def calls_of_a_late_hook(model, layer):
    """Return how often it is called, compiled and then eager."""
    model.requires_grad_(False)
    model.compile(backend="eager")
    x, calls = torch.randn(2, 4), []
    model(x)
    layer.register_forward_hook(lambda *_: calls.append(1))
    model(x)
    compiled = len(calls)
    with torch.compiler.set_stance("force_eager"):
        model(x)
    return compiled, len(calls) - compiled


named, sequence = Named(), nn.Sequential(nn.Linear(4, 4), nn.ReLU())
in_class, eager = calls_of_a_late_hook(named, named.inner)
in_sequential, _ = calls_of_a_late_hook(sequence, sequence[0])
print(
    f"calls of a late hook: in a class {in_class}, in a Sequential {in_sequential}; "
    f'with set_stance("force_eager"), in a class {eager}'
)
assert (in_class, in_sequential, eager) == (0, 1, 1)
print("as it was seen")
PY
"$folder/venv/bin/python" "$folder/hooks.py" 2>/dev/null
