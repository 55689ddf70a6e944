"""Kandinsky 5, text to image: cross-attention on a flow; prompts read by Qwen 2.5 VL and CLIP."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import Kandinsky5T2IPipeline
from diffusers.pipelines.kandinsky5.pipeline_kandinsky_t2i import prompt_clean
from tensordict import TensorDict
from torch import Generator, Tensor

from fairgen.backbones.codec import Codec
from fairgen.backbones.flow import FlowBackbone
from fairgen.backbones.prompt_tokens import EqualLengths

_ENDS = {"q": "to_query", "k": "to_key", "v": "to_value", "o": "out_layer"}
_CROSS_ATTENTION = {letter: f"cross_attention.{end}" for letter, end in _ENDS.items()}


class Kandinsky5Backbone(EqualLengths, FlowBackbone):
    """Directions sit on the cross-attention, where the picture reads the prompt behind two blocks
    that refine it alone. The pooled prompt is left alone.

    The pipeline puts a prompt into a template and cuts off what stands before it. It has no mask:
    what filled a prompt up would be read as words are. Pictures have the size that was asked; the
    pipeline paints one of seven. Noise is drawn with a latent's channels last.
    """

    pipelines = (Kandinsky5T2IPipeline,)
    projection_suffixes = _CROSS_ATTENTION
    codec_type = Codec
    takes_pictures = False
    allowed_in_denoiser = MappingProxyType({"visual_cond": False})
    allowed_in_scheduler = MappingProxyType({"use_dynamic_shifting": False})

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D, filled up to the longest prompt, "mask": N x L, and "pooled":
        N x 1 x D.
        """
        found = []
        for prompt in prompts:
            text, pooled, _ = self.pipe.encode_prompt(
                prompt or "", device=self.device, dtype=self.dtype
            )
            mask = torch.ones(text.shape[1], dtype=torch.bool, device=text.device)
            found.append(TensorDict({"text": text[0], "mask": mask, "pooled": pooled}))
        return self.stack(found)

    def denoise_equal(self, x_t: Tensor, t_N: Tensor, context: TensorDict) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        (_, _, h, w), num_text = x_t.shape, context["text"].shape[1]
        at = [torch.arange(n, device=x_t.device) for n in (1, h // 2, w // 2, num_text)]
        velocity = self.denoiser(
            hidden_states=x_t.to(self.dtype).permute(0, 2, 3, 1)[:, None],
            encoder_hidden_states=context["text"].to(self.dtype),
            pooled_projections=context["pooled"][:, 0].to(self.dtype),
            timestep=t_N.to(self.dtype),
            visual_rope_pos=at[:3],
            text_rope_pos=at[3],
        ).sample
        return velocity[:, 0].permute(0, 3, 1, 2).to(x_t.dtype)

    def noise(self, shape: Sequence[int], generator: Generator) -> Tensor:
        C, h, w = shape
        return torch.randn(h, w, C, generator=generator).permute(2, 0, 1)

    def latent_shape(self, width_px: int = 0, height_px: int = 0) -> tuple[int, int, int]:
        """Return C, h, w. Raises ValueError as others do, and past the table of positions."""
        shape = super().latent_shape(width_px, height_px)
        num_positions = self.denoiser.visual_rope_embeddings.max_pos[1]
        if max(shape[1:]) > (most := num_positions * self.patch_size):
            most_px, size = most * self.vae_scale_factor, f"{width_px}x{height_px}"
            raise ValueError(f"size: got {size}, allowed are up to {most_px} pixels a side")
        return shape

    def read_as(self, prompt: str) -> str:
        return prompt_clean(prompt)

    def as_read(self, prompt: str, instruction: str) -> tuple[str, int]:
        """Return the text that is tokenized, and how much further on it a prompt stands."""
        template, read = self.pipe.prompt_template, self.read_as(prompt)
        return template.format(read), template.index("{}") + len(read) - len(prompt.rstrip())

    def num_tokens_before(self, tokenizer: Any, instruction: str) -> int:
        """Return how many tokens stand before a prompt."""
        return self.pipe.prompt_template_encode_start_idx

    @property
    def num_latent_channels(self) -> int:
        return self.denoiser.config.in_visual_dim

    @property
    def vae_scale_factor(self) -> int:
        return self.pipe.vae_scale_factor_spatial

    @property
    def sample_size(self) -> int:
        return 1024 // self.vae_scale_factor  # the pipeline's own default

    @property
    def patch_size(self) -> int:
        return 2
