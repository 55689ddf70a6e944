"""An endpoint that ends: what is on its way is finished, and nothing more is taken."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.serve.access.errors import RequestError


class Closing:
    """Requests on their way, and whether more are taken. One event loop may use it."""

    def __init__(self) -> None:
        self._num_open = 0
        self._has_ended = False
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        """Count a request until it is answered."""
        self._num_open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._num_open -= 1
            if not self._num_open:
                self._idle.set()

    def check(self) -> None:
        """Raise RequestError 503 where no more requests are taken."""
        if self._has_ended:
            message = "the endpoint is ending"
            raise RequestError(503, message, code="unavailable", retry_after_s=5)

    async def end(self) -> None:
        """Take no more requests; return when those on their way are answered."""
        self._has_ended = True
        await self._idle.wait()
