"""The parts of a recipe that say what is learnt, by which jobs, and how pictures are sampled."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from fairgen.discovery import DiscoveryConfig
from fairgen.sampling import WHOLE, Sampling, TaylorSeer

_SIZE = r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$"
_Share = Annotated[float, Field(ge=0, le=1)]
_Words = Annotated[str, Field(pattern=r"\S")]
_NOISY_SCHEDULERS = ("euler-ancestral", "lcm")
MEASURED_DIGITS = 4  # with which the registry keeps a measured figure


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"got {twice} more than once, allowed are distinct names")
    return names


Distinct = Annotated[tuple[_Words, ...], AfterValidator(_distinct)]


class Section(BaseModel):
    """A part of a recipe: it never changes, and what it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Concepts(Section):
    """The concepts of prompts: those that train adapters, those that never do, and mere things."""

    train: tuple[_Words, ...] = Field(min_length=1)
    held_out: Distinct = ()
    no_people: Distinct = ()

    @model_validator(mode="after")
    def _apart(self) -> "Concepts":
        shared = sorted(set(self.train) & set(self.held_out))
        if shared:
            raise ValueError(
                f"held_out: got {shared}, which train holds too; allowed are concepts outside it"
            )
        return self

    def check(self, field: str, concepts: Collection[str]) -> None:
        """Raise ValueError for a concept that is neither trained on nor held out."""
        known = {*self.train, *self.held_out}
        if unknown := sorted(set(concepts) - known):
            raise ValueError(
                f"{field}: got {unknown}, "
                f"allowed are those of concepts.train and concepts.held_out: {sorted(known)}"
            )


class DiscoveryChanges(DiscoveryConfig):
    """Some settings of discovery: those that a recipe sets, and no others.

    The fields and their bounds are those of `DiscoveryConfig`; a default counts for nothing here.
    """

    @model_serializer(mode="wrap")
    def _set_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            name: value for name, value in handler(self).items() if name in self.model_fields_set
        }

    def applied(self, config: DiscoveryConfig) -> DiscoveryConfig:
        """Return a complete configuration with these settings in place of its own."""
        changes = {
            name: getattr(self, name)
            for name in self.model_fields_set
            if name in DiscoveryConfig.model_fields
        }
        return config.model_copy(update=changes)


class Override(DiscoveryChanges):
    """One attribute's changes to `discovery`, and to `joint_round`."""

    joint_round: DiscoveryChanges = DiscoveryChanges()

    @model_validator(mode="before")
    @classmethod
    def _with_a_joint_round(cls, content: Any) -> Any:
        return {"joint_round": {}, **content} if isinstance(content, Mapping) else content


class JobsConfig(Section):
    """What one training job takes from the cluster, and how it survives.

    If a stage of the joint round holds one attribute only, its job may use `num_workers_alone`
    workers; on a GPU one worker is enough. With `gradient_checkpointing` the denoiser's
    activations are computed anew for the gradient: less memory, more time, the same weights. A job
    that the nodes of a cluster cannot hold is refused, unless the cluster is `autoscaling` and will
    bring a node for it.
    """

    autoscaling: bool = False
    num_workers: int = Field(default=1, ge=1)
    num_workers_alone: int | None = Field(default=None, ge=1)
    cpus_per_worker: float = Field(default=1, gt=0)
    use_gpu: bool | Literal["auto"] = "auto"
    gpus_per_worker: float = Field(default=1, gt=0)
    max_failures: int = Field(default=2, ge=0)
    checkpoint_every: int = Field(default=25, ge=1)
    gradient_checkpointing: bool = False


class TaylorSeerConfig(Section):
    """Which of a picture's predictions are forecast from earlier ones, in place of a pass: fields
    and rule are those of diffusers' `TaylorSeerCacheConfig`. What was painted says so.
    """

    cache_interval: int = Field(default=2, ge=1)
    disable_cache_before_step: int = Field(default=3, ge=1)
    disable_cache_after_step: int | None = Field(default=None, ge=1)
    max_order: int = Field(default=1, ge=0, le=3)


class LoraConfig(Section):
    """A LoRA of the whole base model, a .safetensors file in a form that diffusers reads, and how
    much of it counts.
    """

    path: str = Field(min_length=1)
    scale: float = 1.0


class GenerationConfig(Section):
    """How pictures are sampled wherever a recipe paints.

    The scheduler "own" is the one that the base model was saved with, and so is its
    `timestep_spacing`, unless that is set: models distilled to few steps want "trailing". `loras`
    are those of others, with which a base paints in few steps: they are added to its weights where
    it paints, not where adapters are learnt, nor where rivals are compared. `size_px` is a
    picture's side, by default the base model's own. `sizes` are those that the endpoint paints, as
    WIDTHxHEIGHT; none is any that the model's architecture takes, well or not. A base model that
    was saved with a safety checker is asked about every picture, unless `safety_checker` is off.
    `guidance_interval` is the part of the steps that is guided, in shares: besides it a picture
    costs half. At the steps that `taylorseer` forecasts it costs nothing; what begins from another
    picture is painted without either. `instruction` stands before each prompt where a language
    model reads it, in training and in painting: "" nothing, by default the pipeline's own words.
    """

    steps: int = Field(ge=1)
    guidance_scale: float = Field(ge=0)
    guidance_interval: tuple[_Share, _Share] = WHOLE
    taylorseer: TaylorSeerConfig | None = None
    scheduler: Literal["own", "ddim", "dpm-solver++", "euler", "euler-ancestral", "lcm"] = "own"
    timestep_spacing: Literal["own", "leading", "trailing", "linspace"] = "own"
    loras: tuple[LoraConfig, ...] = ()
    batch_size: int = Field(ge=1)
    size_px: int = Field(default=0, ge=0)
    sizes: tuple[Annotated[str, Field(pattern=_SIZE)], ...] = ()
    safety_checker: bool = True
    instruction: str | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _forecasts_follow_from_what_was_predicted(self) -> "GenerationConfig":
        if self.taylorseer and self.scheduler in _NOISY_SCHEDULERS:
            raise ValueError(
                f"taylorseer: got one with scheduler {self.scheduler!r}, which adds noise at its "
                "steps, so that no prediction follows from earlier ones; allowed is none"
            )
        return self

    @property
    def sampling(self) -> Sampling:
        """How an engine paints."""
        forecast = None if self.taylorseer is None else TaylorSeer(**self.taylorseer.model_dump())
        return Sampling(self.steps, self.guidance_scale, self.guidance_interval, forecast)

    def pipe_options(self) -> dict[str, Any]:
        """Return the arguments that a diffusers pipeline takes."""
        size = {"width": self.size_px, "height": self.size_px} if self.size_px else {}
        return {"num_inference_steps": self.steps, "guidance_scale": self.guidance_scale} | size


class Threshold(Section):
    """What an attribute's adapters must reach to be promoted to champion."""

    max_fd: float = Field(ge=0, le=1.5)
    min_hit_rate: float = Field(ge=0, le=1)

    def met(self, fd: float, hit_rates: Collection[float]) -> bool:
        """Return whether an FD and every category's hit rate are good enough.

        Figures count as the registry keeps them, so that a stored one decides like a measured one.
        """
        return round(fd, MEASURED_DIGITS) <= self.max_fd and all(
            round(rate, MEASURED_DIGITS) >= self.min_hit_rate for rate in hit_rates
        )


class RegistryConfig(Section):
    """Under which names runs and adapters appear in MLflow."""

    prefix: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    experiment: str = Field(min_length=1)
