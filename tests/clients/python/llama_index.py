"""LlamaIndex' tool asks for a picture, twice; its address is the environment's, and only a header
can say fairness.
"""

import json
import os
import sys

os.environ["OPENAI_BASE_URL"], prompt = sys.argv[1:]

from llama_index.tools.openai.image_generation.base import OpenAIImageGenerationToolSpec  # noqa: E402
from openai import BadRequestError  # noqa: E402

tool = OpenAIImageGenerationToolSpec(api_key="none")
by_name = [tool.image_generation(prompt) for _ in range(2)]
header = {"X-Fairness": json.dumps({"gender": {"man": 1.0}})}
tool.client = tool.client.with_options(default_headers=header)
said = tool.image_generation(prompt)
try:
    tool.client.images.generate(model="dall-e-9", prompt=prompt)
except BadRequestError as error:
    refused = [type(error).__name__, str(error)]
print(json.dumps({"by_name": by_name, "said": [said], "refused": refused}))
