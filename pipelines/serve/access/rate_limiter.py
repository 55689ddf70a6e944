"""How much one caller may ask: so many requests a minute, so many at once."""

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.serve.access.errors import RequestError
from pipelines.serve.settings import AccessConfig

_MINUTE_S = 60.0
_MANY_CALLERS = 10_000


class RateLimiter:
    """Counts requests by caller, over a moving minute of a clock that nobody sets."""

    def __init__(self, config: AccessConfig) -> None:
        self._per_minute = config.requests_per_minute
        self._seen: defaultdict[str, deque[float]] = defaultdict(deque)
        self._at_once, self._inside = config.concurrent_requests, Counter[str]()

    @contextmanager
    def admitted(self, caller: str) -> Iterator[None]:
        """Let a request in for the length of a `with`. Raises 429 with the seconds to wait."""
        if self._at_once is not None and self._inside[caller] >= self._at_once:
            message = f"{self._inside[caller]} requests are open, allowed are {self._at_once}"
            raise RequestError(429, message, code="rate_limit_exceeded", retry_after_s=1)
        if self._per_minute is not None:
            self._count(caller, self._per_minute)
        self._inside[caller] += 1
        try:
            yield
        finally:
            self._inside[caller] -= 1
            if not self._inside[caller]:
                del self._inside[caller]

    def _count(self, caller: str, per_minute: int) -> None:
        now = time.monotonic()
        if len(self._seen) > _MANY_CALLERS:
            old = [name for name, at in self._seen.items() if at[-1] <= now - _MINUTE_S]
            for name in old:
                del self._seen[name]
        seen = self._seen[caller]
        while seen and seen[0] <= now - _MINUTE_S:
            seen.popleft()
        if len(seen) >= per_minute:
            message = f"allowed are {per_minute} requests a minute"
            wait_s = max(1, math.ceil(seen[0] + _MINUTE_S - now))
            raise RequestError(429, message, code="rate_limit_exceeded", retry_after_s=wait_s)
        seen.append(now)
