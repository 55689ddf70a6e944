"""OpenAI's Python client of 2024 asks for two pictures, as its guide does, and edits one."""

import base64
import json
import sys

from openai import BadRequestError, OpenAI

address, prompt = sys.argv[1:]
client = OpenAI(base_url=address, api_key="none")
made = client.images.generate(
    model="dall-e-2", prompt=prompt, size="1024x1024", quality="standard", n=2
)
said = client.images.generate(
    model="dall-e-2", prompt=prompt, extra_body={"fairness": {"gender": {"man": 1.0}}}
)
picture = base64.b64decode(made.data[0].url.partition(",")[2])
edits = client.images.edit(
    model="dall-e-2", image=picture, prompt=prompt, n=1, size="1024x1024",
    extra_body={"fairness": {"gender": {"man": 1.0}}, "strength": 0.5},
)  # fmt: skip
try:
    client.images.generate(model="dall-e-9", prompt=prompt)
except BadRequestError as error:
    refused = [type(error).__name__, str(error)]
by_name = [picture.url for picture in made.data]
pictures = {"by_name": by_name, "said": [said.data[0].url], "edited": [edits.data[0].url]}
print(json.dumps(pictures | {"refused": refused}))
