"""LangChain's DALL-E wrapper asks for a picture, twice; only a header can say fairness."""

import json
import sys

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper
from openai import BadRequestError

address, prompt = sys.argv[1:]
to = {"base_url": address, "api_key": "none"}
wrapper = DallEAPIWrapper(**to)
by_name = [wrapper.run(prompt) for _ in range(2)]
header = {"X-Fairness": json.dumps({"gender": {"man": 1.0}})}
said = DallEAPIWrapper(**to, default_headers=header).run(prompt)
try:
    DallEAPIWrapper(**to, model="dall-e-9").run(prompt)
except BadRequestError as error:
    refused = [type(error).__name__, str(error)]
print(json.dumps({"by_name": by_name, "said": [said], "refused": refused}))
