#!/usr/bin/env bash
# diffusers 0.42.1: QwenImage21Transformer2DModel predicts otherwise where a prompt is filled up, though its mask leaves that out.
#
# Expected: a prompt that a batch fills up to the length of a longer one gives the prediction that it gives alone, as with
# QwenImageTransformer2DModel: what the mask leaves out tells nothing. QwenImage21Pipeline fills up a list of prompts.
# Behaviour: the picture's tokens stand on the frame axis behind the text with all that fills it up (QwenImage21Rope counts positions
# up to the picture's first token), so that their distance from the prompt's tokens grows with the longest prompt of the batch. A
# list of prompts paints other pictures than its prompts do alone, at the same seeds.
# Output seen: filled up by 0, 20 and 200 tokens: 2.1 off by 0.0, 2.2, 2.9; the first Qwen-Image by 0.0, 0.0, 0.0
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import torch
from diffusers import QwenImage21Transformer2DModel, QwenImageTransformer2DModel

torch.manual_seed(0)
small = dict(num_layers=2, attention_head_dim=16, num_attention_heads=2, axes_dims_rope=(4, 6, 6))
causal = QwenImage21Transformer2DModel(in_channels=8, out_channels=8, context_in_dim=32, **small).eval()
joint = QwenImageTransformer2DModel(in_channels=8, out_channels=2, joint_attention_dim=32, **small).eval()
for model in (causal, joint):
    for parameter in model.parameters():
        parameter.data *= 3  # random ones hardly read the prompt
picture, text = torch.randn(1, 64, 8), torch.randn(1, 6, 32)


@torch.no_grad()
def predict(model, num_filled):
    """Return a prediction for 6 tokens of a prompt, and so many behind them that the mask leaves out."""
    options = {"hidden_states": picture, "timestep": torch.tensor([0.5]), "img_shapes": [[(1, 8, 8)]]}
    if model is causal:  # a slot of the picture stands for four of its tokens
        options["img_mask"] = torch.arange(6 + num_filled + 16)[None] >= 6 + num_filled
    filled = torch.nn.functional.pad(text, (0, 0, 0, num_filled))
    mask = torch.arange(6 + num_filled)[None] < 6
    found = model(encoder_hidden_states=filled, encoder_hidden_states_mask=mask, return_dict=False, **options)[0]
    return found[:, -64:]


def off(model, num_filled):
    """Return the largest difference from the prompt alone, in deviations of the prediction."""
    alone = predict(model, 0)
    return ((predict(model, num_filled) - alone).abs().max() / alone.std()).item()


ours, theirs = ([off(model, num_filled) for num_filled in (0, 20, 200)] for model in (causal, joint))
shown = (", ".join(f"{number:.1f}" for number in numbers) for numbers in (ours, theirs))
print("filled up by 0, 20 and 200 tokens: 2.1 off by {}; the first Qwen-Image by {}".format(*shown))
assert ours[0] < 1e-4 and min(ours[1:]) > 0.05 and max(theirs) < 1e-4
PY
echo "as it was seen"
