"""OpenAI's Python client asks for two pictures, for one as a stream, and for edits of the two."""

import base64
import io
import json
import sys
from typing import get_args

from openai import BadRequestError, OpenAI
from openai.types import ImageModel

address, prompt = sys.argv[1:]
client = OpenAI(base_url=address, api_key="none")
made = client.images.generate(
    model="gpt-image-1.5", prompt=prompt, n=2, size="1024x1024", quality="auto", moderation="low",
    background="auto", output_format="webp", output_compression=80, user="somebody",
)  # fmt: skip
fairness = {"fairness": {"gender": {"man": 1.0}}}
said = client.images.generate(model="gpt-image-1.5", prompt=prompt, extra_body=fairness)
events = client.images.generate(
    model="gpt-image-1", prompt=prompt, stream=True, partial_images=1, extra_body=fairness
)
streamed = [event.b64_json for event in events if event.type == "image_generation.completed"]
images = [base64.b64decode(picture.b64_json) for picture in made.data]
asked = {"model": "gpt-image-1.5", "prompt": prompt, "extra_body": fairness | {"strength": 0.5}}
edits = client.images.edit(
    image=[io.BytesIO(image) for image in images], n=1, size="1024x1024", input_fidelity="high",
    quality="auto", **asked,
)  # fmt: skip
events = client.images.edit(image=images[0], stream=True, partial_images=1, **asked)
edited = [event.b64_json for event in events if event.type == "image_edit.completed"]
try:
    client.images.generate(model="gpt-image-9", prompt=prompt)
except BadRequestError as error:
    refused = [type(error).__name__, error.body["message"]]
print(
    json.dumps(
        {
            "by_name": [picture.b64_json for picture in made.data],
            "said": [said.data[0].b64_json, *streamed],
            "edited": [picture.b64_json for picture in edits.data] + edited,
            "refused": refused,
            "size": made.size,
            "num_tokens": made.usage.input_tokens,
            "names": get_args(ImageModel),
            "listed": [model.id for model in client.models.list()],
        }
    )
)
