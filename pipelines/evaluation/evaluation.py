"""The result of an evaluation, as `evaluation.json` holds it, and how it follows from the scored
prompts.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, product

from pydantic import BaseModel, ConfigDict

from fairgen.attributes import Attribute
from fairgen.indicator import TargetDistribution
from fairgen.judging import (
    Agreement,
    Estimate,
    Fairness,
    JudgeConfusion,
    PromptScore,
    ShareSample,
    agreement_between,
    cell_counts,
    class_shares,
    corrected_rate,
    diversity,
    drift,
    drift_floor,
    hit_counts,
    hit_rates,
    prompt_fairness,
    proportion_interval,
)
from pipelines.recipe import Recipe, load_judge_confusion

log = logging.getLogger(__name__)


class Abstention(BaseModel):
    """The share of `n` pictures in which the judge named no category, with its Wilson interval.
    They are left out of every count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Estimate
    n: int


class SystemFairness(BaseModel):
    """One system's fairness under one target: means over prompts, the interval of the FD, and the
    floor. `kl` is the mean over prompts in which it is finite. `corrected` is the FD that a judge
    who never errs would have measured, None where nobody measured how the judge errs. `abstained`
    is None where the judge always names a category; a prompt in none of whose pictures it named one
    is no part of `prompts`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fd: float
    interval: tuple[float, float]
    floor: float
    soft_fd: float | None
    dev_rat: float
    parity_gap: float
    kl: float | None
    n: int
    prompts: dict[str, Fairness]
    corrected: Estimate | None = None
    abstained: Abstention | None = None


class HitRate(BaseModel):
    """The share of `n` pictures asked for a category in which the judge sees it, with its Wilson
    interval. `corrected` is the share that truly shows it, None where nobody measured how the judge
    errs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen: Estimate
    n: int
    corrected: Estimate | None = None


class Preservation(BaseModel):
    """How much the adapters left as it was: means over all pictures of one system.

    `ssim`, `psnr` (dB) and `clip_i` compare with the base model's picture of the same seed.
    `diversity` is the spread of the pictures within each category, divided by the base model's;
    `cell_diversity` is that within each joint cell of the attributes. Both are None where no prompt
    has three such pictures by both systems. `drift` holds the attributes that the judge sees and
    the target does not ask: the mean over prompts of the distance between an attribute's
    distribution and the base model's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recognised: float
    clip_t: float
    ssim: float
    psnr: float
    clip_i: float
    diversity: float | None
    cell_diversity: float | None
    drift: dict[str, float]

    def figures(self) -> dict[str, float]:
        """Return every known figure by name: "recognised", "drift glasses" and so on."""
        known = self.model_dump(exclude={"drift"}, exclude_none=True)
        return known | {f"drift {name}": value for name, value in self.drift.items()}


class Evaluation(BaseModel):
    """Base against FairGen, i.i.d. and by quota, on one prompt set.

    `drift_floor` is, by attribute, the drift between two independent samples of the base model.
    `targets` holds the share asked of each cell, by target. `hits` holds FairGen's hit rates by
    group, attribute and category. `judge` says on which pictures the judge's own errors were
    measured. Where the recipe has a second judge, `second_fairness` is `fairness` by its labels,
    and `agreement` says, by system and attribute, how often the two name the same category.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    recipe_hash: str
    num_images: int
    trained: list[str]
    held_out: list[str]
    targets: dict[str, dict[str, float]] = {}
    fairness: dict[str, dict[str, SystemFairness]]
    hit_rates: dict[str, dict[str, dict[str, dict[str, float]]]]
    hits: dict[str, dict[str, dict[str, HitRate]]] = {}
    judge: str | None = None
    preservation: dict[str, Preservation]
    drift_floor: dict[str, float]
    no_people_unchanged: dict[str, bool]
    second_fairness: dict[str, dict[str, SystemFairness]] = {}
    agreement: dict[str, dict[str, Agreement]] = {}

    def hit_rate(self, attribute: str, category: str, group: str) -> float | None:
        """Return the share of pictures asked for a category in which the judge saw it, None where
        none that counts was asked for it; group: trained, held_out, all.
        """
        row = self.hit_rates[group][attribute].get(category)
        return None if row is None else row[category]

    def lowest_hit_rate(self, attribute: Attribute) -> float | None:
        """Return the lowest hit rate of an attribute's categories over all prompts, None where one
        of them has none.
        """
        rates = [self.hit_rate(attribute.name, name, "all") for name in attribute.names]
        known = [rate for rate in rates if rate is not None]
        return min(known) if known == rates else None


