"""Which cell of the target each image gets: exact counts in one request, and over many requests.

The paper draws one category per prompt call by a coin (arXiv 2412.18810); here each image has its
own, and the counts follow the target. The coin stays available as method "iid".
"""

import math
import random
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fairgen.indicator import TargetDistribution

AssignmentMethod = Literal["quota", "iid"]

_TOLERANCE = 1e-6
_CATEGORY_WEIGHT, _PAIR_WEIGHT = 100.0, 10.0  # beside 1 for a cell
_MAX_CELLS_WITH_PAIRS = 256
_MAX_HORIZON = 4096  # images: what is due later crowds nothing yet
_NEVER = 2**53  # an image index that no stream reaches, exact as a float
_MAX_PLANS, _MAX_WINDOWS = 256, 4096
_DIGITS = 9  # of what is due: beyond them is rounding
_BOUNDED = 2  # levels that keep a bound; the others are only ranked by
_LEAST_SLACK = 1e-5  # above the tolerance: bounds are kept strictly


def assign(
    target: TargetDistribution, num_images: int, seed: int, method: AssignmentMethod = "quota"
) -> list[int]:
    """Return one cell index per image of a request, shuffled by the seed.

    By "quota" the counts are those of a ledger's first `num_images`: within one image of the
    target in every cell, and each attribute's own counts as near as the cells allow. By "iid" each
    image is an independent draw. Raises ValueError for another method.
    """
    check_method(method)
    rng = random.Random(seed)
    if method == "iid":
        return rng.choices(range(len(target.cells)), weights=target.probabilities, k=num_images)
    plan = _plan(target)
    stream = plan.new_stream(rng.getrandbits(64))
    cells = [plan.next_cell([stream]) for _ in range(num_images)]
    rng.shuffle(cells)
    return cells


def check_method(method: str) -> None:
    """Raise ValueError, as of a call's `assignment`, for what is no method."""
    if method not in (allowed := get_args(AssignmentMethod)):
        raise ValueError(f"assignment: got {method!r}, allowed are {list(allowed)}")


