"""How much a recipe measures, and of what: evaluation, comparison with rivals, ablation."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fairgen.discovery import DiscoveryConfig
from pipelines.recipe.errors import describe


class Section(BaseModel):
    """A part of a recipe: it never changes, and what it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EvaluationSize(Section):
    """How many pictures of which concepts are painted and judged."""

    num_images: int = Field(ge=1)
    concepts: tuple[str, ...] = Field(min_length=1)


class EvaluationConfig(Section):
    """What is asked of every prompt, and how much is measured: quick inside train-all, full in
    evaluate.
    """

    target: dict[str, Any]
    joints: tuple[tuple[str, ...], ...] = ()
    seed: int = 0
    quick: EvaluationSize
    full: EvaluationSize


class ComparisonSize(Section):
    """How many pictures a prompt each system paints, and which share of the denoiser rows that
    FairGen's own training took a rival may spend on its.
    """

    num_images: int = Field(ge=1)
    training_share: float = Field(gt=0)


class ComparisonConfig(Section):
    """How rivals are measured beside FairGen, over the concepts of the full evaluation.

    `sweep` is where each rival's main knob is set: on concepts that it was trained on.
    `calibration` is where the confusion of the calibrated FairGen is measured, on such concepts
    too. `phrases` are loaded or compositional prompts, such as "successful {concept}"; `explicit`
    ones name a category, such as "female {concept}". The conditions beside the plain prompt set are
    painted for `condition_concepts`.
    """

    sweep: EvaluationSize
    calibration: EvaluationSize
    phrases: tuple[str, ...] = ()
    explicit: tuple[str, ...] = ()
    condition_concepts: tuple[str, ...] = Field(min_length=1)
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


class AblationConfig(Section):
    """Which settings of one attribute's first round of discovery are changed, one at a time, and on
    which concepts that is measured.

    `settings` holds, by the name of a discovery setting, the values that are tried beside the
    recipe's own. `learning` is the attribute whose hit rate is watched while it learns, beside the
    official loop, on concepts that both train on; the rival may spend `rival_rows` times the
    denoiser rows that FairGen needs to reach `hit_rate`.
    """

    attribute: str
    sample: EvaluationSize
    settings: dict[str, tuple[Any, ...]]
    learning: str
    learning_sample: EvaluationSize
    hit_rate: float = Field(gt=0, le=1)
    rival_rows: float = Field(gt=0)

    def check(self, attributes: Sequence[str]) -> None:
        """Raise ValueError for an attribute that there is not, or a setting that discovery has
        not.
        """
        for field in ("attribute", "learning"):
            if (name := getattr(self, field)) not in attributes:
                raise ValueError(f"ablation.{field}: got {name!r}, allowed are {list(attributes)}")
        for setting, values in self.settings.items():
            for value in values:
                try:
                    DiscoveryConfig.model_validate({setting: value})
                except ValidationError as error:
                    raise ValueError(
                        f"ablation.settings.{describe(error, DiscoveryConfig)}"
                    ) from error
