"""What stands before the application: known keys, so many requests each, headers and bodies of an
allowed size, and a tally of what was answered.
"""

from collections.abc import Callable
from contextlib import nullcontext

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.access.errors import RequestError
from pipelines.serve.access.keys import ApiKeys
from pipelines.serve.access.rate_limiter import RateLimiter
from pipelines.serve.settings import ServeSettings

PICTURES = "/v1/images/generations"
_OPEN = {"/health", "/", "/docs", "/openapi.json"}


class AnswerCounter:
    """Plain ASGI around all else: tells the status of each answer to a request for pictures."""

    def __init__(self, app: ASGIApp, count: Callable[[int], None]) -> None:
        self._app, self._count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST" or not scope["path"].endswith(PICTURES):
            await self._app(scope, receive, send)
            return
        begun = False

        async def counted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            if not begun:  # the application answers it outside of all that is around it
                self._count(500)
            raise


class AccessMiddleware:
    """Plain ASGI, so that it adds no task to a request; it leaves the caller in the request's
    state.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._body_bytes = app, settings.limits.body_bytes
        self._header_bytes = settings.limits.header_bytes
        self._keys, self._turnstile = ApiKeys(settings.access), RateLimiter(settings.access)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            self._check_headers(request)
            caller = self._caller(request)
            scope.setdefault("state", {})["caller"] = caller
            counted = request.method == "POST"
            with self._turnstile.admitted(caller) if counted else nullcontext():
                body = await self._read_body(request)
                unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

                async def again() -> Message:
                    return unread.pop() if unread else await receive()

                await self._app(scope, again, send)
        except RequestError as error:  # of the guard: the application answers its own
            await error.response()(scope, receive, send)

    def _caller(self, request: Request) -> str:
        """Return the name of the request's key, its address where no key is wanted. Raises 401."""
        if not self._keys.locked or request.url.path in _OPEN:
            return request.client.host if request.client else ""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (caller := self._keys.caller(given)) is None:
            raise RequestError(401, "the API key is missing or wrong", code="invalid_api_key")
        return caller

    def _check_headers(self, request: Request) -> None:
        """Raise 431 for headers that are too large."""
        size = sum(len(name) + len(value) for name, value in request.headers.raw)
        if size > self._header_bytes:
            message = f"headers: got {size} bytes, allowed are {self._header_bytes}"
            raise RequestError(431, message)

    async def _read_body(self, request: Request) -> bytes:
        """Return the body. Raises 413 for one that is too large, however it is announced."""
        allowed, size = self._body_bytes, 0
        announced = request.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > allowed:
            raise RequestError(413, f"body: got {announced} bytes, allowed are {allowed}")
        chunks = []
        async for chunk in request.stream():
            size += len(chunk)
            if size > allowed:
                raise RequestError(413, f"body: got over {allowed} bytes, allowed are {allowed}")
            chunks.append(chunk)
        return b"".join(chunks)
