#!/usr/bin/env bash
# transformers 5.24.0: without torchvision no Qwen3VLProcessor can be built, not even one that reads text alone, and the error
# does not say that torchvision is missing.
#
# Expected: video_processor=None, which is the default, leaves films out; or else an ImportError that names torchvision, as
# loading a saved processor raises.
# Behaviour: the check of the argument's class looks the video processors up, which torchvision's absence has made a placeholder.
# Output seen: AttributeError: type object 'VIDEO_PROCESSOR_MAPPING' has no attribute '_extra_content'
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.24.0 pillow==13.0.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
from transformers import CLIPImageProcessorPil, Qwen2Tokenizer, Qwen3VLProcessor

tokenizer = Qwen2Tokenizer(vocab={letter: at for at, letter in enumerate("abc")}, merges=[])
template = "{{ messages[0].content }}"
try:
    Qwen3VLProcessor(CLIPImageProcessorPil(), tokenizer, chat_template=template)
except (AttributeError, ImportError) as error:
    print(f"{type(error).__name__}: {error}")
    assert isinstance(error, AttributeError) and "torchvision" not in str(error).lower()
else:
    raise SystemExit("a processor without films is built now")
PY
echo "as it was seen"
