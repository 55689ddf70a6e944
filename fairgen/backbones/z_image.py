"""Z-Image and Z-Image-Turbo: text and picture in one sequence, on a flow whose time runs up."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import ZImageImg2ImgPipeline, ZImageInpaintPipeline, ZImagePipeline
from tensordict import TensorDict
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fairgen.backbones.chat_template import ChatTemplate
from fairgen.backbones.flow import FlowBackbone
from fairgen.bank import Positions, TextPositions

_ATTENTION = {
    "q": "attention.to_q",
    "k": "attention.to_k",
    "v": "attention.to_v",
    "o": "attention.to_out.0",
}
_OF_TEXT, _OF_BOTH = "context_refiner.", "layers."
_MULTIPLE = 32  # to which the transformer fills up each part of a sequence


class ZImageBackbone(ChatTemplate, FlowBackbone):
    """Directions sit on all attention that reads the prompt, at the positions of its tokens: in the
    layers that refine the text alone, and in those that hold the picture's tokens before it.

    Positions that only fill a sequence up are left alone, and so is the head of the chat template,
    which a causal encoder embeds the same for every prompt. Guidance counts from 0: the pipeline's
    scale of 4 is one of 5 elsewhere.
    """

    pipelines = (ZImageImg2ImgPipeline, ZImageInpaintPipeline, ZImagePipeline)
    names_sigmas = True
    projection_suffixes = _ATTENTION
    prompt_argument = "cap_feats"
    guidance_origin = 0.0
    chat_options = MappingProxyType({"enable_thinking": True})

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D, filled up to the longest that is read, and "mask": N x L."""
        texts = [prompt or "" for prompt in prompts]
        rows, _ = self.pipe.encode_prompt(texts, self.device, do_classifier_free_guidance=False)
        longest = rows[0].new_zeros(self.max_tokens, rows[0].shape[1])
        text = pad_sequence([longest, *rows], batch_first=True)[1:]
        lengths = torch.tensor([len(row) for row in rows], device=text.device)
        mask = torch.arange(text.shape[1], device=text.device) < lengths[:, None]
        return TensorDict({"text": text, "mask": mask}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        text = context["text"]
        velocity = self.denoiser(
            [x[:, None] for x in x_t.to(self.dtype)],
            (1000 - t_N) / 1000,
            [row[own] for row, own in zip(text, context["mask"], strict=True)],
        ).sample
        return -torch.stack(list(velocity))[:, :, 0].to(x_t.dtype)

    def projections(self, which: str) -> list[str]:
        """Return the layers of the attention that reads the prompt; some read the picture alone."""
        found = super().projections(which)
        return [name for name in found if name.startswith((_OF_TEXT, _OF_BOTH))]

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self._positions(context["mask"].sum(1).tolist(), shape[-2:], context["mask"].device)

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        lengths = [len(row) for row in arguments["cap_feats"]]
        x = arguments["x"][0]
        return self._positions(lengths, x.shape[-2:], x.device)

    def _positions(
        self, lengths: Sequence[int], sides: Sequence[int], device: torch.device
    ) -> Positions:
        """Return where prompts of so many tokens stand, alone and behind the picture's tokens."""
        num_pixels = sides[0] * sides[1] // self.patch_size**2
        starts = {_OF_TEXT: 0, _OF_BOTH: _filled_up(num_pixels)}
        length_N1 = torch.tensor(lengths, device=device)[:, None]
        found = {}
        for part, start in starts.items():
            at = torch.arange(start + _filled_up(max(lengths)), device=device) - start
            found[part] = TextPositions((at >= self.num_head_tokens) & (at < length_N1))
        return {
            path: where
            for path in self.projections("qkvo")
            for part, where in found.items()
            if path.startswith(part)
        }

    @property
    def sample_size(self) -> int:
        return 1024 // self.pipe.vae_scale_factor  # the pipeline's own default

    @property
    def patch_size(self) -> int:
        return 2


def _filled_up(num_tokens: int) -> int:
    """Return how many tokens of a sequence there are, with those that fill it up."""
    return -(-num_tokens // _MULTIPLE) * _MULTIPLE
