"""Fairness, preservation and their uncertainty: plain functions on class counts, probabilities and
pictures.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

Array = NDArray[np.float64]


def class_shares(labels: Sequence[int], num_classes: int) -> Array:
    """Return the share of each class among hard labels, shape C; raises ValueError when there are
    none.
    """
    if not len(labels):
        raise ValueError("labels: got none, at least one picture is needed")
    return np.bincount(np.asarray(labels), minlength=num_classes) / len(labels)


def fairness_discrepancy(
    target_C: Sequence[float] | Array, shares_C: Sequence[float] | Array
) -> float:
    """Return FD, the Euclidean distance between the prescribed and the delivered distribution (0 is
    fair).

    With the shares of hard labels this is the hard FD, with the mean class probabilities the soft
    FD. Source: the
    metric of arXiv 2412.18810, section 4 (evaluation).
    """
    return float(np.linalg.norm(np.asarray(target_C, float) - np.asarray(shares_C, float)))


def deviation_ratio(shares_C: Sequence[float] | Array) -> float:
    """Return DevRat = max_c |share_c - 1/C| / (1 - 1/C): 0 is uniform, 1 is one class only."""
    shares = np.asarray(shares_C, float)
    even = 1 / len(shares)
    return float(np.abs(shares - even).max() / (1 - even))


def sampling_floor(
    target_C: Sequence[float] | Array, num_images: int, trials: int = 4000, seed: int = 0
) -> float:
    """Return the mean FD of a perfect i.i.d. sampler of `num_images` pictures: what a fair coin
    cannot get under.
    """
    target = np.asarray(target_C, float)
    counts = np.random.default_rng(seed).multinomial(num_images, target / target.sum(), size=trials)
    return float(np.linalg.norm(counts / num_images - target, axis=1).mean())


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over prompts; one gives a point."""
    if len(values) < 2:
        return float(values[0]), float(values[0])
    interval = stats.bootstrap(
        (np.asarray(values, float),),
        np.mean,
        confidence_level=confidence,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def proportion_interval(
    successes: int, trials: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the Wilson interval of a proportion."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def confusion(asked: Sequence[int], seen: Sequence[int], num_classes: int) -> Array:
    """Return C x C shares: row = category asked of the adapter, column = category the judge saw;
    empty rows are 0.
    """
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (np.asarray(asked), np.asarray(seen)), 1)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def similarity(pictures: Tensor, others: Tensor) -> Tensor:
    """Return SSIM pair by pair, shape N; both batches are N x 3 x H x W in [0, 1]."""
    values = structural_similarity_index_measure(pictures, others, data_range=1.0, reduction="none")
    assert isinstance(values, torch.Tensor)
    return values
