"""Bounds of an endpoint's connections, before any request is whole: what one may send and how long
it may take, and how many an address may hold.

A gateway at a door of its own keeps them; Serve's proxies do where
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names `bound_connections`.
"""

import asyncio
import os
from collections import Counter
from typing import Any

from starlette.middleware import Middleware
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipelines.serve.access.inlined import InlinedBodies

HEADER_BYTES = 65_536
HEADER_S = 10.0
PER_ADDRESS = 512

_open: Counter[str] = Counter()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Headers that are too long, or not there in time, end it; so does an address
    that holds too many, unless it is that of a proxy that FORWARDED_ALLOW_IPS trusts.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_bytes = 0
        self._in_headers = True
        self._clock: asyncio.TimerHandle | None = None
        self._address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_headers()
        address = self.client[0] if self.client else ""
        if address in os.environ.get("FORWARDED_ALLOW_IPS", "").split(","):
            return
        if _open[address] >= PER_ADDRESS:
            self._refuse(b"429 Too Many Requests")
            return
        self._address = address
        _open[address] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_headers()
        if self._address is not None:
            _open[self._address] -= 1
            if not _open[self._address]:
                del _open[self._address]
            self._address = None

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > HEADER_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._clock is None:  # a further request on the connection
            self._header_bytes = 0
            self._begin_headers()

    def on_headers_complete(self) -> None:
        self._end_headers()
        super().on_headers_complete()

    def _begin_headers(self) -> None:
        self._in_headers = True
        self._clock = self.loop.call_later(HEADER_S, self._refuse, b"408 Request Timeout")

    def _end_headers(self) -> None:
        self._in_headers = False
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            self.transport.close()


def bound_connections() -> list[Any]:
    """Let this process' HTTP server bound its connections from now on, and return what small bodies
    pass.
    """
    auto.AutoHTTPProtocol = BoundedProtocol
    return [Middleware(InlinedBodies)]
