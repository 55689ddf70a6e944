"""Stable Diffusion 1.x and 2.x: a UNet with one text encoder, epsilon or velocity prediction."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPAGInpaintPipeline,
    StableDiffusionControlNetPAGPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPAGImg2ImgPipeline,
    StableDiffusionPAGInpaintPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
)
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.backbone import CROSS_ATTENTION, Backbone
from fairgen.backbones.codec import Codec, PlainCodec


class StableDiffusionBackbone(Backbone):
    """Directions sit on the UNet's cross-attention: attn2.to_q, to_k, to_v and to_out.0.

    These are the projections of the paper (arXiv 2412.18810) and of its official code. A UNet that
    embeds its guidance, as latent consistency models do (arXiv 2310.04378), takes no unconditional
    row.
    """

    pipelines: ClassVar[tuple[type[DiffusionPipeline], ...]] = (
        StableDiffusionAdapterPipeline,
        StableDiffusionControlNetImg2ImgPipeline,
        StableDiffusionControlNetInpaintPipeline,
        StableDiffusionControlNetPAGInpaintPipeline,
        StableDiffusionControlNetPAGPipeline,
        StableDiffusionControlNetPipeline,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionInpaintPipeline,
        StableDiffusionPAGImg2ImgPipeline,
        StableDiffusionPAGInpaintPipeline,
        StableDiffusionPAGPipeline,
        StableDiffusionPipeline,
    )
    denoiser_name = "unet"
    projection_suffixes = CROSS_ATTENTION
    codec_type: ClassVar[type[Codec]] = PlainCodec

    def __init__(
        self, pipe: DiffusionPipeline, size_px: int = 0, instruction: str | None = None
    ) -> None:
        super().__init__(pipe, size_px, instruction)
        self.classifier_free = self.denoiser.config.time_cond_proj_dim is None

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return the text encoder's last hidden states, "text": N x L x D."""
        text, _ = self.pipe.encode_prompt(
            [prompt or "" for prompt in prompts],
            self.device,
            1,
            do_classifier_free_guidance=False,
        )
        return TensorDict({"text": text}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the UNet's prediction, N x C x h x w, in the precision of `x_t`."""
        context = context.to(self.dtype)
        prediction = self.denoiser(
            x_t.to(self.dtype),
            t_N,
            encoder_hidden_states=context["text"],
            timestep_cond=self._embedded(guidance_N),
            added_cond_kwargs=self._added(x_t, context),
        )
        return prediction.sample.to(x_t.dtype)

    def prompt_projections(self) -> list[str]:
        """Return cross-attention's to_k and to_v; none where the UNet projects the prompt first."""
        return [] if self.denoiser.encoder_hid_proj is not None else self.projections("kv")

    def _added(self, x_t: Tensor, context: TensorDict) -> dict[str, Tensor] | None:
        """Return what else conditions the UNet."""
        return None

    def _embedded(self, guidance_N: Tensor | None) -> Tensor | None:
        """Return the embedding of each row's guidance scale, N x D, where the UNet takes one."""
        if self.classifier_free:
            return None
        assert guidance_N is not None
        dim = self.denoiser.config.time_cond_proj_dim
        w = guidance_N.cpu() - 1  # where the pipeline computes, too
        embedding = self.pipe.get_guidance_scale_embedding(w, embedding_dim=dim)
        return embedding.to(guidance_N.device, self.dtype)

    @property
    def patch_size(self) -> int:
        return 2 ** (len(self.denoiser.config.block_out_channels) - 1)
