"""A client of the endpoint, as its users' programs are one: many requests at once over HTTP."""

import asyncio
import base64
import io
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import aiohttp
from PIL import Image

from pipelines.serve import Provenance

_TIMEOUT_S = 600


@dataclass(frozen=True)
class Answer:
    """One picture of the endpoint; `latency_s` counts from the moment its request was sent."""

    image: Image.Image
    provenance: Provenance | None
    latency_s: float


def arrivals(requests: int, gap_s: float, rng: random.Random) -> list[float]:
    """Return when requests come that are `gap_s` apart on average, at random: seconds from now."""
    return list(accumulate(rng.expovariate(1 / gap_s) for _ in range(requests)))


def ask_all(
    url: str,
    bodies: Sequence[Mapping[str, Any]],
    *,
    clients: int,
    due_s: Sequence[float] = (),
    on_answer: Callable[[], None] = lambda: None,
) -> list[Answer]:
    """Return the answers to requests of one picture each, at most `clients` on their way at once.

    `due_s` are the requests' arrivals, in seconds from the start; without them each follows the one
    before. An endpoint with keys is given that of FAIRGEN_API_KEY. Raises ValueError with what the
    endpoint says when it refuses a request, OSError when there is none.
    """
    try:
        return asyncio.run(_ask_all(url, bodies, clients, due_s, on_answer))
    except ExceptionGroup as group:  # all requests end with the first that fails
        raise group.exceptions[0] from None


async def _ask_all(
    url: str,
    bodies: Sequence[Mapping[str, Any]],
    clients: int,
    due_s: Sequence[float],
    on_answer: Callable[[], None],
) -> list[Answer]:
    free = asyncio.Semaphore(clients)
    key = os.environ.get("FAIRGEN_API_KEY")
    started = time.monotonic()

    async def ask(session: aiohttp.ClientSession, index: int) -> Answer:
        if due_s:
            await asyncio.sleep(due_s[index] - (time.monotonic() - started))
        async with free:
            sent = time.monotonic()
            async with session.post(url, json=bodies[index]) as response:
                content = await response.text()
            latency_s = time.monotonic() - sent
        if response.status != 200:
            raise ValueError(f"{url}: {response.status}, {content[:500]}")
        on_answer()
        (data,) = json.loads(content)["data"]
        image = Image.open(io.BytesIO(base64.b64decode(data["b64_json"])))
        found = data.get("provenance")
        return Answer(image, found and Provenance.model_validate(found), latency_s)

    async with (
        aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=0),
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(ask(session, index)) for index in range(len(bodies))]
    return [task.result() for task in tasks]
