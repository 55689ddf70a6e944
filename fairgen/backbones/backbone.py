"""What the method needs of a diffusion model of any family: encode, denoise, what to adapt."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from diffusers.models.modeling_utils import get_parameter_dtype
from diffusers.pipelines.pag.pag_utils import PAGMixin
from diffusers.utils.torch_utils import unwrap_module
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.codec import Codec
from fairgen.backbones.latent_shapes import LatentShapes
from fairgen.backbones.pipeline_call import PipelineCall
from fairgen.bank import Positions
from fairgen.base_model import fingerprint, ip_adapter_parts
from fairgen.guidance import guided
from fairgen.solvers import DIFFUSION_SCHEDULERS, Solver, check_scheduler, ddim, solver_for

CROSS_ATTENTION = {"q": "attn2.to_q", "k": "attn2.to_k", "v": "attn2.to_v", "o": "attn2.to_out.0"}


class Backbone(PipelineCall, LatentShapes, ABC):
    """A base model, left as it is: neither its parameters nor their `requires_grad` change.

    Latents are N x C x h x w whatever the denoiser itself takes. `projection_suffixes` are the
    ends of the names of the adapted layers, by letter: queries, keys, values, outputs.
    `denoiser_name` is the denoiser's component name in the pipeline. `classifier_free` says that
    guidance is a second, unconditional row; otherwise it is an input of the denoiser, or none.
    `guidance_origin` is the scale at which the family's pipeline guides no more. `guides_apart`
    says that another model makes the unconditional prediction, and reads no text: adapters act on
    none of its rows, and there are no negative prompts.
    `schedulers` and `codec_type` are what the family's pipeline paints with, `allowed_options`
    values of its configuration that are the only ones followed, `allowed_in_denoiser` and
    `allowed_in_scheduler` values of the denoiser's and the scheduler's with which alone it paints.
    """

    pipelines: ClassVar[tuple[type[DiffusionPipeline], ...]]
    denoiser_name: ClassVar[Literal["unet", "transformer"]]
    projection_suffixes: ClassVar[Mapping[str, str]]
    classifier_free: bool = True
    guidance_origin: ClassVar[float] = 1.0
    guides_apart: ClassVar[bool] = False
    schedulers: ClassVar[tuple[type[SchedulerMixin], ...]] = DIFFUSION_SCHEDULERS
    codec_type: ClassVar[type[Codec]] = Codec
    allowed_options: ClassVar[Mapping[str, Any]] = {}
    allowed_in_denoiser: ClassVar[Mapping[str, Any]] = {}
    allowed_in_scheduler: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, pipe: DiffusionPipeline, size_px: int = 0, instruction: str | None = None
    ) -> None:
        """`size_px` is the side of a picture where none is asked for; 0 is the model's own.
        `instruction` is what is put before each prompt, "" nothing; None is the pipeline's own.

        Raises ValueError for an instruction of a family that has none.
        """
        if instruction is not None and not self.instruction_argument:
            raise ValueError(
                f"instruction: got {instruction!r}, allowed is none: {type(pipe).__name__} puts "
                "nothing before a prompt"
            )
        self.pipe, self._instruction = pipe, instruction
        self.denoiser: Any = _bare(getattr(pipe, self.denoiser_name), self.denoiser_name)
        self.codec = self.codec_type(pipe)
        self._computes_in: dict[torch.dtype, torch.dtype] = {}
        self._native = size_px // self.vae_scale_factor or self.sample_size

    @property
    def device(self) -> torch.device:
        """Where the denoiser runs: also when it is kept elsewhere meanwhile."""
        return self.pipe._execution_device

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the denoiser computes in, whatever its weights are stored in."""
        stored = next(self.denoiser.parameters()).dtype  # what is looked up walks all layers
        if stored not in self._computes_in:
            self._computes_in[stored] = get_parameter_dtype(self.denoiser)
        return self._computes_in[stored]

    @cached_property
    def fingerprint(self) -> str:
        """What the base model was when this was first asked, as `fairgen.base_model` tells it."""
        return fingerprint(self.denoiser)

    @abstractmethod
    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the model's prediction for latents N x C x h x w at time steps N.

        The model runs in its own precision; the prediction comes back in that of `x_t`. Where the
        model is not `classifier_free`, each row brings its guidance scale.
        """

    def projections(self, which: str) -> list[str]:
        """Return the dotted names of the adapted layers: "qkvo" all four, "kv" keys and values."""
        ends = tuple(self.projection_suffixes[letter] for letter in which)
        return [name for name, _ in self.denoiser.named_modules() if name.endswith(ends)]

    def columns(self, which: str = "qkvo") -> dict[str, slice]:
        """Return which columns of an adapted layer's output are its projections, where the layer
        holds others as well.
        """
        return {}

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions | None:
        """Return where the adapted layers read the prompt in a pass over latents C x h x w; None
        where they read nothing else.
        """
        return None

    def is_guided(self, guidance_scale: float) -> bool:
        """Return whether a picture takes an unconditional row at a scale."""
        return self.classifier_free and guidance_scale > self.guidance_origin

    def guidance_weight(self, guidance_scale: float) -> float:
        """Return a scale as `fairgen.guidance` has it, where 1 is the conditional prediction; what
        a model is told that embeds its guidance stays as it is.
        """
        return guidance_scale + (1.0 - self.guidance_origin) * self.classifier_free

    def guided(self, unconditional: Tensor, conditional: Tensor, scale: float | Tensor) -> Tensor:
        """Return guided predictions, ... x C x h x w, as the family's pipeline combines two."""
        return guided(unconditional, conditional, scale)

    def prompt_projections(self) -> list[str]:
        """Return the layers that read `context["text"]` and nothing else, at each step the same."""
        return []

    def solver(self, num_steps: int, shape: tuple[int, int, int] | None = None) -> Solver:
        """Return how the pipe's scheduler samples latents of a shape, by default the native one."""
        return solver_for(self.pipe.scheduler, num_steps)

    def training_solver(self, num_steps: int) -> Solver:
        """Return the solver along which adapters are learnt: of first order, without noise."""
        return ddim(self.pipe.scheduler, num_steps)

    def check(self) -> None:
        """Raise ValueError, by name, for what of the pipeline's scheduler, codec or configuration
        would not be followed when pictures are painted.
        """
        kind = type(self.pipe)
        if kind.__call__ not in [known.__call__ for known in self.pipelines]:
            names = ", ".join(known.__name__ for known in self.pipelines)
            raise ValueError(
                f"base: got {kind.__name__}, which paints in a way of its own, allowed are {names}"
            )
        if isinstance(self.pipe, PAGMixin):
            raise ValueError(f"base: got {kind.__name__}, allowed is it without perturbed guidance")
        for name in ("controlnet", "adapter"):
            if (got := getattr(self.pipe, name, None)) is not None:
                got = type(got).__name__
                raise ValueError(f"{name}: got {got}, allowed is none: nothing is there to follow")
        if ip_adapter_parts(self.denoiser):
            raise ValueError("ip_adapter: got one, allowed is none: there is no picture to follow")
        check_scheduler(self.pipe.scheduler, self.schedulers)
        self.codec.check(self.num_latent_channels)
        for part, of, options in (
            (self.denoiser_name, self.denoiser, self.allowed_in_denoiser),
            ("scheduler", self.pipe.scheduler, self.allowed_in_scheduler),
        ):
            for name, allowed in options.items():
                if (got := of.config[name]) != allowed:
                    raise ValueError(f"{part}.{name}: got {got!r}, allowed is {allowed!r}")
        for name, allowed in self.allowed_options.items():
            if (got := self.pipe.config.get(name, allowed)) != allowed:
                raise ValueError(f"{name}: got {got!r}, allowed is {allowed!r}")


def _bare(denoiser: Any, name: str) -> Any:
    """Return a denoiser without what compiles it, and without PEFT's wrapper. Raises ValueError
    inside another one.
    """
    denoiser = unwrap_module(denoiser)
    if hasattr(denoiser, "get_base_model"):  # a PeftModel
        denoiser = denoiser.get_base_model()
    if not hasattr(denoiser, "config"):
        raise ValueError(
            f"{name}: got a {type(denoiser).__name__}, allowed is a model of diffusers: as it is, "
            "compiled, or as a PeftModel"
        )
    return denoiser
