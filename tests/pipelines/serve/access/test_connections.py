"""A server whose connections are bounded answers others while some send too much, or nothing."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pipelines.serve.access import connections
from pipelines.serve.access.connections import BoundedProtocol
from tests.pipelines.in_process import listening


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body() or "hello")


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(connections, "HEADER_S", 0.5)
    monkeypatch.setattr(connections, "PER_ADDRESS", 8)
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    with listening(app, http=BoundedProtocol) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


def answer(address: tuple[str, int], sent: bytes) -> bytes:
    """Return all that comes back on a connection until it ends."""
    with socket.create_connection(address, timeout=20) as connection:
        parts = []
        with suppress(OSError):  # the other side has had enough
            connection.sendall(sent)
        with suppress(ConnectionResetError):  # it has not read all that was sent
            while part := connection.recv(65_536):
                parts.append(part)
        return b"".join(parts)


def test_requests_pass_one_after_the_other_on_one_connection(address: tuple[str, int]) -> None:
    with httpx2.Client(base_url=f"http://{address[0]}:{address[1]}") as client:
        for size in (0, 10, 300_000, 10):
            body = "x" * size
            assert client.post("/", content=body).text == (body or "hello")


def test_headers_that_are_too_long_end_the_connection(address: tuple[str, int]) -> None:
    long = b"GET / HTTP/1.1\r\nHost: here\r\nX-Long: " + b"x" * 400_000
    assert b"431" in answer(address, long) or answer(address, long) == b""
    allowed = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nX-Long: "
    assert b"200 OK" in answer(address, allowed + b"x" * 30_000 + b"\r\n\r\n")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: "])
def test_headers_that_are_not_there_in_time_end_the_connection(
    address: tuple[str, int], sent: bytes
) -> None:
    assert answer(address, sent).startswith(b"HTTP/1.1 408")


def test_a_further_request_has_its_own_time(address: tuple[str, int]) -> None:
    first = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    found = answer(address, first + b"GET / HTTP/1.1\r\nX-Slow: ")
    assert found.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 408" in found


def test_an_address_holds_so_many_connections_and_gets_them_back(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 30.0)
    get = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
    held = [socket.create_connection(address) for _ in range(8)]
    try:
        assert answer(address, get).startswith(b"HTTP/1.1 429")
        with socket.create_connection(address, source_address=("127.0.0.5", 0)) as other:
            other.sendall(get)
            assert other.recv(100).startswith(b"HTTP/1.1 200")
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
        assert answer(address, get).startswith(b"HTTP/1.1 200")
        monkeypatch.delenv("FORWARDED_ALLOW_IPS")
    finally:
        for connection in held:
            connection.close()
    while not answer(address, get).startswith(b"HTTP/1.1 200"):
        pass
