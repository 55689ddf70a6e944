#!/usr/bin/env bash
# diffusers 0.42.1: Kandinsky 5 rounds rotated queries and keys to bfloat16, whatever precision the model is in.
#
# Expected: a transformer in float32 computes in float32: what it rotates keeps more digits than bfloat16 has.
# Behaviour: `apply_rotary` of Kandinsky5AttnProcessor ends in `.to(torch.bfloat16)`, and only then takes the type of its input. So
# in float32 and float16 the self-attention of picture and text reads queries and keys of 8 bits. Cross-attention, which is not
# rotated, keeps all of them.
# Output seen: queries and keys that bfloat16 holds: text blocks 1.00, self-attention 1.00, cross-attention 0.00
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import Kandinsky5Transformer3DModel
from diffusers.models.transformers import transformer_kandinsky

torch.manual_seed(0)
transformer = Kandinsky5Transformer3DModel(
    in_visual_dim=4, out_visual_dim=4, in_text_dim=16, in_text_dim2=8, time_dim=16, model_dim=24, ff_dim=24, num_text_blocks=1,
    num_visual_blocks=1, axes_dims=(4, 4, 4),
)
for parameter in transformer.parameters():  # some are zero until a model is trained
    parameter.data.normal_(std=0.3)
seen, attend = [], transformer_kandinsky.dispatch_attention_fn


def attend_and_note(query, key, *rest, **options):
    assert query.dtype == key.dtype == torch.float32
    seen.append([torch.equal(x, x.bfloat16().float()) for x in (query, key)])
    return attend(query, key, *rest, **options)


transformer_kandinsky.dispatch_attention_fn = attend_and_note
with torch.no_grad():
    transformer(
        hidden_states=torch.randn(1, 1, 8, 8, 4), encoder_hidden_states=torch.randn(1, 5, 16), timestep=torch.tensor([500.0]),
        pooled_projections=torch.randn(1, 8), visual_rope_pos=[torch.arange(n) for n in (1, 4, 4)], text_rope_pos=torch.arange(5),
    )
text, own, cross = (sum(each) / 2 for each in seen)
print(f"queries and keys that bfloat16 holds: text blocks {text:.2f}, self-attention {own:.2f}, cross-attention {cross:.2f}")
raise SystemExit([text, own, cross] != [1.0, 1.0, 0.0])
PY
echo "as it was seen"
