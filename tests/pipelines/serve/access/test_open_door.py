"""The socket of an endpoint outlives its gateways, and what answers there is bounded and named."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pipelines.registry import free_port
from pipelines.serve.access.door import Tls, answering, open_door
from tests.pipelines.certificate import certificate

Answer = TypeVar("Answer")


def application(name: str) -> Starlette:
    """Return one that says its name and who asks."""

    async def answer(request: Request) -> JSONResponse:
        return JSONResponse([name, request.client.host if request.client else ""])

    return Starlette(routes=[Route("/", answer)])


def ask(port: int, scheme: str = "http", **options: Any) -> httpx2.Response:
    verify = options.pop("verify", True)
    return httpx2.get(f"{scheme}://127.0.0.1:{port}/", timeout=20, verify=verify, **options)


def test_who_comes_between_two_gateways_waits_for_the_second() -> None:
    port = free_port()

    async def play() -> list[object]:
        with open_door("127.0.0.1", port, None, ()) as door:
            async with answering(door, application("first")):
                before = await asyncio.to_thread(ask, port)
            waits = asyncio.create_task(asyncio.to_thread(ask, port))
            await asyncio.sleep(0.3)
            assert not waits.done()
            async with answering(door, application("second")):
                return [before.json()[0], (await waits).json()[0]]

    assert asyncio.run(play()) == ["first", "second"]
    with pytest.raises(httpx2.ConnectError):
        ask(port)


def test_nobody_else_listens_at_a_door_and_the_socket_is_its_owners() -> None:
    with open_door("127.0.0.1", free_port(), None, ()) as door:
        assert door.handed_at.parent.stat().st_mode & 0o077 == 0
        with pytest.raises(ValueError, match="where nobody can listen"), socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            with open_door("127.0.0.1", other.getsockname()[1], None, ()):
                raise AssertionError
    assert not door.handed_at.parent.exists()


def answered(ask: Callable[[int], Answer], **options: Any) -> Answer:
    """Return what a door with these options answers."""
    port = free_port()

    async def play() -> Answer:
        with open_door("127.0.0.1", port, options.get("tls"), options.get("trusted", ())) as door:
            async with answering(door, application("it")):
                return await asyncio.to_thread(ask, port)

    return asyncio.run(play())


def test_a_clients_address_is_what_trusted_proxies_say_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")
    headers = {"X-Forwarded-For": "203.0.113.7"}

    def forwarded(port: int) -> httpx2.Response:
        return ask(port, headers=headers)

    assert answered(forwarded).json() == ["it", "127.0.0.1"]
    assert answered(forwarded, trusted=["127.0.0.1"]).json() == ["it", "203.0.113.7"]


def test_an_answer_names_its_request() -> None:
    named = answered(lambda port: ask(port, headers={"X-Request-ID": "mine"}))
    assert named.headers["x-request-id"] == "mine"
    first, second = (answered(ask).headers["x-request-id"] for _ in range(2))
    assert first and first != second


def test_a_door_with_a_certificate_answers_by_https_only(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(tls.certificate))
    assert answered(lambda p: ask(p, "https", verify=trusted), tls=tls).json()[0] == "it"
    with pytest.raises(httpx2.RemoteProtocolError):
        answered(ask, tls=tls)
    gone = Tls(tmp_path / "gone.pem", tls.key)
    with pytest.raises(RuntimeError, match="cannot answer"):
        answered(ask, tls=gone)


def test_a_head_that_does_not_end_ends_its_connection() -> None:
    def send(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 70_000)
            return connection.recv(100)

    assert answered(send).startswith(b"HTTP/1.1 431")
