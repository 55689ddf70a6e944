"""An indicator that traffic is played through, here or in a process that may be killed."""

import asyncio
from collections.abc import Iterable
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from fairgen.attributes import Attribute
from pipelines.benchmarks.traffic_shapes import Request, one_person
from pipelines.recipe import Recipe
from pipelines.serve import Asked, Ended, IndicatorService, Retry, ServeSettings

_AT_ONCE = 64
_FIRST = 100  # requests until all is loaded


class Player:
    """Plays traffic through an indicator whose ledger lies below a folder."""

    def __init__(self, recipe: Recipe, attribute: Attribute, home: Path) -> None:
        self._attribute = attribute
        self._service = IndicatorService(ServeSettings(home=home), recipe)

    async def assign(self, request: Request, retry: Retry | None = None) -> tuple[str, str]:
        """Return the reservation of a request's picture and its category."""
        name = self._attribute.name
        asked = Asked(request.prompt, fairness={name: "uniform"}, caller=request.caller)
        found = await self._service.assign(asked, {name: None}, retry)
        return found.reservation, found.pictures[0].categories[name]

    async def settle(self, reservation: str, lost: bool = False) -> None:
        """Say whether a picture was delivered."""
        await self._service.note([Ended(reservation, (0,) if lost else ())])

    async def deliver(self, requests: Iterable[Request]) -> None:
        """Decide on requests, many at once, and deliver each."""
        left = iter(requests)

        async def work() -> None:
            for request in left:
                reservation, _ = await self.assign(request)
                await self.settle(reservation)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


def decide_until_killed(wire: Connection, recipe: Recipe, attribute: Attribute, home: Path) -> None:
    """Decide on the requests that come over a wire."""
    player = Player(recipe, attribute, home)

    async def serve() -> None:
        while True:
            reservation, category = await player.assign(wire.recv())
            await player.settle(reservation)
            wire.send(category)

    asyncio.run(serve())


def growth_mb(recipe: Recipe, attribute: Attribute, num_streams: int, home: Path) -> float:
    """Return by how much so many streams let this process grow, in megabytes."""
    player = Player(recipe, attribute, home)
    requests = iter(one_person(num_streams))

    async def grown() -> float:
        await player.deliver(islice(requests, _FIRST))
        before = psutil.Process().memory_info().rss
        await player.deliver(requests)
        return (psutil.Process().memory_info().rss - before) / 2**20

    return asyncio.run(grown())
