"""What one prompt's pictures show: asked and seen categories, and the distance from the base
model's pictures of the same seeds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from fairgen.attributes import Attribute, adapter_name
from fairgen.indicator import TargetDistribution
from fairgen.judging.judge import Judge, Perception
from fairgen.judging.metrics import (
    Array,
    class_shares,
    confusion_counts,
    cosines,
    deviation_ratio,
    fairness_discrepancy,
    kl_divergence,
    mean_pairwise_distance,
    parity_gap,
    psnr,
    sampling_floor,
    similarity,
)
from fairgen.pictures import opaque

_MIN_GROUP = 3


@dataclass(frozen=True)
class EmbeddedImages:
    """Pictures of one prompt, and the judge's image features of them, N x D."""

    images: Sequence[Image.Image]
    features: Tensor


class JudgedLabels(BaseModel):
    """What a judge names: the category index of each picture, and the mean class probabilities of
    those that count, by attribute. `abstained` says in which pictures it names no category, for
    attributes of which it may do so: their index means nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen: dict[str, list[int]]
    soft: dict[str, list[float]]
    abstained: dict[str, list[bool]] = {}


class PromptScore(BaseModel):
    """Everything counted on one prompt's pictures by one system; lists run over the pictures.

    `seen` and `asked` hold category indices per attribute, those that only the judge knows
    included (`asked` is empty where nothing was asked), `soft` the mean class probabilities,
    `recognised` whether the judge names the prompt's concept, `clip_t` the cosine with the prompt.
    `ssim`, `psnr` (dB) and `clip_i` compare with the base model's picture of the same seed.
    `spread` is the mean pairwise distance of the pictures of each category, as "gender-woman", and
    of each joint cell of the attributes, as "woman,light,young", that was seen at least three
    times. `second` is what a second judge saw. `abstained` is that of the first judge alone:
    `counted` tells what counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    concept: str
    num_images: int
    asked: dict[str, list[int]]
    seen: dict[str, list[int]]
    soft: dict[str, list[float]]
    recognised: list[bool]
    clip_t: list[float]
    ssim: list[float]
    psnr: list[float]
    clip_i: list[float]
    spread: dict[str, float]
    second: JudgedLabels | None = None
    abstained: dict[str, list[bool]] = {}

    def counted(self, attributes: Iterable[str]) -> list[bool]:
        """Return, picture by picture, whether it counts in all of the attributes.

        Where the judge abstains it does not. A judge that may abstain also does so where a second
        one abstains or names another category; one that always names a category never does.
        """
        left_out = _left_out(self.seen, self.abstained, self.second)
        rows = [left_out[name] for name in attributes if name in left_out]
        return [not any(row[index] for row in rows) for index in range(self.num_images)]

    def seen_by_both(self, attribute: str) -> list[tuple[int, int]]:
        """Return what the first and the second judge name in the pictures in which both name a
        category.
        """
        assert self.second is not None
        none = [False] * self.num_images
        judged = ((self.seen, self.abstained), (self.second.seen, self.second.abstained))
        left_out = zip(*(abstained.get(attribute, none) for _, abstained in judged), strict=True)
        seen = zip(*(seen[attribute] for seen, _ in judged), strict=True)
        return [
            (one, other) for (one, other), out in zip(seen, left_out, strict=True) if not any(out)
        ]

    def by_second(self) -> "PromptScore":
        """Return the score as it is when the second judge names the categories."""
        assert self.second is not None
        return self.model_copy(update=dict(self.second) | {"second": None})


def score_pictures(
    images: Sequence[Image.Image],
    categories: Sequence[Mapping[str, str]],
    *,
    system: str,
    concept: str,
    prompt: str,
    attributes: Sequence[Attribute],
    judge: Judge,
    second_judge: Judge | None = None,
    reference: EmbeddedImages | None = None,
) -> tuple[PromptScore, EmbeddedImages]:
    """Return the score of one prompt's pictures, and their features, which the judge reads once.

    `categories` holds the category asked of each picture, by attribute. `reference` are the base
    model's pictures of the same seeds; None where these are they. A second judge names the
    attributes that are asked; all else is the first one's.
    """
    perception = judge.read(images)
    embedded = EmbeddedImages(images, perception.features)
    reference = reference or embedded
    asked_classes = {attribute.name: attribute.names for attribute in attributes}
    classes = {head: names for head, names in judge.heads.items() if head != "concept"}
    classes |= asked_classes
    second = None
    if second_judge is not None:
        second = _labels(second_judge, second_judge.read(images), asked_classes)
    labels = _labels(judge, perception, classes, second)
    seen_concepts = perception.probabilities["concept"].argmax(1)
    pixels, reference_pixels = _unit(images), _unit(reference.images)
    score = PromptScore(
        system=system,
        concept=concept,
        num_images=len(images),
        asked={
            head: [names.index(asked[head]) for asked in categories if head in asked]
            for head, names in classes.items()
        },
        seen=labels.seen,
        soft=labels.soft,
        recognised=(seen_concepts == judge.heads["concept"].index(concept)).tolist(),
        clip_t=(perception.features @ judge.text_feature(prompt)).tolist(),
        ssim=similarity(pixels, reference_pixels).tolist(),
        psnr=psnr(pixels, reference_pixels).tolist(),
        clip_i=cosines(perception.features, reference.features).tolist(),
        spread=_spread(perception.features, attributes, labels, second),
        second=second,
        abstained=labels.abstained,
    )
    return score, embedded


