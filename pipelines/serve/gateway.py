"""The gateway: OpenAI's Images API over HTTP, in front of the indicator and the generator.

`create_app(backend, settings)` knows nothing of Ray: the same app is tested in-process.
"""

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from pipelines.recipe import Recipe
from pipelines.serve.access.decisions import DecisionLog
from pipelines.serve.access.errors import ErrorBody, RequestError, refused_field
from pipelines.serve.access.middleware import PICTURES, AccessMiddleware, AnswerCounter
from pipelines.serve.image_plan import ImageUpdate, PlannedImage, plan_images
from pipelines.serve.indicator import Assignment
from pipelines.serve.schemas import (
    AttributeInfo,
    CompletedImage,
    ImageData,
    ImageFrame,
    ImageRequest,
    ImageResponse,
    PartialImage,
    Provenance,
)
from pipelines.serve.settings import ServeSettings

log = logging.getLogger(__name__)
_PAGE = Path(__file__).parent / "page.html"
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is refused."},
    "5XX": {"model": ErrorBody, "description": "The server fails, or is not ready."},
}
_LOOK_S = 0.25
_CLIENT_CLOSED = 499  # nobody reads it; as nginx counts it
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}


class Backend(Protocol):
    """What the gateway stands in front of."""

    async def check_picture(self, width_px: int, height_px: int, num_steps: int) -> None: ...

    async def assign(self, request: ImageRequest, caller: str) -> Assignment: ...

    async def give_back(
        self, request: ImageRequest, caller: str, pictures: Sequence[Mapping[str, str]]
    ) -> None: ...

    def paint(self, orders: Sequence[PlannedImage], model: str) -> AsyncIterator[ImageUpdate]: ...

    async def attributes(self) -> list[AttributeInfo]: ...

    async def metrics(self) -> str: ...

    def count_answer(self, status: int) -> None: ...


def create_app(backend: Backend, settings: ServeSettings, recipe: Recipe) -> FastAPI:
    """Return the HTTP application."""
    app = FastAPI(
        title="FairGen",
        description="Text-to-image in the distribution you prescribe.",
        responses=_ERRORS,
    )
    desk = _ImageEndpoint(backend, settings, recipe)

    app.add_middleware(AccessMiddleware, settings=settings)
    app.add_middleware(AnswerCounter, count=backend.count_answer)
    if settings.access.cors_origins:  # outermost: a browser asks first, without a key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.access.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )

    @app.exception_handler(RequestError)
    async def refuse(_: Request, error: RequestError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def refuse_body(_: Request, error: RequestValidationError) -> Response:
        return _first_finding(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def refuse_path(_: Request, error: HTTPException) -> Response:
        refused = RequestError(error.status_code, str(error.detail)).response()
        refused.headers.update(error.headers or {})  # such as Allow, which methods there are
        return refused

    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> Response:
        log.exception("a request failed", exc_info=error)
        return RequestError(500, "internal error").response()

    @app.post(PICTURES, response_model=ImageResponse, responses=_EVENTS)
    async def generate(request: ImageRequest, http: Request) -> Response:
        caller = http.state.caller
        orders = await desk.orders(request, caller)
        if request.stream:
            events = await _begun(desk.stream(request, orders, caller))
            return StreamingResponse(events, media_type="text/event-stream")
        answer = await _while_connected(http, desk.answer(request, orders, caller))
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.get("/v1/models")
    async def models() -> JSONResponse:
        data = [
            {"id": name, "object": "model", "created": desk.started, "owned_by": "fairgen"}
            for name in desk.models
        ]
        return JSONResponse({"object": "list", "data": data})

    @app.get("/v1/models/{model}")
    async def model(model: str) -> JSONResponse:
        desk.check_model(model)
        return JSONResponse(
            {"id": model, "object": "model", "created": desk.started, "owned_by": "fairgen"}
        )

    @app.get("/v1/attributes")
    async def attributes() -> list[AttributeInfo]:
        return await backend.attributes()

    @app.get("/health")
    async def health() -> dict[str, Any]:
        served = [attribute.name for attribute in await backend.attributes()]
        missing = [a.name for a in recipe.attributes if a.name not in served]
        status = "degraded" if missing else "ok"  # it answers 200: what is served is served
        return {"status": status, "model": recipe.name, "attributes": served, "missing": missing}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(await backend.metrics(), media_type="text/plain; version=0.0.4")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_PAGE, media_type="text/html")

    return app


async def _while_connected(http: Request, answer: Awaitable[ImageResponse]) -> ImageResponse:
    """Return an answer; where the client has left meanwhile, its pictures are painted no more."""
    task = asyncio.ensure_future(answer)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_S)
            if not task.done() and await http.is_disconnected():
                raise RequestError(_CLIENT_CLOSED, "the client has left", code="closed")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


