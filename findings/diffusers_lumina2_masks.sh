#!/usr/bin/env bash
# diffusers 0.42.1: with two prompts and two pictures of each, Lumina2Pipeline gives pictures the other prompt's mask.
#
# Expected: a list of prompts with num_images_per_prompt=2 hands the transformer each prompt's embedding with its own mask, as
# a call for each prompt does.
# Behaviour: embeddings are repeated prompt by prompt (a a b b), masks as a whole (a b a b). The second picture of the first
# prompt is painted with the second prompt's mask, so that words are cut off or padding is read. Nothing warns.
# Output seen: tokens of "a": 3, of "b c d e": 6; masks of the four rows count 3, 6, 3, 6; expected 3, 3, 6, 6
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from diffusers import Lumina2Pipeline
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Gemma2Config, Gemma2Model, PreTrainedTokenizerFast

torch.manual_seed(0)
words = ["<pad>", "<unk>", "system", "a", "b", "c", "d", "e", "<Prompt", "Start>"]
core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", unk_token="<unk>")
encoder = Gemma2Model(Gemma2Config(
    vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=8,
))


class Encoding(Lumina2Pipeline):
    """Of the pipeline, what encodes prompts: its own methods, as they are."""

    def __init__(self):
        self.tokenizer, self.text_encoder, self.transformer = tokenizer, encoder, None


options = {"do_classifier_free_guidance": False, "system_prompt": "", "device": "cpu", "max_sequence_length": 8}
with torch.no_grad():
    alone = [Encoding().encode_prompt([prompt], **options)[1] for prompt in ("a", "b c d e")]
    text, masks, *_ = Encoding().encode_prompt(["a", "b c d e"], num_images_per_prompt=2, **options)
one, other = (int(mask.sum()) for mask in alone)
found, expected = masks.sum(1).tolist(), [one, one, other, other]
print(
    f'tokens of "a": {one}, of "b c d e": {other}; masks of the four rows count {str(found)[1:-1]}; '
    f"expected {str(expected)[1:-1]}"
)
assert torch.equal(text[0], text[1]) and found == [one, other, one, other], found
PY
echo "as it was seen"
