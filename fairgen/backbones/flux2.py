"""FLUX.2 klein, distilled and base: two streams, then one, on a flow; prompts read by Qwen 3."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline, Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional

from fairgen.backbones.chat_template import ChatTemplate
from fairgen.backbones.codec import PatchingCodec
from fairgen.backbones.flow import PatchedFlowBackbone, even_sigmas
from fairgen.bank import Positions, TextPositions

_SINGLE, _FUSED = "single_transformer_blocks.", "attn.to_qkv_mlp_proj"
_PARTS = "qkv"  # in the order in which a fused layer holds them


class Flux2Backbone(ChatTemplate, PatchedFlowBackbone):
    """Directions sit on the text stream of the blocks that keep two, and in those of one stream on
    the queries, keys and values of the text's positions: a slice of the layer that computes them
    with the feed-forward.

    The head of the chat template, which a causal encoder embeds the same for every prompt, is left
    alone. What fills a prompt up is not: the denoiser reads it as it reads the prompt. Latents are
    the codec's in patches of two by two.
    """

    pipelines: ClassVar[tuple[type[DiffusionPipeline], ...]] = (Flux2KleinPipeline,)
    codec_type = PatchingCodec
    takes_pictures = False
    chat_options = MappingProxyType({"enable_thinking": False})

    @property
    def classifier_free(self) -> bool:  # type: ignore[override]
        """Whether guidance takes a second row: distilled ones have none."""
        return not self.pipe.config.is_distilled

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D of three layers of the language model, filled up."""
        text, _ = self.pipe.encode_prompt([prompt or "" for prompt in prompts], self.device)
        return TensorDict({"text": text}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        text = context["text"].to(self.dtype)
        velocity = self.denoiser(
            hidden_states=self.pipe._pack_latents(x_t.to(self.dtype)),
            timestep=t_N.to(self.dtype) / 1000,
            guidance=guidance_N if self.denoiser.config.guidance_embeds else None,
            encoder_hidden_states=text,
            txt_ids=self.pipe._prepare_text_ids(text[:1]).to(x_t.device),
            img_ids=self.pipe._prepare_latent_ids(x_t[:1]).to(x_t.device),
        ).sample
        return velocity.mT.reshape(x_t.shape).to(x_t.dtype)

    def projections(self, which: str) -> list[str]:
        """Return the layers of the text stream, and those of one stream that hold some of these."""
        single = [name for name, _ in self.denoiser.named_modules() if name.endswith(_FUSED)]
        return super().projections(which) + (single if set(which) & set(_PARTS) else [])

    def columns(self, which: str = "qkvo") -> dict[str, slice]:
        """Return the columns of queries, keys and values: from the first that is asked for to the
        last.
        """
        at = [_PARTS.index(letter) for letter in which if letter in _PARTS]
        width = self.denoiser.inner_dim
        return {
            path: slice(min(at) * width, (max(at) + 1) * width)
            for path in self.projections(which)
            if path.startswith(_SINGLE)
        }

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self._positions(self._prompt_at(context["text"], {}), shape[-2] * shape[-1])

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        at = self._prompt_at(arguments["encoder_hidden_states"], arguments)
        return self._positions(at, arguments["hidden_states"].shape[1])

    def _prompt_at(self, text: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        """Return where prompts stand among embedded tokens N x L x D: N x L."""
        at = torch.arange(text.shape[1], device=text.device)
        return (at >= self.num_head_tokens).expand(len(text), -1)

    def _positions(self, prompt_at: Tensor, num_pixels: int) -> Positions:
        """Return where prompts stand: alone, and before so many tokens of the picture."""
        alone, before = (TextPositions(functional.pad(prompt_at, (0, n))) for n in (0, num_pixels))
        return {
            path: before if path.startswith(_SINGLE) else alone for path in self.projections("qkvo")
        }

    def _sigmas(self, num_steps: int) -> list[float] | None:
        return even_sigmas(self.pipe.scheduler, num_steps)

    def _shift_mu(self, shape: tuple[int, int, int] | None, num_steps: int) -> float:
        _, height, width = shape or self.latent_shape()
        return compute_empirical_mu(height * width, num_steps)

    @property
    def sample_size(self) -> int:
        return self.pipe.default_sample_size // 2
