"""The shapes of latents that a model takes, and which pictures they stand for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor


class LatentShapes(ABC):
    """The sizes that a backbone's pipeline and denoiser say of themselves."""

    pipe: DiffusionPipeline
    denoiser: Any
    _native: int  # the side of the latents where no size is asked for

    def latent_shape(self, width_px: int = 0, height_px: int = 0) -> tuple[int, int, int]:
        """Return C, h, w for a picture's size; a side is a multiple of what the codec reduces and
        the denoiser halves.

        Raises ValueError for a size that the model cannot paint.
        """
        unit = self.vae_scale_factor * self.patch_size
        if bool(width_px) != bool(height_px) or width_px % unit or height_px % unit:
            raise ValueError(
                f"size: got {width_px}x{height_px}, allowed are multiples of {unit} pixels"
            )
        factor = self.vae_scale_factor
        width = width_px // factor or self._native
        height = height_px // factor or self._native
        asked = width * factor, height * factor
        if (painted := self.painted_size(*asked)) != asked:
            raise ValueError(
                f"size: got {asked[0]}x{asked[1]}, allowed are those that the pipeline leaves as "
                f"they are: it paints this one at {painted[0]}x{painted[1]}"
            )
        return self.num_latent_channels, height, width

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return a picture's noise, C x h x w, as the pipeline draws it."""
        return torch.randn(*shape, generator=generator)

    def painted_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Return the size at which the pipeline paints a picture that is asked at one."""
        return width_px, height_px

    @property
    def vae_scale_factor(self) -> int:
        """Pixels a latent's side stands for."""
        return self.pipe.vae_scale_factor

    @property
    def num_latent_channels(self) -> int:
        return self.denoiser.config.in_channels

    @property
    def sample_size(self) -> int:
        """The side of the latents that the model was made for."""
        return self.denoiser.config.sample_size

    @property
    @abstractmethod
    def patch_size(self) -> int:
        """What the latents' sides are multiples of."""
