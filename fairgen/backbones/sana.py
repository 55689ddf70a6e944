"""SANA and SANA-Sprint: cross-attention to a language model that reads an instruction first."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from diffusers import (
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaControlNetPipeline,
    SanaPAGPipeline,
    SanaPipeline,
    SanaSprintImg2ImgPipeline,
    SanaSprintPipeline,
    SchedulerMixin,
)
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.backbone import CROSS_ATTENTION, Backbone
from fairgen.backbones.codec import DeepCodec
from fairgen.solvers import TRIGFLOW_SCHEDULERS, Solver, first_order


class SanaBackbone(Backbone):
    """Directions sit on the transformer's cross-attention, as on a UNet's.

    Of an instruction the denoiser reads the last token only, and what the language model made of
    the others in the prompt's own. Negative prompts have none.
    """

    pipelines: ClassVar[tuple[type[DiffusionPipeline], ...]] = (
        SanaControlNetPipeline,
        SanaPAGPipeline,
        SanaPipeline,
    )
    denoiser_name = "transformer"
    projection_suffixes = CROSS_ATTENTION
    schedulers: ClassVar[tuple[type[SchedulerMixin], ...]] = (
        DPMSolverMultistepScheduler,
        FlowMatchEulerDiscreteScheduler,
    )
    codec_type = DeepCodec
    takes_pictures = False
    instruction_argument = "complex_human_instruction"
    pipe_options = MappingProxyType({"use_resolution_binning": False, "clean_caption": False})
    _encode_options: ClassVar[Mapping[str, Any]] = {"do_classifier_free_guidance": False}

    def read_as(self, prompt: str) -> str:
        """Return a prompt in lower case, without spaces around it."""
        return prompt.lower().strip()

    def num_tokens_before(self, tokenizer: Any, instruction: str) -> int:
        """Return the instruction's tokens as the pipeline counts them: less two."""
        return len(tokenizer(instruction)["input_ids"]) - 2 if instruction else 0

    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D in the encoder's precision, and "mask": N x L, 1 at tokens."""
        own = self.instruction_in({})
        return torch.cat([self._encoded(p or "", "" if p is None else own) for p in prompts])

    def encode_negative(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return the same of prompts that nothing is put before."""
        return torch.cat([self._encoded(prompt or "", "") for prompt in prompts])

    @torch.no_grad()
    def _encoded(self, prompt: str, instruction: str) -> TensorDict:
        options = {**self._encode_options, **self.instruction_options(instruction)}
        text, mask, *_ = self.pipe.encode_prompt([prompt], device=self.device, **options)
        return TensorDict({"text": text, "mask": mask}, batch_size=[1])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        return self._predicted(x_t, t_N * self.denoiser.config.timestep_scale, context)

    def _predicted(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the transformer's velocity, without the deviation that some models predict."""
        velocity = self.denoiser(
            x_t.to(self.dtype),
            encoder_hidden_states=context["text"].to(self.dtype),
            encoder_attention_mask=context["mask"],
            guidance=guidance_N,
            timestep=t_N,
        ).sample
        return velocity[:, : x_t.shape[1]].to(x_t.dtype)

    def training_solver(self, num_steps: int) -> Solver:
        """Return Euler steps on the flow, at the noise levels that pictures are painted at."""
        return first_order(self.pipe.scheduler, num_steps)

    def check(self) -> None:
        """Raise ValueError as others do, and for a flow that is shifted by a picture's size: the
        pipeline names none to its scheduler.
        """
        super().check()
        scheduler = self.pipe.scheduler
        is_euler = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
        if is_euler and scheduler.config.use_dynamic_shifting:
            raise ValueError("scheduler.use_dynamic_shifting: got True, allowed is False")

    @property
    def patch_size(self) -> int:
        return self.denoiser.config.patch_size


class SanaSprintBackbone(SanaBackbone):
    """SANA-Sprint (arXiv 2503.09641): a consistency model with its guidance embedded.

    Adapters are learnt along its trajectory without fresh noise: states mix a predicted picture and
    noise as when it paints, and an update depends on nothing that was drawn on the way. Two steps
    of discovery visit the very levels that its two steps of painting do.
    """

    pipelines = (SanaSprintImg2ImgPipeline, SanaSprintPipeline)
    schedulers = TRIGFLOW_SCHEDULERS
    classifier_free = False
    takes_pictures = True
    _encode_options: ClassVar[Mapping[str, Any]] = {}

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments for several pictures; the time step in the middle is for two steps
        only.
        """
        found = super().call_options(num_images, options)
        if found.get("num_inference_steps", 2) != 2:
            found.setdefault("intermediate_timesteps", None)
        return found

    def first_step(self, num_steps: int, strength: float) -> int:
        """Return the step with which a picture is begun that is there already."""
        return int(max(num_steps - num_steps * strength, 0))

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return TrigFlow's prediction, N x C x h x w, at angles t_N. The transformer takes a flow:
        at its time s both are one, but for a scale (arXiv 2503.09641, section 3.1).
        """
        assert guidance_N is not None
        config = self.denoiser.config
        embedded_N = guidance_N.to(context["text"].dtype) * config.guidance_embeds_scale
        s_N = torch.sin(t_N) / (torch.cos(t_N) + torch.sin(t_N))
        s = s_N.view(-1, 1, 1, 1)
        scale = torch.sqrt(s**2 + (1 - s) ** 2)
        x_s = x_t * scale
        velocity = self._predicted(x_s, s_N, context, embedded_N)
        prediction = ((1 - 2 * s) * x_s + (1 - 2 * s + 2 * s**2) * velocity) / scale
        return prediction.to(x_t.dtype)
