"""How far two judges agree: figures of one judge are only as certain as that."""

import math
from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict

from fairgen.judging.intervals import proportion_interval


class Agreement(BaseModel):
    """How often two judges name the same category of the same `n` pictures.

    `interval` is the Wilson 95 % interval of `share`. `kappa` is Cohen's: 1 is full agreement, 0
    what the two judges' shares give by chance; None where both name one and the same category only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float
    interval: tuple[float, float]
    kappa: float | None
    n: int


def agreement_between(seen: Sequence[int], other: Sequence[int], num_classes: int) -> Agreement:
    """Return how far two judges agree; `seen` and `other` are category indices, picture by picture.

    Raises ValueError for no pictures, for different numbers, and for an index outside the
    classes. Source: Cohen (1960), kappa = (p_o - p_e) / (1 - p_e).
    """
    from torchmetrics.functional.classification import multiclass_cohen_kappa  # imports seconds

    if not seen:
        raise ValueError("seen: got no pictures, at least one is needed")
    if len(other) != len(seen):
        raise ValueError(
            f"other: got {len(other)} pictures, allowed are as many as seen has: {len(seen)}"
        )
    for name, labels in {"seen": seen, "other": other}.items():
        if outside := sorted({label for label in labels if not 0 <= label < num_classes}):
            raise ValueError(f"{name}: got {outside}, allowed are 0 to {num_classes - 1}")
    num_same = sum(one == two for one, two in zip(seen, other, strict=True))
    kappa = float(multiclass_cohen_kappa(torch.tensor(seen), torch.tensor(other), num_classes))
    return Agreement(
        share=num_same / len(seen),
        interval=proportion_interval(num_same, len(seen)),
        kappa=None if math.isnan(kappa) else kappa,
        n=len(seen),
    )