class _ImageEndpoint:
    """Checks requests, turns them into orders, and packs what comes back."""

    def __init__(self, backend: Backend, settings: ServeSettings, recipe: Recipe) -> None:
        self._backend, self._settings, self._recipe = backend, settings, recipe
        self._in_flight = 0
        self._giving_back: set[asyncio.Future[None]] = set()
        self._decisions = DecisionLog(settings.decisions) if settings.decisions else None
        self.started = int(time.time())
        self.models = (recipe.registry.prefix, f"{recipe.registry.prefix}-base")

    def check_model(self, model: str | None) -> str:
        """Return the model that is meant. Raises 404 that lists the known."""
        if model is None:
            return self.models[0]
        if model not in self.models:
            raise RequestError(
                404,
                f"model: got {model!r}, allowed are {list(self.models)}",
                param="model",
                code="model_not_found",
            )
        return model

    def check_limits(self, request: ImageRequest) -> None:
        """Raise 400 for what is larger than the operator allows, 429 when too much is queued."""
        limits = self._settings.limits
        width, height = request.sides_px
        for field, got, allowed in (
            ("n", request.n, limits.num_images),
            ("size", max(width, height), limits.side_px),
            ("num_inference_steps", request.num_inference_steps or 1, limits.num_steps),
            ("guidance_scale", request.guidance_scale or 1, limits.guidance_scale),
            ("prompt", len(request.prompt), limits.prompt_chars),
            ("negative_prompt", len(request.negative_prompt or ""), limits.prompt_chars),
        ):
            if got > allowed:
                message = f"{field}: got {got}, allowed are at most {allowed}"
                raise RequestError(400, message, param=field, code="too_large")
        if self._in_flight + request.n > limits.queued_images:
            message = f"{self._in_flight} images are waiting, allowed are {limits.queued_images}"
            raise RequestError(429, message, code="overloaded", retry_after_s=2)

    async def orders(self, request: ImageRequest, caller: str) -> list[PlannedImage]:
        """Return one order an image. Raises RequestError for what cannot be met.

        The indicator is asked last: a refused request shall not count in its ledger.
        """
        model = self.check_model(request.model)
        self.check_limits(request)
        if model == self.models[1]:
            request = request.model_copy(update={"fairness": "off"})
        try:
            num_steps = request.num_inference_steps or self._recipe.generation.steps
            if any(request.sides_px) or request.num_inference_steps:
                await self._backend.check_picture(*request.sides_px, num_steps)
            assignment = await self._backend.assign(request, caller)
        except ValueError as error:
            raise refused_field(error) from error
        return plan_images(request, assignment, self._recipe.generation)

    async def deliveries(
        self, request: ImageRequest, orders: Sequence[PlannedImage], caller: str
    ) -> AsyncIterator[ImageUpdate]:
        """Yield deliveries within the time limit. Raises 408 after it.

        What nobody got is given back to the indicator: without a stream that is all of a request
        that has failed.
        """
        delivered: list[Provenance] = []
        left_over = {order.index: order for order in orders}
        self._in_flight += len(orders)
        painting = self._backend.paint(orders, self.check_model(request.model))
        limit = self._settings.limits.timeout_s
        deadline = time.monotonic() + limit
        try:
            while True:
                left = deadline - time.monotonic()
                delivery = await asyncio.wait_for(anext(painting), left)
                if delivery.error is not None:
                    raise RequestError(500, "a picture could not be painted", code="failed")
                if delivery.provenance is not None:
                    delivered.append(delivery.provenance)
                yield delivery
                if delivery.provenance is not None and request.stream:
                    del left_over[delivery.index]
        except StopAsyncIteration:
            left_over.clear()
            return
        except TimeoutError as error:
            raise RequestError(408, f"no picture within {limit:g} s", code="timeout") from error
        finally:
            self._in_flight -= len(orders)
            await painting.aclose()  # type: ignore[attr-defined]
            if left_over:
                self._give_back(request, caller, list(left_over.values()))
            if self._decisions is not None:
                try:
                    self._decisions.write(caller, request, orders, delivered)
                except OSError:  # a full disk shall cost no picture
                    log.exception("a decision is not logged")

    def _give_back(
        self, request: ImageRequest, caller: str, orders: Sequence[PlannedImage]
    ) -> None:
        """Tell the indicator, in a task of its own: whoever asked may have left."""
        categories = [order.categories for order in orders]
        task = asyncio.ensure_future(self._backend.give_back(request, caller, categories))
        self._giving_back.add(task)
        task.add_done_callback(self._given_back)

    def _given_back(self, task: "asyncio.Future[None]") -> None:
        self._giving_back.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("pictures that nobody got still count: %s", error)

    async def answer(
        self, request: ImageRequest, orders: Sequence[PlannedImage], caller: str
    ) -> ImageResponse:
        """Return the whole response when every picture is there."""
        data: dict[int, ImageData] = {}
        size = ""
        async for delivery in self.deliveries(request, orders, caller):
            if delivery.provenance is not None:
                size = delivery.size
                data[delivery.index] = _image_data(request, delivery, delivery.provenance)
        return ImageResponse(
            created=int(time.time()),
            data=[data[index] for index in sorted(data)],
            output_format=request.output_format,
            size=size,
        )

    async def stream(
        self, request: ImageRequest, orders: Sequence[PlannedImage], caller: str
    ) -> AsyncIterator[str]:
        """Yield server-sent events: partial images, then each finished one.

        A refusal after the first event is an event of its own; before it, an HTTP status.
        """
        begun = False
        try:
            async for delivery in self.deliveries(request, orders, caller):
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
                    event = PartialImage(**frame.model_dump(), partial_image_index=delivery.partial)
                else:
                    event = CompletedImage(**frame.model_dump(), provenance=delivery.provenance)
                yield _event(event.type, event)
        except Exception as error:
            if not begun:
                raise
            if not isinstance(error, RequestError):
                log.exception("a stream failed")
                error = RequestError(500, "internal error")
            yield f"event: error\ndata: {json.dumps(error.body())}\n\n"


