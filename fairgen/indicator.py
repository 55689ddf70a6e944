"""The distribution indicator: from a prescribed distribution to one gate vector per image.

The paper draws one category per prompt call by a coin (arXiv 2412.18810); here each image has its
own, and the counts are the exact quota. The coin stays available as method "iid".
"""

import math
import random
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, product
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from fairgen.attributes import Attribute, adapter_name

Assignment = Literal["quota", "iid"]
_TOLERANCE = 1e-6
_CATEGORY, _PAIR, _LOT = 100.0, 10.0, 0.01  # beside 1 for a cell
_CELLS_WITH_PAIRS = 256
_FORESEEN = 4096  # images: what is due later crowds nothing yet


class TargetDistribution(BaseModel):
    """A pmf over joint cells: one category name per attribute in every cell.

    Raises ValueError unless there is one probability a cell and they are shares that sum to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    probabilities: tuple[float, ...]

    @model_validator(mode="after")
    def _is_a_pmf(self) -> "TargetDistribution":
        if len(self.probabilities) != len(self.cells):
            raise ValueError(
                f"probabilities: got {len(self.probabilities)}, "
                f"allowed is one for each of {len(self.cells)} cells"
            )
        for cell in self.cells:
            if len(cell) != len(self.attributes):
                raise ValueError(f"cells: got {cell}, allowed is one category of {self.attributes}")
        total = sum(self.probabilities)
        if not all(share >= 0 for share in self.probabilities) or abs(total - 1) > _TOLERANCE:
            raise ValueError(
                f"probabilities: got {self.probabilities}, allowed are shares that sum to 1"
            )
        return self

    @classmethod
    def from_request(
        cls, fairness: Mapping[str, object], attributes: Sequence[Attribute]
    ) -> "TargetDistribution":
        """Return the target of a request: a product of pmfs or "uniform", or {"joint": table}.

        A joint table's keys name one category per attribute, as in {"woman,light": 0.5, ...}.
        Raises ValueError that names the field, what was got and what is allowed.
        """
        known = {attribute.name: attribute for attribute in attributes}
        if not fairness:
            raise ValueError(f"fairness: got nothing, allowed are {sorted(known)} or 'joint'")
        if "joint" in fairness:
            if len(fairness) > 1:
                raise ValueError(f"fairness: got {sorted(fairness)}, 'joint' stands alone")
            return cls._from_table(fairness["joint"], known)
        if unknown := sorted(set(fairness) - known.keys()):
            raise ValueError(f"fairness: got {unknown}, allowed are {sorted(known)} or 'joint'")
        pmfs = [_pmf(name, value, known[name].names) for name, value in fairness.items()]
        cells = tuple(product(*(pmf for pmf in pmfs)))
        probabilities = tuple(
            math.prod(pmf[category] for pmf, category in zip(pmfs, cell, strict=True))
            for cell in cells
        )
        return cls(attributes=tuple(fairness), cells=cells, probabilities=probabilities)

    @classmethod
    def _from_table(cls, table: object, known: Mapping[str, Attribute]) -> "TargetDistribution":
        if not isinstance(table, Mapping) or not table:
            raise ValueError(
                f"joint: got {table!r}, allowed is a table such as {{'woman,light': 0.5, ...}}"
            )
        cells = [tuple(part.strip() for part in str(key).split(",")) for key in table]
        owners: dict[str, list[str]] = defaultdict(list)
        for attribute in known.values():
            for category in attribute.names:
                owners[category].append(attribute.name)
        used = {part for cell in cells for part in cell}
        if unknown := sorted(used - owners.keys()):
            raise ValueError(f"joint: got {unknown}, allowed are {sorted(owners)}")
        if shared := sorted(part for part in used if len(owners[part]) > 1):
            raise ValueError(
                f"joint: got {shared[0]!r}, which {' and '.join(owners[shared[0]])} share; "
                "allowed are categories of one attribute only"
            )
        owner = {part: owners[part][0] for part in used}
        names = tuple(owner[part] for part in cells[0])
        for cell in cells:
            if tuple(owner[part] for part in cell) != names or len(set(names)) != len(names):
                raise ValueError(
                    f"joint: got cell {','.join(cell)!r}, "
                    f"allowed are cells of {list(names)} in this order"
                )
        if len(set(cells)) != len(cells):
            raise ValueError("joint: got a cell twice, allowed is each cell once")
        pmf = _pmf("joint", table, tuple(table))
        given = dict(zip(cells, pmf.values(), strict=True))
        every = tuple(product(*(known[name].names for name in names)))
        return cls(
            attributes=names,
            cells=every,
            probabilities=tuple(given.get(cell, 0.0) for cell in every),
        )

    def marginalised(self, attributes: Sequence[str]) -> "TargetDistribution":
        """Return the distribution over some of the attributes, in the given order."""
        if unknown := sorted(set(attributes) - set(self.attributes)):
            raise ValueError(f"attributes: got {unknown}, allowed are {list(self.attributes)}")
        places = [self.attributes.index(name) for name in attributes]
        sums: dict[tuple[str, ...], float] = {}
        for cell, probability in zip(self.cells, self.probabilities, strict=True):
            kept = tuple(cell[index] for index in places)
            sums[kept] = sums.get(kept, 0.0) + probability
        return TargetDistribution(
            attributes=tuple(attributes), cells=tuple(sums), probabilities=tuple(sums.values())
        )

    def marginal(self, attribute: str) -> dict[str, float]:
        """Return one attribute's pmf by category name."""
        one = self.marginalised((attribute,))
        return {
            cell[0]: probability
            for cell, probability in zip(one.cells, one.probabilities, strict=True)
        }


