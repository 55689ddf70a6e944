"""Calls of the same time as one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Gathered(Generic[Item]):
    """Passes on in one list what comes until one of it can wait no longer. One event loop may use
    it.
    """

    def __init__(self, send: Callable[[list[Item]], Awaitable[object]]) -> None:
        self._send = send
        self._waiting: list[Item] = []
        self._due = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    async def pass_on(self, item: Item, within_s: float) -> None:
        """Return once an item has arrived, which is sent within so many seconds. Raises what
        sending its list raises.
        """
        self._waiting.append(item)
        if self._sending is None:
            self._due = asyncio.Event()
            self._sending = asyncio.ensure_future(self._send_all(self._due))
        asyncio.get_running_loop().call_later(within_s, self._due.set)
        await asyncio.shield(self._sending)

    async def _send_all(self, due: asyncio.Event) -> None:
        await due.wait()
        items, self._waiting, self._sending = self._waiting, [], None
        await self._send(items)
