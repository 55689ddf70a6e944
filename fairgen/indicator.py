"""The distribution indicator: from a prescribed distribution to one gate vector per image.

The paper draws one category per prompt call by a coin (arXiv 2412.18810); here each image has its
own, and the counts are the exact quota. The coin stays available as method "iid".
"""

import math
import random
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from fairgen.attributes import Attribute, adapter_name

Assignment = Literal["quota", "iid"]
_TOLERANCE = 1e-6
_LOTS = 8


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
            kept = tuple(cell[place] for place in places)
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
    """Return how many images each cell gets: within one of its share, largest remainders first.

    Equal remainders go first where the marginals lack most, then by lot: 100 images over 16 equal
    cells are 50 women. Of several lots the one with the truest marginals counts.
    """
    best, least = [], math.inf
    for _ in range(_LOTS):
        counts = _deal(target, num_images, rng)
        imbalance = _Lacks(target, num_images, counts).imbalance()
        if imbalance < least:
            best, least = counts, imbalance
        if not least:
            break
    return best


def _deal(target: TargetDistribution, num_images: int, rng: random.Random) -> list[int]:
    wanted = [num_images * probability for probability in target.probabilities]
    counts = [math.floor(share + _TOLERANCE) for share in wanted]
    lacks = _Lacks(target, num_images, counts)
    open_cells = [index for index, share in enumerate(wanted) if share - counts[index] > _TOLERANCE]
    for _ in range(num_images - sum(counts)):
        best = max(
            open_cells,
            key=lambda i: (round(wanted[i] - counts[i], 6), round(lacks.of(i), 6), rng.random()),
        )
        counts[best] += 1
        lacks.fill(best)
        open_cells.remove(best)
    return counts


class _Lacks:
    """How many images each category of each attribute still misses, given the counts of cells."""

    def __init__(self, target: TargetDistribution, num_images: int, counts: Sequence[int]) -> None:
        self._cells = target.cells
        self._missing: dict[tuple[int, str], float] = defaultdict(float)
        for cell, count, probability in zip(
            target.cells, counts, target.probabilities, strict=True
        ):
            for key in enumerate(cell):
                self._missing[key] += num_images * probability - count

    def of(self, index: int) -> float:
        """Return what the categories of one cell miss, summed over the attributes."""
        return sum(self._missing[key] for key in enumerate(self._cells[index]))

    def imbalance(self) -> float:
        """Return how far the marginals are from the target: 0 when every category has its share."""
        return round(sum(missing**2 for missing in self._missing.values()), 6)

    def fill(self, index: int) -> None:
        """Count one more image in a cell."""
        for key in enumerate(self._cells[index]):
            self._missing[key] -= 1


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
        column = {name: place for place, name in enumerate(names)}
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

    Cells follow one another by Tijdeman's chairman assignment (Discrete Mathematics 32, 1980):
    after m images every cell of probability p has been given more than m p - 1 and fewer than m p +
    1. A stream's cells do not depend on how its images are spread over requests, nor on other
    streams. Past `max_streams` the one that was quiet longest is forgotten.
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
    """The cells that one prompt has been given under one target."""

    def __init__(self, target: TargetDistribution, rng: random.Random) -> None:
        self._target, self._rng = target, rng
        self._counts = [0] * len(target.cells)

    def next(self) -> int:
        """Return the next image's cell."""
        target, counts = self._target, self._counts
        possible = [
            index for index, probability in enumerate(target.probabilities) if probability > 0
        ]
        total = sum(counts) + 1
        slack = 1 / (2 * len(possible) - 2) if len(possible) > 1 else 0.0
        lacks = _Lacks(target, total, counts)
        due = {index: total * target.probabilities[index] - counts[index] for index in possible}
        eligible = [index for index in possible if due[index] >= slack - 1e-9] or possible
        chosen = min(
            eligible,
            key=lambda i: (
                round((1 - slack - due[i]) / target.probabilities[i], 6),
                -round(lacks.of(i), 6),
                self._rng.random(),
            ),
        )
        counts[chosen] += 1
        return chosen
