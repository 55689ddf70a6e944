"""The parts of a recipe that say what is measured: evaluation, comparison with rivals, ablation."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from fairgen.attributes import Attribute
from fairgen.discovery import DiscoveryConfig
from fairgen.indicator import TargetDistribution
from pipelines.recipe.errors import describe
from pipelines.recipe.sections import Concepts, Distinct, Section


class EvaluationSize(Section):
    """How many pictures of which concepts are painted and judged."""

    num_images: int = Field(ge=1)
    concepts: Distinct = Field(min_length=1)


class EvaluationConfig(Section):
    """The target distribution of every prompt, and how many pictures are judged.

    `quick` is measured by train-all, `full` by evaluate.
    """

    target: dict[str, Any]
    joints: tuple[Annotated[Distinct, Field(min_length=1)], ...] = ()
    seed: int = 0
    quick: EvaluationSize
    full: EvaluationSize

    def check(self, attributes: Sequence[Attribute], concepts: Concepts) -> None:
        """Raise ValueError for an unknown attribute or concept, or a target that is none."""
        names = [attribute.name for attribute in attributes]
        if unknown := sorted({name for joint in self.joints for name in joint} - set(names)):
            raise ValueError(f"evaluation.joints: got {unknown}, allowed are {names}")
        concepts.check("evaluation.quick.concepts", self.quick.concepts)
        concepts.check("evaluation.full.concepts", self.full.concepts)
        try:
            TargetDistribution.from_request(self.target, attributes)
        except ValueError as error:
            raise ValueError(f"evaluation.target: {error}") from error


class ComparisonSize(Section):
    """How many pictures of a prompt each system paints, and how long a rival may train.

    `training_share` is the rival's share of the denoiser rows that FairGen's training took.
    """

    num_images: int = Field(ge=1)
    training_share: float = Field(gt=0)


class ComparisonConfig(Section):
    """How rivals are measured beside FairGen, over the concepts of the full evaluation.

    Each rival's main knob is set by `sweep`, the confusion of the calibrated FairGen is measured by
    `calibration`: both on concepts that are trained on. `phrases` are loaded or compositional
    prompts, such as "successful {concept}"; `explicit` ones name a category, such as "female
    {concept}". They and the other conditions are measured on `condition_concepts`.
    """

    sweep: EvaluationSize
    calibration: EvaluationSize
    phrases: tuple[str, ...] = ()
    explicit: tuple[str, ...] = ()
    condition_concepts: Distinct = Field(min_length=1)
    quick: ComparisonSize
    full: ComparisonSize

    @model_validator(mode="after")
    def _hold_the_concept(self) -> "ComparisonConfig":
        for field in ("phrases", "explicit"):
            for phrase in getattr(self, field):
                if phrase.count("{concept}") != 1:
                    raise ValueError(
                        f"{field}: got {phrase!r}, allowed are texts with one {{concept}}"
                    )
        return self

    def check(self, evaluation: EvaluationConfig, concepts: Concepts) -> None:
        """Raise ValueError for an unknown concept, or a condition on one that is not measured."""
        concepts.check("comparison.sweep.concepts", self.sweep.concepts)
        concepts.check("comparison.calibration.concepts", self.calibration.concepts)
        measured = evaluation.full.concepts
        if unknown := sorted(set(self.condition_concepts) - set(measured)):
            raise ValueError(
                f"comparison.condition_concepts: got {unknown}, "
                f"allowed are those of evaluation.full.concepts: {sorted(measured)}"
            )


class AblationConfig(Section):
    """Which settings of discovery are changed, one at a time, and what is measured then.

    `settings` holds, by the name of a discovery setting, the values that are tried beside the
    recipe's own, in the first round of `attribute`. `learning` is the attribute whose hit rate is
    watched while it learns, beside the official loop, on concepts that both train on; the rival may
    spend `rival_rows` times the denoiser rows that FairGen needs to reach `hit_rate`.
    """

    attribute: str
    sample: EvaluationSize
    settings: dict[str, tuple[Any, ...]]
    learning: str
    learning_sample: EvaluationSize
    hit_rate: float = Field(gt=0, le=1)
    rival_rows: float = Field(gt=0)

    @model_validator(mode="after")
    def _known_settings(self) -> "AblationConfig":
        for setting, values in self.settings.items():
            for value in values:
                try:
                    DiscoveryConfig.model_validate({setting: value})
                except ValidationError as error:
                    raise ValueError(f"settings.{describe(error, DiscoveryConfig)}") from error
        return self

    def check(self, attributes: Sequence[Attribute], concepts: Concepts) -> None:
        """Raise ValueError for an unknown attribute or concept."""
        names = [attribute.name for attribute in attributes]
        for field, name in (("attribute", self.attribute), ("learning", self.learning)):
            if name not in names:
                raise ValueError(f"ablation.{field}: got {name!r}, allowed are {names}")
        concepts.check("ablation.sample.concepts", self.sample.concepts)
        concepts.check("ablation.learning_sample.concepts", self.learning_sample.concepts)
