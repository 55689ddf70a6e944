"""Chroma: joint attention on a flow; prompts read by T5, of whose padding one token is kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import ChromaImg2ImgPipeline, ChromaInpaintPipeline, ChromaPipeline
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional

from fairgen.backbones.flow import PackedFlowBackbone
from fairgen.bank import Positions, TextPositions


class ChromaBackbone(PackedFlowBackbone):
    """Directions sit on the text stream of the blocks that keep two, at the tokens that the
    denoiser's mask keeps: a prompt's, and the first that fills it up. T5 has made that one of the
    prompt, and the model was trained to read it.

    Blocks of one stream hold text and picture in the same projections, which are left alone.
    """

    pipelines = (ChromaImg2ImgPipeline, ChromaInpaintPipeline, ChromaPipeline)
    names_sigmas = True

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D, and "mask": N x L, 1 at the tokens that are kept."""
        text, _, mask, *_ = self.pipe.encode_prompt(
            [prompt or "" for prompt in prompts],
            device=self.device,
            do_classifier_free_guidance=False,
        )
        return TensorDict({"text": text, "mask": mask}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        context, (N, C, h, w) = context.to(self.dtype), x_t.shape
        text = context["text"]
        mask = functional.pad(context["mask"], (0, h * w // 4), value=1)
        rows, columns = torch.meshgrid(torch.arange(h // 2), torch.arange(w // 2), indexing="ij")
        ids = torch.stack([torch.zeros_like(rows), rows, columns], -1).view(-1, 3)
        with _masked_anew(self.denoiser, mask):
            velocity = self.denoiser(
                hidden_states=self.pipe._pack_latents(x_t.to(self.dtype), N, C, h, w),
                timestep=t_N.to(self.dtype) / 1000,
                encoder_hidden_states=text,
                txt_ids=text.new_zeros(text.shape[1], 3),
                img_ids=ids.to(text),
                attention_mask=mask,
            ).sample
        height_px, width_px = h * self.vae_scale_factor, w * self.vae_scale_factor
        velocity = self.pipe._unpack_latents(velocity, height_px, width_px, self.vae_scale_factor)
        return velocity.to(x_t.dtype)

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return dict.fromkeys(self.projections("qkvo"), TextPositions(context["mask"] > 0))

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        num_text = arguments["encoder_hidden_states"].shape[1]
        kept = TextPositions(arguments["attention_mask"][:, :num_text] > 0)
        return dict.fromkeys(self.projections("qkvo"), kept)


@contextmanager
def _masked_anew(denoiser: Any, mask: Tensor) -> Iterator[None]:
    """Inside the `with`, blocks of one stream that are checkpointed have the mask as well:
    diffusers leaves it out there (0.42.1), and the prediction would be another.
    """
    if not denoiser.gradient_checkpointing:
        yield
        return
    checkpointed: Callable[..., Any] = denoiser._gradient_checkpointing_func

    def with_mask(block: nn.Module, *given: Any) -> Any:
        is_single = block in list(denoiser.single_transformer_blocks)
        return checkpointed(block, *given, *([mask] if is_single else []))

    denoiser._gradient_checkpointing_func = with_mask
    try:
        yield
    finally:
        denoiser._gradient_checkpointing_func = checkpointed
