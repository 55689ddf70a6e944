"""The gateway: OpenAI's Images API over HTTP, in front of the indicator and the generator.

`create_app(backend, settings)` knows nothing of Ray: the same app is tested in-process.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from pipelines.recipe import Recipe
from pipelines.serve.access.closing import Closing
from pipelines.serve.access.door import Door, answering
from pipelines.serve.access.errors import ErrorBody, RequestError
from pipelines.serve.access.middleware import AccessMiddleware, AnswerCounter
from pipelines.serve.access.paths import ASSETS, EDITS, PICTURES
from pipelines.serve.image_endpoint import Asked, Backend, Edit, ImageEndpoint
from pipelines.serve.retries import FAIRNESS_HEADER, Refusals, Retry, RunningKeys, retry_of
from pipelines.serve.schemas import AttributeInfo, EditRequest, ImageRequest, ImageResponse
from pipelines.serve.settings import ServeSettings
from pipelines.serve.uploads.form import CONTENT_TYPE, FILES, form_schema, read_form

log = logging.getLogger(__name__)
_PAGE = Path(__file__).parent / "page.html"
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is refused."},
    "5XX": {"model": ErrorBody, "description": "The server fails, or is not ready."},
}
_JSON = "application/json"
_CLIENT_CLOSED = 499  # nobody reads it; as nginx counts it
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}


def create_app(
    backend: Backend, settings: ServeSettings, recipe: Recipe, door: Door | None = None
) -> FastAPI:
    """Return the HTTP application; with a door it answers there while it lives. Its state's `end`
    takes no more requests for pictures, and returns when those on their way are answered and
    settled.
    """
    desk, running, refusals = ImageEndpoint(backend, settings, recipe), RunningKeys(), Refusals()
    closing = Closing()

    async def end() -> None:
        await closing.end()
        await desk.settled()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with answering(door, app) if door else nullcontext():
            yield
        desk.close()

    app = FastAPIOffline(  # its page of docs loads nothing from elsewhere
        title="FairGen",
        redoc_url=None,
        static_url=ASSETS,
        lifespan=lifespan,
        description="Text-to-image in the distribution you prescribe.",
        responses=_ERRORS,
    )
    app.state.end = end
    app.add_middleware(AccessMiddleware, settings=settings, refusals=refusals, closing=closing)
    app.add_middleware(AnswerCounter, count=backend.count_answer, closing=closing)
    if settings.access.cors_origins:  # outermost: a browser asks first, without a key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.access.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # clients in browsers say what they are in headers of their own
        )

    @app.exception_handler(RequestError)
    async def refuse(_: Request, error: RequestError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def refuse_body(request: Request, error: RequestValidationError) -> Response:
        sent = request.headers.get("content-type", _JSON)
        if sent.lower().startswith(CONTENT_TYPE):
            message = f"content-type: got {CONTENT_TYPE}, allowed is {_JSON}; {EDITS} takes forms"
            return RequestError(400, message, "content-type", "invalid_content_type").response()
        return _first_finding(error.errors(), ImageRequest.model_fields).response()

    @app.exception_handler(HTTPException)
    async def refuse_path(request: Request, error: HTTPException) -> Response:
        message = _wrong_path(request.url.path) if error.status_code == 404 else None
        refused = RequestError(error.status_code, message or str(error.detail)).response()
        refused.headers.update(error.headers or {})  # such as Allow, which methods there are
        return refused

    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> Response:
        log.exception("a request failed", exc_info=error)
        return RequestError(500, "internal error").response()

    @app.post(PICTURES, response_model=ImageResponse, responses=_EVENTS)
    async def generate(request: ImageRequest, http: Request) -> Response:
        request = desk.completed(_with_fairness(request, http.headers.get(FAIRNESS_HEADER)))
        retry = retry_of(http.headers, http.state.caller, await http.body())
        return await answered(http, request, retry)

    @app.post(
        EDITS,
        response_model=ImageResponse,
        responses=_EVENTS,
        openapi_extra={"requestBody": {"required": True, "content": {CONTENT_TYPE: form_schema()}}},
    )
    async def edit(http: Request) -> Response:
        """Paint from pictures that are there already, in the prescribed distribution."""
        return await answered(http, *await sent_form(http))  # which holds the files no longer

    async def sent_form(http: Request) -> tuple[EditRequest, Retry | None, Edit]:
        form = await read_form(http, settings.limits.body_bytes)
        try:
            request = EditRequest.model_validate(form.fields())
        except ValidationError as error:
            found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
            raise _first_finding(found, (*FILES, *EditRequest.model_fields)) from error
        request = _with_fairness(request, http.headers.get(FAIRNESS_HEADER))
        names_size = any(request.sides_px)
        request = desk.completed(request)
        uploads = await desk.opened(form.files)
        edit = Edit(
            uploads,
            request.sides_px if names_size else None,
            request.strength_for(masked=uploads.mask is not None),
            http.state.held_bytes,
        )
        content = json.dumps([EDITS, *form.texts, *uploads.digests()])  # no boundary is in it
        return request, retry_of(http.headers, http.state.caller, content.encode()), edit

    async def answered(
        http: Request, request: ImageRequest, retry: Retry | None, edit: Edit | None = None
    ) -> Response:
        retry = refusals.followed_by(retry)
        with running.alone(retry):
            try:
                orders = await desk.orders(request, http.state.caller, retry, edit)
            except RequestError as error:
                refusals.note(retry, error.status)
                raise
            del edit  # what is left of it is in the orders
            if request.stream:
                events = await _begun(desk.stream(request, orders))
                return StreamingResponse(events, media_type="text/event-stream")
            try:
                answer = await _while_connected(http, desk.answer(request, orders))
            finally:  # also where the answer was cancelled before it began
                orders.admitted.leave()
        return Response(answer, media_type="application/json")

    @app.get("/v1/models")
    async def models() -> JSONResponse:
        data = [
            {"id": name, "object": "model", "created": desk.started, "owned_by": "fairgen"}
            for name in desk.models.names
        ]
        return JSONResponse({"object": "list", "data": data})

    @app.get("/v1/models/{model}")
    async def model(model: str) -> JSONResponse:
        desk.models.named(model, status=404)
        return JSONResponse(
            {"id": model, "object": "model", "created": desk.started, "owned_by": "fairgen"}
        )

    @app.get("/v1/attributes")
    async def attributes() -> list[AttributeInfo]:
        return await backend.attributes()

    @app.get("/health")
    async def health() -> dict[str, Any]:
        closing.check()
        await backend.check_generator()
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


async def _while_connected(http: Request, answer: Awaitable[str]) -> str:
    """Return an answer; as soon as the client has left, its pictures are painted no more."""
    task, left = asyncio.ensure_future(answer), asyncio.ensure_future(_left(http))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise RequestError(_CLIENT_CLOSED, "the client has left", code="closed")
        return task.result()
    finally:
        left.cancel()
        task.cancel()
        await asyncio.wait({task, left})


async def _left(http: Request) -> None:
    """Return once the client has left."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def _begun(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Return the events once there is a first: what is refused at once gets its HTTP status."""
    first = await anext(events)

    async def whole() -> AsyncIterator[str]:
        yield first
        async for event in events:
            yield event

    return whole()


