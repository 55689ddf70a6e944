"""Under what conditions a comparison looks whether a system holds: guidance, steps, targets, words.

Each condition changes one thing of the comparison's plain prompt set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairgen.attributes import Attribute
from fairgen.indicator import TargetDistribution
from pipelines.recipe import ComparisonConfig, Recipe

GUIDANCE_SCALES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
NUM_STEPS = (10, 20, 50)
SHARES = tuple(tenth / 10 for tenth in range(11))


@dataclass(frozen=True)
class Condition:
    """What differs from the plain prompt set; a slug names its folder.

    `phrase` holds {concept}; `target` replaces the recipe's target.
    """

    slug: str
    group: str = "plain"
    label: str = ""
    guidance_scale: float | None = None
    num_steps: int | None = None
    phrase: str = "{concept}"
    target: Mapping[str, object] = field(default_factory=dict)

    def target_of(self, recipe: Recipe) -> TargetDistribution:
        """Return what is asked under the condition: its own target, or the recipe's."""
        wanted = self.target or recipe.evaluation.target
        return TargetDistribution.from_request(wanted, recipe.attributes)


PLAIN = Condition("plain")


def conditions_of(config: ComparisonConfig, attributes: tuple[Attribute, ...]) -> list[Condition]:
    """Return all but the plain one: guidance scales, numbers of steps, phrases, and shares of the
    first attribute's first category from none to all.
    """
    found = [
        Condition(f"guidance-{scale:g}", "guidance", f"{scale:g}", guidance_scale=scale)
        for scale in GUIDANCE_SCALES
    ]
    found += [
        Condition(f"steps-{steps}", "steps", str(steps), num_steps=steps) for steps in NUM_STEPS
    ]
    found += [
        Condition(f"phrase-{place}", "phrase", phrase, phrase=phrase)
        for place, phrase in enumerate(config.phrases)
    ]
    first = attributes[0]
    one, *others = first.names
    uniform = {attribute.name: "uniform" for attribute in attributes}
    for share in SHARES:
        rest = {name: (1 - share) / len(others) for name in others}
        target = uniform | {first.name: {one: share} | rest}
        found.append(Condition(f"share-{share:g}", "share", f"{share:g}", target=target))
    return found