def evaluation_targets(
    recipe: Recipe, joint: TargetDistribution | None = None
) -> dict[str, TargetDistribution]:
    """Return the recipe's target, or another, in parts by name: each attribute's marginal, and the
    joint of each group of `evaluation.joints`. A group with an attribute that is not asked is left
    out.
    """
    joint = joint or TargetDistribution.from_request(recipe.evaluation.target, recipe.attributes)
    groups: list[tuple[str, ...]] = [(attribute.name,) for attribute in recipe.attributes]
    groups += [tuple(group) for group in recipe.evaluation.joints]
    return {
        " x ".join(group): joint.marginalised(group)
        for group in groups
        if set(group) <= set(joint.attributes)
    }


def summarise(
    recipe: Recipe, scores: Sequence[PromptScore], no_people: Mapping[str, bool]
) -> Evaluation:
    """Return the evaluation that follows from the scored prompts of every system."""
    attributes = {attribute.name: attribute for attribute in recipe.attributes}
    systems = list(dict.fromkeys(score.system for score in scores))
    by_system = {
        system: [score for score in scores if score.system == system] for system in systems
    }
    fairgen, targets = by_system["fairgen"], evaluation_targets(recipe)
    confusion, second_confusion = (load_judge_confusion(recipe, second) for second in (False, True))
    twice = all(score.second is not None for score in scores)
    unasked = [name for name in scores[0].seen if not any(s.asked[name] for s in scores)]
    groups = {
        "trained": [score for score in fairgen if score.concept in recipe.concepts.train],
        "held_out": [score for score in fairgen if score.concept in recipe.concepts.held_out],
        "all": fairgen,
    }
    return Evaluation(
        recipe=recipe.name,
        recipe_hash=recipe.recipe_hash,
        num_images=scores[0].num_images,
        trained=[score.concept for score in groups["trained"]],
        held_out=[score.concept for score in groups["held_out"]],
        targets={
            name: {
                ",".join(cell): share
                for cell, share in zip(target.cells, target.probabilities, strict=True)
            }
            for name, target in targets.items()
        },
        fairness={
            name: {
                system: _fairness(by_system[system], target, attributes, confusion)
                for system in systems
            }
            for name, target in targets.items()
        },
        judge=confusion.source if confusion else None,
        hit_rates={
            group: {name: hit_rates(members, attribute) for name, attribute in attributes.items()}
            for group, members in groups.items()
            if members
        },
        hits={
            group: {name: _hits(members, one, confusion) for name, one in attributes.items()}
            for group, members in groups.items()
            if members
        },
        preservation={
            system: _preservation(by_system[system], by_system["base"], recipe, unasked)
            for system in systems
        },
        drift_floor={
            name: _mean(
                drift_floor(class_shares(seen, len(by_system["base"][0].soft[name])), len(seen))
                for seen in counted
            )
            for name in unasked
            if (counted := _counted(by_system["base"], name))
        },
        no_people_unchanged=dict(no_people),
        second_fairness={
            name: {
                system: _fairness(
                    [s.by_second() for s in by_system[system]], target, attributes, second_confusion
                )
                for system in systems
            }
            for name, target in targets.items()
            if twice
        },
        agreement={
            system: {
                name: found
                for name, attribute in attributes.items()
                if (found := _agreement(by_system[system], attribute))
            }
            for system in systems
            if twice
        },
    )


def _counted(scores: Sequence[PromptScore], name: str) -> list[list[int]]:
    """Return what the judge names of an attribute, prompt by prompt, without prompts in which it
    names nothing.
    """
    found = (list(compress(score.seen[name], score.counted([name]))) for score in scores)
    return [seen for seen in found if seen]


