"""Which pictures take the next pass: callers share the engine's time, whatever each asks for.

A pass is of pictures of one shape, since one forward serves them. Callers are served by weighted
fair queueing (Demers, Keshav and Shenker, "Analysis and simulation of a fair queueing algorithm",
1989): each has a clock that runs by the seconds its pictures have taken, and the pass goes to the
caller whose clock would be the earliest at its end. So a large picture waits until those who ask
for small ones have had as many seconds, and one that just began holds them up for one pass.

Nothing here touches a tensor.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

from fairgen.engine.backlog import Backlog, Caller, Line, ScheduledImage, Shape, in_turn
from fairgen.engine.pass_times import PassTimes
from fairgen.engine.requests import RequestHandle

_CREDIT_S = 1.0  # that a caller keeps who has asked for nothing
_FREE = 1.1  # a pass may last so many times longer for pictures whose turn it is not
_EFFICIENT = 1.05  # a row of a shorter pass may take so many times longer, where callers wait
_LEAST_SHARE = 0.82  # of an even one, for callers who have much pending beside others with little
_LITTLE = 0.5  # of the callers' mean
_HELD_PASSES = 4  # as many pictures may have begun as so many full passes hold


class Scheduler:
    """Chooses the pictures of each pass, up to `max_rows` native rows; a picture that is over the
    bound by itself is painted alone.

    - The caller furthest behind leads. Callers of the same shape that are as far behind join, one
      picture each in turn, until one of them has no more.
    - Other pictures of the shape ride along, for nothing, where they make the pass no more than a
      tenth longer, as measured: on a GPU mostly all, on a CPU mostly none. With one caller all do.
    - Who comes back after a while is up to a second ahead of who asks all the time, and the clock
      of who has little pending runs a little slower: a small request beside the largest takes
      hardly twice as long as alone.

    A picture that is left out of a pass keeps its state. The engine's thread calls it.
    """

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.backlog = Backlog()
        self._times = PassTimes()
        self._now_s = 0.0  # the earliest clock of those who have something pending
        self._may_begin = True
        self._payers: list[ScheduledImage] = []  # whose turn the last pass was

    def add(self, handle: RequestHandle, images: Sequence[ScheduledImage]) -> None:
        """Queue a request's pictures."""
        caller = self.backlog.caller(handle.caller, self._now_s)
        if not caller.lines:
            caller.clock_s = max(caller.clock_s, self._now_s - _CREDIT_S)
        self.backlog.add(caller, images)

    def next_pass(self) -> list[ScheduledImage]:
        """Return the pictures of the next pass; those that have not begun begin now."""
        self._may_begin = len(self.backlog.running) < _HELD_PASSES * self.max_rows
        callers = [c for c in self.backlog.callers if any(map(self._is_ready, c.lines.values()))]
        self._payers = []
        if not callers:
            return []
        self._now_s = max(self._now_s, min(caller.clock_s for caller in callers))
        lead = min(callers, key=self._end_of_next)
        chosen = self._chosen(self._next_shape(lead), lead, callers)
        for image in chosen:
            line = self.backlog.line_of(image)
            if image not in line.running:
                line.begin(image)
        return chosen

    def measured(self, images: Sequence[ScheduledImage], seconds: float) -> None:
        """Take note of what a pass has taken, without what began or ended with it."""
        self._times.add(images[0].shape, sum(image.cost for image in images), seconds)

    def charge(self, images: Sequence[ScheduledImage], seconds: float) -> None:
        """Let the clocks of those run whose turn a pass was, and count its step."""
        rows = sum(image.cost for image in self._payers)
        num_callers = self.num_callers
        mean_work = sum(caller.work for caller in self.backlog.callers) / max(1, num_callers)
        slow = _LEAST_SHARE * (num_callers - 1) / (num_callers - _LEAST_SHARE)
        for image in self._payers:
            caller, share_s = self.backlog.caller_of(image), seconds * image.cost / rows
            caller.clock_s += share_s * (slow if caller.work < _LITTLE * mean_work else 1.0)
            self.backlog.line_of(image).clock_s += share_s
        for image in images:
            self.backlog.caller_of(image).work -= image.cost
            image.advance()

    def seconds_until_done(self, caller: str, images: Sequence[ScheduledImage]) -> float | None:
        """Return when a caller's further pictures will be there, at the latest, as far as is known
        now: after all that is pending, or after its own where all callers get the same share. None
        before anything is measured.
        """
        if not self._times.is_known:
            return None
        pending = list(self.backlog.images)
        others = {image.handle.caller for image in pending} - {caller}
        new_s = self._work_s(images)
        own_s = self._work_s(image for image in pending if image.handle.caller == caller) + new_s
        return min(self._work_s(pending) + new_s, own_s * (1 + len(others)))

    @property
    def num_callers(self) -> int:
        """How many callers have pending pictures."""
        return sum(bool(caller.lines) for caller in self.backlog.callers)

    def _chosen(
        self, shape: Shape, lead: Caller, callers: Sequence[Caller]
    ) -> list[ScheduledImage]:
        """Return the pictures of a pass of a shape."""
        there = sorted(
            (c for c in callers if self._is_ready(c.lines.get(shape))), key=lambda c: c.clock_s
        )
        due_s = lead.clock_s + self._pass_s(shape, lead.lines[shape])
        is_due = [c is lead or c.clock_s <= due_s for c in there]
        offers = [list(islice(c.lines[shape].ready(self._may_begin), self.max_rows)) for c in there]
        fair_depth = min(len(offer) for offer, due in zip(offers, is_due, strict=True) if due)
        fair = [o[:fair_depth] if due else [] for o, due in zip(offers, is_due, strict=True)]
        chosen = _up_to([], in_turn(fair), self._rows_of_a_pass(lead.lines[shape]))
        self._payers = chosen
        if self._is_alone:
            return _up_to(chosen, in_turn(offers), self.max_rows)
        rows = sum(image.cost for image in chosen)
        free_rows = (
            more
            for more in range(self.max_rows, rows, -1)
            if self._times.longer(shape, rows, more) <= _FREE
        )
        return _up_to(chosen, in_turn(offers), next(free_rows, rows))

    @property
    def _is_alone(self) -> bool:
        """Whether there has been one caller only for a while."""
        recent_s = self._now_s - _CREDIT_S
        return sum(bool(c.lines) or c.clock_s > recent_s for c in self.backlog.callers) == 1

    def _rows_of_a_pass(self, line: Line) -> int:
        """Return how many rows a pass needs to be worth its own cost: somebody may come who waits
        for its end. Where one caller has been alone for a while it is as long as it may be.
        """
        if self._is_alone:
            return self.max_rows
        first = next(line.ready(self._may_begin))
        full_s = self._times.seconds(first.shape, self.max_rows) / self.max_rows
        sizes = range(first.cost, self.max_rows, first.cost)
        enough = (
            n for n in sizes if self._times.seconds(first.shape, n) / n <= _EFFICIENT * full_s
        )
        return next(enough, self.max_rows)

    def _is_ready(self, line: Line | None) -> bool:
        return line is not None and any(line.ready(self._may_begin))

    def _next_shape(self, caller: Caller) -> Shape:
        """Return the shape whose pictures are furthest behind, of a caller's."""
        ready = [shape for shape, line in caller.lines.items() if self._is_ready(line)]
        return min(ready, key=lambda s: caller.lines[s].clock_s + self._pass_s(s, caller.lines[s]))

    def _end_of_next(self, caller: Caller) -> float:
        """Return what a caller's clock would be after a pass of its own."""
        shape = self._next_shape(caller)
        return caller.clock_s + self._pass_s(shape, caller.lines[shape])

    def _pass_s(self, shape: Shape, line: Line) -> float:
        """Return the seconds of a pass of as many of a line's pictures as it holds."""
        images = _up_to([], line.ready(self._may_begin), self._rows_of_a_pass(line))
        return self._times.seconds(shape, sum(image.cost for image in images))

    def _work_s(self, images: Iterable[ScheduledImage]) -> float:
        """Return the seconds of all steps that pictures have left, in full passes."""
        total = 0.0
        for image in images:
            at_once = max(1, self.max_rows // image.row_cost)
            pass_s = self._times.seconds(image.shape, at_once * image.row_cost)
            total += image.work / image.row_cost * pass_s / at_once
        return total


def _up_to(
    chosen: Sequence[ScheduledImage], others: Iterable[ScheduledImage], max_rows: int
) -> list[ScheduledImage]:
    """Return the chosen pictures and as many others as the bound lets in, at least one."""
    together, rows = list(chosen), sum(image.cost for image in chosen)
    for image in others:
        fits = rows + image.cost <= max_rows or not together
        if image not in chosen and fits:
            rows += image.cost
            together.append(image)
    return together
