"""HiDream-I1, Full, Dev and Fast: two streams, then one, on a flow; four encoders read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import HiDreamImagePipeline
from diffusers.models.transformers.transformer_hidream_image import MOEFeedForwardSwiGLU
from diffusers.pipelines.hidream_image.pipeline_hidream_image import calculate_shift
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional

from fairgen.backbones.backbone import Backbone
from fairgen.backbones.pipeline_call import reader_of
from fairgen.backbones.routed_experts import experts_with_gradients
from fairgen.backbones.two_then_one import TwoThenOneBackbone
from fairgen.bank import Positions, TextPositions
from fairgen.solvers import FLOW_SCHEDULERS, OTHER_FLOW_SCHEDULERS

_ATTENTION = {"q": "attn1.to_q", "k": "attn1.to_k", "v": "attn1.to_v", "o": "attn1.to_out"}
_TEXT_STREAM = {letter: f"{name}_t" for letter, name in _ATTENTION.items()}


class HiDreamBackbone(TwoThenOneBackbone):
    """Directions sit on the text stream, and on the attention of the blocks of one stream, at the
    prompt's own tokens: of T5's text, of the language model's last layer, and of the layer that a
    block reads. What fills a prompt up is left alone, and the token with which the language model
    begins, though the denoiser reads them without a mask; so is the pooled prompt.
    """

    pipelines = (HiDreamImagePipeline,)
    schedulers = (*FLOW_SCHEDULERS, *OTHER_FLOW_SCHEDULERS)
    projection_suffixes = _TEXT_STREAM
    single_blocks, single_suffixes = "single_stream_blocks.", _ATTENTION
    call_options = Backbone.call_options  # the pipeline repeats embedded prompts
    prompt_argument = "encoder_hidden_states_t5"
    takes_pictures = False
    hands_generators_on = False
    most_clip_tokens = 218
    embedded_argument = "prompt_embeds_t5"

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D of T5, "layers": N x K x L x E of the language model, "pooled":
        N x D of the two CLIPs, and "mask": N x 2 x L, True at the prompts' tokens of the first two.
        """
        texts = [prompt or "" for prompt in prompts]
        text, _, layers, _, pooled, _ = self.pipe.encode_prompt(
            texts, device=self.device, do_classifier_free_guidance=False
        )
        mask = torch.stack([self._tokens(part, texts, text.shape[1]) for part in (3, 4)], 1)
        found = {"text": text, "layers": layers.transpose(0, 1), "pooled": pooled}
        return TensorDict({**found, "mask": mask.to(text.device)}, batch_size=[len(texts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        with experts_with_gradients(self.denoiser, MOEFeedForwardSwiGLU):
            velocity = self.denoiser(
                x_t.to(self.dtype),
                timesteps=t_N,
                encoder_hidden_states_t5=context["text"].to(self.dtype),
                encoder_hidden_states_llama3=context["layers"].transpose(0, 1).to(self.dtype),
                pooled_embeds=context["pooled"].to(self.dtype),
            ).sample
        return -velocity.to(x_t.dtype)

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self._positions(context["mask"], shape[-2:])

    def prompts_in(self, prompt: object, options: Mapping[str, Any]) -> list[str | None]:
        """Return the prompts of a call, None for an embedded one; an embedded part of it may stand
        beside a text.
        """
        return super().prompts_in(prompt, options if prompt is None else {})

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        embedded = ("prompt_embeds_t5", "prompt_embeds_llama3")
        if name := next((name for name in embedded if arguments.get(name) is not None), ""):
            raise ValueError(
                f"{name}: allowed is none: it does not say where its tokens stand, at which "
                "adapters act; give the prompt as a text"
            )
        text, sides = arguments[self.prompt_argument], arguments["hidden_states"].shape[-2:]
        found = []
        for part in (3, 4):
            asked = arguments.get(f"prompt_{part}") or arguments["prompt"]
            texts = asked[:1] if isinstance(asked, list) else [asked]
            found.append(self._tokens(part, texts, text.shape[1]))
        return self._positions(torch.stack(found, 1).expand(len(text), -1, -1), sides)

    def _tokens(self, part: int, texts: list[str], length: int) -> Tensor:
        """Return where prompts' own tokens stand among those that an encoder reads, N x L."""
        tokenizer = reader_of(self.pipe, f"tokenizer_{part}")
        options = {"padding": "max_length", "max_length": length, "truncation": True}
        read = tokenizer(texts, return_tensors="pt", **options)
        return (read.attention_mask > 0) & (read.input_ids != tokenizer.bos_token_id)  # or None

    def _positions(self, mask: Tensor, sides: Sequence[int]) -> Positions:
        """Return where prompts stand: alone, and behind the picture."""
        is_square, area = sides[0] == sides[1], sides[0] * sides[1] // self.patch_size**2
        num_pixels = area if is_square else self.denoiser.max_seq
        text = mask[:, [0, 1, 1]].flatten(1).to(self.device)
        alone, behind = (TextPositions(functional.pad(text, (n, 0))) for n in (0, num_pixels))
        return self._where(alone, behind)

    def painted_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Return a size of about the area that the pipeline paints by itself."""
        unit, side_px = (n * self.vae_scale_factor for n in (2, self.pipe.default_sample_size))
        scale = math.sqrt(side_px**2 / (width_px * height_px))
        return int(width_px * scale // unit * unit), int(height_px * scale // unit * unit)

    def _shift_mu(self, shape: tuple[int, int, int] | None, num_steps: int) -> float:
        return calculate_shift(self.denoiser.max_seq)

    @property
    def sample_size(self) -> int:
        return self.pipe.default_sample_size
