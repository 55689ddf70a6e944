"""What the method needs of a diffusion model of any family: encode, denoise, what to adapt."""

from collections.abc import Sequence
from typing import Protocol

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from fairgen.backbones.stable_diffusion import StableDiffusionBackbone


class Backbone(Protocol):
    """A frozen base model: no parameter of it takes a gradient, and it is in eval mode."""

    pipe: DiffusionPipeline
    denoiser: nn.Module
    default_guidance_scale: float

    @property
    def device(self) -> torch.device: ...

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return prompt embeddings, N x L x D."""

    def denoise(self, x_t: Tensor, t_N: Tensor, context: Tensor) -> Tensor:
        """Return the model's prediction for latents N x C x h x w at time steps N.

        The model runs in its own precision; the prediction comes back in that of `x_t`.
        """

    def projections(self, which: str) -> list[str]:
        """Return the dotted names of the adapted layers: "qkvo" all four, "kv" keys and values."""

    def prompt_projections(self) -> list[str]:
        """Return the layers that read nothing but the prompt's embedding, at each step the same."""

    def latent_shape(self, width_px: int = 0, height_px: int = 0) -> tuple[int, int, int]:
        """Return C, h, w for a picture's size, or of the model's native one.

        Raises ValueError for a size that the model cannot paint.
        """

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return the pictures of clean latents, N x C x h x w."""


def load_backbone(pipe: DiffusionPipeline) -> Backbone:
    """Return the family's backbone around a pipeline. Raises ValueError that lists the families."""
    families = (StableDiffusionBackbone,)
    for family in families:
        if isinstance(pipe, family.pipelines):
            return family(pipe)
    known = sorted(cls.__name__ for family in families for cls in family.pipelines)
    raise ValueError(f"base: got a {type(pipe).__name__}, allowed are {known}")
