"""PixArt-alpha and PixArt-sigma: a transformer with cross-attention to T5, epsilon prediction."""

from collections.abc import Sequence
from types import MappingProxyType

import torch
from diffusers import (
    PixArtAlphaPipeline,
    PixArtSigmaPAGPipeline,
    PixArtSigmaPipeline,
)
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.backbone import CROSS_ATTENTION, Backbone


class PixArtBackbone(Backbone):
    """Directions sit on the transformer's cross-attention, as on a UNet's.

    The variance that the model predicts beside the noise is not used, nor adapted.
    """

    pipelines = (
        PixArtAlphaPipeline,
        PixArtSigmaPAGPipeline,
        PixArtSigmaPipeline,
    )
    denoiser_name = "transformer"
    projection_suffixes = CROSS_ATTENTION
    takes_pictures = False
    pipe_options = MappingProxyType({"use_resolution_binning": False, "clean_caption": False})

    def read_as(self, prompt: str) -> str:
        """Return a prompt in lower case."""
        return prompt.lower()

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D and "mask": N x L, 1 at tokens and 0 at padding."""
        text, mask, _, _ = self.pipe.encode_prompt(
            [prompt or "" for prompt in prompts],
            do_classifier_free_guidance=False,
            device=self.device,
        )
        return TensorDict({"text": text, "mask": mask}, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted noise, N x C x h x w, in the precision of `x_t`."""
        prediction = self.denoiser(
            x_t.to(self.dtype),
            encoder_hidden_states=context["text"].to(self.dtype),
            encoder_attention_mask=context["mask"],
            timestep=t_N,
            added_cond_kwargs=self._added(x_t),
        ).sample
        return prediction[:, : x_t.shape[1]].to(x_t.dtype)

    def _added(self, x_t: Tensor) -> dict[str, Tensor | None]:
        """Return size and shape of the picture, which the largest models of the family read."""
        if not self.denoiser.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        height, width = (side * self.vae_scale_factor for side in x_t.shape[-2:])
        conditions = torch.tensor([[height, width, height / width]]).to(x_t.device, self.dtype)
        conditions = conditions.expand(len(x_t), -1)
        return {"resolution": conditions[:, :2], "aspect_ratio": conditions[:, 2:]}

    @property
    def patch_size(self) -> int:
        return self.denoiser.config.patch_size
