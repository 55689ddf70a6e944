"""The endpoint for pictures behind its routes: checked requests, planned pictures, answers."""

import asyncio
import base64
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from pipelines.recipe import Recipe
from pipelines.serve.access.decisions import DecisionLog
from pipelines.serve.access.errors import RequestError, refused_field
from pipelines.serve.access.uploads import HeldBytes
from pipelines.serve.admission import Admission, Admitted
from pipelines.serve.image_plan import (
    ImageUpdate,
    PaintableSizes,
    PlannedImage,
    Start,
    num_steps_taken,
    pinned,
    plan_images,
)
from pipelines.serve.indicator import Claim
from pipelines.serve.models import Models
from pipelines.serve.retries import RecentAnswers, Retry
from pipelines.serve.schemas import (
    MAX_SEED,
    AttributeInfo,
    CompletedImage,
    ImageData,
    ImageFrame,
    ImageRequest,
    ImageResponse,
    PartialImage,
    Provenance,
    Usage,
)
from pipelines.serve.settings import ServeSettings
from pipelines.serve.uploads.form import UploadedFile
from pipelines.serve.uploads.pictures import Sides, Uploads, own_size

log = logging.getLogger(__name__)
_DECODED_AT_ONCE = 2
Asked = TypeVar("Asked", bound=ImageRequest)


class Backend(Protocol):
    """What the gateway stands in front of."""

    async def sizes(self) -> PaintableSizes: ...

    async def check_picture(self, width_px: int, height_px: int, num_steps: int) -> float: ...

    async def assign(self, request: ImageRequest, caller: str, retry: Retry | None) -> Claim: ...

    async def keep(self, claim: Claim) -> None: ...

    async def settle(self, reservation: str, lost: Sequence[int]) -> None: ...

    def paint(
        self, orders: Sequence[PlannedImage], model: str, caller: str
    ) -> AsyncIterator[ImageUpdate]: ...

    async def attributes(self) -> list[AttributeInfo]: ...

    async def check_generator(self) -> None: ...

    async def metrics(self) -> str: ...

    def count_answer(self, status: int) -> None: ...


@dataclass(frozen=True)
class Orders:
    """The pictures of a request, the ledger's reservation for them, who asked, what their answer is
    known by to a client that asks again, "" for one that does not, and what they hold of the queue.
    Nobody gets a picture before the reservation is `kept`, on disk.
    """

    images: Sequence[PlannedImage]
    reservation: str
    kept: asyncio.Future[None] | None
    caller: str
    known_by: str
    admitted: Admitted


@dataclass(frozen=True)
class Edit:
    """The pictures of an edit, the size to paint them all at, None for each's own, and what its
    memory is counted by.
    """

    uploads: Uploads
    sides_px: Sides | None
    strength: float
    held_bytes: HeldBytes


