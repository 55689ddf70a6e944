"""How long small requests take beside another caller's largest: over HTTP, as two addresses."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aiohttp

_SMALL_CALLER, _GREEDY_CALLER = "127.0.0.2", "127.0.0.3"  # without keys an address is a caller
_AT_ONCE = 4
_BEGIN_S = 1.0


def sharing_figures(
    url: str, small: Mapping[str, Any], largest: Mapping[str, Any], rounds: int, requests: int
) -> dict[str, float]:
    """Return the median and the 95th percentile of small requests beside those of a caller who
    always has four of the largest on their way, over those alone; the two take turns.
    """
    alone: list[float] = []
    beside: list[float] = []
    asyncio.run(_play(url, small, largest, rounds, requests, alone, beside))
    one, other = (statistics.quantiles(found, n=20) for found in (alone, beside))
    return {
        "small_beside_largest_p50": statistics.median(beside) / statistics.median(alone),
        "small_beside_largest_p95": other[-1] / one[-1],
    }


async def _play(
    url: str,
    small: Mapping[str, Any],
    largest: Mapping[str, Any],
    rounds: int,
    requests: int,
    alone: list[float],
    beside: list[float],
) -> None:
    async with _caller(_SMALL_CALLER) as small_caller, _caller(_GREEDY_CALLER) as greedy_caller:
        await _ask(small_caller, url, small)
        for _ in range(rounds):
            alone += [await _ask(small_caller, url, small) for _ in range(requests)]
            greedy = [
                asyncio.create_task(_ask_always(greedy_caller, url, largest))
                for _ in range(_AT_ONCE)
            ]
            await asyncio.sleep(_BEGIN_S)
            beside += [await _ask(small_caller, url, small) for _ in range(requests)]
            for task in greedy:
                task.cancel()
            await asyncio.gather(*greedy, return_exceptions=True)


def _caller(address: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600))


async def _ask(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> float:
    """Return the seconds of a request. Raises ValueError with what the endpoint says otherwise."""
    started = time.monotonic()
    async with session.post(url, json=body) as response:
        content = await response.text()
    if response.status != 200:
        raise ValueError(f"{url}: {response.status}, {content[:500]}")
    return time.monotonic() - started


async def _ask_always(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> None:
    while True:
        with suppress(ValueError):  # refused where the queue is full: it asks again
            await _ask(session, url, body)
        await asyncio.sleep(0.1)