def _with_fairness(request: Asked, header: str | None) -> Asked:
    """Return a request with the fairness of its header, where it has none of its own. Raises 400
    for what is none.
    """
    if header is None or request.fairness is not None or request.categories is not None:
        return request
    try:
        wanted = header if header == "off" else json.loads(header)
        return type(request).model_validate(
            {**request.model_dump(exclude_unset=True), "fairness": wanted}
        )
    except ValueError as error:
        allowed = "off, or fairness as JSON"
        message = f"X-Fairness: got {header[:80]!r}, allowed is {allowed}"
        raise RequestError(400, message, param="X-Fairness", code="invalid_value") from error


def _wrong_path(path: str) -> str | None:
    """Return a sentence that names the right path, where a wrong one is nearly right."""
    if path.rstrip("/").endswith("/images/variations"):
        return f"path: got {path}, allowed is {EDITS}, with a prompt and a `strength`"
    for known in (PICTURES, EDITS, "/v1/models", "/v1/attributes"):
        if path.rstrip("/").endswith(known.removeprefix("/v1")):
            return f"path: got {path}, allowed is {known}"
    return None


def _first_finding(findings: Sequence[Any], fields: Iterable[str]) -> RequestError:
    """Return a 400 that names the first wrong field, the value got and what is allowed."""
    found = findings[0]
    location = [str(part) for part in found["loc"][1:]]  # inside the body
    path = ".".join(location)
    got = repr(found["input"])[:80]
    if found["type"] == "json_invalid":
        return RequestError(400, "body: got no valid JSON", code="invalid_json")
    if location[:1] == ["fairness"]:
        allowed = "'off', {attribute: 'uniform'}, {attribute: table} or {'joint': table}"
        message = f"fairness: got {got}, allowed are {allowed}"
        return RequestError(400, message, param="fairness", code="invalid_value")
    if location[:1] == ["categories"]:
        allowed = "a table of categories, or a list of such tables, one a picture"
        message = f"categories: got {got}, allowed is {allowed}"
        return RequestError(400, message, param="categories", code="invalid_value")
    if found["type"] == "extra_forbidden":
        allowed = ", ".join(fields)
        return RequestError(
            400, f"{path}: unknown field; allowed are {allowed}", param=path, code="unknown_field"
        )
    if found["type"] == "missing":
        return RequestError(
            400, f"{path}: got nothing, it is required", param=path, code="invalid_value"
        )
    message = found["msg"].removeprefix("Value error, ")
    if not message.startswith("got "):
        message = f"got {got}: {message}"
    return RequestError(
        400, f"{path or 'body'}: {message}", param=path or None, code="invalid_value"
    )
