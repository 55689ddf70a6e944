"""One YAML file drives every stage: base model, attributes, discovery, jobs, evaluation,
thresholds, registry.
"""

import hashlib
import json
from functools import cached_property
from itertools import product
from pathlib import Path

from pydantic import Field, ValidationError, field_validator, model_validator

from fairgen.attributes import Attribute, adapter_name
from fairgen.discovery import DiscoveryConfig
from fairgen.judging import JudgeConfig
from pipelines.recipe.bundled import expand_names
from pipelines.recipe.errors import describe
from pipelines.recipe.evaluation_config import AblationConfig, ComparisonConfig, EvaluationConfig
from pipelines.recipe.extends import read_content
from pipelines.recipe.folders import bundled_recipes, located, resolve_path
from pipelines.recipe.loading import LoadingConfig
from pipelines.recipe.sections import (
    Concepts,
    DiscoveryChanges,
    GenerationConfig,
    JobsConfig,
    Override,
    RegistryConfig,
    Section,
    Threshold,
)

_SAMPLED_BYTES = 1 << 20


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
    joint_round: DiscoveryChanges | None = None
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

    @field_validator("attributes")
    @classmethod
    def _distinct(cls, attributes: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
        names = [attribute.name for attribute in attributes]
        if len(set(names)) != len(names):
            raise ValueError(f"got {names}, allowed are distinct names")
        for attribute in attributes:
            words = [" ".join(one.word.split()).casefold() for one in attribute.categories]
            if len(set(words)) != len(words):
                raise ValueError(
                    f"got the words {words} in {attribute.name!r}, allowed are distinct ones: "
                    "adapters of the same word would do the same"
                )
        return attributes

    @field_validator("templates")
    @classmethod
    def _one_subject(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if template.count("{subject}") != 1:
                raise ValueError(f"got {template!r}, allowed are texts with one {{subject}}")
        return templates

    @model_validator(mode="after")
    def _attributes_are_known_everywhere(self) -> "Recipe":
        names = [attribute.name for attribute in self.attributes]
        if unknown := sorted(set(self.overrides) - set(names)):
            raise ValueError(f"overrides: got {unknown}, allowed are {names}")
        in_stages = [name for stage in self.joint_stages for name in stage]
        if self.joint_stages and (sorted(in_stages) != sorted(names) or self.joint_round is None):
            raise ValueError(
                f"joint_stages: got {in_stages}, allowed is each of {names} once, "
                "beside joint_round"
            )
        if differing := sorted(set(self.thresholds) ^ set(names)):
            raise ValueError(
                f"thresholds: got {sorted(self.thresholds)}, allowed are exactly the attributes "
                f"{names}; differing: {differing}"
            )
        return self

    @model_validator(mode="after")
    def _categories_of_discovery_are_known(self) -> "Recipe":
        for attribute, joint_round in product(self.attributes, (False, True)):
            try:
                self.discovery_of(attribute.name, joint_round).check_categories(attribute)
            except ValueError as error:
                raise ValueError(f"overrides.{attribute.name}.{error}") from error
        return self

    @model_validator(mode="after")
    def _what_is_measured_is_known(self) -> "Recipe":
        self.evaluation.check(self.attributes, self.concepts)
        if self.comparison is not None:
            self.comparison.check(self.evaluation, self.concepts)
        if self.ablation is not None:
            self.ablation.check(self.attributes, self.concepts)
        return self

    @model_validator(mode="after")
    def _weights_take_the_loras(self) -> "Recipe":
        if self.generation.loras and self.loading.quantization == "fp8-casting":
            raise ValueError(
                "generation.loras: got some with quantization 'fp8-casting', allowed is none: PEFT "
                "would make their layers of fp8, which do not compute"
            )
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
        config = own.applied(self.discovery)
        if not joint_round:
            return config
        if self.joint_round is not None:
            config = self.joint_round.applied(config)
        return own.joint_round.applied(config)

    @property
    def base_path(self) -> str:
        """Where the base model loads from: an absolute path, or a hub id as it stands."""
        return located(self.base)

    @cached_property
    def recipe_hash(self) -> str:
        """16 hex digits of what training depends on: settings, and samples of the base model."""
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
        settings |= self.loading.model_dump(include={"revision", "variant"})
        settings |= {"dtype": self.loading.stored_dtype}
        settings |= self.loading.model_dump(include={"quantization"}, exclude_none=True)
        if (config := self.loading.config_path) is not None:
            settings |= {"config": _content_digest(Path(config)) or config}
        if self.loading.gguf_file:
            settings |= {"gguf": _content_digest(resolve_path(self.loading.gguf_file))}
        settings |= {"size_px": self.generation.size_px}
        settings |= self.generation.model_dump(include={"instruction"})
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    def adapter_names(self, attribute: str) -> tuple[str, ...]:
        """Return the names of an attribute's adapters, in the order of its categories."""
        return tuple(
            adapter_name(attribute, category) for category in self.attribute(attribute).names
        )

    def registered_name(self, attribute: str, category: str) -> str:
        """Return the registered model's name, `fairgen-<base>-<attribute>-<category>`."""
        return f"{self.registry.prefix}-{adapter_name(attribute, category)}"


def load_recipe(path: str | Path, base: str | None = None) -> Recipe:
    """Read a recipe: a file, or the name of one that ships. `base` replaces the base model that it
    names.

    Raises one ValueError that names every wrong field, the value got and what is allowed.
    """
    bundled = bundled_recipes()
    file = bundled.get(str(path)) or resolve_path(path)
    if not file.is_file():
        raise ValueError(
            f"recipe: got {str(path)!r}, which is no file; shipped are {list(bundled)}"
        )
    content = read_content(file)
    if base is not None:
        content["base"] = base
    try:
        content = expand_names(content)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{file}: {describe(error, Recipe)}") from error


def _content_digest(path: Path) -> str:
    """Return a digest of a model folder, or of one file, or "" where there is none.

    It reads each weight file's path, size, and first and last MiB.
    """
    digest = hashlib.sha256()
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path][: path.is_file()]
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path)}:{size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_SAMPLED_BYTES))
            stream.seek(max(0, size - _SAMPLED_BYTES))
            digest.update(stream.read(_SAMPLED_BYTES))
    return digest.hexdigest() if files else ""