async def _begun(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Return the events once there is a first: what is refused at once gets its HTTP status."""
    first = await anext(events)

    async def whole() -> AsyncIterator[str]:
        yield first
        async for event in events:
            yield event

    return whole()


def _image_data(request: ImageRequest, delivery: ImageUpdate, provenance: Provenance) -> ImageData:
    """Return a finished picture in the form that was asked for."""
    if request.response_format == "url":
        url = f"data:image/{request.output_format};base64,{_base64(delivery)}"
        return ImageData(url=url, provenance=provenance)
    return ImageData(b64_json=_base64(delivery), provenance=provenance)


def _base64(delivery: ImageUpdate) -> str:
    return base64.b64encode(delivery.content).decode()


def _event(name: str, content: BaseModel) -> str:
    return f"event: {name}\ndata: {content.model_dump_json()}\n\n"


def _first_finding(findings: Sequence[Any]) -> RequestError:
    """Return a 400 that names the first wrong field, the value got and what is allowed."""
    found = findings[0]
    location = [str(part) for part in found["loc"][1:]]  # inside the body
    path = ".".join(location)
    got = repr(found["input"])[:80]
    if found["type"] == "json_invalid":
        return RequestError(400, "body: got no valid JSON", code="invalid_json")
    if location[:1] == ["fairness"]:
        allowed = "'off', 'uniform' or a table per attribute, or {'joint': table}"
        message = f"fairness: got {got}, allowed are {allowed}"
        return RequestError(400, message, param="fairness", code="invalid_value")
    if found["type"] == "extra_forbidden":
        allowed = ", ".join(ImageRequest.model_fields)
        return RequestError(
            400, f"{path}: unknown field; allowed are {allowed}", param=path, code="unknown_field"
        )
    message = found["msg"].removeprefix("Value error, ")
    if not message.startswith("got "):
        message = f"got {got}: {message}"
    return RequestError(
        400, f"{path or 'body'}: {message}", param=path or None, code="invalid_value"
    )
