"""What stands before the application: hosts and keys that are known, so many requests each, headers
and bodies of an allowed size that come in time, and a tally of what was answered.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext, suppress
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.access.closing import Closing
from pipelines.serve.access.errors import RequestError
from pipelines.serve.access.inlined import INLINED
from pipelines.serve.access.keys import ApiKeys
from pipelines.serve.access.paths import ASSETS, EDITS, PICTURES
from pipelines.serve.access.rate_limiter import RateLimiter
from pipelines.serve.access.uploads import HeldBytes, UploadMemory
from pipelines.serve.retries import Refusals, retry_of
from pipelines.serve.settings import ServeSettings

_OPEN = {"/health", "/", "/docs", "/openapi.json"}
_BODIES_AT_ONCE = 64  # that one address may be sending
_HEADERS = [
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
]


class AnswerCounter:
    """Plain ASGI around all else: tells the status of each answer to a request for pictures, and
    that it is on its way.
    """

    def __init__(self, app: ASGIApp, count: Callable[[int], None], closing: Closing) -> None:
        self._app, self._count, self._closing = app, count, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST" or not scope["path"].endswith((PICTURES, EDITS)):
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
            with self._closing.on_its_way():
                await self._app(scope, receive, counted)
        except Exception:
            if not begun:  # the application answers it outside of all that is around it
                self._count(500)
            raise


class AccessMiddleware:
    """Plain ASGI, so that it adds no task to a request; it leaves the caller in the request's
    state.

    A body is read where one belongs, once the key is known, and within its time. Those of edits
    are counted together until the application says what of one it keeps (`held_bytes` in the
    request's state).
    """

    def __init__(
        self, app: ASGIApp, settings: ServeSettings, refusals: Refusals, closing: Closing
    ) -> None:
        self._app, self._limits, self._hosts = app, settings.limits, settings.access.hosts
        self._refusals, self._closing = refusals, closing
        self._keys, self._turnstile = ApiKeys(settings.access), RateLimiter(settings.access)
        self._sending: Counter[str] = Counter()
        self._uploads = UploadMemory(settings.limits.uploads_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        try:
            self._check_headers(request)
            caller = self._caller(request)
            scope.setdefault("state", {})["caller"] = caller
            counted = request.method == "POST"
            with self._turnstile.admitted(caller) if counted else nullcontext():
                if not (counted and request.url.path.endswith((PICTURES, EDITS))):
                    await self._app(scope, receive, guarded)
                    return
                self._closing.check()
                with self._uploads.of(_address(request)) as held:
                    scope["state"]["held_bytes"] = held
                    body = await self._body_in_time(request, held)
                    unread: list[Message] = [
                        {"type": "http.request", "body": body, "more_body": False}
                    ]
                    del body

                    async def again() -> Message:
                        return unread.pop() if unread else await receive()

                    await self._app(scope, again, guarded)
        except RequestError as error:  # of the guard: the application answers its own
            self._note(request, error)
            await error.response()(scope, receive, guarded)

    def _note(self, request: Request, refused: RequestError) -> None:
        """Take note of a try that is refused; of one whose body is not here nothing is known."""
        caller, body = request.scope.get("state", {}).get("caller"), request.scope.get(INLINED)
        if caller is None or body is None:
            return
        with suppress(RequestError):  # a key that is too long is none
            retry = self._refusals.followed_by(retry_of(request.headers, caller, body))
            self._refusals.note(retry, refused.status)

    def _caller(self, request: Request) -> str:
        """Return the name of the request's key, its address where no key is wanted. Raises 401."""
        path = request.url.path
        if not self._keys.locked or path in _OPEN or path.startswith(f"{ASSETS}/"):
            return _address(request)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        name = self._keys.caller(given.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            raise RequestError(401, "the API key is missing or wrong", code="invalid_api_key")
        return name

    def _check_headers(self, request: Request) -> None:
        """Raise 431 for headers that are too large, 400 for a host that is not ours."""
        size = sum(len(name) + len(value) for name, value in request.headers.raw)
        if size > self._limits.header_bytes:
            message = f"headers: got {size} bytes, allowed are {self._limits.header_bytes}"
            raise RequestError(431, message)
        host = _hostname(request.headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            raise RequestError(400, f"host: got {host!r}, allowed are {list(self._hosts)}")

    async def _body_in_time(self, request: Request, held: HeldBytes) -> bytes:
        """Return the body. Raises 408 for one that takes too long, 429 where one address sends many
        at once.
        """
        is_edit = request.url.path.endswith(EDITS)
        sender = _address(request)
        limit_s = self._limits.upload_s if is_edit else self._limits.body_s
        if self._sending[sender] >= _BODIES_AT_ONCE:
            message = f"{_BODIES_AT_ONCE} bodies of {sender} are on their way, allowed are as many"
            raise RequestError(429, message, code="rate_limit_exceeded", retry_after_s=1)
        self._sending[sender] += 1
        try:
            async with asyncio.timeout(limit_s):
                if is_edit:
                    return await _read_body(request, self._limits.upload_bytes, held.add)
                return await _read_body(request, self._limits.body_bytes, lambda _: None)
        except TimeoutError as error:
            message = f"body: it was not there within {limit_s:g} s"
            raise RequestError(408, message, code="timeout") from error
        finally:
            self._sending[sender] -= 1
            if not self._sending[sender]:
                del self._sending[sender]


async def _read_body(request: Request, allowed: int, hold: Callable[[int], None]) -> bytes:
    """Return the body; `hold(size)` is called before each piece of it is kept. One that came with
    its head is not waited for. Raises 413 for one that is too large, however it is announced.
    """
    size = 0
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > allowed:
        raise RequestError(413, f"body: got {announced} bytes, allowed are {allowed}")
    chunks = []
    inlined: bytes | None = request.scope.get(INLINED)
    async for chunk in request.stream() if inlined is None else _once(inlined):
        size += len(chunk)
        if size > allowed:
            raise RequestError(413, f"body: got over {allowed} bytes, allowed are {allowed}")
        hold(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _address(request: Request) -> str:
    """Return the address that a request comes from; a proxy's word for it may be any text."""
    try:
        return str(ipaddress.ip_address(request.client.host if request.client else ""))
    except ValueError:
        return "unknown"


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
