"""What stands before the application: known keys, and bodies of an allowed size."""

import hmac
import os

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.errors import RequestError
from pipelines.serve.settings import ServeSettings

_OPEN = {"/health", "/", "/docs", "/openapi.json"}


class Guard:
    """Plain ASGI, so that it adds no task to a request."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._body_bytes = app, settings.limits.body_bytes
        self._keys = [k for k in os.environ.get(settings.api_keys_env, "").split(",") if k]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            self._check_key(request)
            body = await self._read_body(request)
        except RequestError as error:
            await error.response()(scope, receive, send)
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, again, send)

    def _check_key(self, request: Request) -> None:
        """Raise 401 when keys are configured and the request brings none of them."""
        if not self._keys or request.url.path in _OPEN:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if not any([hmac.compare_digest(given, key.encode()) for key in self._keys]):
            raise RequestError(401, "the API key is missing or wrong", code="invalid_api_key")

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
