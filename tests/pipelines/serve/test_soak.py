"""Half an hour at 80 % of what an endpoint can bear: no failed request, no memory that grows, no
row that stays.

So many requests come each second, whether others are answered or not; but there are no more than 64
callers, and where a machine's neighbours take its cores they all wait.
"""

import asyncio
import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from ray import serve

from pipelines.cli.options import REPORT
from pipelines.recipe.recipe import load_recipe
from pipelines.registry import free_port
from pipelines.serve.app import build
from pipelines.serve.settings import ServeSettings
from tests.pipelines.processes import children, wait_for
from tests.pipelines.registered import register_champions

pytestmark = [pytest.mark.soak, pytest.mark.full, pytest.mark.ray, pytest.mark.slow]

PORT = free_port()
SOAK_S, LOAD = 1800.0, 0.8
MEASURE_S, SAMPLE_S, SETTLE_S = 60.0, 5.0, 300.0
CALLERS = 64  # what they all make a process take stays taken: they come together before the samples
PROMPTS = ("a pilot", "a doctor", "a car", "a female nurse", "two judges", "a photo of a chef")


@pytest.fixture(scope="module")
def address(
    cluster: None,
    tracking_uri: str,
    make_recipe: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("soak")
    path = make_recipe(folder, "soak")
    register_champions(tracking_uri, load_recipe(path), folder / "adapters", seed=1)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    settings = ServeSettings(recipe=path, tracking_uri=tracking_uri, poll_s=5)
    serve.run(build(settings), name="soak", route_prefix="/")
    yield f"http://127.0.0.1:{PORT}"
    serve.shutdown()


class Load:
    """Asks for pictures of changing prompts, sizes of request and step counts."""

    def __init__(self, address: str) -> None:
        self._url = f"{address}/v1/images/generations"
        self.num_asked, self.num_images, self.num_waited = 0, 0, 0
        self.failed: list[str] = []
        self.took_s: list[float] = []

    async def ask(self, session: aiohttp.ClientSession) -> None:
        index, self.num_asked = self.num_asked, self.num_asked + 1
        body = {
            "prompt": PROMPTS[index % len(PROMPTS)],
            "n": 1 + index % 2,
            "seed": index,
            "num_inference_steps": 4 + index % 5,
            "stream": index % 7 == 0,
        }
        started = time.monotonic()
        async with session.post(self._url, json=body) as answer:
            content = await answer.text()
            if answer.status != 200:
                self.failed.append(content)
                return
        self.took_s.append(time.monotonic() - started)
        self.num_images += body["n"]

    async def callers(self, session: aiohttp.ClientSession, count: int, for_s: float) -> None:
        """Let callers ask one request after the other: as many as the endpoint can bear."""
        end = time.monotonic() + for_s

        async def call() -> None:
            while time.monotonic() < end:
                await self.ask(session)

        await asyncio.gather(*(call() for _ in range(count)))

    async def steadily(
        self, session: aiohttp.ClientSession, per_s: float, for_s: float
    ) -> list[dict[str, float]]:
        """Ask so many requests a second while a caller is free; return samples of memory."""
        started, samples, asked = time.monotonic(), [], set()
        free = asyncio.Semaphore(CALLERS)

        async def call() -> None:
            self.num_waited += free.locked()
            async with free:
                await self.ask(session)

        for place in range(int(per_s * for_s)):
            now = time.monotonic() - started
            while len(samples) * SAMPLE_S < now:
                samples.append(memory_mib() | {"open": len(asked), "answered": len(self.took_s)})
            asked.add(task := asyncio.create_task(call()))
            task.add_done_callback(asked.discard)
            await asyncio.sleep(max(0.0, (place + 1) / per_s - now))
        await asyncio.gather(*asked)
        return samples


def memory_mib() -> dict[str, float]:
    """Return the private memory of each part's process."""
    found: dict[str, float] = {}
    for part in ("Generator", "Indicator", "Gateway"):
        for process in children(f"ServeReplica:soak:{part}"):
            found[part] = process.memory_full_info().uss / 2**20
    for process in children("ProxyActor"):
        found["proxy"] = process.memory_full_info().uss / 2**20
    return found


def growth(samples_mib: list[float]) -> float:
    """Return by how much of what memory was in the first minutes it is ever above that."""
    first_minutes = samples_mib[: int(MEASURE_S * 5 / SAMPLE_S)]
    start = statistics.median(first_minutes)
    return (max(samples_mib) - start) / start


async def soak(address: str) -> tuple[Load, float, list[dict[str, float]]]:
    timeout = aiohttp.ClientTimeout(total=300)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        most = Load(address)
        await most.callers(session, 8, MEASURE_S)
        assert most.failed == []
        await Load(address).callers(session, CALLERS, MEASURE_S)
        load, per_s = Load(address), LOAD * most.num_asked / MEASURE_S
        samples = await load.steadily(session, per_s, SETTLE_S + SOAK_S)
        return load, per_s, samples


def test_half_an_hour_of_load_leaves_nothing_behind(address: str) -> None:
    load, per_s, samples = asyncio.run(soak(address))
    settled = samples[int(SETTLE_S / SAMPLE_S) :]
    grown = {part: growth([sample[part] for sample in settled]) for part in memory_mib()}
    latencies = statistics.quantiles(load.took_s, n=20)
    print(
        f"\n{load.num_asked} requests at {per_s:.1f} a second, {load.num_images} pictures, "
        f"{len(load.failed)} failed, p50 {latencies[9]:.2f} s, p95 {latencies[18]:.2f} s, "
        f"{load.num_waited} waited for a caller"
    )
    for part, share in grown.items():
        print(f"{part}: {settled[0][part]:.0f} MiB, {share:+.1%} in {SOAK_S / 60:g} minutes")
    REPORT.mkdir(exist_ok=True)
    (REPORT / "soak.json").write_text(json.dumps(samples))
    assert load.failed == []
    assert all(share <= 0.02 for share in grown.values()), grown
    wait_for(lambda: engine_is_idle(address))


def engine_is_idle(address: str) -> bool:
    """Return whether the endpoint says that no picture waits."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
        page = answer.read().decode()
    waiting = [line for line in page.splitlines() if line.startswith("fairgen_pictures_waiting{")]
    return bool(waiting) and all(line.endswith(" 0.0") for line in waiting)
