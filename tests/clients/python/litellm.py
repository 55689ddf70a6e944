"""LiteLLM's `image_generation` asks OpenAI's route of another address for two pictures, and its
`image_edit` for an edit.
"""

import base64
import json
import sys

import litellm

address, prompt = sys.argv[1:]
to = {"api_base": address, "api_key": "none", "prompt": prompt}
made = litellm.image_generation(model="openai/gpt-image-1", n=2, size="1024x1024", **to)
fairness = {"fairness": {"gender": {"man": 1.0}}}
said = litellm.image_generation(model="openai/gpt-image-1", extra_body=fairness, **to)
edits = litellm.image_edit(
    model="openai/gpt-image-1", image=base64.b64decode(made.data[0].b64_json),
    extra_body=fairness | {"strength": 0.5}, **to,
)  # fmt: skip
try:
    litellm.image_generation(model="openai/gpt-image-9", **to)
except litellm.BadRequestError as error:
    refused = [type(error).__name__, str(error)]
by_name, said, edited = (
    [picture.b64_json for picture in found.data] for found in (made, said, edits)
)
print(json.dumps({"by_name": by_name, "said": said, "edited": edited, "refused": refused}))