class Ledger:
    """Remembers what each stream of requests was given, at several levels.

    A picture counts in its own stream, such as its prompt's, and in those above it, from the finest
    to the coarsest: the person that the prompt shows, the caller, all traffic under the target.

    - In its own stream any prefix is within one image in any cell. After m images every cell of
      probability p has been given more than m p - 1 and fewer than m p + 1: each image of a cell
      has a first and a last index that keep this, and there always is an order that meets all of
      them (alone by Tijdeman's chairman assignment, Discrete Mathematics 32, 1980, with a margin;
      below other levels without it, since images due until an index t never are more than t).
    - Of the cells that this leaves open, those are taken that keep the next level within one image.
      Where each prompt comes once all of its cells are open: then the person's stream keeps the
      bound, too.
    - Of what is open in both, the cell comes next whose categories, alone and in pairs, are
      furthest behind over all levels. Streams that cross (callers and persons) cannot all keep a
      bound: what callers and all traffic get is measured (`tests/fairgen/test_ledger_levels.py`).

    Targets never mix: a stream is of one target. A stream alone does not depend on how its images
    are spread over requests, nor on other streams. Past `max_streams` the stream that was quiet
    longest is forgotten.

    A stream is known by a digest of its name, `stream_keys`, so that no prompt is kept. With
    `recorded`, `changes` returns what whoever keeps the ledger has to write down.

    One thread may call it.
    """

    def __init__(self, seed: int = 0, max_streams: int = 100_000, recorded: bool = False) -> None:
        self._seed, self._max_streams = seed, max_streams
        self._streams: OrderedDict[bytes, _Stream] = OrderedDict()
        self._changed: set[bytes] | None = set() if recorded else None

    def assign(
        self,
        stream: Hashable,
        target: TargetDistribution,
        num_images: int,
        by: TargetDistribution | None = None,
        above: Sequence[Hashable] = (),
    ) -> list[int]:
        """Return the stream's next cell indices; a stream is one prompt under one target.

        `above` names the streams of the coarser levels, the next one first. `by` is what is
        assigned by where it is not the target itself, as with calibration; the indices are of its
        cells. Where it changes, streams go on: a cell that was nearly due stays so.
        """
        return self.assign_to(stream_keys(stream, target, above), by or target, num_images)

    def assign_to(
        self, keys: Sequence[bytes], by: TargetDistribution, num_images: int
    ) -> list[int]:
        """Return the next cell indices of the streams of `keys`, assigned by a distribution."""
        plan = _plan(by)
        levels = self._levels(keys, plan)
        return [plan.next_cell(levels) for _ in range(num_images)]

    def count(self, keys: Sequence[bytes], by: TargetDistribution, cells: Sequence[int]) -> None:
        """Count images in the streams of `keys` whose cells, indices of `by`, were chosen already:
        by a ledger that is lost.
        """
        plan = _plan(by)
        levels = self._levels(keys, plan)
        for cell in cells:
            plan.count(levels, cell)

    def give_back(self, keys: Sequence[bytes], cell: Sequence[str]) -> None:
        """Take an image off the streams of `keys` that was assigned and that nobody got: its cell
        is due again.
        """
        for key in keys:
            state = self._streams.get(key)
            if state is not None and tuple(cell) in state.plan.categories:
                index = state.plan.categories.index(tuple(cell))
                state.counts_X[index] = max(0, state.counts_X[index] - 1)
                if self._changed is not None:
                    self._changed.add(key)

    def changes(self) -> "dict[bytes, StreamCounts | None]":
        """Return the streams that have changed since the last call; None for a forgotten one."""
        keys, self._changed = self._changed or set(), set()
        found = {key: self._streams.get(key) for key in keys}
        return {key: _counts(state) if state else None for key, state in found.items()}

    def restore(self, streams: "Mapping[bytes, StreamCounts]") -> None:
        """Take streams over, the one that was quiet longest first."""
        for key, found in streams.items():
            plan = _plan(found.target)
            self._streams[key] = plan.new_stream(self._seed_of(key))
            self._streams[key].counts_X[:] = found.counts

    def _levels(self, keys: Sequence[bytes], plan: "_Plan") -> "list[_Stream]":
        """Return the states of streams, which change now."""
        if self._changed is not None:
            self._changed.update(keys)
        return [self._stream(key, plan) for key in keys]

    def _stream(self, key: bytes, plan: "_Plan") -> "_Stream":
        """Return the state of a stream under a plan."""
        state = self._streams.get(key)
        if state is None:
            state = self._streams[key] = plan.new_stream(self._seed_of(key))
            if len(self._streams) > self._max_streams:
                forgotten, _ = self._streams.popitem(last=False)
                if self._changed is not None:
                    self._changed.add(forgotten)
        else:
            self._streams.move_to_end(key)
            if state.plan.digest != plan.digest:
                state = self._streams[key] = plan.taken_over(state)
        return state

    def _seed_of(self, key: bytes) -> int:
        return _digest(f"{self._seed} {key.hex()}")


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """How many images a stream was given of each cell of positive probability of a target."""

    target: TargetDistribution
    counts: tuple[int, ...]


def stream_keys(
    stream: Hashable, target: TargetDistribution, above: Sequence[Hashable] = ()
) -> tuple[bytes, ...]:
    """Return the keys of a stream of a target and of those above it, 16 bytes each."""
    digest = _plan(target).digest
    return tuple(  # a prompt is no person of the same name
        blake2b(f"{level > 0} {name!r} {digest}".encode(), digest_size=16).digest()
        for level, name in enumerate((stream, *above))
    )


