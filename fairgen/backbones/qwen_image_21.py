"""Qwen-Image 2.1: text, then picture, in one causal sequence; prompts read by Qwen 3 VL."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from diffusers import QwenImage21Pipeline
from diffusers.models.transformers.transformer_qwenimage21 import QwenImage21KVCache
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional

from fairgen.backbones.codec import AlphaCodec
from fairgen.backbones.flow import FlowBackbone
from fairgen.backbones.pipeline_call import reader_of
from fairgen.backbones.prompt_tokens import EqualLengths
from fairgen.bank import Positions, TextPositions

_ATTENTION = {"q": "attn.to_q", "k": "attn.to_k", "v": "attn.to_v", "o": "attn.to_out.0"}
_NUM_POSITIONS = 8192  # in the denoiser's table; those behind them are the ones before 0


class QwenImage21Backbone(EqualLengths, FlowBackbone):
    """Directions sit on all attention, at the positions of the prompt's tokens, which come before
    the picture's. Text is modulated as at time 0 and sees nothing of the picture.

    The pipeline cuts off what its template puts before the user's message. That message's own head,
    which a causal encoder embeds the same for every prompt, is left alone. Where the picture stands
    follows from how many tokens of text there are: what filled a prompt up would move it. The
    pipeline guides only where it is given a negative prompt: None is a space, which an empty one
    is, too.
    """

    pipelines = (QwenImage21Pipeline,)
    names_sigmas = True
    projection_suffixes = _ATTENTION
    codec_type = AlphaCodec
    takes_pictures = False
    allowed_in_denoiser = MappingProxyType({"patch_size": 1})

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D, filled up to the longest prompt, and "mask": N x L."""
        texts = [prompt or "" for prompt in prompts]
        text, mask, _ = self.pipe.encode_prompt(texts, device=self.device)
        if text.shape[1] >= _NUM_POSITIONS:
            raise ValueError(
                f"prompt: got {text.shape[1]} tokens, allowed are under {_NUM_POSITIONS}"
            )
        if mask is None:
            mask = torch.ones(text.shape[:2], device=text.device)
        return TensorDict({"text": text, "mask": mask.bool()}, batch_size=[len(prompts)])

    def denoise_equal(self, x_t: Tensor, t_N: Tensor, context: TensorDict) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        if "kept" not in context:
            return self._pass(x_t, t_N, context["text"])
        known = QwenImage21KVCache(len(self.denoiser.transformer_blocks))
        for at, layer in enumerate(known.layer_caches):
            layer.store(*context["kept"][:, :, at].unbind(2))
        return self._pass(x_t, t_N, context["text"], kv_cache=known, kv_cache_mode="cached")

    @property
    def reads_once(self) -> bool:
        return self.denoiser.config.causal_condition

    def read_once(self, context: TensorDict) -> TensorDict:
        """Return "kept" besides, keys and values: N x L x layers x 2 x heads x D."""
        known = QwenImage21KVCache(len(self.denoiser.transformer_blocks))
        x = torch.zeros(len(context), self.num_latent_channels, 2, 2, device=self.device)
        self._pass(x, x[:, 0, 0, 0], context["text"], kv_cache=known, kv_cache_mode="extract")
        kept = torch.stack([torch.stack([each.k, each.v], 2) for each in known.layer_caches], 2)
        return TensorDict({**context, "kept": kept}, batch_size=len(context))

    def _pass(self, x_t: Tensor, t_N: Tensor, text: Tensor, **kept: Any) -> Tensor:
        h, w = x_t.shape[-2:]
        is_picture = torch.arange(text.shape[1] + h * w // 4, device=x_t.device) >= text.shape[1]
        velocity = self.denoiser(
            hidden_states=x_t.to(self.dtype).flatten(2).mT,
            timestep=t_N.to(self.dtype) / 1000,
            encoder_hidden_states=text.to(self.dtype),
            img_shapes=[[(1, h, w)]],
            img_mask=is_picture[None],
            **kept,
        ).sample[:, -h * w :]
        return velocity.mT.reshape(x_t.shape).to(x_t.dtype)

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        (num_text,) = set(context["mask"].sum(1).tolist())
        return self._positions(context["mask"][:, :num_text], shape[-2] * shape[-1])

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        if (got := arguments.get("image")) is not None:
            raise ValueError(f"image: got {len(got)}, allowed is none beside adapters")
        text, mask = arguments["encoder_hidden_states"], arguments.get("encoder_hidden_states_mask")
        is_text = torch.ones_like(text[:, :, 0], dtype=torch.bool) if mask is None else mask.bool()
        if arguments.get("kv_cache_mode") == "cached":
            is_text = is_text[:, :0]  # only the picture passes the layers
        return self._positions(is_text, arguments["hidden_states"].shape[1])

    def _positions(self, is_text: Tensor, num_pixels: int) -> Positions:
        """Return where prompts stand before so many tokens of the picture."""
        at = torch.arange(is_text.shape[1], device=is_text.device)
        of_prompt = functional.pad(is_text & (at >= self.num_head_tokens), (0, num_pixels))
        return dict.fromkeys(self.projections("qkvo"), TextPositions(of_prompt))

    @cached_property
    def num_head_tokens(self) -> int:
        """How many tokens stand before a prompt, of those that the pipeline does not cut off."""
        before, _ = self.pipe.prompt_template_t2i.split("{}")
        tokenize = reader_of(self.pipe, "processor").tokenizer
        return len(tokenize(before)["input_ids"]) - self.pipe._drop_idx

    def _shift_mu(self, shape: tuple[int, int, int] | None, num_steps: int) -> float:
        _, height, width = shape or self.latent_shape()
        return super()._shift_mu((0, 2 * height, 2 * width), num_steps)  # a token a latent

    @property
    def sample_size(self) -> int:
        return 1024 // self.pipe.vae_scale_factor  # the pipeline's own default

    @property
    def patch_size(self) -> int:
        return 2
