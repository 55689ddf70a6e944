"""The result of a comparison: an evaluation of every contender, and what each has cost."""

import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from fairgen.metrics import frechet_distance, kernel_distance
from fairgen.scoring import PromptScore, fairness_of
from pipelines.conditions import PLAIN, Condition, conditions_of
from pipelines.contenders import (
    CONTENDERS,
    Contender,
    Cost,
    Trial,
    best_setting,
    cost_of,
    draw_categories,
    load_features,
    score_path,
    trials_of,
)
from pipelines.evaluation import Evaluation, summarise, targets_of
from pipelines.recipe import Recipe


class Card(BaseModel):
    """One contender: where it is from, what its knob was set to and why, and what it costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    source: str
    knob: str
    setting: float
    sweep: list[Trial]
    cost: Cost


class Quality(BaseModel):
    """How near a system's pictures are to real ones of the target distribution, in the judge's own
    features: the Frechet and, times 1,000, the kernel distance with its deviation over subsets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fid: float
    kid_1000: float
    kid_1000_deviation: float


class Held(BaseModel):
    """One system under one condition: the mean of per-prompt FD of each target, preservation, and
    the share that the first attribute's first category was asked for and delivered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fd: dict[str, float]
    recognised: float
    ssim: float
    asked: float
    delivered: float


class Comparison(Evaluation):
    """An evaluation whose systems are all contenders, with a card for each, and what some of them
    hold under other conditions: condition -> system.
    """

    systems: dict[str, Card]
    quality: dict[str, Quality]
    conditions: dict[str, dict[str, Held]]


def compared(recipe: Recipe, folder: Path) -> Comparison:
    """Return the comparison that follows from the files of a finished run."""
    assert recipe.comparison is not None
    concepts = recipe.evaluation.full.concepts
    scores = [
        _score(folder, PLAIN, contender, concept)
        for contender, concept in product(CONTENDERS, concepts)
    ]
    real = _real_features(recipe, scores[0].num_images)
    return Comparison(
        **dict(summarise(recipe, scores, {})),
        systems={contender.name: _card(contender, folder) for contender in CONTENDERS},
        quality={}
        if real is None
        else {found.name: _quality(found, folder, concepts, real) for found in CONTENDERS},
        conditions={
            condition.slug: {
                contender.name: _held(recipe, condition, contender, folder)
                for contender in CONTENDERS
                if contender.everywhere
            }
            for condition in conditions_of(recipe.comparison, recipe.attributes)
        },
    )


def _real_features(recipe: Recipe, num_images: int) -> Tensor | None:
    """Return the judge's features of real pictures of the target distribution, as many as each
    system has painted; None where there are none to be had: only a drawn world can be drawn again.
    """
    if recipe.judge.kind != "portraits":
        return None
    from fairgen.portraits.drawing import draw_all

    target, judge = PLAIN.target_of(recipe), recipe.load_judge()
    found = []
    for seed, concept in enumerate(recipe.evaluation.full.concepts):
        categories = draw_categories(target, "quota", num_images, seed)
        found.append(judge.features(draw_all(concept, categories, random.Random(seed))))
    return torch.cat(found)


def _score(folder: Path, condition: Condition, contender: Contender, concept: str) -> PromptScore:
    path = score_path(folder, condition, contender.name, concept)
    return PromptScore.model_validate_json(path.read_text())


def _quality(contender: Contender, folder: Path, concepts: Sequence[str], real: Tensor) -> Quality:
    features = torch.cat(
        [load_features(score_path(folder, PLAIN, contender.name, concept)) for concept in concepts]
    )
    kid, deviation = kernel_distance(features, real, subset_size=min(100, len(features)))
    return Quality(
        fid=frechet_distance(features, real),
        kid_1000=1000 * kid,
        kid_1000_deviation=1000 * deviation,
    )


def _held(recipe: Recipe, condition: Condition, contender: Contender, folder: Path) -> Held:
    assert recipe.comparison is not None
    attributes = {attribute.name: attribute for attribute in recipe.attributes}
    scores = [
        _score(folder, condition, contender, concept)
        for concept in recipe.comparison.condition_concepts
    ]
    joint = condition.target_of(recipe)
    targets = targets_of(recipe, joint)
    first = recipe.attributes[0]
    seen = [index for score in scores for index in score.seen[first.name]]
    return Held(
        fd={
            name: _mean([fairness_of(score, target, attributes).fd for score in scores])
            for name, target in targets.items()
        },
        recognised=_mean([float(value) for score in scores for value in score.recognised]),
        ssim=_mean([value for score in scores for value in score.ssim]),
        asked=joint.marginal(first.name)[first.names[0]],
        delivered=seen.count(0) / len(seen),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _card(contender: Contender, folder: Path) -> Card:
    system = contender.system
    return Card(
        title=contender.title,
        source=system.source,
        knob=system.knob,
        setting=best_setting(folder, system),
        sweep=trials_of(folder, system),
        cost=cost_of(folder, system),
    )