def _agreement(scores: Sequence[PromptScore], attribute: Attribute) -> Agreement | None:
    """Return how far the two judges name the same category, over all pictures of a system in which
    both name one; None where there is no such picture.
    """
    pairs = [pair for score in scores for pair in score.seen_by_both(attribute.name)]
    if not pairs:
        return None
    seen, other = zip(*pairs, strict=True)
    return agreement_between(seen, other, len(attribute.names))


def _hits(
    scores: Sequence[PromptScore], attribute: Attribute, confusion: JudgeConfusion | None
) -> dict[str, HitRate]:
    """Return the hit rate of every category that was asked."""
    known = confusion is not None and attribute.name in confusion.counts
    error = confusion.error(attribute.name, attribute.names) if confusion and known else None
    found = {}
    for index, (name, seen) in enumerate(
        zip(attribute.names, hit_counts(scores, attribute), strict=True)
    ):
        hits, total = int(seen[index]), int(seen.sum())
        if total:
            found[name] = HitRate(
                seen=Estimate(value=hits / total, interval=proportion_interval(hits, total)),
                n=total,
                corrected=corrected_rate(seen, index, error) if error else None,
            )
    return found


def _fairness(
    scores: Sequence[PromptScore],
    target: TargetDistribution,
    attributes: Mapping[str, Attribute],
    confusion: JudgeConfusion | None,
) -> SystemFairness:
    found = {score.concept: prompt_fairness(score, target, attributes) for score in scores}
    prompts = {concept: one for concept, one in found.items() if one is not None}
    if left_out := sorted(set(found) - set(prompts)):
        log.warning(
            "%s, %s: the judge named no category in any picture of %s, which are left out",
            *(scores[0].system, " x ".join(target.attributes), left_out),
        )
    fairness = list(prompts.values())
    sample = ShareSample(cell_counts(scores, target, attributes))
    errors = confusion.errors(target) if confusion else []
    fd = sample.fd(target.probabilities)
    return SystemFairness(
        fd=fd.value,
        interval=fd.interval,
        corrected=sample.fd(target.probabilities, errors) if errors else None,
        floor=_mean(one.floor for one in fairness),
        soft_fd=_mean_known(one.soft_fd for one in fairness),
        dev_rat=_mean(one.dev_rat for one in fairness),
        parity_gap=_mean(one.parity_gap for one in fairness),
        kl=_mean_known(one.kl for one in fairness),
        n=scores[0].num_images,
        prompts=prompts,
        abstained=_abstention(scores, target),
    )


def _abstention(scores: Sequence[PromptScore], target: TargetDistribution) -> Abstention | None:
    """Return the share of pictures that count for no cell of a target, None where the judge never
    abstains from any of its attributes.
    """
    if not any(score.abstained.keys() & set(target.attributes) for score in scores):
        return None
    counted = [counts for score in scores for counts in score.counted(target.attributes)]
    left_out = counted.count(False)
    interval = proportion_interval(left_out, len(counted))
    share = Estimate(value=left_out / len(counted), interval=interval)
    return Abstention(share=share, n=len(counted))


def _preservation(
    scores: Sequence[PromptScore],
    base: Sequence[PromptScore],
    recipe: Recipe,
    unasked: Sequence[str],
) -> Preservation:
    before = {score.concept: score for score in base}
    cells = [",".join(cell) for cell in product(*(a.names for a in recipe.attributes))]
    return Preservation(
        drift={
            name: moved
            for name in unasked
            if (moved := _mean_known(drift(s, before[s.concept], name) for s in scores)) is not None
        },
        recognised=_mean(float(value) for score in scores for value in score.recognised),
        clip_t=_mean(value for score in scores for value in score.clip_t),
        ssim=_mean(value for score in scores for value in score.ssim),
        psnr=_mean(value for score in scores for value in score.psnr),
        clip_i=_mean(value for score in scores for value in score.clip_i),
        diversity=_mean_known(
            diversity(score, before[score.concept], recipe.adapter_names(attribute.name))
            for score in scores
            for attribute in recipe.attributes
        ),
        cell_diversity=_mean_known(
            diversity(score, before[score.concept], cells) for score in scores
        ),
    )


def _mean_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if known else None


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)
