"""The door: keys that can be replaced, limits a key, sizes, pages of other hosts, decisions."""

import asyncio
import json
import os
import time
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
from pipelines.serve.access.closing import Closing
from pipelines.serve.access.decisions import DecisionLog
from pipelines.serve.access.errors import RequestError
from pipelines.serve.access.keys import check_open
from pipelines.serve.access.middleware import AccessMiddleware
from pipelines.serve.access.paths import EDITS, PICTURES
from pipelines.serve.access.rate_limiter import RateLimiter
from pipelines.serve.access.uploads import UploadMemory
from pipelines.serve.app import build
from pipelines.serve.image_plan import plan_images
from pipelines.serve.indicator import Asked, IndicatorService
from pipelines.serve.retries import Refusals
from pipelines.serve.schemas import ImageRequest
from pipelines.serve.settings import AccessConfig, Limits, ServeSettings


@contextmanager
def behind_the_guard(access: AccessConfig, **limits: Any) -> Iterator[TestClient]:
    """Yield a client of an application that answers with the caller's name."""

    async def who(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.caller)

    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    inner = Starlette(routes=[Route("/v1/who", who, methods=["GET", "POST"]),
                              Route(PICTURES, read, methods=["POST"]),
                              Route(EDITS, read, methods=["POST"]),
                              Route("/health", who)])  # fmt: skip
    settings = ServeSettings(access=access, limits=Limits(**limits))
    inner.add_middleware(
        AccessMiddleware, settings=settings, refusals=Refusals(), closing=Closing()
    )
    with TestClient(inner) as client:
        yield client


FIRST, SECOND, THIRD = (f"{name}-key-of-{16} characters" for name in ("first", "second", "third"))


