"""Pydantic AI's image generator asks for two pictures."""

import base64
import json
import sys

from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.images import ImageGenerator
from pydantic_ai.images.openai import OpenAIImageGenerationModel
from pydantic_ai.providers.openai import OpenAIProvider

address, prompt = sys.argv[1:]
provider = OpenAIProvider(base_url=address, api_key="none")


def paint(name: str, **settings: object) -> list[str]:
    model = OpenAIImageGenerationModel(name, provider=provider)
    made = ImageGenerator(model).generate_sync(prompt, settings=settings)
    return [base64.b64encode(image.content.data).decode() for image in made.images]


by_name = paint("gpt-image-2", openai_n=2, aspect_ratio="1:1")
said = paint("gpt-image-2", extra_body={"fairness": {"gender": {"man": 1.0}}})
try:
    paint("gpt-image-9")
except ModelHTTPError as error:
    refused = [type(error).__name__, str(error)]
print(json.dumps({"by_name": by_name, "said": said, "refused": refused}))
