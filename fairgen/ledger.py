"""Which cell of the target each image gets: exact counts in one request, and over many requests.

The paper draws one category per prompt call by a coin (arXiv 2412.18810); here each image has its
own, and the counts follow the target. The coin stays available as method "iid".
"""

import math
import random
from collections import OrderedDict, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairgen.indicator import TargetDistribution

AssignmentMethod = Literal["quota", "iid"]

_TOLERANCE = 1e-6
_CATEGORY_WEIGHT, _PAIR_WEIGHT = 100.0, 10.0  # beside 1 for a cell
_MAX_CELLS_WITH_PAIRS = 256
_MAX_HORIZON = 4096  # images: what is due later crowds nothing yet
_NEVER = 2**53  # an image index that no stream reaches, exact as a float
_MAX_PLANS = 256


def assign(
    target: TargetDistribution, num_images: int, seed: int, method: AssignmentMethod = "quota"
) -> list[int]:
    """Return one cell index per image of a request, shuffled by the seed.

    By "quota" the counts are those of a ledger's first `num_images`: within one image of the
    target in every cell, and each attribute's own counts as near as the cells allow. By "iid" each
    image is an independent draw.
    """
    rng = random.Random(seed)
    if method == "iid":
        return rng.choices(range(len(target.cells)), weights=target.probabilities, k=num_images)
    plan = _plan(target)
    stream = plan.new_stream(rng.getrandbits(64))
    cells = [plan.next_cell(stream) for _ in range(num_images)]
    rng.shuffle(cells)
    return cells


class Ledger:
    """Remembers what each stream of requests was given: any prefix is within one image in any cell.

    After m images every cell of probability p has been given more than m p - 1 and fewer than m p +
    1: each image of a cell has a first and a last index that keep this, and there always is an
    order that meets all of them (Tijdeman's chairman assignment, Discrete Mathematics 32, 1980).
    Of the cells that leave such an order, the one comes next whose categories, alone and in pairs,
    are furthest behind. A stream's cells do not depend on how its images are spread over requests,
    nor on other streams. Past `max_streams` the stream that was quiet longest is forgotten.

    One thread may call it.
    """

    def __init__(self, seed: int = 0, max_streams: int = 100_000) -> None:
        self._seed, self._max_streams = seed, max_streams
        self._streams: OrderedDict[tuple[Hashable, int], _Stream] = OrderedDict()

    def assign(
        self,
        stream: Hashable,
        target: TargetDistribution,
        num_images: int,
        by: TargetDistribution | None = None,
    ) -> list[int]:
        """Return the stream's next cell indices; a stream is one prompt under one target.

        `by` is what is assigned by where it is not the target itself, as with calibration; the
        indices are of its cells. Where it changes, the stream goes on: a cell that was nearly due
        stays so.
        """
        plan = _plan(by or target)
        key = (stream, _plan(target).digest)
        state = self._streams.get(key)
        if state is None:
            state = plan.new_stream(_digest(f"{self._seed} {key!r}"))
            self._streams[key] = state
            if len(self._streams) > self._max_streams:
                self._streams.popitem(last=False)
        else:
            self._streams.move_to_end(key)
            if state.plan.digest != plan.digest:
                state = self._streams[key] = plan.taken_over(state)
        return [plan.next_cell(state) for _ in range(num_images)]


@dataclass(slots=True, eq=False)
class _Stream:
    """How many images of each cell of a plan a stream was given, and the seed that decides its
    ties.
    """

    counts_X: NDArray[np.int32]
    seed: int
    plan: "_Plan"


