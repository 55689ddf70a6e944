"""A prompt is encoded once and on its own; what was used last stays within the bytes allowed."""

from collections.abc import Sequence

import torch
from diffusers import StableDiffusionPipeline

from fairgen.backbones import PromptCache, load_backbone

PROMPTS = ["a doctor", "a nurse", "a pilot"]


def test_prompts_are_encoded_once_each_on_its_own(pipe: StableDiffusionPipeline) -> None:
    backbone, batches = load_backbone(pipe), []
    encode = backbone.encode

    def counted(prompts: Sequence[str]) -> object:
        batches.append(list(prompts))
        return encode(prompts)

    backbone.encode = counted
    cache = PromptCache(backbone)
    stacked = cache.stack([*PROMPTS, *PROMPTS])
    assert batches == [[prompt] for prompt in PROMPTS]
    assert torch.equal(stacked["text"][4], encode(["a nurse"])["text"][0])


def test_the_least_recently_used_embedding_goes_first(pipe: StableDiffusionPipeline) -> None:
    backbone, encoded = load_backbone(pipe), []
    one = backbone.encode(["a doctor"])[0].bytes()
    cache = PromptCache(backbone, max_bytes=2 * one)
    encode = backbone.encode
    backbone.encode = lambda prompts: encoded.extend(prompts) or encode(prompts)
    for prompt in ("a doctor", "a nurse", "a doctor", "a pilot", "a doctor", "a nurse"):
        cache.embed(prompt)
        assert cache.num_bytes <= 2 * one
    assert encoded == ["a doctor", "a nurse", "a pilot", "a nurse"]
