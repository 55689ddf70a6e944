"""Qwen-Image: joint attention on a flow; prompts read by a vision-language model, Qwen 2.5 VL."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    QwenImageControlNetInpaintPipeline,
    QwenImageControlNetPipeline,
    QwenImageImg2ImgPipeline,
    QwenImageInpaintPipeline,
    QwenImagePipeline,
)
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional

from fairgen.backbones.codec import FrameCodec
from fairgen.backbones.flow import PackedFlowBackbone
from fairgen.backbones.prompt_tokens import PromptTokens


class QwenImageBackbone(PromptTokens, PackedFlowBackbone):
    """Directions sit on the text stream of joint attention: see `FlowBackbone`.

    The pipeline puts a prompt into a template and cuts off what stands before it, so the stream
    holds the prompt's tokens, those that follow on them, and padding, which nothing attends to.
    The pipeline guides only where it is given a negative prompt: None is a space, which its
    publisher gives it. A guided prediction has the length of the conditional one, token by token.
    """

    pipelines = (
        QwenImageControlNetInpaintPipeline,
        QwenImageControlNetPipeline,
        QwenImageImg2ImgPipeline,
        QwenImageInpaintPipeline,
        QwenImagePipeline,
    )
    names_sigmas = True
    allowed_in_denoiser = MappingProxyType({
        "guidance_embeds": False, "use_additional_t_cond": False,
    })  # fmt: skip
    codec_type = FrameCodec

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D, and "mask": N x L."""
        texts = [" " if prompt is None else prompt for prompt in prompts]
        longest = self.max_tokens
        text, mask = self.pipe.encode_prompt(texts, self.device, max_sequence_length=longest)
        if mask is None:
            mask = torch.ones(text.shape[:2], device=text.device)
        return TensorDict({"text": text, "mask": mask.bool()}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        (N, _, h, w), mask = x_t.shape, context["mask"]
        velocity = self.denoiser(
            hidden_states=functional.pixel_unshuffle(x_t.to(self.dtype), 2).flatten(2).mT,
            timestep=t_N.to(self.dtype) / 1000,
            encoder_hidden_states=context["text"].to(self.dtype),
            encoder_hidden_states_mask=None if bool(mask.all()) else mask,
            img_shapes=[[(1, h // 2, w // 2)]] * N,
        ).sample
        velocity = functional.pixel_shuffle(velocity.mT.unflatten(-1, (h // 2, w // 2)), 2)
        return velocity.to(x_t.dtype)

    def guided(self, unconditional: Tensor, conditional: Tensor, scale: float | Tensor) -> Tensor:
        """Return guided predictions, ... x C x h x w, each token as long as the conditional one."""
        both = super().guided(unconditional, conditional, scale), conditional
        combined, wanted = (functional.pixel_unshuffle(x, 2) for x in both)
        ratio = wanted.norm(dim=-3, keepdim=True) / combined.norm(dim=-3, keepdim=True)
        return functional.pixel_shuffle(combined * ratio, 2)

    def as_read(self, prompt: str, instruction: str) -> tuple[str, int]:
        """Return the text that is tokenized, and where in it a prompt begins."""
        template = self.pipe.prompt_template_encode
        return template.format(prompt), template.index("{}")

    def num_tokens_before(self, tokenizer: Any, instruction: str) -> int:
        """Return how many tokens stand before a prompt."""
        return self.pipe.prompt_template_encode_start_idx
