"""Calibration: because adapters sometimes miss, other shares are requested than the target's."""

from collections.abc import Mapping
from functools import lru_cache, reduce
from itertools import product

import numpy as np

from fairgen.indicator import TargetDistribution

Confusion = Mapping[str, Mapping[str, float]]
Rows = tuple[tuple[float, ...], ...]
_SUM_WEIGHT = 100.0  # how much the sum of 1 counts beside each cell
_NOTHING = 1e-9
_ROUNDING = 0.01  # of shares that were written down with a few digits


def calibrated(
    target: TargetDistribution, confusions: Mapping[str, Confusion]
) -> TargetDistribution:
    """Return the distribution q to assign by, whose q C is nearest to the target's p.

    `confusions` hold, by attribute, requested category -> seen category -> share, as an evaluation
    has measured them; an attribute without one is taken to hit always. Attributes miss
    independently of each other, so that C of the joint cells is their Kronecker product. q is on
    the simplex: a target out of the adapters' reach is only approached. Raises ValueError for a
    confusion that lacks a category, or a row that is no distribution.
    """
    if not any(name in confusions for name in target.attributes):
        return target
    categories = [tuple(target.marginal(name)) for name in target.attributes]
    tables = tuple(
        _table(name, names, confusions[name]) if name in confusions else _identity(len(names))
        for name, names in zip(target.attributes, categories, strict=True)
    )
    cells = tuple(product(*categories))
    probability_of = dict(zip(target.cells, target.probabilities, strict=True))
    return TargetDistribution(
        attributes=target.attributes,
        cells=cells,
        probabilities=_assignment(tuple(probability_of.get(cell, 0.0) for cell in cells), tables),
    )


@lru_cache(maxsize=256)
def _assignment(p: tuple[float, ...], tables: tuple[Rows, ...]) -> tuple[float, ...]:
    """Return q by non-negative least squares; the last equation is its sum."""
    from scipy.optimize import nnls

    C = reduce(np.kron, (np.array(table) for table in tables))
    q, _ = nnls(np.vstack([C.T, np.full(len(p), _SUM_WEIGHT)]), np.array([*p, _SUM_WEIGHT]))
    q[q < _NOTHING] = 0.0
    return tuple((q / q.sum()).tolist())


def _table(attribute: str, names: tuple[str, ...], confusion: Confusion) -> Rows:
    """Return an attribute's confusion matrix, requested x seen; each row sums to exactly 1."""
    rows = []
    for name in names:
        row = confusion.get(name, {})
        total = sum(row.values())
        if set(row) != set(names) or min(row.values()) < 0 or abs(total - 1) > _ROUNDING:
            raise ValueError(
                f"confusion of {attribute}.{name}: got {dict(row)}, "
                f"allowed are shares of {list(names)} that sum to 1"
            )
        rows.append(tuple(row[seen] / total for seen in names))
    return tuple(rows)


def _identity(size: int) -> Rows:
    return tuple(tuple(float(row == column) for column in range(size)) for row in range(size))
