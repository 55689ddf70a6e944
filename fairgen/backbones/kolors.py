"""Kolors: the UNet of Stable Diffusion XL, whose prompts ChatGLM 3 reads."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from diffusers import KolorsImg2ImgPipeline, KolorsPAGPipeline, KolorsPipeline
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.codec import UpcastingCodec
from fairgen.backbones.pipeline_call import reader_of, repeated_prompts
from fairgen.backbones.stable_diffusion_xl import StableDiffusionXLBackbone
from fairgen.bank import Positions, TextPositions


class KolorsBackbone(StableDiffusionXLBackbone):
    """Directions sit on the UNet's cross-attention; its keys and values stand at the prompt's own
    tokens.

    Two tokens stand before every prompt, and before them what fills it up: these are left alone,
    though the UNet reads them without a mask. A causal encoder embeds the first of the two the same
    for every prompt, so it is found again among embedded ones. The pooled embedding is not adapted.
    """

    pipelines = (KolorsImg2ImgPipeline, KolorsPAGPipeline, KolorsPipeline)
    codec_type = UpcastingCodec
    # where it is set, the pipeline has no pooled embedding of no prompt
    allowed_options = MappingProxyType({"force_zeros_for_empty_prompt": False})

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self._positions(context["text"])

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        return self._positions(arguments[self.prompt_argument])

    def _positions(self, text: Tensor) -> Positions:
        """Return where the tokens of embedded prompts N x L x D stand."""
        head = self.head.to(text.device)
        begin_N = (text.float() - head[0].float()).norm(dim=-1).argmin(dim=1) + len(head)
        at_L = torch.arange(text.shape[1], device=text.device)
        tokens = TextPositions(at_L >= begin_N[:, None])
        return dict.fromkeys(self.projections("kv"), tokens)

    @cached_property
    @torch.no_grad()
    def head(self) -> Tensor:
        """The embedded tokens that stand before every prompt, 2 x D."""
        encoder, tokenizer = (reader_of(self.pipe, name) for name in ("text_encoder", "tokenizer"))
        read = tokenizer([""], return_tensors="pt").to(self.device)
        states = encoder(**read, output_hidden_states=True).hidden_states
        return states[-2][:, 0]

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments for several pictures; of embedded prompts the pipeline repeats the
        pooled ones alone.
        """
        return repeated_prompts(super().call_options(num_images, options), num_images)

    def longest_prompt(self, asked: int | None) -> int | None:
        """Return the pipeline's own: it does not tell its encoder what it is asked."""
        return self.max_tokens

    def check(self) -> None:
        """Raise ValueError as others do, and for a codec with a mean and a deviation: the pipelines
        encode with both and decode with neither.
        """
        super().check()
        for name in ("latents_mean", "latents_std"):
            if (got := self.codec.vae.config.get(name)) is not None:
                raise ValueError(f"vae.{name}: got {got}, allowed is None")
