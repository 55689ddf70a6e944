"""Haystack's image generator asks for a picture, twice; only a header can say fairness."""

import json
import sys

from haystack.components.generators import OpenAIImageGenerator
from haystack.utils import Secret
from openai import BadRequestError

address, prompt = sys.argv[1:]
to = {"api_base_url": address, "api_key": Secret.from_token("none")}
generator = OpenAIImageGenerator(**to)
by_name = [image for _ in range(2) for image in generator.run(prompt)["images"]]
header = {"headers": {"X-Fairness": json.dumps({"gender": {"man": 1.0}})}}
said = OpenAIImageGenerator(**to, http_client_kwargs=header).run(prompt)["images"]
try:
    OpenAIImageGenerator(model="gpt-image-9", **to).run(prompt)
except BadRequestError as error:
    refused = [type(error).__name__, str(error)]
print(json.dumps({"by_name": by_name, "said": said, "refused": refused}))
