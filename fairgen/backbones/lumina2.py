"""Lumina 2: text and picture in one sequence; Gemma 2 reads an instruction before the prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import Lumina2Pipeline
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional

from fairgen.backbones.flow import FlowBackbone
from fairgen.backbones.pipeline_call import reader_of
from fairgen.bank import Positions, TextPositions
from fairgen.guidance import guided

_ATTENTION = {"q": "attn.to_q", "k": "attn.to_k", "v": "attn.to_v", "o": "attn.to_out.0"}
_OF_TEXT, _OF_BOTH = "context_refiner.", "layers."
_START = " <Prompt Start> "


class Lumina2Backbone(FlowBackbone):
    """Directions sit on all attention that reads the prompt, at the positions of its tokens: in the
    layers that refine the text alone, and in those that hold the picture's tokens behind it.

    The instruction before a prompt, which a causal encoder embeds the same for every prompt, is
    left alone. Negative prompts have none. A guided prediction gets the conditional one's norm.
    """

    pipelines = (Lumina2Pipeline,)
    names_sigmas = True
    projection_suffixes = _ATTENTION
    takes_pictures = False
    instruction_argument = "system_prompt"

    def instruction_in(self, options: Mapping[str, Any]) -> str:
        """Return what a call of the pipeline puts before the prompt; None is its own."""
        asked = options.get(self.instruction_argument, self._instruction)
        return self.pipe.system_prompt if asked is None else asked

    def instruction_options(self, instruction: str) -> dict[str, Any]:
        """Return the argument with which the pipeline puts an instruction before the prompt."""
        return {self.instruction_argument: instruction}

    def as_read(self, prompt: str, instruction: str) -> tuple[str, int]:
        """Return the text that is tokenized, and where in it a prompt begins."""
        return instruction + _START + prompt, len(instruction + _START)

    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D, filled up, and "mask": N x L, 1 at tokens."""
        own = self.instruction_in({})
        texts = ["" if prompt is None else self.as_read(prompt, own)[0] for prompt in prompts]
        return self.encode_negative(texts)

    @torch.no_grad()
    def encode_negative(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return the same of prompts that nothing is put before."""
        texts = [prompt or "" for prompt in prompts]
        text, mask = self.pipe._get_gemma_prompt_embeds(texts, self.device)
        return TensorDict({"text": text, "mask": mask}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        velocity = self.denoiser(
            hidden_states=x_t.to(self.dtype),
            timestep=1 - t_N / 1000,
            encoder_hidden_states=context["text"].to(self.dtype),
            encoder_attention_mask=context["mask"],
        ).sample
        return -velocity.to(x_t.dtype)

    def guided(self, unconditional: Tensor, conditional: Tensor, scale: float | Tensor) -> Tensor:
        """Return guided predictions, ... x h x w; each row of w has the conditional one's norm."""
        found = guided(unconditional, conditional, scale)
        return found * (conditional.norm(dim=-1, keepdim=True) / found.norm(dim=-1, keepdim=True))

    def projections(self, which: str) -> list[str]:
        """Return the layers of the attention that reads the prompt; some read the picture alone."""
        found = super().projections(which)
        return [name for name in found if name.startswith((_OF_TEXT, _OF_BOTH))]

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self._positions(context["mask"], shape[-2:], self.instruction_in({}))

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        mask, sides = arguments["encoder_attention_mask"], arguments["hidden_states"].shape[-2:]
        return self._positions(mask, sides, self.instruction_in(arguments))

    def _positions(self, mask: Tensor, sides: Sequence[int], instruction: str) -> Positions:
        """Return where prompts stand behind an instruction, alone and before the picture, which
        follows on each row's last token.
        """
        tokenize = reader_of(self.pipe, "tokenizer")
        before = len(tokenize((instruction + _START).rstrip())["input_ids"])
        alone = (mask > 0) & (torch.arange(mask.shape[1], device=mask.device) >= before)
        num_pixels = sides[0] * sides[1] // self.patch_size**2
        both = functional.pad(alone[:, : int(mask.sum(1).max())], (0, num_pixels))
        found = {_OF_TEXT: TextPositions(alone), _OF_BOTH: TextPositions(both)}
        return {path: found[path.split(".")[0] + "."] for path in self.projections("qkvo")}

    def _shift_mu(self, shape: tuple[int, int, int] | None, num_steps: int) -> float:
        channels, side = self.num_latent_channels, self.patch_size
        return super()._shift_mu((channels, channels * side, side), num_steps)  # as its pipeline

    @property
    def patch_size(self) -> int:
        return self.denoiser.config.patch_size