def _pmf(field: str, value: object, names: Sequence[str]) -> dict[str, float]:
    """Return a checked pmf over all names; "uniform" is equal shares, a name left out has none."""
    if value == "uniform":
        return dict.fromkeys(names, 1 / len(names))
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{field}: got {value!r}, allowed are 'uniform' or a table over {list(names)}"
        )
    if unknown := sorted(set(map(str, value)) - set(names)):
        raise ValueError(f"{field}: got {unknown}, allowed are {list(names)}")
    shares: dict[str, float] = {}
    for name in names:
        share = value.get(name, 0.0)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"{field}.{name}: got {share!r}, allowed are shares from 0 to 1")
        shares[name] = float(share)
    total = sum(shares.values())
    if abs(total - 1) > _TOLERANCE:
        raise ValueError(f"{field}: got shares that sum to {total:g}, allowed is a sum of 1")
    return {name: share / total for name, share in shares.items()}


def quota(target: TargetDistribution, num_images: int, rng: random.Random) -> list[int]:
    """Return how many images each cell gets: within one of its share, equal claims by lot.

    Where cells must be rounded, each attribute's own counts come first, then those of pairs of
    attributes, then the largest remainders: 24 images of which a fifth shall be women are 5 women,
    whatever else they are. It is a small integer programme, solved exactly; past 256 cells the
    pairs are left out.
    """
    wanted = [num_images * probability for probability in target.probabilities]
    counts = [math.floor(share + _TOLERANCE) for share in wanted]
    rest = num_images - sum(counts)
    open_cells = [index for index, share in enumerate(wanted) if share - counts[index] > _TOLERANCE]
    if rest:
        for index in _rounded_up(target, wanted, counts, open_cells, rest, rng):
            counts[index] += 1
    return counts


