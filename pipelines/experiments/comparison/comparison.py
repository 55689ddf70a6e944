"""The result of a comparison: an evaluation of every system, and its cost."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress, product
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from fairgen.attributes import Attribute
from fairgen.judging import (
    PromptScore,
    drift,
    frechet_distance,
    hit_rates,
    kernel_distance,
    mean_counted,
    prompt_fairness,
)
from pipelines.evaluation import Evaluation, draw_categories, evaluation_targets, summarise
from pipelines.experiments.comparison.conditions import PLAIN, EvalCondition, eval_conditions
from pipelines.experiments.comparison.files import (
    MethodCost,
    SweepPoint,
    best_setting,
    load_cost,
    load_embedded,
    load_pictures,
    score_path,
    sweep_points,
)
from pipelines.experiments.comparison.systems import BASE, COMPARED_SYSTEMS, ComparedSystem
from pipelines.recipe import Recipe, load_judge


class SystemSummary(BaseModel):
    """One system: its source, the setting of its knob, the sweep that led to it, and its cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    source: str
    knob: str
    setting: float
    sweep: list[SweepPoint]
    cost: MethodCost


class Quality(BaseModel):
    """How near a system's pictures are to real ones of the target distribution, in the judge's own
    features: the Frechet and, times 1,000, the kernel distance with its deviation over subsets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fid: float
    kid_1000: float
    kid_1000_deviation: float


class ConditionResult(BaseModel):
    """One system under one condition; every figure is a mean over the condition's concepts.

    `fd` is by target, `hit_rates` by attribute and category: the share of the pictures that were
    asked for a category in which the judge sees it. Both hold only attributes that the prompt
    leaves free. `drift` is by attribute, the distance from the base model's distribution, for
    attributes that neither the condition asks nor the prompt names. `recognised` is the share of
    pictures in which the judge sees the concept. `obeyed` is the share that shows every category
    that the prompt names, None where it names none. `unchanged` is the share that equals the base
    model's picture of the seed pixel by pixel, `ssim` the mean similarity to it. `delivered` is the
    share that shows the first category of the recipe's first attribute.
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
    """An evaluation of all systems, with a summary of each, and the results of some of them under
    other conditions: condition -> system.
    """

    systems: dict[str, SystemSummary]
    quality: dict[str, Quality]
    conditions: dict[str, dict[str, ConditionResult]]


def read_comparison(recipe: Recipe, folder: Path) -> Comparison:
    """Return the comparison that follows from the files of a finished run."""
    assert recipe.comparison is not None
    concepts = recipe.evaluation.full.concepts
    scores = [
        _score(folder, PLAIN, compared, concept)
        for compared, concept in product(COMPARED_SYSTEMS, concepts)
    ]
    real = _real_features(recipe, scores[0].num_images)
    return Comparison(
        **dict(summarise(recipe, scores, {})),
        systems={compared.name: _system_summary(compared, folder) for compared in COMPARED_SYSTEMS},
        quality={}
        if real is None
        else {one.name: _quality(one, folder, concepts, real) for one in COMPARED_SYSTEMS},
        conditions={
            condition.slug: {
                compared.name: _condition_result(recipe, condition, compared, folder)
                for compared in COMPARED_SYSTEMS
                if compared.everywhere
            }
            for condition in _all_conditions(recipe)
        },
    )


def _all_conditions(recipe: Recipe) -> list[EvalCondition]:
    """Return every condition, the plain one first, over the concepts of the others."""
    assert recipe.comparison is not None
    plain = replace(PLAIN, concepts=recipe.comparison.condition_concepts)
    return [plain, *eval_conditions(recipe)]


def _real_features(recipe: Recipe, num_images: int) -> Tensor | None:
    """Return the judge's features of real pictures of the target distribution, as many as each
    system has painted. None for a world that is not drawn: its pictures cannot be made anew.
    """
    if recipe.judge.kind != "portraits":
        return None
    from fairgen.portraits import draw_all

    target, judge = PLAIN.target_of(recipe), load_judge(recipe)
    features = []
    for seed, concept in enumerate(recipe.evaluation.full.concepts):
        categories = draw_categories(target, "quota", num_images, seed)
        images = draw_all(concept, categories, random.Random(seed))
        features.append(judge.read(images).features)
    return torch.cat(features)


