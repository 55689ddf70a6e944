#!/usr/bin/env bash
# diffusers 0.42.1: what fills a prompt of Kolors up, on the left, is embedded otherwise for every prompt: it has read all of it.
#
# Expected: ChatGLM is causal and has a mask, so what stands before a prompt knows nothing of it: its embeddings are the same
# for two prompts of one length.
# Behaviour: `get_masks` takes the mask of every query that is padding away, so it reads all positions, padding and the whole
# prompt. KolorsPipeline gives its UNet no mask: of 256 positions those before a short prompt, all alike, say what it is about.
# Output seen: positions whose embedding the last token changes: 0, 1, 2, 3, 4, 7; expected 7
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel

torch.manual_seed(0)
model = ChatGLMModel(ChatGLMConfig(
    num_layers=2, padded_vocab_size=16, hidden_size=16, ffn_hidden_size=16, kv_channels=8, num_attention_heads=2, seq_length=8,
    multi_query_attention=True, original_rope=True,
)).eval()
for name, weight in model.named_parameters():
    torch.nn.init.ones_(weight) if "layernorm" in name else torch.nn.init.normal_(weight)


def embedded(tokens):
    """Return what the pipeline takes of a prompt, filled up to eight as its tokenizer does it."""
    padding = [0] * (8 - len(tokens))
    read = {
        "input_ids": padding + tokens,
        "attention_mask": padding + [1] * len(tokens),
        "position_ids": padding + list(range(len(tokens))),
    }
    with torch.no_grad():
        states = model(**{name: torch.tensor([row]) for name, row in read.items()}, output_hidden_states=True)
    return states.hidden_states[-2][:, 0]


one, other = embedded([3, 4, 5]), embedded([3, 4, 6])
found = ((one - other).abs().amax(-1) > 1e-3).nonzero().flatten().tolist()
print(f"positions whose embedding the last token changes: {str(found)[1:-1]}; expected 7")
assert found == [0, 1, 2, 3, 4, 7], found
assert (one[:5] - one[0]).abs().max() < 1e-3 * one[0].abs().max()
PY
echo "as it was seen"