def _rounded_up(
    target: TargetDistribution,
    wanted: Sequence[float],
    counts: Sequence[int],
    open_cells: Sequence[int],
    rest: int,
    rng: random.Random,
) -> list[int]:
    """Return the `rest` cells that get one image more.

    Variables: x, one for each open cell, 0 or 1; and d for each group of cells, how far its count
    is from its share: at least the sum of the group's x less what it lacks, and the opposite. A
    cell's own distance is linear in its x.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    groups = _groups(target)
    X, G = len(open_cells), len(groups)
    member_GX = np.array(
        [[float(index in cells) for index in open_cells] for _, cells in groups]
    ).reshape(G, X)
    lacks_G = np.array([sum(wanted[i] - counts[i] for i in cells) for _, cells in groups])
    weights_G = np.array([weight for weight, _ in groups])
    cost_X = np.array([1 - 2 * (wanted[i] - counts[i]) + _LOT * rng.random() for i in open_cells])
    identity = np.eye(G)
    found = milp(
        np.concatenate([cost_X, weights_G]),
        integrality=np.concatenate([np.ones(X), np.zeros(G)]),
        bounds=Bounds(0, np.concatenate([np.ones(X), np.full(G, np.inf)])),
        constraints=[
            LinearConstraint(np.concatenate([np.ones(X), np.zeros(G)])[None], rest, rest),
            LinearConstraint(np.hstack([member_GX, -identity]), -np.inf, lacks_G),
            LinearConstraint(np.hstack([member_GX, identity]), lacks_G, np.inf),
        ],
    )
    return [index for index, x in zip(open_cells, found.x[:X], strict=True) if x > 0.5]


def _groups(target: TargetDistribution) -> list[tuple[float, frozenset[int]]]:
    """Return groups of cells whose counts shall be true, with how much that weighs: categories,
    and pairs of categories of two attributes; none that is a cell of its own.
    """
    num_attributes = len(target.attributes)
    weights = {1: _CATEGORY}
    if len(target.cells) <= _CELLS_WITH_PAIRS:
        weights[2] = _PAIR
    found: list[tuple[float, frozenset[int]]] = []
    for size, weight in weights.items():
        if size >= num_attributes:
            continue
        for places in combinations(range(num_attributes), size):
            groups: dict[tuple[str, ...], set[int]] = defaultdict(set)
            for index, cell in enumerate(target.cells):
                groups[tuple(cell[index] for index in places)].add(index)
            found += [(weight, frozenset(cells)) for cells in groups.values()]
    return found


class Indicator:
    """Assigns each image of a request its joint cell, and turns cells into gates."""

    def assign(
        self, target: TargetDistribution, num_images: int, seed: int, method: Assignment = "quota"
    ) -> list[int]:
        """Return one cell index per image: the exact quota, shuffled; for "iid" a draw for each."""
        rng = random.Random(seed)
        if method == "iid":
            return rng.choices(range(len(target.cells)), weights=target.probabilities, k=num_images)
        counts = quota(target, num_images, rng)
        cells = [index for index, count in enumerate(counts) for _ in range(count)]
        rng.shuffle(cells)
        return cells

    def gates(
        self, target: TargetDistribution, cells: Sequence[int], names: Sequence[str]
    ) -> Tensor:
        """Return gates, N images x K adapters, in the order of `names`; 1 switches a category on.

        Raises ValueError when a category that the target can ask for has no adapter.
        """
        column = {name: index for index, name in enumerate(names)}
        gates_NK = torch.zeros(len(cells), len(names))
        for row, index in enumerate(cells):
            for attribute, category in zip(target.attributes, target.cells[index], strict=True):
                name = adapter_name(attribute, category)
                if name not in column:
                    raise ValueError(
                        f"fairness: got {name!r}, which has no adapter; loaded are {sorted(column)}"
                    )
                gates_NK[row, column[name]] = 1.0
        return gates_NK


class Ledger:
    """Remembers what each stream of requests was given: any prefix is within one image in any cell.

    After m images every cell of probability p has been given more than m p - 1 and fewer than m p +
    1: each image of a cell has a first and a last index that keep this, and there always is an
    order that meets all of them (Tijdeman's chairman assignment, Discrete Mathematics 32, 1980).
    Of the cells that leave such an order, the one comes next whose categories, alone and in pairs,
    are furthest behind. A stream's cells do not depend on how its images are spread over requests,
    nor on other streams. Past `max_streams` the one that was quiet longest is forgotten.
    """

    def __init__(self, seed: int = 0, max_streams: int = 100_000) -> None:
        self._seed, self._max_streams = seed, max_streams
        self._streams: OrderedDict[tuple[Hashable, TargetDistribution], _Stream] = OrderedDict()

    def assign(self, stream: Hashable, target: TargetDistribution, num_images: int) -> list[int]:
        """Return the stream's next cell indices; a stream is one prompt under one target."""
        key = (stream, target)
        if key not in self._streams:
            self._streams[key] = _Stream(target, random.Random(f"{self._seed} {key!r}"))
            if len(self._streams) > self._max_streams:
                self._streams.popitem(last=False)
        self._streams.move_to_end(key)
        return [self._streams[key].next() for _ in range(num_images)]


class _Stream:
    """The cells that one prompt has been given under one target.

    Legend: X cells that can be asked for, p their probabilities, m images with the next one, G
    groups of cells, as in `quota`.
    """

    def __init__(self, target: TargetDistribution, rng: random.Random) -> None:
        self._rng = rng
        self._cells = [index for index, p in enumerate(target.probabilities) if p > 0]
        self._p_X = np.array([target.probabilities[index] for index in self._cells])
        self._counts_X = np.zeros(len(self._cells), dtype=int)
        self._slack = 1 / (2 * len(self._cells) - 2) if len(self._cells) > 1 else 0.0
        groups = _groups(target)
        self._weights_G = np.array([weight for weight, _ in groups])
        self._member_GX = np.array(
            [[index in cells for index in self._cells] for _, cells in groups], dtype=float
        ).reshape(len(groups), len(self._cells))

    def next(self) -> int:
        """Return the next image's cell."""
        m = int(self._counts_X.sum()) + 1
        due_X = m * self._p_X - self._counts_X
        eligible_X = due_X >= self._slack - _TOLERANCE
        last_X = self._last_places(np.arange(len(self._cells)), self._counts_X + 1, m)
        horizon = min(int(last_X.max()), m + _FORESEEN)
        allowed = np.flatnonzero(eligible_X & (last_X <= self._first_crowded(m, horizon)))
        behind_X = (self._weights_G * (self._member_GX @ due_X)) @ self._member_GX + due_X
        behind, last = behind_X.round(6).tolist(), last_X.tolist()
        chosen = max(allowed.tolist(), key=lambda x: (behind[x], -last[x], self._rng.random()))
        self._counts_X[chosen] += 1
        return self._cells[chosen]

    def _last_places(self, x: NDArray[np.int_], kth: NDArray[np.int_], m: int) -> NDArray[np.int_]:
        """Return at which image, at the latest, cells x have to be given their kth."""
        last = np.floor((kth - self._slack) / self._p_X[x] + _TOLERANCE) + 1
        return np.maximum(last, m).astype(int)

    def _first_crowded(self, m: int, horizon: int) -> float:
        """Return the first index up to which more images are due than there are places after m.

        Whoever comes next must be one of those that are due until then. Infinite where no index up
        to the horizon is crowded.
        """
        due_X = np.ceil(horizon * self._p_X - 1 + self._slack - _TOLERANCE) - self._counts_X
        due_X = np.maximum(due_X, 0).astype(int)
        owner = np.repeat(np.arange(len(due_X)), due_X)
        kth = np.arange(1, len(owner) + 1) - (np.cumsum(due_X) - due_X)[owner]
        places = np.sort(self._last_places(owner, self._counts_X[owner] + kth, m))
        crowded = places[np.arange(1, len(places) + 1) > places - m]
        return int(crowded[0]) if len(crowded) else math.inf