def _left_out(
    seen: Mapping[str, Sequence[int]],
    abstained: Mapping[str, list[bool]],
    second: JudgedLabels | None,
) -> dict[str, list[bool]]:
    """Return the pictures that do not count, for every attribute of which the judge may abstain."""
    left_out = dict(abstained)
    for name, own in abstained.items():
        if second is not None and name in second.seen:
            also = second.abstained.get(name, [False] * len(own))
            pairs = zip(seen[name], second.seen[name], strict=True)
            differ = [one != other for one, other in pairs]
            left_out[name] = [any(row) for row in zip(own, also, differ, strict=True)]
    return left_out


def _labels(
    judge: Judge,
    perception: Perception,
    classes: Mapping[str, Sequence[str]],
    second: JudgedLabels | None = None,
) -> JudgedLabels:
    """Return the categories that a judge names, its classes in the order of `classes`. What a
    second judge names decides beside it which pictures count.
    """
    probabilities = {
        head: perception.probabilities[head][:, [judge.heads[head].index(name) for name in names]]
        for head, names in classes.items()
    }
    seen = {head: table.argmax(1).tolist() for head, table in probabilities.items()}
    abstained = {
        head: perception.abstained[head].tolist()
        for head in probabilities
        if head in perception.abstained
    }
    left_out = _left_out(seen, abstained, second)
    soft = {}
    for head, table in probabilities.items():
        counted = table[~torch.tensor(left_out[head])] if head in left_out else table
        soft[head] = (counted.mean(0) if len(counted) else torch.zeros(table.shape[1])).tolist()
    return JudgedLabels(seen=seen, soft=soft, abstained=abstained)


def _spread(
    features: Tensor,
    attributes: Sequence[Attribute],
    labels: JudgedLabels,
    second: JudgedLabels | None,
) -> dict[str, float]:
    """Return the mean pairwise distance among the pictures of each category and joint cell that
    count in it.
    """
    groups: dict[str, list[int]] = {}
    left_out = _left_out(labels.seen, labels.abstained, second)
    for index in range(len(features)):
        counted = [a for a in attributes if a.name not in left_out or not left_out[a.name][index]]
        cell = {a.name: a.names[labels.seen[a.name][index]] for a in counted}
        joint = [",".join(cell.values())] if len(cell) == len(attributes) else []
        for key in [*(adapter_name(*pair) for pair in cell.items()), *joint]:
            groups.setdefault(key, []).append(index)
    return {
        key: mean_pairwise_distance(features[members])
        for key, members in groups.items()
        if len(members) >= _MIN_GROUP
    }


def _unit(images: Sequence[Image.Image]) -> torch.Tensor:
    """Return pictures as N x 3 x H x W in [0, 1]."""
    batch = np.stack([np.asarray(opaque(image)) for image in images])
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255


def cells_of(
    categories: Mapping[str, Sequence[int]],
    target: TargetDistribution,
    attributes: Mapping[str, Attribute],
) -> list[int]:
    """Return, picture by picture, the index of the target's joint cell that its categories make;
    `categories` holds their indices by attribute, as `PromptScore.seen`.
    """
    names = [
        [attributes[name].names[index] for index in categories[name]] for name in target.attributes
    ]
    return [target.cells.index(cell) for cell in zip(*names, strict=True)]


