"""One YAML file drives every stage: base model, attributes, discovery, jobs, evaluation,
thresholds, registry.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fairgen.attributes import Attribute, adapter_name
from fairgen.discovery import DiscoveryConfig
from fairgen.indicator import TargetDistribution
from fairgen.judging import Judge, JudgeConfig
from pipelines.recipe.bundled import PROJECT_ROOT, RECIPES, expand_names
from pipelines.recipe.errors import describe
from pipelines.recipe.evaluation_config import (
    AblationConfig,
    ComparisonConfig,
    EvaluationConfig,
    Section,
)
from pipelines.recipe.loading import LoadingConfig, load_pipeline
from pipelines.recipe.yaml_file import read_yaml

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_SAMPLED_BYTES = 1 << 20
_SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "dpm-solver++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
}


class Concepts(Section):
    """What prompts ask for: concepts that train the adapters, concepts kept from them, and things
    that are no people.
    """

    train: tuple[str, ...] = Field(min_length=1)
    held_out: tuple[str, ...] = ()
    no_people: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> "Concepts":
        shared = sorted(set(self.train) & set(self.held_out))
        if shared:
            raise ValueError(
                f"held_out: got {shared}, which train holds too; allowed are concepts outside it"
            )
        return self


class JobsConfig(Section):
    """What one training job takes from the cluster, and how it survives.

    If a stage of the joint round holds one attribute only, its job may use `num_workers_alone`
    workers; on a GPU one worker is enough. With `gradient_checkpointing` the denoiser's
    activations are computed anew for the gradient: less memory, more time, the same weights.
    """

    num_workers: int = Field(default=1, ge=1)
    num_workers_alone: int | None = Field(default=None, ge=1)
    cpus_per_worker: float = Field(default=1, gt=0)
    use_gpu: bool | Literal["auto"] = "auto"
    gpus_per_worker: float = Field(default=1, gt=0)
    max_failures: int = Field(default=2, ge=0)
    checkpoint_every: int = Field(default=25, ge=1)
    gradient_checkpointing: bool = False


class GenerationConfig(Section):
    """How pictures are sampled wherever a recipe paints.

    The scheduler "own" is the one that the base model was saved with; `size_px` is a picture's
    side, by default the base model's own.
    """

    steps: int = Field(ge=1)
    guidance_scale: float = Field(ge=0)
    scheduler: Literal["own", "ddim", "dpm-solver++", "euler", "euler-ancestral", "lcm"] = "own"
    batch_size: int = Field(ge=1)
    size_px: int = Field(default=0, ge=0)

    def pipe_options(self) -> dict[str, Any]:
        """Return the arguments that a diffusers pipeline takes."""
        size = {"width": self.size_px, "height": self.size_px} if self.size_px else {}
        return {"num_inference_steps": self.steps, "guidance_scale": self.guidance_scale} | size


class Threshold(Section):
    """What an attribute's adapters must reach to be promoted to champion."""

    max_fd: float = Field(ge=0, le=1.5)
    min_hit_rate: float = Field(ge=0, le=1)


class RegistryConfig(Section):
    """Under which names runs and adapters appear in MLflow."""

    prefix: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    experiment: str = Field(min_length=1)