class ImageEndpoint:
    """Checks requests, turns them into orders, and packs what comes back. One event loop may call
    it.
    """

    def __init__(self, backend: Backend, settings: ServeSettings, recipe: Recipe) -> None:
        self._backend, self._settings, self._recipe = backend, settings, recipe
        self._admission = Admission(settings.limits.queued_images)
        self._decoding = asyncio.Semaphore(_DECODED_AT_ONCE)
        self._running: set[asyncio.Future[None]] = set()
        self._decisions = DecisionLog(settings.decisions) if settings.decisions else None
        self._answers = RecentAnswers()
        self.started = int(time.time())
        self.models = Models(recipe.registry.prefix, settings.models)

    def close(self) -> None:
        """Write what waits to be logged."""
        if self._decisions is not None:
            self._decisions.close()

    async def settled(self) -> None:
        """Return once the ledger knows how all requests that have ended did."""
        while self._running:
            await asyncio.wait(self._running)

    def check_limits(self, request: ImageRequest) -> None:
        """Raise 400 for what is larger than the operator allows."""
        limits = self._settings.limits
        width, height = request.sides_px
        for field, got, allowed in (
            ("n", request.n, limits.num_images),
            ("size", max(width, height), limits.side_px),
            ("num_inference_steps", request.num_inference_steps or 1, limits.num_steps),
            ("guidance_scale", request.guidance_scale or 1, limits.guidance_scale),
            ("seed", (request.seed or 0) + request.n - 1, MAX_SEED),
            ("prompt", len(request.prompt), limits.prompt_chars),
            ("original_prompt", len(request.original_prompt or ""), limits.prompt_chars),
            ("negative_prompt", len(request.negative_prompt or ""), limits.prompt_chars),
        ):
            if got > allowed:
                message = f"{field}: got {got}, allowed are at most {allowed}"
                raise RequestError(400, message, param=field, code="too_large")

    def completed(self, request: Asked) -> Asked:
        """Return a request with what its model's name stands for. Raises RequestError for an
        unknown name and a size that is refused.

        The status is 400: clients that look for the endpoint take a 404 for its absence.
        """
        name, alias = self.models.named(request.model, status=400)
        request = alias.applied(request, self._recipe.generation.sizes)
        return request.model_copy(update={"model": name})

    async def opened(self, files: Sequence[UploadedFile]) -> Uploads:
        """Return the pictures of a form, of which the headers are read. Raises RequestError 400."""
        async with self._decoding:
            most = self._settings.limits.upload_pixels
            return await asyncio.to_thread(Uploads.opened, files, most)

    async def orders(
        self, request: ImageRequest, caller: str, retry: Retry | None, edit: Edit | None = None
    ) -> Orders:
        """Return what is to be painted of a completed request: of each picture of an edit as many
        as it asks for. Raises RequestError for what cannot be met.

        The indicator is asked last: a refused request shall not count in its ledger.
        """
        if edit is not None:
            request = self._of_all(request, len(edit.uploads.images))
        self.check_limits(request)
        size_of = await self._size_of(edit)
        try:
            work = await self._work(request, edit, size_of)
        except ValueError as error:
            raise refused_field(error) from error
        admitted = self._admission.enter(caller, work)
        try:
            starts: Sequence[Start] = ()
            if edit is not None:
                num_bytes = edit.uploads.num_bytes(size_of)
                edit.held_bytes.add(num_bytes)
                async with self._decoding:
                    starts = await asyncio.to_thread(edit.uploads.starts, edit.strength, size_of)
                edit.held_bytes.keep(num_bytes)
            kept = None
            if request.categories is not None and request.fairness is None:
                assignment = pinned(request, await self._backend.attributes())
            else:
                claim = await self._backend.assign(request, caller, retry)
                assignment = claim.assignment
                if assignment.reservation:
                    keeping = self._backend.keep(claim)
                    kept = self._in_background(keeping, "the ledger does not say what it keeps")
            images = plan_images(request, assignment, self._recipe.generation, starts)
        except BaseException as error:
            admitted.leave()
            if isinstance(error, ValueError):
                raise refused_field(error) from error
            raise
        known_by = (assignment.reservation or (retry.named and retry.key)) if retry else ""
        return Orders(images, assignment.reservation, kept, caller, known_by, admitted)

    def _of_all(self, request: ImageRequest, num_starts: int) -> ImageRequest:
        """Return a request for as many pictures as there are of all that it begins from."""
        total, allowed = request.n * num_starts, self._settings.limits.num_images
        if num_starts > 1 and total > allowed:
            got = f"{request.n} of each of {num_starts} pictures"
            message = f"n: got {got}, allowed are at most {allowed} in all"
            raise RequestError(400, message, param="n", code="too_large")
        return request.model_copy(update={"n": total})

    async def _size_of(self, edit: Edit | None) -> Callable[[Sides], Sides]:
        """Return which size a picture of an edit is painted at."""
        if edit is None:
            return lambda sides: sides
        known, listed = await self._backend.sizes(), self._recipe.generation.sizes
        if edit.sides_px is not None:
            asked = edit.sides_px if any(edit.sides_px) else known.native_px
            return lambda _: asked
        return lambda sides: own_size(sides, listed, known, self._settings.limits.side_px)

    async def _work(
        self, request: ImageRequest, edit: Edit | None, size_of: Callable[[Sides], Sides]
    ) -> float:
        """Return what a request's pictures weigh. Raises ValueError for a size or a number of steps
        that the model cannot paint.
        """
        num_steps = request.num_inference_steps or self._recipe.generation.steps
        if edit is None:
            if not any(request.sides_px) and not request.num_inference_steps:
                return request.n
            return request.n * await self._backend.check_picture(*request.sides_px, num_steps)
        counts = Counter(size_of(upload.sides_px) for upload in edit.uploads.images)
        each = request.n / counts.total() * num_steps_taken(num_steps, edit.strength) / num_steps
        weights = [
            each * count * await self._backend.check_picture(*sides, num_steps)
            for sides, count in counts.items()
        ]
        return sum(weights)

    async def deliveries(self, request: ImageRequest, orders: Orders) -> AsyncIterator[ImageUpdate]:
        """Yield deliveries within the time limit. Raises 408 after it.

        The indicator hears what nobody got: without a stream that is all of a request that has
        failed.
        """
        delivered: list[Provenance] = []
        left_over = {image.index for image in orders.images}
        on_their_way = set(left_over)
        painting = self._backend.paint(orders.images, request.model or "", orders.caller)
        limit = self._settings.limits.timeout_s
        deadline = time.monotonic() + limit
        try:
            while on_their_way:
                async with asyncio.timeout(deadline - time.monotonic()):
                    delivery = await anext(painting)
                    if delivery.content and orders.kept is not None:
                        await asyncio.shield(orders.kept)
                if delivery.error is not None:
                    raise RequestError(500, "a picture could not be painted", code="failed")
                if delivery.provenance is not None:
                    delivered.append(delivery.provenance)
                    on_their_way.remove(delivery.index)
                yield delivery
                if delivery.provenance is not None and request.stream:
                    left_over.remove(delivery.index)
            left_over.clear()
        except TimeoutError as error:
            raise RequestError(408, f"no picture within {limit:g} s", code="timeout") from error
        finally:
            orders.admitted.leave()
            self._settle(orders, sorted(left_over))  # before anything can fail here
            if on_their_way:
                await painting.aclose()  # type: ignore[attr-defined]
            else:  # nobody waits for the end of a stream of which all is there
                self._in_background(_drained(painting), "a stream of pictures has no end")
            if self._decisions is not None:
                self._decisions.write(orders.caller, request, orders.images, delivered)

    def _settle(self, orders: Orders, lost: Sequence[int]) -> None:
        """Tell the indicator, in a task of its own: whoever asked may have left."""
        if orders.kept is None:
            return

        async def settle(kept: asyncio.Future[None]) -> None:
            await asyncio.wait({kept})
            await self._backend.settle(orders.reservation, lost)

        self._in_background(settle(orders.kept), "the ledger was not told what nobody got")

    def _in_background(self, work: Coroutine[Any, Any, None], failed: str) -> asyncio.Future[None]:
        """Do some work in a task of its own; where it fails the log says so."""
        task = asyncio.ensure_future(work)
        self._running.add(task)

        def done(_: object) -> None:
            self._running.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("%s: %s", failed, error)

        task.add_done_callback(done)
        return task

    async def answer(self, request: ImageRequest, orders: Orders) -> str:
        """Return the whole response as JSON when every picture is there; a next try of a request
        that was answered gets its answer again.
        """
        if (before := self._answers.get(orders.known_by)) is not None:
            orders.admitted.leave()
            self._settle(orders, ())
            return before
        data: dict[int, ImageData] = {}
        sizes: dict[int, str] = {}
        num_tokens = 0
        async for delivery in self.deliveries(request, orders):
            if delivery.provenance is not None:
                sizes[delivery.index], num_tokens = delivery.size, delivery.num_tokens
                data[delivery.index] = _image_data(request, delivery, delivery.provenance)
        response = ImageResponse(
            created=int(time.time()),
            data=[data[index] for index in sorted(data)],
            output_format=request.output_format,
            size=sizes[min(sizes)],
            usage=Usage.of(num_tokens),
        )
        content = response.model_dump_json()
        self._answers.put(orders.known_by, content)
        return content

    async def stream(self, request: ImageRequest, orders: Orders) -> AsyncIterator[str]:
        """Yield server-sent events: partial images, then each finished one.

        A refusal after the first event is an event of its own; before it, an HTTP status.
        """
        begun = False
        try:
            async for delivery in self.deliveries(request, orders):
                begun = True
                if not delivery.content:
                    yield ": accepted\n\n"
                    continue
                frame = ImageFrame(
                    index=delivery.index,
                    b64_json=_base64(delivery),
                    created_at=int(time.time()),
                    output_format=request.output_format,
                    size=delivery.size,
                )
                event: PartialImage | CompletedImage
                if delivery.provenance is None:
                    event = PartialImage(
                        **frame.model_dump(),
                        type=request.partial_event,
                        partial_image_index=delivery.partial,
                    )
                else:
                    event = CompletedImage(
                        **frame.model_dump(),
                        type=request.completed_event,
                        provenance=delivery.provenance,
                    )
                yield _event(event.type, event)
        except Exception as error:
            if not begun:
                raise
            if not isinstance(error, RequestError):
                log.exception("a stream failed")
                error = RequestError(500, "internal error")
            yield f"event: error\ndata: {json.dumps(error.body())}\n\n"


async def _drained(painting: AsyncIterator[ImageUpdate]) -> None:
    """Read a stream to its end."""
    async for _ in painting:
        pass


def _image_data(request: ImageRequest, delivery: ImageUpdate, provenance: Provenance) -> ImageData:
    """Return a finished picture in the form that was asked for."""
    revised = provenance.prompt if provenance.removed else None
    if request.response_format == "url":
        url = f"data:image/{request.output_format};base64,{_base64(delivery)}"
        return ImageData(url=url, revised_prompt=revised, provenance=provenance)
    return ImageData(b64_json=_base64(delivery), revised_prompt=revised, provenance=provenance)


def _base64(delivery: ImageUpdate) -> str:
    return base64.b64encode(delivery.content).decode()


def _event(name: str, content: BaseModel) -> str:
    return f"event: {name}\ndata: {content.model_dump_json()}\n\n"
