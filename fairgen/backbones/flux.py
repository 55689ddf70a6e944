"""FLUX.1, dev and schnell: joint attention on a flow, with its guidance embedded, or none."""

from collections.abc import Sequence

import torch
from diffusers import (
    FluxControlNetImg2ImgPipeline,
    FluxControlNetInpaintPipeline,
    FluxControlNetPipeline,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
)
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.flow import PackedFlowBackbone, even_sigmas


class FluxBackbone(PackedFlowBackbone):
    """Directions sit on the text stream of the blocks that keep two streams: see `FlowBackbone`.

    Blocks of one stream hold text and picture in the same projections, which are left alone.
    """

    pipelines = (
        FluxControlNetImg2ImgPipeline,
        FluxControlNetInpaintPipeline,
        FluxControlNetPipeline,
        FluxImg2ImgPipeline,
        FluxInpaintPipeline,
        FluxPipeline,
    )
    classifier_free = False

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D of T5, and "pooled": N x D of CLIP."""
        text, pooled, _ = self.pipe.encode_prompt(
            [prompt or "" for prompt in prompts], None, device=self.device
        )
        return TensorDict({"text": text, "pooled": pooled}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        context, (N, C, h, w) = context.to(self.dtype), x_t.shape
        embedded_guidance = guidance_N if self.denoiser.config.guidance_embeds else None
        velocity = self.denoiser(
            hidden_states=self.pipe._pack_latents(x_t.to(self.dtype), N, C, h, w),
            timestep=t_N.to(self.dtype) / 1000,
            guidance=embedded_guidance,
            pooled_projections=context["pooled"],
            encoder_hidden_states=context["text"],
            txt_ids=torch.zeros(context["text"].shape[1], 3, device=x_t.device, dtype=self.dtype),
            img_ids=self.pipe._prepare_latent_image_ids(N, h // 2, w // 2, x_t.device, self.dtype),
        ).sample
        height_px, width_px = h * self.vae_scale_factor, w * self.vae_scale_factor
        velocity = self.pipe._unpack_latents(velocity, height_px, width_px, self.vae_scale_factor)
        return velocity.to(x_t.dtype)

    def _sigmas(self, num_steps: int) -> list[float] | None:
        return even_sigmas(self.pipe.scheduler, num_steps)
