"""An endpoint that ends answers what is on its way; one that does not start says why."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
import pytest

from pipelines.recipe.recipe import Recipe
from pipelines.registry import free_port
from pipelines.serve.gateway import create_app
from pipelines.serve.run import served
from pipelines.serve.settings import ServeSettings
from tests.pipelines.commands import output_of, start
from tests.pipelines.endpoint import LIMITS
from tests.pipelines.in_process import InProcess
from tests.pipelines.processes import wait_for

pytestmark = pytest.mark.slow
ASK = {"prompt": "a photo of a pilot", "fairness": {"gender": "uniform"}, "n": 4}


@pytest.fixture(scope="module")
def served_recipe(make_served: Callable[..., Recipe]) -> Recipe:
    return make_served("ending")


class SlowLedger(InProcess):
    """A backend whose ledger takes its time to hear of a request's end."""

    async def settle(self, reservation: str, lost: Sequence[int]) -> None:
        await asyncio.sleep(0.5)
        await super().settle(reservation, lost)


@pytest.mark.parametrize("streams", [False, True], ids=["answer", "stream"])
def test_what_is_on_its_way_is_answered_and_settled_and_nothing_more_is_taken(
    served_recipe: Recipe, tracking_uri: str, streams: bool
) -> None:
    limits = LIMITS.model_copy(update={"num_steps": 100})
    settings = ServeSettings(poll_s=None, limits=limits, tracking_uri=tracking_uri)
    backend = SlowLedger(settings, served_recipe)
    app = create_app(backend, settings, served_recipe)
    asked = ASK | {"num_inference_steps": 100, "stream": streams}

    async def play() -> None:
        wire = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=wire, base_url="http://here") as client:
            on_its_way = asyncio.create_task(client.post("/v1/images/generations", json=asked))
            while not backend.generator.engine_state.batch_rows:
                await asyncio.sleep(0.01)
            ending = asyncio.create_task(app.state.end())
            await asyncio.sleep(0.01)
            assert not ending.done() and not on_its_way.done()
            refused = await client.post("/v1/images/generations", json=ASK)
            assert refused.status_code == 503 and "retry-after" in refused.headers
            assert refused.json()["error"]["message"] == "the endpoint is ending"
            assert (await client.get("/health")).status_code == 503
            assert (await client.get("/v1/models")).status_code == 200
            answer = await on_its_way
            assert answer.status_code == 200
            assert answer.text.count("b64_json") == 4 and "event: error" not in answer.text
            await ending
            assert (backend.num_settled, backend.num_given_back) == (1, 0)

    asyncio.run(asyncio.wait_for(play(), 120))
    backend.generator.close()


def test_an_endpoint_with_nothing_on_its_way_ends_at_once(
    served_recipe: Recipe, tracking_uri: str
) -> None:
    settings = ServeSettings(poll_s=None, limits=LIMITS, tracking_uri=tracking_uri)
    backend = InProcess(settings, served_recipe)
    app = create_app(backend, settings, served_recipe)
    asyncio.run(asyncio.wait_for(app.state.end(), 1))
    backend.generator.close()


@pytest.mark.ray
def test_one_that_does_not_start_says_what_its_replica_raised(
    cluster: None,
    make_recipe: Callable[..., Path],
    tracking_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "ledger.sqlite").write_text("no database")
    settings = ServeSettings(recipe=make_recipe(tmp_path, "never"))
    told = "the endpoint does not start: ledger: got sqlite:.*file is not a database"
    with (
        pytest.raises(RuntimeError, match=f"^{told}$"),
        served(settings, tmp_path, "127.0.0.1", free_port()),
    ):
        raise AssertionError


@pytest.mark.ray
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_command_that_is_told_to_end_answers_first(
    make_served: Callable[..., Recipe],
    make_recipe: Callable[..., Path],
    tracking_uri: str,
    tmp_path: Path,
    name: str,
) -> None:
    recipe = f"ending-{name.lower()}"
    make_served(recipe)
    path, port = make_recipe(tmp_path, recipe), free_port()
    command = start(
        tmp_path, "serve", str(path), "--port", str(port), FAIRGEN_HOME=str(tmp_path / "home"),
        MLFLOW_TRACKING_URI=tracking_uri, RAY_ADDRESS=None,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/v1/images/generations"
    try:
        wait_for(lambda: "The page:" in output_of(tmp_path), timeout_s=120)
        asked = ASK | {"num_inference_steps": 100, "n": 16, "stream": True}
        with httpx2.stream("POST", url, json=asked, timeout=120) as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": accepted"
            os.kill(command.pid, getattr(signal, name))
            events = [line for line in lines if line.startswith("event: ")]
        assert events == ["event: image_generation.completed"] * 16
        assert command.wait(60) == 0
    finally:
        command.kill()
