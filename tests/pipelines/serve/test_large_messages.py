"""Parts of the endpoint send each other pictures of any size, by gRPC."""

import urllib.request
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI, Request, Response

from pipelines.registry.local_server import free_port
from pipelines.serve.deployments import on_this_side

pytestmark = [pytest.mark.ray, pytest.mark.slow]
NUM_BYTES = 24 * 2**20  # eight pictures of 1024 pixels


class Painter:
    """Answers with as many bytes as it was sent."""

    async def name(self) -> str:
        return "painter"

    async def paint(self, order: bytes) -> AsyncIterator[bytes]:
        yield b""
        yield order


class Door:
    """An application in front of it, as the gateway is."""

    def __init__(self, painter) -> None:  # type: ignore[no-untyped-def]
        self._painter = on_this_side(painter).options(stream=True)

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = FastAPI()

        @app.post("/")
        async def paint(request: Request) -> Response:
            parts = [part async for part in self._painter.paint.remote(await request.body())]
            return Response(b"".join(parts))

        @app.get("/")
        async def passes_by_reference() -> bool:
            answer = self._painter.options(stream=False).name.remote()
            try:
                await answer._to_object_ref()  # Ray's own, for developers
            except RuntimeError as error:
                assert "by-value" in str(error), error
                return False
            return True

        return app


@pytest.fixture(scope="module")
def address(cluster: None) -> Iterator[str]:
    from ray import serve

    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    small = {"ray_actor_options": {"num_cpus": 0.1}}
    painter = serve.deployment(Painter, name="Painter", **small).bind()
    serve.run(
        serve.deployment(serve.ingress()(Door), name="Door", **small).bind(painter),
        name="large",
        route_prefix="/large",
    )
    yield f"http://127.0.0.1:{port}/large/"
    serve.shutdown()


def test_pictures_of_several_megabytes_arrive(address: str) -> None:
    sent = bytes(range(256)) * (NUM_BYTES // 256)
    with urllib.request.urlopen(address, sent, timeout=60) as answer:
        assert answer.read() == sent


def test_they_call_each_other_by_grpc(address: str) -> None:
    """Whose answers are no references to Ray's objects; those of Ray's own calls are."""
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.read() == b"false"
