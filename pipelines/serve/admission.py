"""Who may queue more: a bound on the work in flight, of which no caller takes all."""

import math
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from pipelines.serve.access.errors import RequestError

_RECENT_S = 60.0
_LEAST_WAIT_S, _MOST_WAIT_S = 1, 120
_OVER_FREE = 3
_ROUNDING = 1e-9


class Admission:
    """Bounds the work in flight. Its unit is a picture of the native size at the recipe's steps.

    A caller may hold three times as much as is free besides: alone three quarters of all, beside
    others less, and there is always room for somebody else (the dynamic thresholds of shared
    buffers: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6, 1998). One event loop may
    call it.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._held: defaultdict[str, float] = defaultdict(float)
        self._done: deque[tuple[float, float]] = deque()  # when, and how much

    def enter(self, caller: str, work: float) -> "Admitted":
        """Let a request's work in, until it leaves. Raises RequestError 429.

        A request counts for three quarters of all at most: the largest one is let in, alone.
        """
        work = min(work, self._most * _OVER_FREE / (_OVER_FREE + 1))
        total = sum(self._held.values())
        free = self._most - total - work
        if self._held[caller] + work > _OVER_FREE * free + _ROUNDING:
            held = self._held[caller]
            message = (
                f"{total:.0f} images are waiting, {held:.0f} of them yours; allowed are "
                f"{self._most:g}, of which one caller holds three times what is free"
            )
            raise RequestError(
                429, message, code="overloaded", retry_after_s=self._seconds_for(work)
            )
        self._held[caller] += work
        return Admitted(self, caller, work)

    def leave(self, admitted: "Admitted") -> None:
        """Free what a request holds."""
        self._held[admitted.caller] -= admitted.work
        if self._held[admitted.caller] <= 0:
            del self._held[admitted.caller]
        self._done.append((time.monotonic(), admitted.work))

    def _seconds_for(self, work: float) -> int:
        """Return how long it takes, at the pace of the last minute, until so much has been done."""
        now = time.monotonic()
        while self._done and self._done[0][0] < now - _RECENT_S:
            self._done.popleft()
        if not self._done:
            return _LEAST_WAIT_S
        pace = sum(done for _, done in self._done) / max(now - self._done[0][0], 1.0)
        return min(max(math.ceil(work / pace), _LEAST_WAIT_S), _MOST_WAIT_S)


@dataclass
class Admitted:
    """The work that a request holds; leaving it twice is leaving it once."""

    admission: Admission
    caller: str
    work: float
    _left: bool = field(default=False, init=False)

    def leave(self) -> None:
        """Free what it holds."""
        if not self._left:
            self._left = True
            self.admission.leave(self)
