"""The door: keys that can be replaced, limits a key, sizes, pages of other hosts, decisions."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.recipe.recipe import load_recipe
from pipelines.serve.access.decisions import DecisionLog
from pipelines.serve.access.middleware import AccessMiddleware
from pipelines.serve.access.rate_limiter import RateLimiter
from pipelines.serve.image_plan import plan_images
from pipelines.serve.indicator import Asked, IndicatorService
from pipelines.serve.schemas import ImageRequest
from pipelines.serve.settings import AccessConfig, Limits, ServeSettings


@contextmanager
def behind_the_guard(access: AccessConfig, **limits: Any) -> Iterator[TestClient]:
    """Yield a client of an application that answers with the caller's name."""

    async def who(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.caller)

    inner = Starlette(routes=[Route("/v1/who", who, methods=["GET", "POST"]),
                              Route("/health", who)])  # fmt: skip
    inner.add_middleware(
        AccessMiddleware, settings=ServeSettings(access=access, limits=Limits(**limits))
    )
    with TestClient(inner) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_keys_everybody_may_come_in() -> None:
    with behind_the_guard(AccessConfig()) as client:
        assert client.get("/v1/who").text == "testclient"


def test_keys_of_environment_and_file_open_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRGEN_API_KEYS", "first, second")
    (tmp_path / "keys").write_text("third\n\n")
    with behind_the_guard(AccessConfig(keys_file=tmp_path / "keys")) as client:
        names = {
            client.get("/v1/who", headers=bearer(k)).text for k in ("first", "second", "third")
        }
        assert len(names) == 3 and all(len(name) == 8 for name in names)
        for wrong in ("", "firs", "firstx", "first,", "FIRST"):
            refused = client.get("/v1/who", headers=bearer(wrong))
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/who").status_code == 401
        assert client.get("/health").status_code == 200


def test_keys_are_replaced_without_a_restart(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old")
    with behind_the_guard(AccessConfig(keys_file=keys)) as client:
        assert client.get("/v1/who", headers=bearer("old")).status_code == 200
        keys.write_text("old\nnewer")
        assert client.get("/v1/who", headers=bearer("newer")).status_code == 200
        keys.write_text("newer")
        assert client.get("/v1/who", headers=bearer("old")).status_code == 401
        keys.unlink()  # while it cannot be read, the keys of before hold
        assert client.get("/v1/who", headers=bearer("newer")).status_code == 200


def test_a_file_of_keys_that_is_not_there_keeps_everybody_out(tmp_path: Path) -> None:
    with behind_the_guard(AccessConfig(keys_file=tmp_path / "keys")) as client:
        assert client.get("/v1/who", headers=bearer("any")).status_code == 401


def test_a_key_has_so_many_requests_a_minute_and_others_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAIRGEN_API_KEYS", "first,second")
    with behind_the_guard(AccessConfig(requests_per_minute=3)) as client:
        answers = [client.post("/v1/who", headers=bearer("first")) for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].json()["error"]["message"] == "allowed are 3 requests a minute"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
        assert client.post("/v1/who", headers=bearer("second")).status_code == 200
        assert client.get("/v1/who", headers=bearer("first")).status_code == 200


def test_a_key_has_so_many_requests_at_once() -> None:
    turnstile = RateLimiter(AccessConfig(concurrent_requests=2))
    with turnstile.admitted("one"), turnstile.admitted("one"):
        with pytest.raises(Exception, match="2 requests are open, allowed are 2"):
            turnstile.admitted("one").__enter__()
        with turnstile.admitted("other"):
            pass
    with turnstile.admitted("one"):
        pass


def test_a_client_that_leaves_gives_its_place_back() -> None:
    turnstile = RateLimiter(AccessConfig(concurrent_requests=1))

    async def ask() -> None:
        with turnstile.admitted("one"):
            await asyncio.sleep(60)

    async def leave() -> None:
        task = asyncio.create_task(ask())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with turnstile.admitted("one"):
            pass

    asyncio.run(leave())


def test_headers_and_bodies_have_their_size() -> None:
    with behind_the_guard(AccessConfig(), header_bytes=1024, body_bytes=1024) as client:
        large = client.get("/v1/who", headers={"X-Large": "x" * 2000})
        assert large.status_code == 431 and "allowed are 1024" in large.json()["error"]["message"]
        assert client.post("/v1/who", content=b"x" * 2000).status_code == 413


def test_decisions_are_a_line_a_request_without_a_word_of_the_prompt(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe("decided"))
    prompt = "a photo of Doctor Wilhelmina Secret"
    request = ImageRequest(prompt=prompt, n=3, seed=7, fairness={"gender": "uniform"})
    indicator = IndicatorService(ServeSettings(), recipe)
    served = dict.fromkeys(("gender", "age"), None)
    assignment = asyncio.run(indicator.assign(Asked(prompt, 3, request.fairness), served))
    log = DecisionLog(tmp_path / "decisions.jsonl")
    orders = plan_images(request, assignment, recipe.generation)
    for _ in range(2):
        log.write("abcd1234", request, orders, [])
    text = (tmp_path / "decisions.jsonl").read_text()
    assert "Wilhelmina" not in text and "doctor" not in text.lower()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 2
    assert lines[0]["caller"] == "abcd1234" and lines[0]["delivered"] == 0
    assert [picture["seed"] for picture in lines[0]["pictures"]] == [7, 8, 9]
    assert lines[0]["prompt_sha256"] == lines[1]["prompt_sha256"]
    assert set(lines[0]["gate"]) == {"gender", "age"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tls-key", "key.pem"], "tls: got one of certificate and key, allowed are both"),
        (["--tls-key", "a", "--tls-certificate", "b"], "which no server can use"),
        (["--requests-per-minute", "0"], "greater than or"),
    ],
)
def test_a_door_that_cannot_be_hung_is_refused(flags: list[str], message: str) -> None:
    refused = CliRunner().invoke(app, ["serve", *flags])
    assert refused.exit_code == 2 and message in " ".join(refused.output.split())
