"""The endpoint over HTTP in this process, and what a client asks of it."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx2
from openai import OpenAI

from pipelines.recipe.recipe import Recipe
from pipelines.serve.gateway import create_app
from pipelines.serve.settings import Limits, ServeSettings
from tests.pipelines.in_process import InProcess, listening
from tests.pipelines.processes import wait_for

LIMITS = Limits(num_images=16, side_px=64, num_steps=20, prompt_chars=80, body_bytes=2048)
OPTIONS: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 2.0}


@dataclass
class Endpoint:
    """A served recipe and a client for it."""

    address: str
    recipe: Recipe
    backend: InProcess

    @property
    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0)

    def generate(self, prompt: str = "a photo of a doctor", n: int = 1, **extra: Any) -> list[Any]:
        """Return the pictures of a request made by the official client."""
        return self.client.images.generate(prompt=prompt, n=n, extra_body=OPTIONS | extra).data

    def post(self, body: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Return status, JSON and headers of a raw request."""
        request = urllib.request.Request(
            f"{self.address}/v1/images/generations", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), dict(error.headers)

    def leave(self, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        """Ask for pictures, and close the connection once they are assigned."""
        num_assigned = len(self.backend.assigned)
        host, _, port = self.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /v1/images/generations HTTP/1.1\r\nHost: here\r\n"
                b"Content-Type: application/json\r\n"
                + "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            wait_for(lambda: len(self.backend.assigned) > num_assigned)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.address + path, timeout=60) as answer:
            return answer.read().decode()


class LosesAnswers(httpx2.HTTPTransport):
    """The wire of a client whose first answers are lost once the server has sent them."""

    def __init__(self, num_lost: int, **options: Any) -> None:
        super().__init__(**options)
        self.left, self.contents = num_lost, list[bytes]()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        self.contents.append(answer.read())
        if self.left:
            self.left -= 1
            raise httpx2.ReadError("the connection is gone")
        return answer


def open_endpoint(recipe: Recipe, **settings: Any) -> Iterator[Endpoint]:
    chosen = ServeSettings(poll_s=None, limits=LIMITS).model_copy(update=settings)
    backend = InProcess(chosen, recipe)
    with listening(create_app(backend, chosen, recipe)) as address:
        yield Endpoint(address, recipe, backend)
    backend.generator.close()
