"""What the gateway lets the inspector look at: a share of the pictures, once they are delivered."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ray.serve.exceptions import BackPressureError

from pipelines.serve.image_plan import ImageUpdate
from pipelines.serve.metrics import GatewayMetrics
from pipelines.serve.schemas import Provenance

if TYPE_CHECKING:
    from pipelines.serve.inspector import Inspected

log = logging.getLogger("ray.serve")


class Inspections:
    """Asks the inspector beside requests, and shows what it finds in the metrics. One event loop
    may use it.
    """

    def __init__(
        self,
        inspect: Callable[[bytes, dict[str, str]], Awaitable["dict[str, Inspected]"]],
        share: float,
        metrics: GatewayMetrics,
    ) -> None:
        self._inspect, self._share, self._metrics = inspect, share, metrics
        self._chosen = random.Random()
        self._running: set[asyncio.Task[None]] = set()

    def offer(self, delivery: ImageUpdate) -> None:
        """Let a share of the pictures be looked at; of those that are black for the safety checker
        none is.
        """
        if delivery.provenance is None or not delivery.provenance.categories:
            return
        if delivery.provenance.safety_checker == "flagged":
            return
        if self._chosen.random() >= self._share:
            return
        inspection = asyncio.create_task(self._ask(delivery.content, delivery.provenance))
        self._running.add(inspection)
        inspection.add_done_callback(self._running.discard)

    async def _ask(self, content: bytes, provenance: Provenance) -> None:
        try:
            found = await self._inspect(content, provenance.categories)
        except BackPressureError:
            return
        except Exception as error:  # no picture depends on it
            log.warning("a picture is not inspected: %s", error)
            return
        self._metrics.show_inspected(found)
