"""Small bodies go on with the heads of their requests, and arrive whole whichever way they go."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from pipelines.serve.access import inlined
from pipelines.serve.access.closing import Closing
from pipelines.serve.access.inlined import INLINED, InlinedBodies
from pipelines.serve.access.middleware import AccessMiddleware
from pipelines.serve.access.paths import PICTURES
from pipelines.serve.retries import Refusals
from pipelines.serve.settings import ServeSettings
from tests.pipelines.in_process import listening
from tests.pipelines.processes import wait_for

LEFT: list[str] = []


async def echo(request: Request) -> PlainTextResponse:
    """Answer with where the body is, in the scope or behind it, and its length."""
    there = request.scope.get(INLINED)
    try:
        body = await request.body() if there is None else there
    except ClientDisconnect:
        LEFT.append(f"half a body, {there}")
        raise
    if body == b"waits":
        LEFT.append((await request.receive())["type"])
    return PlainTextResponse(json.dumps(["behind" if there is None else "in the scope", len(body)]))


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    app = Starlette(routes=[Route(path, echo, methods=["POST"]) for path in (PICTURES, "/other")])
    app.add_middleware(InlinedBodies)
    with listening(app) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


def answer(address: tuple[str, int], *parts: bytes, after_s: float = 0.0) -> list[object]:
    with socket.create_connection(address, timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(after_s)
        content = b""
        while part := connection.recv(65_536):
            content += part
    found: list[object] = json.loads(content.partition(b"\r\n\r\n")[2])
    return found


def head(size: int | None, path: str = PICTURES) -> bytes:
    length = b"Transfer-Encoding: chunked" if size is None else b"Content-Length: %d" % size
    first = f"POST {path} HTTP/1.1".encode()
    return b"\r\n".join((first, b"Host: h", b"Connection: close", length, b"", b""))


def test_a_small_body_goes_on_with_its_head(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inlined, "WITHIN_S", 30.0)
    assert answer(address, head(5) + b"hello") == ["in the scope", 5]
    assert answer(address, head(0)) == ["in the scope", 0]
    assert answer(address, head(5), b"hel", b"lo", after_s=0.01) == ["in the scope", 5]


def test_what_is_no_request_for_pictures_arrives_as_it_is(address: tuple[str, int]) -> None:
    assert answer(address, head(5, "/other") + b"hello") == ["behind", 5]


def test_one_that_is_large_slow_or_of_no_said_length_arrives_whole(
    address: tuple[str, int],
) -> None:
    assert answer(address, head(100_000) + b"x" * 100_000) == ["behind", 100_000]
    assert answer(address, head(5), b"hello", after_s=0.1) == ["behind", 5]
    assert answer(address, head(5) + b"hel", b"lo", after_s=0.1) == ["behind", 5]
    assert answer(address, head(None) + b"5\r\nhello\r\n0\r\n\r\n") == ["behind", 5]


def test_the_application_hears_that_its_client_has_left(address: tuple[str, int]) -> None:
    LEFT.clear()
    with socket.create_connection(address) as connection:
        connection.sendall(head(5) + b"waits")
        time.sleep(0.2)
        assert LEFT == []
    wait_for(lambda: LEFT == ["http.disconnect"])
    with socket.create_connection(address) as connection:
        connection.sendall(head(5) + b"hel")
    wait_for(lambda: LEFT == ["http.disconnect", "half a body, None"])


def test_the_guard_waits_for_no_body_that_is_there() -> None:
    """And the application hears nothing of the message that brings it a second time."""
    seen: list[object] = []
    late: list[Message] = [
        {"type": "http.request", "body": b"{}", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        seen.append(await request.body())
        seen.append(len(late))
        while (message := await receive())["type"] != "http.disconnect":
            assert message["type"] == "http.request"
        seen.append(len(late))

    async def receive() -> Message:
        return late.pop(0)

    async def send(_: Message) -> None: ...

    scope = {
        "type": "http", "method": "POST", "path": PICTURES, "headers": [], "query_string": b"",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "scheme": "http", INLINED: b"{}",
    }  # fmt: skip
    asyncio.run(
        AccessMiddleware(inner, ServeSettings(), Refusals(), Closing())(scope, receive, send)
    )
    assert seen == [b"{}", 2, 0]