class _Plan:
    """What all streams of one target share.

    Legend: X cells of positive probability, p their probabilities, m images with the next one, G
    groups of cells.
    """

    def __init__(self, target: TargetDistribution) -> None:
        self.digest = _digest(repr(target))
        self._cells = [index for index, p in enumerate(target.probabilities) if p > 0]
        self.categories = [target.cells[index] for index in self._cells]
        self.p_X = np.array([target.probabilities[index] for index in self._cells])
        self._indices_X = np.arange(len(self._cells))
        self._slack = 1 / (2 * len(self._cells) - 2) if len(self._cells) > 1 else 0.0
        groups = _groups(target)
        self._weights_G = np.array([weight for weight, _ in groups])
        self._member_GX = np.array(
            [[index in cells for index in self._cells] for _, cells in groups], dtype=float
        ).reshape(len(groups), len(self._cells))

    def new_stream(self, seed: int) -> _Stream:
        """Return a stream that was given nothing yet."""
        return _Stream(np.zeros(len(self._cells), dtype=np.int32), seed, self)

    def taken_over(self, other: _Stream) -> _Stream:
        """Return a stream that goes on where another plan's stands: as many images, within one of
        this plan in every cell, those cells ahead that were ahead.
        """
        stream, m = self.new_stream(other.seed), int(other.counts_X.sum())
        ahead_X = other.counts_X - m * other.plan.p_X
        ahead = dict(zip(other.plan.categories, ahead_X.tolist(), strict=True))
        whole_X = np.floor(m * self.p_X + _TOLERANCE)
        rest_X = m * self.p_X - whole_X + [ahead.get(cell, 0.0) for cell in self.categories]
        up = np.argsort(-rest_X, kind="stable")[: m - int(whole_X.sum())]
        stream.counts_X[:] = whole_X
        stream.counts_X[up] += 1
        return stream

    def next_cell(self, stream: _Stream) -> int:
        """Return the cell of a stream's next image, and count it."""
        counts_X = stream.counts_X.astype(np.int64)
        m = int(counts_X.sum()) + 1
        due_X = m * self.p_X - counts_X
        eligible_X = due_X >= self._slack - _TOLERANCE
        last_X = self._last_indices(self._indices_X, counts_X + 1, m)
        horizon = min(int(last_X.max()), m + _MAX_HORIZON)
        allowed_X = eligible_X & (last_X <= self._first_crowded(counts_X, m, horizon))
        behind_X = (self._weights_G * (self._member_GX @ due_X)) @ self._member_GX + due_X
        ahead, last = (-behind_X).round(6).tolist(), last_X.tolist()
        if not allowed_X.any():  # only where a plan took over a stream that it would not have left
            allowed_X = due_X == due_X.max()
        ranks = {x: (ahead[x], last[x]) for x in np.flatnonzero(allowed_X).tolist()}
        first = min(ranks.values())
        tied = [x for x, rank in ranks.items() if rank == first]
        chosen = tied[0] if len(tied) == 1 else tied[_digest(f"{stream.seed} {m}") % len(tied)]
        stream.counts_X[chosen] += 1
        return self._cells[chosen]

    def _last_indices(self, x: NDArray[np.int_], kth: NDArray[np.int_], m: int) -> NDArray[np.int_]:
        """Return the last image index at which cells x may be given their kth image."""
        last = np.floor((kth - self._slack) / self.p_X[x] + _TOLERANCE) + 1
        return np.clip(last, m, _NEVER).astype(int)

    def _first_crowded(self, counts_X: NDArray[np.int64], m: int, horizon: int) -> float:
        """Return the first index up to which as many images are due as there are indices from m.

        The next image must be one of those that are due until then. Infinite where no index up to
        the horizon is crowded.
        """
        due_X = np.ceil(horizon * self.p_X - 1 + self._slack - _TOLERANCE) - counts_X
        due_X = np.maximum(due_X, 0).astype(int)
        owner = np.repeat(self._indices_X, due_X)
        kth = np.arange(1, len(owner) + 1) - (np.cumsum(due_X) - due_X)[owner]
        last = np.sort(self._last_indices(owner, counts_X[owner] + kth, m))
        crowded = last[np.arange(1, len(last) + 1) > last - m]
        return int(crowded[0]) if len(crowded) else math.inf


@lru_cache(_MAX_PLANS)
def _plan(target: TargetDistribution) -> _Plan:
    return _Plan(target)


def _groups(target: TargetDistribution) -> list[tuple[float, frozenset[int]]]:
    """Return groups of cells whose counts should follow the target, with the weight of each.

    They are categories, and pairs of categories of two attributes unless the cells are too many;
    none is a single cell.
    """
    num_attributes = len(target.attributes)
    weights = {1: _CATEGORY_WEIGHT}
    if len(target.cells) <= _MAX_CELLS_WITH_PAIRS:
        weights[2] = _PAIR_WEIGHT
    groups: list[tuple[float, frozenset[int]]] = []
    for size, weight in weights.items():
        if size >= num_attributes:
            continue
        for positions in combinations(range(num_attributes), size):
            members: dict[tuple[str, ...], set[int]] = defaultdict(set)
            for index, cell in enumerate(target.cells):
                members[tuple(cell[position] for position in positions)].add(index)
            groups += [(weight, frozenset(cells)) for cells in members.values()]
    return groups


def _digest(text: str) -> int:
    """Return 64 bits that depend on the text alone, in any process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
