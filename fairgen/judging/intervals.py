"""How certain a figure is: prompts and pictures are samples, and the judge errs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import stats

Array = NDArray[np.float64]

_NUM_TRIALS = 2000
_CHUNK = 100  # trials at once: memory is trials x prompts x asked cells x seen cells


def proportion_interval(
    successes: int, trials: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the Wilson interval of a proportion."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


class Estimate(BaseModel):
    """A figure and the ends of its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    interval: tuple[float, float]

    @classmethod
    def within(cls, value: float, drawn: Array) -> "Estimate":
        """Return an estimate whose interval holds the middle of the values drawn, and itself."""
        low, high = np.quantile(drawn, [0.025, 0.975])
        return cls(value=value, interval=(min(float(low), value), max(float(high), value)))


@dataclass(frozen=True)
class JudgeError:
    """What a judge named in pictures whose category is known: counts, C x C, a row for each true
    category, a column for each named one.
    """

    counts: Array

    @property
    def shares(self) -> Array:
        """The share of each named category in the pictures of each true one, C x C."""
        return _rows(np.asarray(self.counts, float))

    def draw(self, num: int, rng: np.random.Generator) -> Array:
        """Return shares that might as well be true after so few pictures, num x C x C."""
        prior = 1 / len(self.counts)
        return _rows(rng.standard_gamma(np.repeat(self.counts[None] + prior, num, 0)))


def corrected_rate(seen_C: Sequence[float] | Array, category: int, error: JudgeError) -> Estimate:
    """Return the share of pictures that truly show a category, where the judge counted `seen_C`."""
    counts, rng = np.asarray(seen_C, float), np.random.default_rng(0)
    estimate = float(_unmix(_rows(counts), _unmixing([error.shares]))[category])
    drawn = rng.dirichlet(counts + 1 / len(counts), (_NUM_TRIALS, 1))
    true = _unmix(drawn, _unmixing([error.draw(_NUM_TRIALS, rng)]))[:, 0, category]
    return Estimate.within(estimate, true)


class ShareSample:
    """How often each cell was seen where each was asked, prompt by prompt, and all the samples that
    might as well have been drawn.

    Prompts are drawn again with replacement. Within a prompt, and within the pictures of one asked
    cell, pictures are weighted anew (the Bayesian bootstrap of Rubin, 1981): which cells were asked
    is no chance, only what came of it. Cells that nobody has seen get the weight of one picture
    more an asked cell, over all prompts: no miss in n pictures may hide a rate of about 3.7 / n.
    """

    def __init__(self, counts_PKC: Array, trials: int = _NUM_TRIALS, seed: int = 0) -> None:
        """`counts_PKC` holds pictures by prompt, asked cell and seen cell. Where nothing is asked,
        K is 1.
        """
        self._counts = np.asarray(counts_PKC, float)
        self._trials, self._seed = trials, seed
        asked_PK = self._counts.sum(2)
        self._asked_PK1 = (asked_PK / asked_PK.sum(1, keepdims=True))[..., None]
        self._shares_PC: Array = (self._asked_PK1 * _rows(self._counts)).sum(1)

    def fd(self, target_C: Sequence[float] | Array, errors: Sequence[JudgeError] = ()) -> Estimate:
        """Return the mean over prompts of the distance to a target.

        With the errors of the judge, one an attribute of the cells, in their order, it is the
        distance that a judge who never errs would have measured.
        """
        target = np.asarray(target_C, float)

        def distances(shares_C: Array) -> Array:
            return np.linalg.norm(shares_C - target, axis=-1)

        unmixed = _unmixing([error.shares for error in errors])
        estimate = float(distances(_unmix(self._shares_PC, unmixed)).mean())
        rng, of_judge = (np.random.default_rng([self._seed, stream]) for stream in (0, 1))
        plain, drawn = [], []
        for _ in range(0, self._trials, _CHUNK):
            drawn_errors = [error.draw(_CHUNK, of_judge) for error in errors]
            matrices = _unmixing(drawn_errors)
            rows = _rows(rng.standard_gamma(np.repeat(self._counts[None], _CHUNK, 0)))
            plain.append(distances(_unmix(self._mixed(rows), matrices)))
            unseen = self._unseen(rng)
            shares = self._mixed(rows + unseen[:, None] - unseen.sum(-1)[:, None, :, None] * rows)
            picked = rng.integers(len(self._counts), size=(_CHUNK, len(self._counts)))
            far = np.take_along_axis(distances(_unmix(shares, matrices)), picked, 1)
            drawn.append(far.mean(1))
        bias = float(np.concatenate(plain).mean()) - estimate  # a distance only grows by noise
        unbiased = np.maximum(np.concatenate(drawn) - bias, 0)
        return Estimate.within(estimate, unbiased)

    def _mixed(self, rows_TPKC: Array) -> Array:
        """Return the shares of the seen cells, T x P x C."""
        return (self._asked_PK1 * rows_TPKC).sum(2)

    def _unseen(self, rng: np.random.Generator) -> Array:
        """Return what cells may have that no picture of an asked cell has shown, T x K x C."""
        seen_KC = self._counts.sum(0)
        num_cells = seen_KC.shape[1]
        weight_TK1 = rng.beta(1, np.maximum(seen_KC.sum(1), 1), (_CHUNK, len(seen_KC)))[..., None]
        return weight_TK1 * rng.dirichlet(np.ones(num_cells), (_CHUNK, len(seen_KC)))


def _rows(counts: Array) -> Array:
    """Return counts divided by their sum along the last axis; empty rows are 0."""
    sums = counts.sum(-1, keepdims=True)
    return np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)


def _unmixing(shares: Sequence[Array]) -> Array | None:
    """Return what turns named shares into true ones, ... x C x C, for the cells of attributes whose
    judges err as given and apart from each other. None where none is given.
    """
    whole: NDArray[Any] | None = None
    for table in shares:
        inverse = np.linalg.pinv(table)
        if whole is None:
            whole = inverse
        else:
            num = whole.shape[-1] * inverse.shape[-1]
            product = np.einsum("...ab,...cd->...acbd", whole, inverse)
            whole = product.reshape(*product.shape[:-4], num, num)
    return whole


def _unmix(shares: Array, unmixing: Array | None) -> Array:
    """Return the nearest distribution to the shares that the judge was shown, ... x C."""
    return shares if unmixing is None else _nearest_distribution(shares @ unmixing)


def _nearest_distribution(values: Array) -> Array:
    """Return, along the last axis, the nearest point whose entries are shares: none below 0, their
    sum 1. Source: Duchi et al. (2008), figure 1.
    """
    falling = -np.sort(-values, axis=-1)
    excess = (falling.cumsum(-1) - 1) / np.arange(1, values.shape[-1] + 1)
    num_kept = (falling > excess).sum(-1, keepdims=True)
    return np.maximum(values - np.take_along_axis(excess, num_kept - 1, -1), 0)
