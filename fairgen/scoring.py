"""What one prompt's pictures show: asked and seen categories, and what the same seeds looked like
before.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.attributes import Attribute
from fairgen.indicator import TargetDistribution
from fairgen.judges import Judge
from fairgen.metrics import (
    class_shares,
    confusion,
    deviation_ratio,
    fairness_discrepancy,
    sampling_floor,
    similarity,
)


class PromptScore(BaseModel):
    """Everything counted on one prompt's pictures by one system; lists run over the pictures.

    `seen` and `asked` hold category indices per attribute, those that only the judge knows
    included (`asked` is empty where nothing was asked), `soft` the mean class probabilities,
    `recognised` whether the judge names the prompt's concept, `clip_t` the cosine with the prompt,
    `ssim` the similarity with the base model's picture of the same seed.
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


def score_pictures(
    system: str,
    concept: str,
    prompt: str,
    images: Sequence[Image.Image],
    categories: Sequence[Mapping[str, str]],
    reference: Sequence[Image.Image],
    attributes: Sequence[Attribute],
    judge: Judge,
) -> PromptScore:
    """Judge one prompt's pictures: `categories` is what was asked of each, by attribute.

    `reference` are the base model's pictures of the same seeds.
    """
    perceived = judge.perceive(images)
    concept_index = judge.heads["concept"].index(concept)
    classes = {name: values for name, values in judge.heads.items() if name != "concept"}
    classes |= {attribute.name: attribute.names for attribute in attributes}
    seen, soft, asked = {}, {}, {}
    for head, names in classes.items():
        columns = [judge.heads[head].index(name) for name in names]
        probabilities = perceived[head][:, columns]
        seen[head] = probabilities.argmax(1).tolist()
        soft[head] = probabilities.mean(0).tolist()
        asked[head] = [names.index(wanted[head]) for wanted in categories if head in wanted]
    return PromptScore(
        system=system,
        concept=concept,
        num_images=len(images),
        asked=asked,
        seen=seen,
        soft=soft,
        recognised=(perceived["concept"].argmax(1) == concept_index).tolist(),
        clip_t=judge.alignment(images, prompt).tolist(),
        ssim=similarity(_unit(images), _unit(reference)).tolist(),
    )


def _unit(images: Sequence[Image.Image]) -> torch.Tensor:
    """Return pictures as N x 3 x H x W in [0, 1]."""
    batch = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255


def cells_seen(
    score: PromptScore, target: TargetDistribution, attributes: Mapping[str, Attribute]
) -> list[int]:
    """Return, picture by picture, the index of the joint cell of the target that the judge saw."""
    names = [
        [attributes[name].names[index] for index in score.seen[name]] for name in target.attributes
    ]
    return [target.cells.index(cell) for cell in zip(*names, strict=True)]


class Fairness(BaseModel):
    """Delivered against prescribed distribution of one target on one prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fd: float
    dev_rat: float
    floor: float
    n: int
    delivered: dict[str, float]


def fairness_of(
    score: PromptScore, target: TargetDistribution, attributes: Mapping[str, Attribute]
) -> Fairness:
    """Return the hard FD, DevRat and sampling floor of one prompt under a target over one or more
    attributes.
    """
    shares = class_shares(cells_seen(score, target, attributes), len(target.cells))
    return Fairness(
        fd=fairness_discrepancy(target.probabilities, shares),
        dev_rat=deviation_ratio(shares),
        floor=sampling_floor(target.probabilities, score.num_images),
        n=score.num_images,
        delivered={
            ",".join(cell): float(share) for cell, share in zip(target.cells, shares, strict=True)
        },
    )


def drift(score: PromptScore, base: PromptScore, head: str) -> float:
    """Return how far an attribute's distribution moved from the base model's: the distance of the
    class shares, 0 for none.
    """
    num_classes = len(base.soft[head])
    return fairness_discrepancy(
        class_shares(base.seen[head], num_classes), class_shares(score.seen[head], num_classes)
    )


def hit_rates(scores: Sequence[PromptScore], attribute: Attribute) -> dict[str, dict[str, float]]:
    """Return the confusion of an attribute pooled over prompts: asked category -> seen category ->
    share.
    """
    asked = [index for score in scores for index in score.asked[attribute.name]]
    seen = [
        index
        for score in scores
        if score.asked[attribute.name]
        for index in score.seen[attribute.name]
    ]
    table = confusion(asked, seen, len(attribute.names))
    return {
        name: dict(zip(attribute.names, row.tolist(), strict=True))
        for name, row in zip(attribute.names, table, strict=True)
    }