def bearer(key: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {key}"}


def test_without_keys_everybody_may_come_in() -> None:
    with behind_the_guard(AccessConfig()) as client:
        assert client.get("/v1/who").text == "unknown"  # "testclient" is no address


def test_keys_of_environment_and_file_open_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRGEN_API_KEYS", f"{FIRST}, {SECOND}")
    (tmp_path / "keys").write_text(f"# of the team\n{THIRD}\n\n")
    with behind_the_guard(AccessConfig(keys_file=tmp_path / "keys")) as client:
        names = {client.get("/v1/who", headers=bearer(k)).text for k in (FIRST, SECOND, THIRD)}
        assert len(names) == 3 and all(len(name) == 8 for name in names)
        for wrong in ("", FIRST[:-1], FIRST + "x", FIRST + ",", FIRST.upper(), "# of the team"):
            refused = client.get("/v1/who", headers=bearer(wrong))
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/who").status_code == 401
        assert client.get("/v1/who", headers=bearer(FIRST, "bearer")).status_code == 200
        assert client.get("/v1/who", headers={"Authorization": FIRST}).status_code == 401
        assert client.get("/v1/who", headers=bearer(FIRST, "Basic")).status_code == 401
        assert client.get("/health").status_code == 200


def test_keys_are_replaced_without_a_restart(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    old, newer = FIRST, SECOND
    keys.write_text(old)
    with behind_the_guard(AccessConfig(keys_file=keys)) as client:
        assert client.get("/v1/who", headers=bearer(old)).status_code == 200
        keys.write_text(f"{old}\n{newer}")
        assert client.get("/v1/who", headers=bearer(newer)).status_code == 200
        keys.write_text(newer)
        assert client.get("/v1/who", headers=bearer(old)).status_code == 401
        keys.write_bytes(FIRST.encode("utf-16"))  # what cannot be read leaves the keys of before
        assert client.get("/v1/who", headers=bearer(newer)).status_code == 200
        keys.unlink()
        assert client.get("/v1/who", headers=bearer(newer)).status_code == 200


def test_a_file_of_keys_that_could_not_be_read_is_read_once_it_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(b"\xff" * len(FIRST))
    changed = keys.stat()
    with behind_the_guard(AccessConfig(keys_file=keys)) as client:
        for _ in range(3):
            assert client.get("/v1/who", headers=bearer(FIRST)).status_code == 401
        assert caplog.text.count("cannot be read") == 1
        keys.write_text(FIRST)
        os.utime(keys, ns=(changed.st_atime_ns, changed.st_mtime_ns))  # as where a mode is mended
        assert client.get("/v1/who", headers=bearer(FIRST)).status_code == 200


def test_remarks_and_a_byte_order_mark_are_no_part_of_a_key(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{FIRST}  # of the team\r\n{SECOND}\t#\n{THIRD}#1\n # none\n", "utf-8-sig")
    with behind_the_guard(AccessConfig(keys_file=keys)) as client:
        for key in (FIRST, SECOND, f"{THIRD}#1"):
            assert client.get("/v1/who", headers=bearer(key)).status_code == 200
        for wrong in (THIRD, f"{FIRST}  # of the team"):
            assert client.get("/v1/who", headers=bearer(wrong)).status_code == 401


@pytest.mark.parametrize("given", ["", " , ", "short", "x,y"])
def test_keys_that_were_asked_for_and_are_none_keep_the_server_from_starting(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRGEN_API_KEYS", given)
    with pytest.raises(ValueError, match="FAIRGEN_API_KEYS: got no key of 16 characters"):
        build(ServeSettings())


def test_a_short_key_of_a_file_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"a\n{FIRST}\n")
    with behind_the_guard(AccessConfig(keys_file=tmp_path / "keys")) as client:
        assert client.get("/v1/who", headers=bearer("a")).status_code == 401
        assert client.get("/v1/who", headers=bearer(FIRST)).status_code == 200


def test_beyond_this_machine_nobody_is_let_in_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.3.2.1"):
        check_open(AccessConfig(), host, is_open=False)
    with pytest.raises(ValueError, match=r"host: got 0\.0\.0\.0 without API keys"):
        check_open(AccessConfig(), "0.0.0.0", is_open=False)
    check_open(AccessConfig(), "0.0.0.0", is_open=True)
    monkeypatch.setenv("FAIRGEN_API_KEYS", FIRST)
    check_open(AccessConfig(), "0.0.0.0", is_open=False)


def test_hosts_that_are_named_are_answered_to_and_no_others() -> None:
    with behind_the_guard(AccessConfig(hosts=("fair.example", "::1"))) as client:
        for host, status in (("fair.example", 200), ("FAIR.example:8000", 200), ("[::1]:8000", 200),
                             ("evil.example", 400), ("", 400), ("[::1", 400)):  # fmt: skip
            assert client.get("/health", headers={"Host": host}).status_code == status


def test_every_answer_forbids_frames() -> None:
    with behind_the_guard(AccessConfig()) as client:
        for answer in (client.get("/health"), client.get("/nothing")):
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_a_file_of_keys_that_is_not_there_keeps_everybody_out(tmp_path: Path) -> None:
    with behind_the_guard(AccessConfig(keys_file=tmp_path / "keys")) as client:
        assert client.get("/v1/who", headers=bearer("any")).status_code == 401


def test_a_key_has_so_many_requests_a_minute_and_others_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAIRGEN_API_KEYS", f"{FIRST},{SECOND}")
    with behind_the_guard(AccessConfig(requests_per_minute=3)) as client:
        answers = [client.post("/v1/who", headers=bearer(FIRST)) for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].json()["error"]["message"] == "allowed are 3 requests a minute"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
        assert client.post("/v1/who", headers=bearer(SECOND)).status_code == 200
        assert client.get("/v1/who", headers=bearer(FIRST)).status_code == 200


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
        assert client.post(PICTURES, content=b"x" * 2000).status_code == 413
        assert client.post(PICTURES, content=b"x" * 1000).text == "x" * 1000


def test_bodies_of_edits_have_a_size_of_their_own() -> None:
    with behind_the_guard(AccessConfig(), body_bytes=1024, upload_bytes=4096) as client:
        assert client.post(EDITS, content=b"x" * 4096).text == "x" * 4096
        for content in (b"x" * 4097, iter([b"x" * 4000, b"x" * 97])):  # announced, and not
            refused = client.post(EDITS, content=content)
            assert refused.status_code == 413
            assert "allowed are 4096" in refused.json()["error"]["message"]


def test_bodies_of_edits_free_their_bytes_and_one_that_never_fits_says_so() -> None:
    with behind_the_guard(AccessConfig(), upload_bytes=4096, uploads_bytes=4096) as client:
        for _ in range(3):
            assert client.post(EDITS, content=b"x" * 3072).status_code == 200
            refused = client.post(EDITS, content=b"x" * 3073)
            assert refused.status_code == 413
            assert "take 3073 bytes at once, allowed are 3072" in refused.json()["error"]["message"]
            assert client.post(PICTURES, content=b"x" * 4096).status_code == 200


def test_no_sender_takes_all_of_the_memory_for_uploads() -> None:
    memory = UploadMemory(1000)
    with memory.of("one") as first, memory.of("one") as second, memory.of("other") as other:
        first.add(500)
        second.add(250)
        with pytest.raises(RequestError, match="750 bytes of pictures are in memory, 750 of"):
            second.add(1)
        other.add(187)
        with pytest.raises(RequestError, match="allowed are 1000, of which one sender holds"):
            other.add(10)
        first.keep(100)
        second.add(250)
        first.release()
        first.release()
        second.add(100)
    with memory.of("third") as third:
        third.add(750)


@pytest.mark.parametrize("path", ["/v1/who", "/nothing"])
def test_a_body_is_read_where_one_belongs_only(path: str) -> None:
    def endless() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    with behind_the_guard(AccessConfig()) as client:
        assert client.post(path, content=endless()).status_code in (200, 404)


@pytest.mark.parametrize(("path", "limit"), [(PICTURES, "body_s"), (EDITS, "upload_s")])
def test_a_body_that_arrives_too_slowly_is_a_408(path: str, limit: str) -> None:
    async def slow(scope: Any, sent: list[Any]) -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        limits = Limits(**{limit: 0.1})
        guard = AccessMiddleware(Starlette(), ServeSettings(limits=limits), Refusals(), Closing())
        await asyncio.wait_for(guard(scope, receive, send), 10)

    sent: list[Any] = []
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "client": None,
             "query_string": b"", "server": ("here", 80), "scheme": "http"}  # fmt: skip
    asyncio.run(slow(scope, sent))
    assert sent[0]["status"] == 408


def test_a_clock_that_is_set_back_makes_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = RateLimiter(AccessConfig(requests_per_minute=2))
    for _ in range(2):
        with limiter.admitted("one"):
            pass
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with pytest.raises(RequestError) as refused, limiter.admitted("one"):
        pass
    assert refused.value.retry_after_s is not None and 1 <= refused.value.retry_after_s <= 60


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
    log.close()
    assert (tmp_path / "decisions.jsonl").stat().st_mode & 0o777 == 0o600
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
        (["--host", "0.0.0.0"], "host: got 0.0.0.0 without API keys"),
    ],
)
def test_a_door_that_cannot_be_hung_is_refused(flags: list[str], message: str) -> None:
    refused = CliRunner().invoke(app, ["serve", *flags])
    assert refused.exit_code == 2 and message in " ".join(refused.output.split())