def _score(
    folder: Path, condition: EvalCondition, compared: ComparedSystem, concept: str
) -> PromptScore:
    if compared == BASE:
        condition = condition.reference_condition
    path = score_path(folder, condition, compared.name, concept)
    return PromptScore.model_validate_json(path.read_text())


def _quality(
    compared: ComparedSystem, folder: Path, concepts: Sequence[str], real: Tensor
) -> Quality:
    features = torch.cat(
        [
            load_embedded(score_path(folder, PLAIN, compared.name, concept)).features
            for concept in concepts
        ]
    )
    kid, deviation = kernel_distance(features, real, subset_size=min(100, len(features)))
    return Quality(
        fid=frechet_distance(features, real),
        kid_1000=1000 * kid,
        kid_1000_deviation=1000 * deviation,
    )


def _condition_result(
    recipe: Recipe, condition: EvalCondition, compared: ComparedSystem, folder: Path
) -> ConditionResult:
    attributes = {attribute.name: attribute for attribute in recipe.attributes}
    gates = [condition.gate_of(recipe, concept) for concept in condition.concepts]
    scores = [_score(folder, condition, compared, concept) for concept in condition.concepts]
    base = [_score(folder, condition, BASE, concept) for concept in condition.concepts]
    target = condition.target_of(recipe)
    free = [name for name in target.attributes if all(name in gate.free for gate in gates)]
    named = {
        name: decision.named[0]
        for name, decision in gates[0].attributes.items()
        if decision.reason == "named" and len(decision.named) == 1
    }
    first = recipe.attributes[0]
    is_people = all(gate.person for gate in gates)
    others = set(scores[0].seen) - set(target.attributes) - set(named) if is_people else set()
    return ConditionResult(
        fd={
            name: mean_counted(
                found.fd if (found := prompt_fairness(score, one, attributes)) else None
                for score in scores
            )
            for name, one in evaluation_targets(recipe, target.marginalised(free)).items()
        },
        hit_rates={
            name: {category: row[category] for category, row in hit_rates(scores, one).items()}
            for name, one in attributes.items()
            if name in free and scores[0].asked[name]
        },
        drift={
            name: mean_counted(drift(s, b, name) for s, b in zip(scores, base, strict=True))
            for name in sorted(others)
        },
        recognised=_mean([float(value) for score in scores for value in score.recognised]),
        ssim=_mean([value for score in scores for value in score.ssim]),
        unchanged=_mean(
            [_unchanged(condition, compared, folder, concept) for concept in condition.concepts]
        ),
        obeyed=mean_counted(_shown(score, attributes, named) for score in scores)
        if named
        else None,
        delivered=mean_counted(
            _shown(score, attributes, {first.name: first.names[0]}) for score in scores
        ),
    )


def _unchanged(
    condition: EvalCondition, compared: ComparedSystem, folder: Path, concept: str
) -> float:
    """Return the share of a prompt's pictures that equal the base model's of the same seeds."""
    if compared == BASE:
        return 1.0
    own, base = (
        load_pictures(score_path(folder, painted_under, system.name, concept))
        for painted_under, system in (
            (condition, compared),
            (condition.reference_condition, BASE),
        )
    )
    return _mean([float(a.tobytes() == b.tobytes()) for a, b in zip(own, base, strict=True)])


def _shown(
    score: PromptScore, attributes: Mapping[str, Attribute], named: Mapping[str, str]
) -> float | None:
    """Return the share of the pictures that count that shows every named category, None where none
    counts.
    """
    matches = [
        [attributes[name].names[index] == category for index in score.seen[name]]
        for name, category in named.items()
    ]
    shown = [float(all(picture)) for picture in zip(*matches, strict=True)]
    counted = list(compress(shown, score.counted(named)))
    return _mean(counted) if counted else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _system_summary(compared: ComparedSystem, folder: Path) -> SystemSummary:
    method = compared.method
    return SystemSummary(
        title=compared.title,
        source=method.source,
        knob=method.knob,
        setting=best_setting(folder, method),
        sweep=sweep_points(folder, method),
        cost=load_cost(folder, method),
    )
