"""The result of a comparison: an evaluation of every contender, and what each has cost."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from fairgen.attributes import Attribute
from fairgen.judging import (
    PromptScore,
    drift,
    fairness_of,
    frechet_distance,
    hit_rates,
    kernel_distance,
)
from pipelines.evaluation import Evaluation, evaluation_targets, summarise
from pipelines.experiments.comparison.conditions import PLAIN, EvalCondition, eval_conditions
from pipelines.experiments.comparison.systems import (
    BASE,
    COMPARED_SYSTEMS,
    ComparedSystem,
    Cost,
    SweepPoint,
    best_setting,
    draw_categories,
    learning_cost,
    load_features,
    load_pictures,
    score_path,
    sweep_points,
)
from pipelines.recipe.recipe import Recipe


class SystemSummary(BaseModel):
    """One contender: where it is from, what its knob was set to and why, and what it costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    source: str
    knob: str
    setting: float
    sweep: list[SweepPoint]
    cost: Cost


class Quality(BaseModel):
    """How near a system's pictures are to real ones of the target distribution, in the judge's own
    features: the Frechet and, times 1,000, the kernel distance with its deviation over subsets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fid: float
    kid_1000: float
    kid_1000_deviation: float


class ConditionResult(BaseModel):
    """One system under one condition, over its concepts.

    `fd` is the mean of per-prompt FD of each target, `hit_rates` is attribute -> category -> the
    share in which it was seen where it was asked, both of what the prompt leaves free only. `drift`
    is the mean over prompts of how far each attribute that the condition does not ask, nor the
    prompt name, moved from the base model's distribution. `obeyed` is the share of pictures that
    show what the prompt names, None where it names nothing; `unchanged` the share that equal the
    base model's pixel by pixel. `delivered` is the share of the first attribute's first category.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fd: dict[str, float]
    hit_rates: dict[str, dict[str, float]]
    drift: dict[str, float]
    recognised: float
    ssim: float
    unchanged: float
    obeyed: float | None
    delivered: float


class Comparison(Evaluation):
    """An evaluation whose systems are all contenders, with a card for each, and what some of them
    hold under other conditions: condition -> system.
    """

    systems: dict[str, SystemSummary]
    quality: dict[str, Quality]
    conditions: dict[str, dict[str, ConditionResult]]


def compared(recipe: Recipe, folder: Path) -> Comparison:
    """Return the comparison that follows from the files of a finished run."""
    assert recipe.comparison is not None
    concepts = recipe.evaluation.full.concepts
    scores = [
        _score(folder, PLAIN, contender, concept)
        for contender, concept in product(COMPARED_SYSTEMS, concepts)
    ]
    real = _real_features(recipe, scores[0].num_images)
    return Comparison(
        **dict(summarise(recipe, scores, {})),
        systems={
            contender.name: _system_summary(contender, folder) for contender in COMPARED_SYSTEMS
        },
        quality={}
        if real is None
        else {found.name: _quality(found, folder, concepts, real) for found in COMPARED_SYSTEMS},
        conditions={
            condition.slug: {
                contender.name: _condition_result(recipe, condition, contender, folder)
                for contender in COMPARED_SYSTEMS
                if contender.everywhere
            }
            for condition in _looked_at(recipe)
        },
    )


def _looked_at(recipe: Recipe) -> list[EvalCondition]:
    """Return all conditions over the same concepts: the plain one too."""
    assert recipe.comparison is not None
    plain = replace(PLAIN, concepts=recipe.comparison.condition_concepts)
    return [plain, *eval_conditions(recipe)]


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
        found.append(judge.read(draw_all(concept, categories, random.Random(seed))).features)
    return torch.cat(found)


def _score(
    folder: Path, condition: EvalCondition, contender: ComparedSystem, concept: str
) -> PromptScore:
    if contender == BASE:
        condition = condition.reference_condition
    path = score_path(folder, condition, contender.name, concept)
    return PromptScore.model_validate_json(path.read_text())


def _quality(
    contender: ComparedSystem, folder: Path, concepts: Sequence[str], real: Tensor
) -> Quality:
    features = torch.cat(
        [load_features(score_path(folder, PLAIN, contender.name, concept)) for concept in concepts]
    )
    kid, deviation = kernel_distance(features, real, subset_size=min(100, len(features)))
    return Quality(
        fid=frechet_distance(features, real),
        kid_1000=1000 * kid,
        kid_1000_deviation=1000 * deviation,
    )


def _condition_result(
    recipe: Recipe, condition: EvalCondition, contender: ComparedSystem, folder: Path
) -> ConditionResult:
    attributes = {attribute.name: attribute for attribute in recipe.attributes}
    gates = [condition.gate_of(recipe, concept) for concept in condition.concepts]
    scores = [_score(folder, condition, contender, concept) for concept in condition.concepts]
    base = [_score(folder, condition, BASE, concept) for concept in condition.concepts]
    target = condition.target_of(recipe)
    free = [name for name in target.attributes if all(name in gate.free for gate in gates)]
    named = {
        name: found.named[0]
        for name, found in gates[0].attributes.items()
        if found.reason == "named" and len(found.named) == 1
    }
    is_people = all(gate.person for gate in gates)
    others = set(scores[0].seen) - set(target.attributes) - set(named) if is_people else set()
    return ConditionResult(
        fd={
            name: _mean([fairness_of(score, one, attributes).fd for score in scores])
            for name, one in evaluation_targets(recipe, target.marginalised(free)).items()
        },
        hit_rates={
            name: {category: row[category] for category, row in hit_rates(scores, found).items()}
            for name, found in attributes.items()
            if name in free and scores[0].asked[name]
        },
        drift={
            name: _mean([drift(s, b, name) for s, b in zip(scores, base, strict=True)])
            for name in sorted(others)
        },
        recognised=_mean([float(value) for score in scores for value in score.recognised]),
        ssim=_mean([value for score in scores for value in score.ssim]),
        unchanged=_mean(
            [_unchanged(condition, contender, folder, concept) for concept in condition.concepts]
        ),
        obeyed=_mean([_shown(score, attributes, named) for score in scores]) if named else None,
        delivered=_mean(
            [score.seen[recipe.attributes[0].name].count(0) / score.num_images for score in scores]
        ),
    )


def _unchanged(
    condition: EvalCondition, contender: ComparedSystem, folder: Path, concept: str
) -> float:
    """Return the share of a prompt's pictures that equal the base model's of the same seeds."""
    if contender == BASE:
        return 1.0
    own, base = (
        load_pictures(score_path(folder, where, found.name, concept))
        for where, found in ((condition, contender), (condition.reference_condition, BASE))
    )
    return _mean([float(a.tobytes() == b.tobytes()) for a, b in zip(own, base, strict=True)])


def _shown(
    score: PromptScore, attributes: Mapping[str, Attribute], named: Mapping[str, str]
) -> float:
    """Return the share of pictures that show every named category."""
    wanted = [
        [attributes[name].names[index] == category for index in score.seen[name]]
        for name, category in named.items()
    ]
    return _mean([float(all(found)) for found in zip(*wanted, strict=True)])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _system_summary(contender: ComparedSystem, folder: Path) -> SystemSummary:
    system = contender.system
    return SystemSummary(
        title=contender.title,
        source=system.source,
        knob=system.knob,
        setting=best_setting(folder, system),
        sweep=sweep_points(folder, system),
        cost=learning_cost(folder, system),
    )
