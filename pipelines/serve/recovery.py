"""Answers that are lost with a replica: they are asked for again."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from typing import Any

from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from pipelines.serve.access.errors import RequestError
from pipelines.serve.image_plan import ImageUpdate, PlannedImage

log = logging.getLogger("ray.serve")
LOST = (ActorDiedError, ActorUnavailableError, RayActorError, DeploymentUnavailableError)
_ATTEMPTS = 8


async def retried(ask: Callable[[], Any]) -> Any:
    """Return a call's answer, asking again while its replica is lost or replaced.

    Raises RequestError for a full queue, and where no replica is up in time.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return await ask()
        except (BackPressureError, RayTaskError) as error:
            raise _refusal(error) from error
        except LOST as error:
            log.warning("a replica is lost, asking again: %s", type(error))
            await asyncio.sleep(pause_s(attempt))
    raise RequestError(503, "a part of the service is down", code="unavailable", retry_after_s=5)


async def all_painted(
    orders: Sequence[PlannedImage],
    paint: Callable[[list[PlannedImage]], AsyncIterable[ImageUpdate]],
) -> AsyncGenerator[ImageUpdate]:
    """Yield updates; pictures that are lost with their replica are ordered again, same seed.

    Raises RequestError for a full queue, and where no generator is up in time.
    """
    left = {order.index: order for order in orders}
    for attempt in range(_ATTEMPTS):
        try:
            async for update in paint(list(left.values())):
                if update.provenance is not None or update.error is not None:
                    del left[update.index]
                yield update
            return
        except (BackPressureError, RayTaskError) as error:
            raise _refusal(error) from error
        except LOST as error:
            if not left:
                return  # only the end of the stream is lost
            log.warning("%d pictures are lost and ordered again: %s", len(left), type(error))
            await asyncio.sleep(pause_s(attempt))
    raise RequestError(503, "no generator is up", code="unavailable", retry_after_s=5)


def pause_s(attempt: int) -> float:
    """Return how long to wait after so many tries."""
    return min(5.0, 0.25 * 2**attempt)


def _refusal(error: BackPressureError | RayTaskError) -> Exception:
    """Return what a caller is told: a full queue, or what the replica itself has raised."""
    if isinstance(error, RayTaskError):
        return error.cause  # Ray's own text is a traceback, and holds none of the fields
    return RequestError(429, "too many requests are waiting", code="overloaded", retry_after_s=2)
