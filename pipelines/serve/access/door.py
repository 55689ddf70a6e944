"""The port of an endpoint on this machine.

Who starts the endpoint listens, and hands the socket to its gateway. While one gateway follows
another, clients that come wait in the socket's queue, and none is refused. The hosts of a cluster
have Serve's own proxies instead.
"""

import asyncio
import logging
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.access.connections import BoundedProtocol
from pipelines.serve.access.inlined import InlinedBodies

log = logging.getLogger("ray.serve")
_BACKLOG = 2048
_KEEP_ALIVE_S = 90
_LOOK_S = 0.01
_REQUEST_ID = "X-Request-ID"


@dataclass(frozen=True)
class Tls:
    """The files of an HTTPS endpoint."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, certificate: Path | None, key: Path | None) -> Self:
        """Raise ValueError unless both are there and belong together."""
        if certificate is None or key is None:
            raise ValueError("tls: got one of certificate and key, allowed are both")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(certificate, key, password="")  # else OpenSSL asks the terminal
        except (OSError, ssl.SSLError) as error:
            raise ValueError(
                f"tls: got {certificate} and {key}, which no server can use: {error}; allowed are "
                "a chain and its key, without a password"
            ) from error
        return cls(certificate.resolve(), key.resolve())


@dataclass(frozen=True)
class Door:
    """Where a gateway gets the socket of its endpoint, and how it answers there.

    Of a client's address `trusted_proxies` are believed, and nobody else.
    """

    handed_at: Path
    tls: Tls | None = None
    trusted_proxies: tuple[str, ...] = ()


@contextmanager
def open_door(
    host: str, port: int, tls: Tls | None, trusted_proxies: Sequence[str]
) -> Iterator[Door]:
    """Listen for the length of the block. Raises ValueError where nobody can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ValueError(f"port: got {port} of {host}, where nobody can listen ({error}); allowed "
                         "is a free one") from error  # fmt: skip
    with (
        listening,
        tempfile.TemporaryDirectory(prefix="fairgen-", dir="/tmp") as folder,  # a short path
        socket.socket(socket.AF_UNIX) as desk,
    ):
        path = Path(folder) / "door"
        desk.bind(str(path))
        desk.listen()
        threading.Thread(target=_hand_out, args=(desk, listening), daemon=True).start()
        try:
            yield Door(path, tls, tuple(trusted_proxies))
        finally:
            desk.shutdown(socket.SHUT_RDWR)


def _hand_out(desk: socket.socket, listening: socket.socket) -> None:
    """Give the socket to whoever asks, until the desk is closed."""
    with suppress(OSError):
        while True:
            asking, _ = desk.accept()
            with asking, suppress(OSError):  # it may have left
                socket.send_fds(asking, [b"\0"], [listening.fileno()])


def _handed(path: Path) -> socket.socket:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        _, (descriptor,), _, _ = socket.recv_fds(asking, 1, 1)
    listening = socket.socket(fileno=descriptor)
    listening.set_inheritable(False)
    return listening


@asynccontextmanager
async def answering(door: Door, app: ASGIApp) -> AsyncIterator[None]:
    """Let an application answer at a door for the length of the block; what is on its way at the
    end is cut off.
    """
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(door.trusted_proxies)
    server = uvicorn.Server(
        uvicorn.Config(
            RequestIds(InlinedBodies(app)),
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.INFO,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=0,
            ssl_certfile=door.tls.certificate if door.tls else None,
            ssl_keyfile=door.tls.key if door.tls else None,
        )
    )
    answered = logging.getLogger("uvicorn.access")
    answered.handlers, answered.propagate = log.handlers, False
    serving = asyncio.ensure_future(server.serve(sockets=[_handed(door.handed_at)]))
    while not server.started:
        if serving.done():
            raise RuntimeError("the endpoint cannot answer") from serving.exception()
        await asyncio.sleep(_LOOK_S)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class RequestIds:
    """Plain ASGI: every answer names its request, by the name that the client gave it, or a new
    one, as Serve's proxies do.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = MutableHeaders(scope=scope).get(_REQUEST_ID) or str(uuid4())

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_REQUEST_ID] = given
            await send(message)

        await self._app(scope, receive, named)
