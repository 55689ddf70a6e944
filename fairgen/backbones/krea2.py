"""Krea 2, Raw and Turbo: text, then picture, in one sequence; prompts read by Qwen 3 VL."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import Krea2Pipeline
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional

from fairgen.backbones.codec import FrameCodec
from fairgen.backbones.flow import FlowBackbone
from fairgen.backbones.prompt_tokens import PromptTokens
from fairgen.bank import Positions, TextPositions

_ATTENTION = {"q": "attn.to_q", "k": "attn.to_k", "v": "attn.to_v", "o": "attn.to_out.0"}
_OF_TEXT, _OF_BOTH = "text_fusion.refiner_blocks.", "transformer_blocks."


class Krea2Backbone(PromptTokens, FlowBackbone):
    """Directions sit on all attention between tokens that reads the prompt, at the positions of
    its tokens: in the layers that refine the text alone, and in those that hold the picture behind
    it. Attention between a token's states in several layers of the encoder is left alone.

    The pipeline cuts off what its template puts before a prompt, and fills up between a prompt and
    what follows on it. Where a token of text stands tells the denoiser nothing: here what fills up
    comes last, as little as a batch wants. Guidance counts from 0.
    """

    pipelines = (Krea2Pipeline,)
    names_sigmas = True
    projection_suffixes = _ATTENTION
    codec_type = FrameCodec
    takes_pictures = False
    guidance_origin = 0.0

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x K x D of K layers of the language model, and "mask": N x L."""
        text, mask = self.pipe.encode_prompt([prompt or "" for prompt in prompts], self.device)
        order = mask.int().argsort(dim=1, descending=True, stable=True)[:, : mask.sum(1).max()]
        text = text.take_along_dim(order[..., None, None], 1)
        return TensorDict({"text": text, "mask": mask.gather(1, order)}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        side, mask = self.patch_size, context["mask"]
        grid = [length // side for length in x_t.shape[-2:]]
        velocity = self.denoiser(
            hidden_states=functional.pixel_unshuffle(x_t.to(self.dtype), side).flatten(2).mT,
            encoder_hidden_states=context["text"].to(self.dtype),
            timestep=(t_N / self.pipe.scheduler.config.num_train_timesteps).to(self.dtype),
            position_ids=self.pipe.prepare_position_ids(mask.shape[1], *grid, x_t.device),
            encoder_attention_mask=mask,
        ).sample
        return functional.pixel_shuffle(velocity.mT.unflatten(-1, grid), side).to(x_t.dtype)

    def projections(self, which: str) -> list[str]:
        """Return the layers of the attention between tokens that reads the prompt."""
        found = super().projections(which)
        return [name for name in found if name.startswith((_OF_TEXT, _OF_BOTH))]

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self._positions(context["mask"], shape[-2] * shape[-1] // self.patch_size**2)

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        num_pixels = arguments["hidden_states"].shape[1]
        return self._positions(arguments["encoder_attention_mask"], num_pixels)

    def _positions(self, mask: Tensor, num_pixels: int) -> Positions:
        """Return where prompts stand: alone, and before so many tokens of the picture."""
        alone, before = (TextPositions(functional.pad(mask, (0, n))) for n in (0, num_pixels))
        return {
            path: alone if path.startswith(_OF_TEXT) else before
            for path in self.projections("qkvo")
        }

    def as_read(self, prompt: str, instruction: str) -> tuple[str, int]:
        """Return the text that is tokenized, and where in it a prompt begins."""
        before = self.pipe.prompt_template_encode_prefix
        return before + prompt, len(before)

    def num_tokens_before(self, tokenizer: Any, instruction: str) -> int:
        """Return how many tokens stand before a prompt, less those that follow on it."""
        pipe = self.pipe
        return pipe.prompt_template_encode_start_idx - pipe.prompt_template_encode_num_suffix_tokens

    def _shift_mu(self, shape: tuple[int, int, int] | None, num_steps: int) -> float:
        return 1.15 if self.pipe.config.is_distilled else super()._shift_mu(shape, num_steps)

    @property
    def num_latent_channels(self) -> int:
        return self.denoiser.config.in_channels // self.patch_size**2

    @property
    def sample_size(self) -> int:
        return 1024 // self.pipe.vae_scale_factor  # the pipeline's own default

    @property
    def patch_size(self) -> int:
        return self.pipe.patch_size
