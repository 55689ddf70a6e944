"""Paint one prompt's pictures with any source, and score them: for every stage that measures."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image

from fairgen.attributes import Attribute, render
from fairgen.indicator import TargetDistribution
from fairgen.judging import EmbeddedImages, Judge, PromptScore, score_pictures
from fairgen.ledger import assign
from pipelines.recipe import Recipe, load_judge, load_second_judge

Drawn = Literal["nothing", "quota", "iid", "call"]
_PICTURES_A_CALL = 4


@dataclass(frozen=True)
class PromptPlan:
    """The pictures of one prompt: for each its seed, and the category asked of it by attribute.

    The judge should recognise `concept`; `phrase` is what stands for {subject} in the template.
    """

    concept: str
    template: str
    phrase: str
    seeds: Sequence[int]
    categories: Sequence[Mapping[str, str]]

    @property
    def prompt(self) -> str:
        return render(self.template, self.phrase)


class ImageSource(Protocol):
    """Anything that paints: the engine, another method, an endpoint."""

    def paint(self, plan: PromptPlan) -> list[Image.Image]:
        """Return one picture a seed."""


@dataclass(frozen=True)
class Judges:
    """The judges of a recipe, and the attributes that they are asked about."""

    attributes: Sequence[Attribute]
    first: Judge
    second: Judge | None = None

    @classmethod
    def load(cls, recipe: Recipe) -> "Judges":
        """Return both judges of a recipe. Raises ValueError when weights are missing."""
        return cls(recipe.attributes, load_judge(recipe), load_second_judge(recipe))


def measure_prompt(
    source: ImageSource,
    plan: PromptPlan,
    judges: Judges,
    system: str,
    reference: EmbeddedImages | None = None,
) -> tuple[PromptScore, EmbeddedImages]:
    """Return the score of the pictures that a source paints, and the pictures with their features.

    `reference` are the base model's pictures of the same seeds; None where the source paints them.
    """
    return score_pictures(
        source.paint(plan),
        plan.categories,
        system=system,
        concept=plan.concept,
        prompt=plan.prompt,
        attributes=judges.attributes,
        judge=judges.first,
        second_judge=judges.second,
        reference=reference,
    )


def plan_prompt(
    recipe: Recipe,
    concept: str,
    num_images: int,
    target: TargetDistribution,
    drawn: Drawn,
    system: str,
    phrase: str = "{concept}",
) -> PromptPlan:
    """Return the plan of a concept in the recipe's first template. All systems paint from the
    concept's own seeds; each draws its categories by itself, prompt by prompt.
    """
    spoken = phrase.format(concept=concept)
    draws = seed_of(recipe, system, spoken)
    return PromptPlan(
        concept=concept,
        template=recipe.templates[0],
        phrase=spoken,
        seeds=picture_seeds(recipe, concept, num_images),
        categories=draw_categories(target, drawn, num_images, draws),
    )


def picture_seeds(recipe: Recipe, concept: str, num_images: int) -> range:
    """Return the seeds of a concept's pictures, which follow from the evaluation's seed."""
    first = seed_of(recipe, "pictures", concept)
    return range(first, first + num_images)


def seed_of(recipe: Recipe, *parts: str) -> int:
    """Return a seed of 31 bits for a purpose: other parts, or another seed of the evaluation, give
    one that has nothing to do with it.
    """
    return random.Random("/".join((str(recipe.evaluation.seed), *parts))).getrandbits(31)


def draw_categories(
    target: TargetDistribution, drawn: Drawn, num_images: int, seed: int
) -> list[dict[str, str]]:
    """Return the categories that are asked of each picture, by attribute.

    "call" draws once for every four pictures, as one call of the official code paints them.
    """
    if drawn == "nothing":
        return [{} for _ in range(num_images)]
    if drawn == "call":
        calls = assign(target, -(-num_images // _PICTURES_A_CALL), seed, "iid")
        cells = [calls[index // _PICTURES_A_CALL] for index in range(num_images)]
    else:
        cells = assign(target, num_images, seed, drawn)
    return [dict(zip(target.attributes, target.cells[cell], strict=True)) for cell in cells]


def pick_shown(
    categories: Sequence[Mapping[str, str]], cells: Sequence[dict[str, str]]
) -> list[int]:
    """Return which pictures to show, one a cell: the first that was asked for it and is not shown
    yet, or else the first one left. Pictures that were asked for nothing are taken in their order.
    """
    left, shown = list(range(len(categories))), []
    for cell in cells[: len(left)]:
        shown.append(next((index for index in left if categories[index] == cell), left[0]))
        left.remove(shown[-1])
    return shown
