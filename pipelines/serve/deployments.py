"""The services as Ray Serve deployments, composed by handles; plain classes until `build`.

A replica imports what its own service needs: the gateway and the indicator start without torch.
"""

import asyncio
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import FastAPI
from ray.exceptions import RayTaskError
from ray.serve import get_deployment_handle
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from fairgen.calibration import Confusion
from fairgen.gate import decide
from pipelines.recipe import load_recipe
from pipelines.serve.access.door import Door
from pipelines.serve.access.errors import RequestError
from pipelines.serve.gateway import create_app
from pipelines.serve.gathered import Gathered
from pipelines.serve.image_plan import ImageUpdate, PaintableSizes, PlannedImage, asked_of
from pipelines.serve.indicator import Asked, Assignment, Claim, Ended, IndicatorService
from pipelines.serve.inspections import Inspections
from pipelines.serve.kept_answer import KeptAnswer
from pipelines.serve.metrics import GatewayMetrics
from pipelines.serve.recovery import LOST, all_painted, retried
from pipelines.serve.retries import Retry
from pipelines.serve.schemas import AttributeInfo, ImageRequest
from pipelines.serve.settings import ServeSettings

if TYPE_CHECKING:
    from pipelines.serve.inspector import Inspected

log = logging.getLogger("ray.serve")
_ATTRIBUTES_FRESH_S, _ATTRIBUTES_HOLD_S = 1.0, 5.0
_MAX_KNOWN = 4096
_GATHER_S = 0.01  # far below a picture's time
_ENDED_S = 0.05  # the next request's claim takes along what has ended
_LAST_WORDS_S = 0.5
_HEALTH_S = 1.0


class Indicator:
    """One small replica, since the ledger is one."""

    def __init__(self, settings: ServeSettings) -> None:
        if settings.home is None and settings.ledger is None:
            log.warning("ledger: no home folder and no database, its counts end with this process")
        recipe = load_recipe(settings.recipe, settings.base)
        self._service = IndicatorService(settings, recipe)
        decide("una foto", recipe.attributes)  # reads the other languages' words before a request

    async def assign(
        self,
        asked: Asked,
        served: dict[str, Confusion | None],
        retry: Retry | None = None,
        name: str = "",
    ) -> Assignment:
        """Return what each picture of a request shows; `note` has to follow."""
        return self._service.decided(asked, served, retry, name)

    async def note(self, notes: list[Claim | Ended]) -> None:
        """Return once what was assigned, and how requests have ended, is on disk."""
        await self._service.note(notes)


class Generator:
    """An engine a replica; requests of all callers share its forward passes."""

    def __init__(self, settings: ServeSettings) -> None:
        from pipelines.serve.generator import GeneratorService

        self._service = GeneratorService(
            settings, load_recipe(settings.recipe, settings.base), _end_process
        )

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Look the champions up now: any change of `user_config` asks for it."""
        if hasattr(self, "_service"):
            self._service.poll_now()

    async def paint(
        self, orders: list[PlannedImage], model: str, caller: str
    ) -> AsyncIterator[ImageUpdate]:
        """Yield previews and finished pictures."""
        async for delivery in self._service.paint(orders, model, caller):
            yield delivery

    async def sizes(self) -> PaintableSizes:
        """Return what the model paints."""
        return self._service.sizes

    async def prompt_cut_at(self, prompt: str) -> int | None:
        """Return the index of the first character that no text encoder reads; None for no such."""
        return self._service.prompt_cut_at(prompt)

    async def check_picture(self, width_px: int, height_px: int, num_steps: int) -> float:
        """Return what a picture weighs. Raises ValueError for a size or a number of steps that the
        model cannot paint.
        """
        return self._service.check_picture(width_px, height_px, num_steps)

    async def attributes(self) -> list[AttributeInfo]:
        """Return what is served now."""
        return self._service.attributes()

    async def check_health(self) -> None:
        """Raise when the engine's thread has ended."""
        self._service.check_alive()


class Inspector:
    """One judge for all generators, so that its figures are of the whole traffic."""

    def __init__(self, settings: ServeSettings) -> None:
        from pipelines.serve.inspector import InspectorService

        self._service = InspectorService(load_recipe(settings.recipe, settings.base))

    async def inspect(self, content: bytes, categories: dict[str, str]) -> "dict[str, Inspected]":
        """Return what a picture shows, and how the last ones stand."""
        return await asyncio.to_thread(self._service.inspect, content, categories)


