"""What transformers on rectified flows share, and where directions sit on joint attention."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from diffusers import SchedulerMixin

from fairgen.backbones.backbone import Backbone
from fairgen.backbones.codec import Codec, ShiftingCodec
from fairgen.backbones.pipeline_call import repeated_prompts
from fairgen.solvers import (
    FLOW_SCHEDULERS,
    OTHER_FLOW_SCHEDULERS,
    Solver,
    check_scheduler,
    first_order,
    flow_euler,
    solver_for,
)

_TEXT_STREAM = {
    "q": "attn.add_q_proj",
    "k": "attn.add_k_proj",
    "v": "attn.add_v_proj",
    "o": "attn.to_add_out",
}


class FlowBackbone(Backbone):
    """Directions sit on the text stream of joint attention: add_q, add_k, add_v and to_add_out.

    Where text and picture attend to each other there is no cross-attention. Its counterparts are
    the projections of the text stream: picture tokens read the prompt through the text's keys and
    values, as in cross-attention, and the text's queries and outputs say how the prompt itself is
    rewritten on its way. Picture tokens' own projections are left alone, so that what the prompt
    does not speak of is not adapted. Noise composition is linear in the prediction: the same
    line holds for velocities.
    """

    denoiser_name = "transformer"
    projection_suffixes: ClassVar[Mapping[str, str]] = _TEXT_STREAM
    schedulers: ClassVar[tuple[type[SchedulerMixin], ...]] = FLOW_SCHEDULERS
    codec_type: ClassVar[type[Codec]] = ShiftingCodec
    names_sigmas: ClassVar[bool] = False  # evenly spaced ones, to the scheduler

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments for several pictures; embedded prompts are repeated here, since
        these pipelines do not.
        """
        return repeated_prompts(super().call_options(num_images, options), num_images)

    def solver(self, num_steps: int, shape: tuple[int, int, int] | None = None) -> Solver:
        """Return Euler on the flow, shifted for latents of a shape where the scheduler says so; or
        what another scheduler that the family takes stands for.

        Raises ValueError for another scheduler.
        """
        scheduler = self.pipe.scheduler
        check_scheduler(scheduler, self.schedulers)
        if isinstance(scheduler, OTHER_FLOW_SCHEDULERS):
            return solver_for(scheduler, num_steps)
        mu = None
        if scheduler.config.use_dynamic_shifting:
            mu = self._shift_mu(shape, num_steps)
        return flow_euler(scheduler, num_steps, self._sigmas(num_steps), mu)

    def first_step(self, num_steps: int, strength: float) -> int:
        """Return the step with which a picture is begun that is there already."""
        return int(max(num_steps - num_steps * strength, 0))

    def training_solver(self, num_steps: int) -> Solver:
        """Return Euler's steps at the noise levels of painting."""
        if isinstance(self.pipe.scheduler, OTHER_FLOW_SCHEDULERS):
            return first_order(self.pipe.scheduler, num_steps)
        return self.solver(num_steps)

    def _sigmas(self, num_steps: int) -> list[float] | None:
        """Return the noise levels before they are shifted, None for the scheduler's own.

        Raises ValueError for another number of steps than the pipeline was saved with levels for.
        """
        given = self.pipe.config.get("sample_sigmas")
        if given is None:
            return _even_sigmas(num_steps) if self.names_sigmas else None
        if len(given) != num_steps:
            raise ValueError(
                f"num_steps: got {num_steps}, allowed is {len(given)}, as many as the pipeline's "
                "sample_sigmas"
            )
        return list(given)

    def _shift_mu(self, shape: tuple[int, int, int] | None, num_steps: int) -> float:
        """Return the shift, a line through what the scheduler names for two numbers of tokens."""
        config = self.pipe.scheduler.config
        _, height, width = shape or self.latent_shape()
        num_tokens = (height // self.patch_size) * (width // self.patch_size)
        slope = (config.max_shift - config.base_shift) / (
            config.max_image_seq_len - config.base_image_seq_len
        )
        return config.base_shift + slope * (num_tokens - config.base_image_seq_len)


class PackedFlowBackbone(FlowBackbone):
    """A flow whose denoiser reads latents packed two by two into a token."""

    @property
    def num_latent_channels(self) -> int:
        return self.denoiser.config.in_channels // 4

    @property
    def sample_size(self) -> int:
        return self.pipe.default_sample_size

    @property
    def patch_size(self) -> int:
        return 2


class PatchedFlowBackbone(FlowBackbone):
    """A flow whose latents are its codec's in patches of two by two."""

    @property
    def vae_scale_factor(self) -> int:
        """Pixels a latent's side stands for: a patch of the codec's."""
        return self.pipe.vae_scale_factor * 2

    @property
    def patch_size(self) -> int:
        return 1


def even_sigmas(scheduler: SchedulerMixin, num_steps: int) -> list[float] | None:
    """Return evenly spaced noise levels as FLUX's pipelines name them to a scheduler; None for one
    that was saved by another class, whose own they leave.
    """
    if scheduler.config.get("use_flow_sigmas"):
        return None
    return _even_sigmas(num_steps)


def _even_sigmas(num_steps: int) -> list[float]:
    return np.linspace(1.0, 1 / num_steps, num_steps).tolist()
