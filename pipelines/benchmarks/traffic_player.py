"""An indicator that traffic is played through, here or in a process that may be killed."""

import asyncio
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from fairgen.attributes import Attribute
from pipelines.benchmarks.traffic_shapes import Request, one_person
from pipelines.recipe import Recipe
from pipelines.serve import Asked, IndicatorService, Retry, ServeSettings

AT_ONCE = 64


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
        await self._service.settle(reservation, [0] if lost else [])


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

    async def work(num: int) -> None:
        for request in islice(requests, num):
            reservation, _ = await player.assign(request)
            await player.settle(reservation)

    async def grown() -> float:
        await asyncio.gather(*(work(1) for _ in range(AT_ONCE)))
        before = psutil.Process().memory_info().rss
        await asyncio.gather(*(work(num_streams) for _ in range(AT_ONCE)))
        return (psutil.Process().memory_info().rss - before) / 2**20

    return asyncio.run(grown())