def _counts(state: "_Stream") -> StreamCounts:
    return StreamCounts(state.plan.target, tuple(state.counts_X.tolist()))


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
        self.target, self.digest = target, _digest(repr(target))
        self._cells = [index for index, p in enumerate(target.probabilities) if p > 0]
        self.categories = [target.cells[index] for index in self._cells]
        self.p_X = np.array([target.probabilities[index] for index in self._cells])
        self._indices_X = np.arange(len(self._cells))
        self._slack = 1 / (2 * len(self._cells) - 2) if len(self._cells) > 1 else 0.0
        self._window = lru_cache(_MAX_WINDOWS)(self._window_of)
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

    def next_cell(self, levels: "Sequence[_Stream]") -> int:
        """Return the cell of the next image of a stream and those above it, and count it."""
        slack = self._slack if len(levels) == 1 else _LEAST_SLACK
        open_X = np.ones(len(self._cells), dtype=bool)
        last_X = np.zeros(len(self._cells), dtype=int)
        num_images = sum(int(stream.counts_X.sum()) for stream in levels) + len(levels)
        due_X = num_images * self.p_X - sum(stream.counts_X for stream in levels)
        behind_X = due_X + (self._weights_G * (self._member_GX @ due_X)) @ self._member_GX
        for stream in levels[:_BOUNDED]:
            m = int(stream.counts_X.sum()) + 1
            if len(levels) > 1 and m == 1:
                continue  # a first image may be of any cell
            due_X = m * self.p_X - stream.counts_X
            may_X, last_of_level_X = self._window(due_X.round(_DIGITS).tobytes(), slack)
            allowed_X = open_X & may_X
            if allowed_X.any():
                open_X = allowed_X
            elif stream is levels[0]:  # only after what was given back, or under another plan
                open_X = due_X == due_X.max()
            last_X = last_of_level_X if stream is levels[0] else last_X
        ahead, last = (-behind_X).round(6).tolist(), last_X.tolist()
        ranks = {x: (ahead[x], last[x]) for x in np.flatnonzero(open_X).tolist()}
        first = min(ranks.values())
        tied = [x for x, rank in ranks.items() if rank == first]
        m = int(levels[0].counts_X.sum()) + 1
        text = f"{levels[0].seed} {m}"
        chosen = tied[0] if len(tied) == 1 else tied[_digest(text) % len(tied)]
        for stream in levels:
            stream.counts_X[chosen] += 1
        return self._cells[chosen]

    def count(self, levels: "Sequence[_Stream]", cell: int) -> None:
        """Count an image of a cell in a stream and those above it."""
        index = self._cells.index(cell)
        for stream in levels:
            stream.counts_X[index] += 1

    def _window_of(self, due: bytes, slack: float) -> tuple[NDArray[np.bool], NDArray[np.int_]]:
        """Return which cells a stream's next image may be of, and until which image, counted from
        the next one, each cell's own has to come.

        `due` holds m p - counts. A cell's kth image from now on has its last index there; where as
        many images are due until an index as there are, the next one must be one of them.
        """
        due_X = np.frombuffer(due)
        last_X = self._last_indices(self._indices_X, np.ones_like(due_X), due_X, slack)
        horizon = min(int(last_X.max()), _MAX_HORIZON)
        num_due_X = np.ceil(horizon * self.p_X + due_X - 1 + slack - _TOLERANCE)
        num_due_X = np.maximum(num_due_X, 0).astype(int)
        owner = np.repeat(self._indices_X, num_due_X)
        kth = np.arange(1, len(owner) + 1) - (np.cumsum(num_due_X) - num_due_X)[owner]
        last = np.sort(self._last_indices(owner, kth, due_X, slack))
        crowded = last[np.arange(len(last)) >= last]
        until = int(crowded[0]) if len(crowded) else math.inf
        return (due_X >= slack - _TOLERANCE) & (last_X <= until), last_X

    def _last_indices(
        self, x: NDArray[np.int_], kth: NDArray[Any], due_X: NDArray[np.float64], slack: float
    ) -> NDArray[np.int_]:
        """Return the last index, 0 for the next image, at which cells x may be given their kth."""
        last = np.floor((kth - due_X[x] - slack) / self.p_X[x] + _TOLERANCE) + 1
        return np.minimum(np.maximum(last, 0), _NEVER).astype(int)


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
