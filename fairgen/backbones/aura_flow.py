"""AuraFlow: two streams, then one, on a flow; prompts read by UMT5."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import AuraFlowPipeline
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional

from fairgen.backbones.backbone import Backbone
from fairgen.backbones.codec import UpcastingCodec
from fairgen.backbones.two_then_one import TwoThenOneBackbone
from fairgen.bank import Positions, TextPositions

_ATTENTION = {"q": "attn.to_q", "k": "attn.to_k", "v": "attn.to_v", "o": "attn.to_out.0"}


class AuraFlowBackbone(TwoThenOneBackbone):
    """Directions sit on the text stream of the blocks that keep two, and on the attention of those
    of one stream, at the positions of the prompt's tokens.

    The register tokens, which stand before every prompt, are left alone, and so is padding: the
    pipeline makes it zeros.
    """

    pipelines = (AuraFlowPipeline,)
    single_blocks, single_suffixes = "single_transformer_blocks.", _ATTENTION
    codec_type = UpcastingCodec
    takes_pictures = False

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D, zeros at padding."""
        text, *_ = self.pipe.encode_prompt(
            [prompt or "" for prompt in prompts],
            do_classifier_free_guidance=False,
            device=self.device,
        )
        return TensorDict({"text": text}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        velocity = self.denoiser(
            x_t.to(self.dtype),
            encoder_hidden_states=context["text"].to(self.dtype),
            timestep=(t_N / 1000).to(self.dtype),
        ).sample
        return velocity.to(x_t.dtype)

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self._positions(context["text"], shape[-2:])

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        sides = arguments["hidden_states"].shape[-2:]
        return self._positions(arguments["encoder_hidden_states"], sides)

    def _positions(self, text: Tensor, sides: Sequence[int]) -> Positions:
        """Return where prompts stand: behind the registers, alone and before the picture."""
        num_registers = self.denoiser.register_tokens.shape[1]
        num_pixels = sides[0] * sides[1] // self.patch_size**2
        alone, before = (
            TextPositions(functional.pad(text.any(-1), (num_registers, num_behind)))
            for num_behind in (0, num_pixels)
        )
        return self._where(alone, before)

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments for several pictures: the pipeline repeats embedded prompts."""
        return Backbone.call_options(self, num_images, options)

    def latent_shape(self, width_px: int = 0, height_px: int = 0) -> tuple[int, int, int]:
        """Return C, h, w as others do. Raises ValueError also for a side that is longer than the
        table of positions.
        """
        shape = super().latent_shape(width_px, height_px)
        most = math.isqrt(self.denoiser.config.pos_embed_max_size) * self.patch_size
        if (longest := max(shape[1:])) > most:
            got_px, most_px = (side * self.vae_scale_factor for side in (longest, most))
            raise ValueError(f"size: got a side of {got_px} pixels, allowed are at most {most_px}")
        return shape

    def check(self) -> None:
        """Raise ValueError as others do, and for a flow that is shifted by a picture's size: the
        pipeline names none to its scheduler.
        """
        super().check()
        if self.pipe.scheduler.config.use_dynamic_shifting:
            raise ValueError("scheduler.use_dynamic_shifting: got True, allowed is False")

    @property
    def sample_size(self) -> int:
        return 1024 // self.pipe.vae_scale_factor  # the pipeline's own default
