"""How much one caller may ask: so many requests a minute, so many at once."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from pipelines.serve.access.errors import RequestError
from pipelines.serve.settings import AccessConfig


class RateLimiter:
    """Counts requests by caller, over a moving minute."""

    def __init__(self, config: AccessConfig) -> None:
        per_minute = config.requests_per_minute
        self._per_minute = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._at_once, self._inside = config.concurrent_requests, Counter[str]()

    @contextmanager
    def admitted(self, caller: str) -> Iterator[None]:
        """Let a request in for the length of a `with`. Raises 429 with the seconds to wait."""
        if self._at_once is not None and self._inside[caller] >= self._at_once:
            message = f"{self._inside[caller]} requests are open, allowed are {self._at_once}"
            raise RequestError(429, message, code="rate_limit_exceeded", retry_after_s=1)
        if self._per_minute is not None and not self._limiter.hit(self._per_minute, caller):
            reset_s = self._limiter.get_window_stats(self._per_minute, caller).reset_time
            message = f"allowed are {self._per_minute.amount} requests a minute"
            wait_s = max(1, math.ceil(reset_s - time.time()))
            raise RequestError(429, message, code="rate_limit_exceeded", retry_after_s=wait_s)
        self._inside[caller] += 1
        try:
            yield
        finally:
            self._inside[caller] -= 1
            if not self._inside[caller]:
                del self._inside[caller]
