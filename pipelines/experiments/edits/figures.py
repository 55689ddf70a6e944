"""What edits come to: hits, lightening, and what else is another than before."""

from collections.abc import Iterable, Sequence

import numpy as np

from fairgen.attributes import Attribute
from fairgen.indicator import TargetDistribution
from fairgen.judging import (
    Estimate,
    PromptScore,
    ShareSample,
    cell_counts,
    proportion_interval,
    sampling_floor,
)
from pipelines.experiments.edits.results import (
    GENDER,
    SKIN,
    ConceptEdits,
    Condition,
    EditFigures,
)

_TRIALS = 10_000


def edit_figures(
    found: Sequence[ConceptEdits], attributes: Sequence[Attribute]
) -> list[EditFigures]:
    """Return the figures of every condition, over all concepts; `skin` is in the order from light
    to dark.
    """
    pairs: dict[Condition, list[tuple[PromptScore, PromptScore]]] = {}
    for concept in found:
        for edit in concept.edits:
            pairs.setdefault(edit.condition, []).append((concept.before, edit.score))
    gender = next(attribute for attribute in attributes if attribute.name == GENDER)
    return [_figures(condition, own, gender) for condition, own in pairs.items()]


def shares_before(
    scores: Sequence[PromptScore], attributes: Sequence[Attribute]
) -> dict[str, dict[str, float]]:
    """Return the share of each category in the pictures that edits begin from."""
    found = {}
    for attribute in attributes:
        seen = [index for score in scores for index in score.seen[attribute.name]]
        found[attribute.name] = {
            name: seen.count(index) / len(seen) for index, name in enumerate(attribute.names)
        }
    return found


def net_change(up: int, down: int, total: int) -> Estimate:
    """Return the share of pictures that went up less that of those that went down. What is as
    likely after so few pictures is drawn from the posterior of three shares, prior 1/3 each.
    """
    counts = np.array([up, down, total - up - down], float)
    drawn = np.random.default_rng(0).dirichlet(counts + 1 / 3, _TRIALS)
    return Estimate.within((up - down) / total, drawn[:, 0] - drawn[:, 1])


def _figures(
    condition: Condition, pairs: Sequence[tuple[PromptScore, PromptScore]], gender: Attribute
) -> EditFigures:
    scores = [after for _, after in pairs]
    asked = {name for name, categories in scores[0].asked.items() if categories}
    wanted = [
        (category, before, after)
        for name in asked
        for first, second in pairs
        for category, before, after in zip(
            second.asked[name], first.seen[name], second.seen[name], strict=True
        )
    ]
    skins = _seen(pairs, SKIN)
    lighter, darker = (
        sum(after < before for before, after in skins),
        sum(after > before for before, after in skins),
    )
    fd = floor = None
    if GENDER in asked:
        target = TargetDistribution.from_request({GENDER: "uniform"}, [gender])
        fd = ShareSample(cell_counts(scores, target, {GENDER: gender})).fd(target.probabilities)
        floor = sampling_floor(target.probabilities, scores[0].num_images)
    return EditFigures(
        condition=condition,
        num_pictures=len(skins),
        hit=_rate(category == after for category, _, after in wanted) if wanted else None,
        turned=_rate(category == after for category, before, after in wanted if before != category)
        if any(before != category for category, before, _ in wanted)
        else None,
        fd=fd,
        floor=floor,
        lighter=_rate(after < before for before, after in skins),
        darker=_rate(after > before for before, after in skins),
        net_lightening=net_change(lighter, darker, len(skins)),
        changed={
            name: _rate(before != after for before, after in _seen(pairs, name))
            for name in scores[0].seen
            if name not in asked
        },
        recognised=_rate(right for score in scores for right in score.recognised),
        ssim=float(np.mean([value for score in scores for value in score.ssim])),
    )


def _seen(
    pairs: Sequence[tuple[PromptScore, PromptScore]], attribute: str
) -> list[tuple[int, int]]:
    """Return the category seen before and after, picture by picture."""
    return [
        seen
        for before, after in pairs
        for seen in zip(before.seen[attribute], after.seen[attribute], strict=True)
    ]


def _rate(outcomes: Iterable[bool]) -> Estimate:
    """Return the share of true outcomes with its Wilson interval."""
    values = list(outcomes)
    interval = proportion_interval(sum(values), len(values))
    return Estimate(value=sum(values) / len(values), interval=interval)
