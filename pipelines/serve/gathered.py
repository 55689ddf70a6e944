"""Calls of the same moment as one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Gathered(Generic[Item]):
    """Passes on in one list what comes within `gather_s`. One event loop may use it."""

    def __init__(self, send: Callable[[list[Item]], Awaitable[object]], gather_s: float) -> None:
        self._send, self._gather_s = send, gather_s
        self._waiting: list[Item] = []
        self._sending: asyncio.Task[None] | None = None

    async def pass_on(self, item: Item) -> None:
        """Return once an item has arrived. Raises what sending its list raises."""
        self._waiting.append(item)
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._send_all())
        await asyncio.shield(self._sending)

    async def _send_all(self) -> None:
        await asyncio.sleep(self._gather_s)
        items, self._waiting, self._sending = self._waiting, [], None
        await self._send(items)
