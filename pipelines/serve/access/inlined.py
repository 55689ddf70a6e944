"""Small bodies that go from Serve's HTTP proxy to a replica with the heads of their requests."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.access.paths import EDITS, PICTURES

INLINED = "fairgen.body"
"""The key of a scope that holds the body of its request."""
WITHIN_S = 0.05
_MAX_BYTES = 65_536


class InlinedBodies:
    """Plain ASGI: a request for pictures has its body in its scope, and there alone, where it is
    small and there with its head. Else a replica asks the proxy for it, by a call of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_for_pictures(scope) or not _is_small(scope):
            await self._app(scope, receive, send)
            return
        read: list[Message] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                while not read or read[-1].get("more_body"):
                    read.append(await receive())
        if read and not read[-1].get("more_body") and read[-1]["type"] == "http.request":
            body = b"".join(message.get("body", b"") for message in read)
            await self._app({**scope, INLINED: body}, receive, send)
            return

        async def again() -> Message:
            return read.pop(0) if read else await receive()

        await self._app(scope, again, send)


def _is_for_pictures(scope: Scope) -> bool:
    return scope.get("method") == "POST" and scope["path"].endswith((PICTURES, EDITS))


def _is_small(scope: Scope) -> bool:
    """Return whether a request says that its body is small."""
    announced = Headers(scope=scope).get("content-length", "")
    return announced.isdigit() and int(announced) <= _MAX_BYTES