class Override(BaseModel):
    """One attribute's changes to `discovery`, and to `joint_round`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    joint_round: dict[str, Any] = {}

    @property
    def alone(self) -> dict[str, Any]:
        """The changes to `discovery`."""
        return self.model_extra or {}


class Recipe(Section):
    """Everything a run of the workflow depends on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    base: str = Field(min_length=1)
    loading: LoadingConfig = LoadingConfig()
    judge: JudgeConfig
    second_judge: JudgeConfig | None = None
    attributes: tuple[Attribute, ...] = Field(min_length=1)
    discovery: DiscoveryConfig
    overrides: dict[str, Override] = Field(default_factory=dict)
    joint_round: dict[str, Any] | None = None
    joint_stages: tuple[tuple[str, ...], ...] = ()
    concepts: Concepts
    templates: tuple[str, ...] = Field(min_length=1)
    preserve: tuple[str, ...] = ("",)
    jobs: JobsConfig = JobsConfig()
    generation: GenerationConfig
    evaluation: EvaluationConfig
    comparison: ComparisonConfig | None = None
    ablation: AblationConfig | None = None
    thresholds: dict[str, Threshold]
    registry: RegistryConfig

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        names = [attribute.name for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise ValueError(f"attributes: got {names}, allowed are distinct names")
        if unknown := sorted(set(self.overrides) - set(names)):
            raise ValueError(f"overrides: got {unknown}, allowed are {names}")
        stages = [name for stage in self.joint_stages for name in stage]
        if self.joint_stages and (sorted(stages) != sorted(names) or self.joint_round is None):
            raise ValueError(
                f"joint_stages: got {stages}, allowed is each of {names} once, beside joint_round"
            )
        changes = {"joint_round": self.joint_round or {}}
        for name, own in self.overrides.items():
            changes[f"overrides.{name}"] = own.alone
            changes[f"overrides.{name}.joint_round"] = own.joint_round
        for field, values in changes.items():
            try:
                DiscoveryConfig.model_validate(self.discovery.model_dump() | values)
            except ValidationError as error:
                raise ValueError(f"{field}.{describe(error, DiscoveryConfig)}") from error
        for attribute, joint_round in product(self.attributes, (False, True)):
            try:
                self.discovery_of(attribute.name, joint_round).check_categories(attribute)
            except ValueError as error:
                raise ValueError(f"overrides.{attribute.name}.{error}") from error
        for template in self.templates:
            if template.count("{subject}") != 1:
                raise ValueError(
                    f"templates: got {template!r}, allowed are texts with one {{subject}}"
                )
        if unknown := sorted(set(self.thresholds) ^ set(names)):
            raise ValueError(
                f"thresholds: got {sorted(self.thresholds)}, allowed are exactly the attributes "
                f"{names}; differing: {unknown}"
            )
        if unknown := sorted(
            {name for joint in self.evaluation.joints for name in joint} - set(names)
        ):
            raise ValueError(f"evaluation.joints: got {unknown}, allowed are {names}")
        known = {*self.concepts.train, *self.concepts.held_out}
        sizes = {
            "evaluation.quick": self.evaluation.quick,
            "evaluation.full": self.evaluation.full,
        }
        wanted = {f"{label}.concepts": size.concepts for label, size in sizes.items()}
        if self.comparison is not None:
            wanted["comparison.sweep.concepts"] = self.comparison.sweep.concepts
            wanted["comparison.calibration.concepts"] = self.comparison.calibration.concepts
            allowed = self.evaluation.full.concepts
            if unknown := sorted(set(self.comparison.condition_concepts) - set(allowed)):
                raise ValueError(
                    f"comparison.condition_concepts: got {unknown}, "
                    f"allowed are those of evaluation.full.concepts: {sorted(allowed)}"
                )
        if self.ablation is not None:
            wanted["ablation.sample.concepts"] = self.ablation.sample.concepts
            wanted["ablation.learning_sample.concepts"] = self.ablation.learning_sample.concepts
            self.ablation.check(names)
        for label, concepts in wanted.items():
            if unknown := sorted(set(concepts) - known):
                raise ValueError(
                    f"{label}: got {unknown}, "
                    f"allowed are those of concepts.train and concepts.held_out: {sorted(known)}"
                )
        try:
            TargetDistribution.from_request(self.evaluation.target, self.attributes)
        except ValueError as error:
            raise ValueError(f"evaluation.target: {error}") from error
        return self

    def attribute(self, name: str) -> Attribute:
        """Return an attribute by name. Raises ValueError that lists the allowed."""
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        raise ValueError(
            f"attribute: got {name!r}, allowed are {[a.name for a in self.attributes]}"
        )

    @property
    def num_rounds(self) -> int:
        """Two when the attributes' adapters also train in a joint round, otherwise one."""
        return 2 if self.joint_round is not None and len(self.attributes) > 1 else 1

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The attributes whose joint rounds run at once, stage by stage; one stage by default.

        Attributes trained in the same stage correct the same error independently, so it is
        corrected twice; a later stage sees the final adapters of earlier ones.
        """
        return self.joint_stages or (tuple(attribute.name for attribute in self.attributes),)

    def num_workers_of(self, attribute: str, joint_round: bool = False) -> int:
        """Return how many data-parallel workers train an attribute's adapters in a round."""
        alone = joint_round and (attribute,) in self.stages
        return (alone and self.jobs.num_workers_alone) or self.jobs.num_workers

    def discovery_of(self, attribute: str, joint_round: bool = False) -> DiscoveryConfig:
        """Return how an attribute's adapters are learnt: the recipe's way, with its overrides."""
        own = self.overrides.get(attribute, Override())
        values = self.discovery.model_dump() | own.alone
        return DiscoveryConfig.model_validate(
            values | (self.joint_round or {}) | own.joint_round if joint_round else values
        )

    @property
    def base_path(self) -> str:
        """Where the base model loads from: an absolute folder, or a hub id as it stands."""
        found = resolve_path(self.base)
        return str(found.resolve()) if found.exists() else self.base

    @cached_property
    def recipe_hash(self) -> str:
        """16 hex digits of all that training depends on: the settings, and the base folder's
        content, sampled.
        """
        settings = self.model_dump(
            mode="json",
            include={
                "attributes",
                "discovery",
                "overrides",
                "joint_round",
                "joint_stages",
                "templates",
                "preserve",
            },
            exclude={
                "attributes": {
                    "__all__": {"mentions": True, "categories": {"__all__": {"mentions"}}}
                }
            },
        )
        settings |= {"train": self.concepts.train}
        settings |= self.jobs.model_dump(include={"num_workers", "num_workers_alone"})
        settings |= {"base": _content_digest(Path(self.base_path)) or self.base}
        if self.loading.revision:
            settings |= {"revision": self.loading.revision}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    def adapter_names(self, attribute: str) -> tuple[str, ...]:
        """Return the names of an attribute's adapters, in the order of its categories."""
        return tuple(
            adapter_name(attribute, category) for category in self.attribute(attribute).names
        )

    def registered_name(self, attribute: str, category: str) -> str:
        """Return the registered model's name, `fairgen-<base>-<attribute>-<category>`."""
        return f"{self.registry.prefix}-{adapter_name(attribute, category)}"

    def load_base(self) -> "DiffusionPipeline":
        """Return the base model's pipeline as it was saved, silent, on the GPU if there is one.

        Raises ValueError where there is no such model, or not all of it.
        """
        return load_pipeline(self.base, self.base_path, self.loading)

    def load_pipe(self) -> "DiffusionPipeline":
        """Return the base model's pipeline with the scheduler that the recipe paints with."""
        import diffusers

        pipe = self.load_base()
        if (name := _SCHEDULERS.get(self.generation.scheduler)) is not None:
            pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
        return pipe

    def load_judge(self) -> Judge:
        """Return the judge. Raises ValueError when its weights are missing."""
        return self._load_judge(self.judge)

    def load_second_judge(self) -> Judge | None:
        """Return the judge that measures beside the first, if the recipe has one."""
        return self._load_judge(self.second_judge) if self.second_judge else None

    def _load_judge(self, config: JudgeConfig) -> Judge:
        root = Path() if config.path.exists() else PROJECT_ROOT
        concepts = (*self.concepts.train, *self.concepts.held_out)
        return config.load(root, self.attributes, concepts)


def resolve_path(path: str | Path) -> Path:
    """Return a relative path as found from the working directory or the project's root, else
    unchanged.
    """
    path = Path(path)
    if not path.is_absolute() and not path.exists() and (PROJECT_ROOT / path).exists():
        return PROJECT_ROOT / path
    return path


def load_recipe(path: str | Path, base: str | None = None) -> Recipe:
    """Read a recipe; `base` replaces the base model that it names.

    Raises one ValueError that names every wrong field, the value got and what is allowed.
    """
    path = resolve_path(path)
    if not path.is_file():
        shipped = sorted(str(found.relative_to(PROJECT_ROOT)) for found in _shipped())
        raise ValueError(f"recipe: got {str(path)!r}, which is no file; shipped are {shipped}")
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path}: got {type(content).__name__}, allowed is a mapping with the fields "
            f"{list(Recipe.model_fields)}"
        )
    if base is not None:
        content = {**content, "base": base}
    try:
        content = expand_names(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {describe(error, Recipe)}") from error


def _shipped() -> list[Path]:
    return list(RECIPES.glob("*.yaml"))


def _content_digest(folder: Path) -> str:
    """Return a digest of a model folder from each weight file's path, size and first and last MiB;
    "" for no folder.
    """
    digest = hashlib.sha256()
    files = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder)}:{size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_SAMPLED_BYTES))
            stream.seek(max(0, size - _SAMPLED_BYTES))
            digest.update(stream.read(_SAMPLED_BYTES))
    return digest.hexdigest() if files else ""
