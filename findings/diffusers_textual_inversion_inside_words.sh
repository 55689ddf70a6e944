#!/usr/bin/env bash
# diffusers 0.42.1, transformers 5.24.0: a textual inversion whose token is a word changes every longer word that holds it.
#
# Expected: a token "art" stands for the word "art"; "artist" is read as before.
# Behaviour: the token is looked for inside words as well: "artist" becomes the inversion, followed by the letters that are
# left. With several vectors each of them is put there, too.
# Output seen: "artist" alone: a r t i s t; with a token "art" of two vectors: art art_1 i s t
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PY'
import json
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

characters = [chr(code) for code in range(33, 127)]
ends = [f"{character}</w>" for character in characters]
tokens = [*characters, *ends, "<|startoftext|>", "<|endoftext|>"]
folder = Path(sys.argv[1], "tokenizer")
folder.mkdir()
(folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
(folder / "merges.txt").write_text("#version: 0.2\n")
tokenizer = CLIPTokenizer.from_pretrained(str(folder))
encoder = CLIPTextModel(
    CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )
)  # fmt: skip
pipe = StableDiffusionPipeline(
    vae=None, text_encoder=encoder, tokenizer=tokenizer, unet=None, scheduler=None,
    safety_checker=None, feature_extractor=None, requires_safety_checker=False,
)  # fmt: skip


def read(prompt: str) -> str:
    whole = pipe.maybe_convert_prompt(prompt, tokenizer)
    return " ".join(tokenizer.tokenize(whole)).replace("</w>", "")


before = read("artist")
pipe.load_textual_inversion({"art": torch.randn(2, 16)}, token="art")
after = read("artist")
print(f'"artist" alone: {before}; with a token "art" of two vectors: {after}')
assert (before, after) == ("a r t i s t", "art art_1 i s t")
PY
echo "as it was seen"