class Gateway:
    """The HTTP application in front of them; it retries pictures that a replica lost."""

    def __init__(
        self,
        settings: ServeSettings,
        indicator: DeploymentHandle,
        generator: DeploymentHandle,
        inspector: DeploymentHandle | None,
        door: Door | None,
    ) -> None:
        self._door = door
        self._settings, self._recipe = settings, load_recipe(settings.recipe, settings.base)
        self._indicator, self._generator = on_this_side(indicator), on_this_side(generator)
        self._metrics = GatewayMetrics()
        self._inspections = None
        if inspector is not None:
            ask = on_this_side(inspector).inspect
            self._inspections = Inspections(ask.remote, settings.inspect_share, self._metrics)
        self._known: OrderedDict[tuple[Hashable, ...], Any] = OrderedDict()
        self._notes: Gathered[Claim | Ended] = Gathered(
            lambda notes: retried(lambda: self._indicator.note.remote(notes))
        )
        self._attributes: KeptAnswer[list[AttributeInfo]] = KeptAnswer(
            lambda: retried(lambda: self._generator.attributes.remote()),
            fresh_s=_ATTRIBUTES_FRESH_S,
            hold_s=_ATTRIBUTES_HOLD_S,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = create_app(self, self._settings, self._recipe, self._door)
        self._end = app.state.end
        return app

    async def end(self) -> None:
        """Take no more requests for pictures; return when those on their way are answered and
        settled.
        """
        await self._end()

    async def sizes(self) -> PaintableSizes:
        """Return what the generator's model paints, asked once."""
        found: PaintableSizes = await self._once("sizes", self._generator.sizes)
        return found

    async def check_picture(self, width_px: int, height_px: int, num_steps: int) -> float:
        """Ask the generator, of each kind of picture once."""
        check = self._generator.check_picture
        return float(await self._once("weight", check, width_px, height_px, num_steps))

    async def assign(self, request: ImageRequest, caller: str, retry: Retry | None) -> Claim:
        """Ask the indicator; an answer that is lost with it is asked again by its name."""
        served = {info.name: info.confusion for info in await self.attributes()}
        cut_at = await self._once("cut", self._generator.prompt_cut_at, request.prompt)
        asked = asked_of(request, caller, cut_at)
        name = uuid4().hex
        ask = self._indicator.assign
        found = await retried(lambda: ask.remote(asked, served, retry, name))
        return Claim(asked, served, retry, found)

    async def keep(self, claim: Claim) -> None:
        """Return once the indicator has on disk what it assigned; an indicator that has lost it
        takes it from the claim.
        """
        await self._notes.pass_on(claim, _GATHER_S)

    async def _once(self, what: str, ask: DeploymentHandle, *about: Hashable) -> Any:
        """Return an answer that stays the same as long as the model does; the last few thousand are
        kept. Raises what asking raises, and asks again the next time.
        """
        key = what, *about
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        found = self._known[key] = await retried(lambda: ask.remote(*about))
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return found

    async def settle(self, reservation: str, lost: Sequence[int]) -> None:
        """Tell the indicator what nobody got: at once, where there is any."""
        ended = Ended(reservation, tuple(lost))
        await self._notes.pass_on(ended, _GATHER_S if lost else _ENDED_S)

    async def attributes(self) -> list[AttributeInfo]:
        """Return what the generator serves, asked at most once a second."""
        return await self._attributes.get()

    async def paint(
        self, orders: Sequence[PlannedImage], model: str, caller: str
    ) -> AsyncIterator[ImageUpdate]:
        """Yield deliveries; pictures lost with their replica are ordered again, same seed."""
        painter, started = self._generator.options(stream=True), time.monotonic()
        updates = all_painted(orders, lambda left: painter.paint.remote(left, model, caller))
        async with aclosing(updates):
            async for update in updates:
                if update.provenance is not None or update.error is not None:
                    self._metrics.count(update, time.monotonic() - started)
                    if self._inspections is not None:
                        self._inspections.offer(update)
                yield update

    async def check_generator(self) -> None:
        """Raise RequestError unless a generator answers now."""
        try:
            async with asyncio.timeout(_HEALTH_S):
                await self._generator.check_health.remote()
        except TimeoutError as error:
            raise RequestError(
                503, "no generator is up", code="unavailable", retry_after_s=5
            ) from error
        except (*LOST, BackPressureError, RayTaskError) as error:
            log.warning("no generator answers: %s", type(error))
            raise RequestError(
                503, "no generator answers", code="unavailable", retry_after_s=5
            ) from error

    async def metrics(self) -> str:
        """Return the figures in Prometheus form."""
        return self._metrics.render()

    def count_answer(self, status: int) -> None:
        """Count a request for pictures by its answer."""
        self._metrics.count_answer(status)


def on_this_side(bound: DeploymentHandle) -> DeploymentHandle:
    """Return a handle with the settings of the replica that calls: a bound one has those of the
    process that built the application, and whether calls go by gRPC is one of them. What it sends
    is data, which pickle writes faster than cloudpickle, Serve's own choice.
    """
    handle = get_deployment_handle(bound.deployment_name, bound.app_name)
    return handle.options(request_serialization="pickle", response_serialization="pickle")


def _end_process() -> None:
    """End this replica, once what it still says has left it: Serve starts another at once, and its
    core is free for it.
    """
    threading.Timer(_LAST_WORDS_S, os._exit, (1,)).start()
