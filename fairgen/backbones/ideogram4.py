"""Ideogram 4: text, then picture, in one sequence; a second transformer predicts without text."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import Ideogram4Pipeline
from diffusers.pipelines.ideogram4 import pipeline_ideogram4 as theirs
from tensordict import TensorDict
from torch import Generator, Tensor
from torch.nn import functional

from fairgen.backbones.chat_template import ChatTemplate
from fairgen.backbones.codec import PatchesFirstCodec
from fairgen.backbones.flow import PatchedFlowBackbone
from fairgen.backbones.prompt_tokens import GuidedApart
from fairgen.bank import Positions, TextPositions
from fairgen.solvers import Solver, flow_euler

_ENDS = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}
_ATTENTION = {letter: f"attention.{end}" for letter, end in _ENDS.items()}
_LAYOUT = ("position_ids", "segment_ids", "indicator")
_MU, _STD = 0.0, 1.5  # of the noise levels, where the pipeline is told nothing else


class Ideogram4Backbone(GuidedApart, ChatTemplate, PatchedFlowBackbone):
    """Directions sit on all attention of the transformer that reads text, at the positions of the
    prompt's tokens: not at what fills up on the left, nor at the head of the chat template, which a
    causal encoder embeds the same for every prompt. Time runs up. Noise is drawn with a latent's
    channels last; latents are the codec's in patches of two by two.
    """

    pipelines = (Ideogram4Pipeline,)
    projection_suffixes = _ATTENTION
    codec_type = PatchesFirstCodec
    takes_pictures = False
    unconditional_name = "unconditional_transformer"
    message_has_parts = True
    allowed_in_scheduler = MappingProxyType({"use_dynamic_shifting": False})

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D of 13 layers of the language model, and "mask": N x L.

        Raises ValueError for a prompt that is longer than the pipeline takes.
        """
        empty = torch.zeros(0, self.denoiser.config.llm_features_dim, device=self.device)
        texts = [empty if prompt is None else self._encode(prompt) for prompt in prompts]
        masks = [torch.ones(len(text), dtype=torch.bool, device=self.device) for text in texts]
        pairs = zip(texts, masks, strict=True)
        return self.stack([TensorDict({"text": text, "mask": mask}) for text, mask in pairs])

    def _encode(self, prompt: str) -> Tensor:
        message = self._message(prompt)
        num_tokens = len(self.pipe.tokenizer(message, add_special_tokens=False)["input_ids"])
        if num_tokens > (most := self.max_tokens or num_tokens):
            raise ValueError(f"prompt: got {num_tokens} tokens, allowed are at most {most}")
        (text,), *_ = self.pipe.encode_prompt(prompt, 1, 1, num_tokens, self.device)
        return text[:num_tokens].to(self.dtype)  # behind it is a picture's one token

    def denoise_by(self, model: Any, x_t: Tensor, t_N: Tensor, context: TensorDict) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        dtype, (h, w) = model.dtype, x_t.shape[-2:]
        lengths, layout = self._laid_out(context, h, w)
        L, rows = max(lengths), zip(context["text"].to(dtype), lengths, strict=True)
        time_N = 1 - t_N.float() / self.pipe.scheduler.config.num_train_timesteps
        velocity = model(
            hidden_states=functional.pad(x_t.to(dtype).flatten(2).mT, (0, 0, L, 0)),
            timestep=time_N.to(dtype),
            encoder_hidden_states=torch.stack(
                [functional.pad(row[:n], (0, 0, L - n, h * w)) for row, n in rows]
            ),
            **layout,
        ).sample[:, L:]
        return -velocity.mT.reshape(x_t.shape).to(x_t.dtype)

    def _laid_out(self, context: TensorDict, h: int, w: int) -> tuple[list[int], dict[str, Tensor]]:
        """Return how long texts are, and how the pipeline lays them out before h x w tokens."""
        lengths, device = context["mask"].sum(1).tolist(), context["mask"].device
        found = self.pipe._prepare_ids(lengths, h, w, max(lengths), device)
        return lengths, dict(zip(_LAYOUT, found, strict=True))

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self.positions_in(self._laid_out(context, *shape[-2:])[1])

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        is_text = arguments["indicator"] == theirs.LLM_TOKEN_INDICATOR
        of_prompt = is_text & (arguments["position_ids"][..., 0] >= self.num_head_tokens)
        return dict.fromkeys(self.projections("qkvo"), TextPositions(of_prompt))

    def noise(self, shape: Sequence[int], generator: Generator) -> Tensor:
        C, h, w = shape
        return torch.randn(h, w, C, generator=generator).permute(2, 0, 1)

    def solver(self, num_steps: int, shape: tuple[int, int, int] | None = None) -> Solver:
        """Return Euler's steps at the noise levels that the pipeline names for a shape."""
        _, *sides = shape or self.latent_shape()
        height, width = (side * self.vae_scale_factor for side in sides)
        mu = theirs._resolution_aware_mu(height, width, _MU)
        sigmas = theirs._logit_normal_sigmas(num_steps, mu, _STD).tolist()
        return flow_euler(self.pipe.scheduler, num_steps, sigmas)

    def longest_prompt(self, asked: int | None) -> None:
        """Return that nothing is cut: a longer prompt is refused."""

    @property
    def sample_size(self) -> int:
        return 2048 // self.vae_scale_factor  # the pipeline's own default
