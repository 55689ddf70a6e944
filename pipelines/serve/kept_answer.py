"""An answer of another part of the endpoint, kept for seconds and renewed beside requests."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

log = logging.getLogger("ray.serve")
Answer = TypeVar("Answer")


class KeptAnswer(Generic[Answer]):
    """Asks at most once every `fresh_s` seconds; whoever comes later, up to `hold_s`, gets what is
    known while the next answer is on its way. One event loop may use it.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[Answer]], *, fresh_s: float, hold_s: float
    ) -> None:
        self._ask, self._fresh_s, self._hold_s = ask, fresh_s, hold_s
        self._known: tuple[float, Answer] | None = None
        self._asking: asyncio.Future[Answer] | None = None

    async def get(self) -> Answer:
        """Return the answer. Raises what asking raises where none is known that still holds."""
        known, age_s = self._known, math.inf
        if known is not None:
            age_s = time.monotonic() - known[0]
        if age_s > self._fresh_s and self._asking is None:
            self._asking = asyncio.ensure_future(self._renew())
            self._asking.add_done_callback(self._renewed)
        if known is not None and age_s <= self._hold_s:
            return known[1]
        assert self._asking is not None
        return await asyncio.shield(self._asking)  # others wait for it, too

    async def _renew(self) -> Answer:
        asked_at, answer = time.monotonic(), await self._ask()
        self._known = asked_at, answer
        return answer

    def _renewed(self, task: "asyncio.Future[Answer]") -> None:
        self._asking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("an answer is not renewed: %s", error)
