"""Stable Diffusion XL: a UNet with two text encoders that is told the picture's size."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPAGImg2ImgPipeline,
    StableDiffusionXLControlNetPAGPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionImg2ImgPipeline,
    StableDiffusionXLControlNetUnionInpaintPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPAGImg2ImgPipeline,
    StableDiffusionXLPAGInpaintPipeline,
    StableDiffusionXLPAGPipeline,
    StableDiffusionXLPipeline,
)
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.codec import Codec, NormalizingCodec
from fairgen.backbones.stable_diffusion import StableDiffusionBackbone


class StableDiffusionXLBackbone(StableDiffusionBackbone):
    """Directions sit where those of Stable Diffusion do; the pooled embedding is not adapted."""

    pipelines: ClassVar[tuple[type[DiffusionPipeline], ...]] = (
        StableDiffusionXLAdapterPipeline,
        StableDiffusionXLControlNetImg2ImgPipeline,
        StableDiffusionXLControlNetInpaintPipeline,
        StableDiffusionXLControlNetPAGImg2ImgPipeline,
        StableDiffusionXLControlNetPAGPipeline,
        StableDiffusionXLControlNetPipeline,
        StableDiffusionXLControlNetUnionImg2ImgPipeline,
        StableDiffusionXLControlNetUnionInpaintPipeline,
        StableDiffusionXLControlNetUnionPipeline,
        StableDiffusionXLImg2ImgPipeline,
        StableDiffusionXLInpaintPipeline,
        StableDiffusionXLPAGImg2ImgPipeline,
        StableDiffusionXLPAGInpaintPipeline,
        StableDiffusionXLPAGPipeline,
        StableDiffusionXLPipeline,
    )
    codec_type: ClassVar[type[Codec]] = NormalizingCodec
    allowed_options = MappingProxyType({"requires_aesthetics_score": False})

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D of both encoders, and "pooled": N x D of the second; zeros for
        no prompt where the model was trained so. "" is a prompt like others.
        """
        text, _, pooled, _ = self.pipe.encode_prompt(
            [prompt or "" for prompt in prompts],
            device=self.device,
            do_classifier_free_guidance=False,
        )
        if self.pipe.config.force_zeros_for_empty_prompt:
            given = torch.tensor([prompt is not None for prompt in prompts], device=text.device)
            text, pooled = text * given[:, None, None], pooled * given[:, None]
        return TensorDict({"text": text, "pooled": pooled}, batch_size=[len(prompts)])

    def _added(self, x_t: Tensor, context: TensorDict) -> dict[str, Tensor]:
        """Return the pooled embedding, and the sizes: nothing was cropped."""
        height, width = (side * self.vae_scale_factor for side in x_t.shape[-2:])
        sizes = torch.tensor([[height, width, 0, 0, height, width]], device=x_t.device)
        return {
            "text_embeds": context["pooled"],
            "time_ids": sizes.to(self.dtype).expand(len(x_t), -1),
        }
