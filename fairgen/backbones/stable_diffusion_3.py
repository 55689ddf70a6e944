"""Stable Diffusion 3 and 3.5: a joint-attention transformer on a rectified flow."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import (
    StableDiffusion3ControlNetInpaintingPipeline,
    StableDiffusion3ControlNetPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3PAGImg2ImgPipeline,
    StableDiffusion3PAGPipeline,
    StableDiffusion3Pipeline,
)
from PIL import Image
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.flow import FlowBackbone


class StableDiffusion3Backbone(FlowBackbone):
    """Directions sit on the text stream of joint attention: see `FlowBackbone`."""

    pipelines = (
        StableDiffusion3ControlNetInpaintingPipeline,
        StableDiffusion3ControlNetPipeline,
        StableDiffusion3Img2ImgPipeline,
        StableDiffusion3InpaintPipeline,
        StableDiffusion3PAGImg2ImgPipeline,
        StableDiffusion3PAGPipeline,
        StableDiffusion3Pipeline,
    )

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D of all encoders, and "pooled": N x D of the two CLIPs."""
        text, _, pooled, _ = self.pipe.encode_prompt(
            [prompt or "" for prompt in prompts],
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
        )
        return TensorDict({"text": text, "pooled": pooled}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        context = context.to(self.dtype)
        velocity = self.denoiser(
            hidden_states=x_t.to(self.dtype),
            timestep=t_N,
            encoder_hidden_states=context["text"],
            pooled_projections=context["pooled"],
        ).sample
        return velocity.to(x_t.dtype)

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments for several pictures: the one that they start from is repeated,
        since the pipeline wants one a generator.
        """
        found = super().call_options(num_images, options)
        start = found.get("image")
        if isinstance(start, Image.Image) and "mask_image" not in found:
            found["image"] = [start] * num_images
        return found

    def skipped_projections(self, options: Mapping[str, Any]) -> frozenset[str]:
        """Return the layers of the blocks that skip-layer guidance leaves out."""
        blocks = {f"transformer_blocks.{index}" for index in options.get("skip_layers") or ()}
        return frozenset(
            path for path in self.projections("qkvo") if ".".join(path.split(".")[:2]) in blocks
        )

    @property
    def patch_size(self) -> int:
        return self.denoiser.config.patch_size
