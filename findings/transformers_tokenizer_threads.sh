#!/usr/bin/env bash
# transformers 5.24.0: a fast tokenizer that cuts in one thread cuts in the others, too, and nothing is said.
#
# Expected: a tokenizer may be called from several threads, or refuses it; truncation=True is of the call that asks for it.
# Behaviour: how it cuts is kept in the tokenizer. While one thread asks with truncation=True, max_length=16, a call without it
# in another thread at times returns 16 tokens of a long text, without an error or a warning.
# Output seen: alone 401 tokens, always; beside a thread that cuts, at times 16, and no error
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import threading

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

words = Tokenizer(models.WordLevel({"a": 0, "<end>": 1}, unk_token="a"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
words.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<end>")
text = " ".join("a" * 400)
alone = {len(tokenizer(text)["input_ids"]) for _ in range(2000)}
beside, errors, stop = set(), [], threading.Event()


def cut():
    while not stop.is_set():
        tokenizer(text, truncation=True, max_length=16)


other = threading.Thread(target=cut)
other.start()
try:
    for _ in range(20_000):
        beside.add(len(tokenizer(text)["input_ids"]))
except Exception as error:
    errors.append(error)
stop.set()
other.join()
print(f"alone {sorted(alone)} tokens; beside a thread that cuts {sorted(beside)}, errors {errors}")
assert alone == {401} and beside == {16, 401} and not errors
print("as it was seen")
PY