class Fairness(BaseModel):
    """Delivered against prescribed distribution of one target on one prompt.

    `soft_fd` is of the mean class probabilities, and of single attributes only. `kl` is in nats,
    None where it is infinite: a category was delivered that is prescribed none. `n` pictures count,
    `abstained` more are left out, because the judge named no category.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fd: float
    soft_fd: float | None
    dev_rat: float
    parity_gap: float
    kl: float | None
    floor: float
    n: int
    delivered: dict[str, float]
    abstained: int = 0


def prompt_fairness(
    score: PromptScore, target: TargetDistribution, attributes: Mapping[str, Attribute]
) -> Fairness | None:
    """Return how far one prompt's pictures are from a target over one or more attributes; None
    where the judge abstained on every one of them.
    """
    counted = score.counted(target.attributes)
    cells = list(compress(cells_of(score.seen, target, attributes), counted))
    if not cells:
        return None
    shares = class_shares(cells, len(target.cells))
    kl = kl_divergence(target.probabilities, shares)
    soft_fd = None
    if len(target.attributes) == 1:
        (name,) = target.attributes
        shares_asked = target.marginal(name)
        in_order = [shares_asked[category] for category in attributes[name].names]
        soft_fd = fairness_discrepancy(in_order, score.soft[name])
    return Fairness(
        fd=fairness_discrepancy(target.probabilities, shares),
        soft_fd=soft_fd,
        dev_rat=deviation_ratio(shares),
        parity_gap=parity_gap(shares),
        kl=kl if math.isfinite(kl) else None,
        floor=sampling_floor(target.probabilities, len(cells)),
        n=len(cells),
        abstained=score.num_images - len(cells),
        delivered={
            ",".join(cell): float(share) for cell, share in zip(target.cells, shares, strict=True)
        },
    )


def drift(score: PromptScore, base: PromptScore, head: str) -> float | None:
    """Return how far an attribute's distribution moved from the base model's: the distance of the
    class shares, 0 for none. None where the judge abstained on every picture of either.
    """
    seen = [list(compress(one.seen[head], one.counted([head]))) for one in (base, score)]
    if not all(seen):
        return None
    before, after = (class_shares(labels, len(base.soft[head])) for labels in seen)
    return fairness_discrepancy(before, after)


def diversity(score: PromptScore, base: PromptScore, groups: Sequence[str]) -> float | None:
    """Return the spread within groups of pictures against the base model's, the mean over groups
    that both have: 1 is as diverse. None where they share none. Groups are categories or cells.
    """
    ratios = [
        score.spread[group] / base.spread[group]
        for group in groups
        if base.spread.get(group) and group in score.spread
    ]
    return sum(ratios) / len(ratios) if ratios else None


def cell_counts(
    scores: Sequence[PromptScore], target: TargetDistribution, attributes: Mapping[str, Attribute]
) -> Array:
    """Return the pictures that count, by prompt, cell of the target that was asked, and cell that
    was seen, P x K x C. K is 1 where not all attributes of the target were asked. A prompt of which
    none counts is left out. Raises ValueError where none of any does.
    """
    num_cells = len(target.cells)
    asked = all(score.asked[name] for score in scores for name in target.attributes)
    counts = np.zeros((len(scores), num_cells if asked else 1, num_cells))
    for prompt, score in enumerate(scores):
        seen = cells_of(score.seen, target, attributes)
        rows = cells_of(score.asked, target, attributes) if asked else [0] * len(seen)
        cells = compress(zip(rows, seen, strict=True), score.counted(target.attributes))
        for asked_cell, seen_cell in cells:
            counts[prompt, asked_cell, seen_cell] += 1
    counts = counts[counts.any((1, 2))]
    if not len(counts):
        raise ValueError(
            f"judge: it abstained from {' x '.join(target.attributes)} in all pictures of "
            f"{scores[0].system!r}, at least one must count"
        )
    return counts


def hit_counts(scores: Sequence[PromptScore], attribute: Attribute) -> Array:
    """Return the pictures that count, C x C, pooled over prompts: row = category asked, column =
    category seen.
    """
    name = attribute.name
    pairs = [
        pair
        for score in scores
        if score.asked[name]
        for pair in compress(
            zip(score.asked[name], score.seen[name], strict=True), score.counted([name])
        )
    ]
    asked, seen = zip(*pairs, strict=True) if pairs else ((), ())
    return confusion_counts(asked, seen, len(attribute.names))


def hit_rates(scores: Sequence[PromptScore], attribute: Attribute) -> dict[str, dict[str, float]]:
    """Return the confusion of an attribute pooled over prompts: asked category -> seen category ->
    share. A category that was never asked, or in no picture that counts, has no row.
    """
    return {
        name: dict(zip(attribute.names, (row / row.sum()).tolist(), strict=True))
        for name, row in zip(attribute.names, hit_counts(scores, attribute), strict=True)
        if row.sum()
    }
