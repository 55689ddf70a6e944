"""The conditions under which a comparison measures systems again: guidance, steps, targets, words,
one attribute alone, prompts that name a category or have no people.

Each condition changes one thing of the comparison's plain prompt set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fairgen.attributes import render
from fairgen.gate import GateDecision, decide
from fairgen.indicator import TargetDistribution
from pipelines.recipe import Recipe

GUIDANCE_SCALES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
NUM_STEPS = (10, 20, 50)
SHARES = tuple(tenth / 10 for tenth in range(11))


@dataclass(frozen=True)
class EvalCondition:
    """One change of the plain prompt set; `slug` names its folder.

    `phrase` holds {concept}; `target` replaces the recipe's target. `concepts` are painted; the
    plain condition takes those of the full evaluation.
    """

    slug: str
    group: str = "plain"
    label: str = ""
    guidance_scale: float | None = None
    num_steps: int | None = None
    phrase: str = "{concept}"
    target: Mapping[str, object] = field(default_factory=dict)
    concepts: tuple[str, ...] = ()

    def target_of(self, recipe: Recipe) -> TargetDistribution:
        """Return the target under the condition: its own, or the recipe's."""
        target = self.target or recipe.evaluation.target
        return TargetDistribution.from_request(target, recipe.attributes)

    @property
    def reference_condition(self) -> "EvalCondition":
        """The condition whose base-model pictures serve as reference: the base model ignores the
        target, so conditions that differ only in it share pictures.
        """
        same_but_target = replace(
            PLAIN,
            slug=self.slug,
            group=self.group,
            label=self.label,
            concepts=self.concepts,
            target=self.target,
        )
        return PLAIN if self.target and self == same_but_target else self

    def prompt_of(self, recipe: Recipe, concept: str) -> str:
        """Return the prompt of a concept."""
        return render(recipe.templates[0], self.phrase.format(concept=concept))

    def gate_of(self, recipe: Recipe, concept: str) -> GateDecision:
        """Return the gate's decision on the prompt of a concept."""
        return decide(self.prompt_of(recipe, concept), recipe.attributes)


PLAIN = EvalCondition("plain")
CALIBRATION = EvalCondition("calibration")


def eval_conditions(recipe: Recipe) -> list[EvalCondition]:
    """Return all but the plain one: guidance scales, numbers of steps, phrases, shares of the first
    attribute's first category from none to all, each attribute alone, and things.
    """
    assert recipe.comparison is not None
    config, attributes = recipe.comparison, recipe.attributes
    conditions = [
        EvalCondition(f"guidance-{scale:g}", "guidance", f"{scale:g}", guidance_scale=scale)
        for scale in GUIDANCE_SCALES
    ]
    conditions += [
        EvalCondition(f"steps-{steps}", "steps", str(steps), num_steps=steps) for steps in NUM_STEPS
    ]
    for group, phrases in (("phrase", config.phrases), ("explicit", config.explicit)):
        conditions += [
            EvalCondition(f"{group}-{index}", group, phrase, phrase=phrase)
            for index, phrase in enumerate(phrases)
        ]
    uniform: dict[str, object] = {attribute.name: "uniform" for attribute in attributes}
    one, *others = attributes[0].names
    for share in SHARES:
        rest = {name: (1 - share) / len(others) for name in others}
        target = uniform | {attributes[0].name: {one: share} | rest}
        conditions.append(EvalCondition(f"share-{share:g}", "share", f"{share:g}", target=target))
    conditions += [
        EvalCondition(f"alone-{name}", "alone", name, target={name: "uniform"}) for name in uniform
    ]
    conditions = [replace(one, concepts=config.condition_concepts) for one in conditions]
    if things := recipe.concepts.no_people:
        conditions.append(EvalCondition("no-people", "no people", "no people", concepts=things))
    return conditions
