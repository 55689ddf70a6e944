"""The endpoint without Ray: the real services in this process."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep
from typing import Any

import uvicorn
from starlette.applications import Starlette

from pipelines.recipe.recipe import Recipe
from pipelines.serve.generator import GeneratorService
from pipelines.serve.image_plan import ImageUpdate, PaintableSizes, PlannedImage, asked_of
from pipelines.serve.indicator import Claim, Ended, IndicatorService
from pipelines.serve.metrics import GatewayMetrics
from pipelines.serve.retries import Retry
from pipelines.serve.schemas import AttributeInfo, ImageRequest
from pipelines.serve.settings import ServeSettings

_START_TIMEOUT_S = 30


class InProcess:
    """The gateway's backend: one generator and one indicator, called directly."""

    def __init__(self, settings: ServeSettings, recipe: Recipe) -> None:
        self.generator = GeneratorService(settings, recipe)
        self.indicator = IndicatorService(settings, recipe)
        self._metrics = GatewayMetrics()
        self.assigned: list[dict[str, str]] = []
        self.num_settled = self.num_given_back = 0

    async def sizes(self) -> PaintableSizes:
        return self.generator.sizes

    async def check_picture(self, width_px: int, height_px: int, num_steps: int) -> float:
        return self.generator.check_picture(width_px, height_px, num_steps)

    async def check_generator(self) -> None:
        self.generator.check_alive()

    def has_given_back(self, num_images: int) -> bool:
        """Return whether so many were assigned, and all of them given back."""
        return len(self.assigned) == self.num_given_back == num_images

    async def assign(self, request: ImageRequest, caller: str, retry: Retry | None) -> Claim:
        served = {info.name: info.confusion for info in self.generator.attributes()}
        asked = asked_of(request, caller, self.generator.prompt_cut_at(request.prompt))
        found = self.indicator.decided(asked, served, retry)
        self.assigned += [picture.categories for picture in found.pictures]
        return Claim(asked, served, retry, found)

    async def keep(self, claim: Claim) -> None:
        await self.indicator.note([claim])

    async def settle(self, reservation: str, lost: Sequence[int]) -> None:
        await self.indicator.note([Ended(reservation, tuple(lost))])
        self.num_given_back += len(lost)
        self.num_settled += 1

    async def paint(
        self, orders: Sequence[PlannedImage], model: str, caller: str
    ) -> AsyncIterator[ImageUpdate]:
        started = monotonic()
        async for delivery in self.generator.paint(orders, model, caller):
            if delivery.provenance is not None or delivery.error is not None:
                self._metrics.count(delivery, monotonic() - started)
            yield delivery

    async def attributes(self) -> list[AttributeInfo]:
        return self.generator.attributes()

    async def metrics(self) -> str:
        return self._metrics.render()

    def count_answer(self, status: int) -> None:
        self._metrics.count_answer(status)


@contextmanager
def listening(app: Starlette, **options: Any) -> Iterator[str]:
    """Yield the address of an application that uvicorn serves from a thread, on a free port."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", **options)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    deadline = monotonic() + _START_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or monotonic() > deadline:
            raise RuntimeError(f"uvicorn did not start within {_START_TIMEOUT_S} s")
        sleep(0.05)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=_START_TIMEOUT_S)
