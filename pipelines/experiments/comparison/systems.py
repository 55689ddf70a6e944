"""The systems that are compared, and what each is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass

from fairgen.baselines import AsLora, ConceptSliders, FairDiffusion, HSpace, Official, Uce, Words
from fairgen.calibration import Confusion, calibrated
from fairgen.indicator import TargetDistribution
from pipelines.evaluation import Drawn
from pipelines.experiments.comparison.conditions import EvalCondition
from pipelines.experiments.worker import Base, FairGen, Method
from pipelines.recipe import Recipe


@dataclass(frozen=True)
class ComparedSystem:
    """A method, and how the categories that are asked of it are drawn.

    `everywhere` systems are also measured under other conditions than the plain one. For a
    `calibrated` one the target is corrected by the measured confusion of the adapters.
    """

    name: str
    method: Method
    drawn: Drawn
    label: str = ""
    everywhere: bool = False
    calibrated: bool = False

    @property
    def title(self) -> str:
        return f"{self.method.title}{self.label and ', '}{self.label}"


BASE = ComparedSystem("base", Base, "nothing", everywhere=True)
FAIRGEN = ComparedSystem("fairgen", FairGen, "quota", "quota", everywhere=True)
COMPARED_SYSTEMS = (
    BASE,
    ComparedSystem("words", Words, "iid", "coin"),
    ComparedSystem("words_quota", Words, "quota", "quota", everywhere=True),
    ComparedSystem("fair_diffusion", FairDiffusion, "iid"),
    ComparedSystem("uce", Uce, "nothing"),
    ComparedSystem("concept_sliders", ConceptSliders, "iid"),
    ComparedSystem("h_space", HSpace, "iid"),
    ComparedSystem("official", Official, "call", "coin a call"),
    ComparedSystem("official_iid", Official, "iid", "coin"),
    ComparedSystem("iid", FairGen, "iid", "coin"),
    FAIRGEN,
    ComparedSystem("calibrated", FairGen, "quota", "quota, calibrated", calibrated=True),
    ComparedSystem("as_lora", AsLora, "quota", "quota"),
)


def asked_target(
    recipe: Recipe,
    compared: ComparedSystem,
    condition: EvalCondition,
    concept: str,
    confusions: Mapping[str, Confusion],
) -> TargetDistribution:
    """Return the target that a system is asked for, corrected by the confusions.

    FairGen is asked only for the attributes that the prompt gate leaves free.
    """
    target = condition.target_of(recipe)
    if compared.method is FairGen:
        free = condition.gate_of(recipe, concept).free
        target = target.marginalised([name for name in target.attributes if name in free])
    return calibrated(target, confusions)
