"""Pictures that are counted and on their way: reservations are settled, held or given back."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args
from uuid import uuid4

from fairgen.indicator import TargetDistribution
from fairgen.ledger import Ledger

_HOLD_S = 30.0  # a client that asks again does so within seconds
_REPEATABLE_S = 600.0
_MAX_REPEATABLE = 10_000
State = Literal["open", "held", "done"]
_STATES: tuple[State, ...] = get_args(State)
_LIKELY: tuple[State, ...] = ("held", "open", "done")  # to be what a next try repeats


@dataclass(slots=True)
class Reservation:
    """A request's pictures as the ledger counts them: the streams, a target and a cell a picture.

    While it is open its pictures are on their way. A held one was lost, and waits for its client's
    next try; `lost` holds the indices of the pictures that nobody got. A done one is kept for a
    try of a client that has not seen the answer. At the deadline (seconds since the epoch) what
    nobody got is given back. `retry` is what a next try is known by, "" for a client that makes
    none.
    """

    keys: tuple[bytes, ...]
    target: TargetDistribution
    cells: tuple[int, ...]
    deadline: float
    retry: str = ""
    state: State = "open"
    lost: tuple[int, ...] = ()
    num_tries: int = 1

    @property
    def not_delivered(self) -> Sequence[int]:
        """The indices of the pictures that count and that nobody got so far."""
        return {"open": range(len(self.cells)), "held": self.lost, "done": ()}[self.state]


class Reservations:
    """The ledger with what is on its way. One thread may call it.

    A picture counts from its assignment. One that is lost is given back: at once, or, where its
    client marks its tries, unless the next one comes within 30 s; that one takes the same cells and
    counts once. A picture of which nothing was heard for `timeout_s` is given back, too.
    """

    def __init__(
        self, ledger: Ledger, timeout_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._ledger, self._timeout_s, self._clock = ledger, timeout_s, clock
        self._reservations: dict[str, Reservation] = {}
        self._by_retry: dict[str, dict[str, None]] = {}  # the oldest first
        # a line a state, the nearest deadline first
        self._lines: dict[State, OrderedDict[str, None]] = {s: OrderedDict() for s in _STATES}
        self._changed: set[str] = set()

    def assign(
        self,
        keys: tuple[bytes, ...],
        by: TargetDistribution,
        num_images: int,
        retry: str = "",
        name: str = "",
    ) -> tuple[str, Reservation]:
        """Return a reservation, and its name, for a request's pictures: cells of `by`, the next
        ones in the ledger's streams of `keys`. A name that is known returns its reservation again:
        who gave it has not heard the answer.
        """
        self.expire()
        if name in self._reservations:
            return name, self._reservations[name]
        cells = tuple(self._ledger.assign_to(keys, by, num_images))
        name = name or uuid4().hex
        self._put(name, Reservation(keys, by, cells, self._clock() + self._timeout_s, retry))
        return name, self._reservations[name]

    def __contains__(self, name: str) -> bool:
        return name in self._reservations

    def take_over(
        self,
        name: str,
        keys: tuple[bytes, ...],
        by: TargetDistribution,
        cells: tuple[int, ...],
        retry: str = "",
    ) -> None:
        """Count the pictures of a reservation whose keeper has ended before it was on disk."""
        self._ledger.count(keys, by, cells)
        self._put(name, Reservation(keys, by, cells, self._clock() + self._timeout_s, retry))

    def repeat(self, retry: str) -> tuple[str, Reservation] | None:
        """Return the reservation of the try that another one repeats, open again; None where there
        is none, or its pictures were given back. Of several that are alike it is a lost one, else
        one on its way, else one that is done.
        """
        self.expire()
        alike = self._by_retry.get(retry, {})
        name = next(
            (n for s in _LIKELY for n in reversed(alike) if self._reservations[n].state == s), ""
        )
        if not name:
            return None
        reservation = self._reservations[name]
        reservation.num_tries += 1
        if reservation.state != "done":
            reservation.state, reservation.lost = "open", ()
            reservation.deadline = self._clock() + self._timeout_s
            self._put(name, reservation)
        return name, reservation

    def settle(self, name: str, lost: Sequence[int]) -> None:
        """Take note that a try has ended, and which of its pictures nobody got."""
        self.expire()
        reservation = self._reservations.get(name)
        if reservation is None:
            return
        reservation.num_tries -= 1
        if reservation.state == "done" or (lost and reservation.num_tries > 0):
            return
        reservation.state, reservation.lost = ("held" if lost else "done"), tuple(lost)
        reservation.deadline = self._clock() + (_HOLD_S if lost else _REPEATABLE_S)
        self._put(name, reservation)
        if not reservation.retry:
            self._drop(name)

    def expire(self) -> None:
        """Give back what nobody got and nobody has asked for again in time."""
        now = self._clock()
        for line in self._lines.values():
            while line and self._reservations[next(iter(line))].deadline <= now:
                self._drop(next(iter(line)))
        while len(self._lines["done"]) > _MAX_REPEATABLE:
            self._drop(next(iter(self._lines["done"])))

    def changes(self) -> dict[str, Reservation | None]:
        """Return what has changed since the last call; None for a reservation that is gone."""
        names, self._changed = self._changed, set()
        return {name: self._reservations.get(name) for name in names}

    def restore(self, reservations: dict[str, Reservation]) -> None:
        """Take over what was on its way."""
        for name, reservation in sorted(reservations.items(), key=lambda item: item[1].deadline):
            self._put(name, reservation)
        self._changed.clear()

    def _put(self, name: str, reservation: Reservation) -> None:
        self._reservations[name] = reservation
        self._changed.add(name)
        for line in self._lines.values():
            line.pop(name, None)
        self._lines[reservation.state][name] = None
        if reservation.retry:
            alike = self._by_retry.setdefault(reservation.retry, {})
            alike.pop(name, None)
            alike[name] = None

    def _drop(self, name: str) -> None:
        reservation = self._reservations.pop(name)
        self._changed.add(name)
        del self._lines[reservation.state][name]
        for index in reservation.not_delivered:
            self._ledger.give_back(
                reservation.keys, reservation.target.cells[reservation.cells[index]]
            )
        if reservation.retry:
            del self._by_retry[reservation.retry][name]
            if not self._by_retry[reservation.retry]:
                del self._by_retry[reservation.retry]
