"""An endpoint that is hurt under load: who asks with OpenAI's client sees every picture."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from openai import APIError, OpenAI
from ray import serve

from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import free_port
from pipelines.serve import deployments
from pipelines.serve.app import build
from pipelines.serve.deployments import Generator
from pipelines.serve.settings import ServeSettings
from tests.faults import NOTHING, Fault
from tests.pipelines.load import under_load
from tests.pipelines.processes import children, wait_for
from tests.pipelines.registered import register_champions
from tests.pipelines.wire import Wire, wire

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.slow]

PORT = free_port()
OPTIONS: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": 2.0}


class MortalGenerator(Generator):
    """A generator whose engine can be made to fail."""

    async def die(self) -> None:
        """Let the next step raise an error, in the engine's own thread."""
        self._service._engine._engine.step = None  # type: ignore[method-assign,assignment]


class Endpoint:
    """A served recipe, whose wire to the registry can be cut."""

    def __init__(self, recipe: Recipe, path: Path, home: Path, registry: Wire) -> None:
        self.recipe, self.registry = recipe, registry
        self.client = OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none")
        uri = f"http://127.0.0.1:{registry.port}"
        settings = ServeSettings(recipe=path, tracking_uri=uri, home=home, poll_s=0.5)
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deployments, "Generator", MortalGenerator)
            serve.run(build(settings), name="hurt", route_prefix="/")

    def paint(self, prompt: str, seed: int = 0, max_retries: int = 2) -> dict[str, Any]:
        """Return the provenance of one picture."""
        asked = self.client.with_options(max_retries=max_retries).images.generate
        return asked(prompt=prompt, extra_body=OPTIONS | {"seed": seed}).data[0].provenance

    def paint_patiently(self, prompt: str, seed: int) -> dict[str, Any]:
        """Ask for a picture again, whatever the answer, for a minute."""
        end = time.monotonic() + 60
        while True:
            try:
                return self.paint(prompt, seed)
            except APIError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def versions(self) -> set[str]:
        """Return the versions of the adapters that paint now."""
        return {adapter["version"] for adapter in self.paint("a farmer")["adapters"]}

    def health(self) -> int:
        """Return the status of what the endpoint says of itself."""
        return httpx2.get(f"http://127.0.0.1:{PORT}/health", timeout=10).status_code

    def process(self, of: str) -> psutil.Process:
        """Return the process of a part that there is one of."""
        (found,) = children(of)
        return found

    def replaced(self, of: str, killed: psutil.Process) -> None:
        """Wait until another process is in the place of a killed one and the endpoint answers."""
        wait_for(lambda: children(of) - {killed})
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.paint("a farmer", max_retries=0)["adapters"])
        except APIError:
            return False


@pytest.fixture(scope="module")
def endpoint(
    cluster: None,
    tracking_uri: str,
    make_recipe: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("hurt")
    recipe = load_recipe(path := make_recipe(folder, "hurt"))
    register_champions(tracking_uri, recipe, folder / "adapters", seed=1)
    with wire(int(tracking_uri.rpartition(":")[2])) as registry:
        yield Endpoint(recipe, path, folder / "home", registry)
        serve.shutdown()


REPLICA = "ServeReplica:hurt:"


@pytest.mark.parametrize(
    ("part", "of", "prompt", "seen", "lost"),
    [
        ("a generator", f"{REPLICA}Generator", "a doctor", "some pictures come later", NOTHING),
        ("the indicator", f"{REPLICA}Indicator", "a nurse", "some pictures come later", NOTHING),
        pytest.param(
            "the gateway", f"{REPLICA}Gateway", "a judge",
            "connections end; OpenAI's client asks again by itself", NOTHING,
            marks=pytest.mark.full,
        ),
        pytest.param(
            "the only HTTP proxy", "ProxyActor", "a chef",
            "connections are refused, then a 404, until it is back; who asks again gets all",
            NOTHING, marks=pytest.mark.full,
        ),
        ("the Serve controller", "ServeController", "a pilot", "nothing", NOTHING),
    ],
)  # fmt: skip
def test_a_killed_part_costs_no_picture(
    endpoint: Endpoint, fault: Fault, part: str, of: str, prompt: str, seen: str, lost: str
) -> None:
    killed = endpoint.process(of)

    def hurt() -> None:
        fault.strikes(f"{part} is killed under load", seen, lost)
        killed.kill()

    paint = endpoint.paint_patiently if "404" in seen else endpoint.paint
    records = under_load(lambda seed: paint(prompt, seed), 64, hurt)
    endpoint.replaced(of, killed)
    fault.over()
    assert len({record["seed"] for record in records}) == 64
    cells = Counter((r["categories"]["gender"], r["categories"]["age"]) for r in records)
    asked_again = 8 if "again" in seen else 0  # pictures that were counted and not received
    assert len(cells) == 4
    assert max(cells.values()) - min(cells.values()) <= 1 + asked_again


def test_an_engine_that_dies_says_so_at_once_and_is_replaced(
    endpoint: Endpoint, fault: Fault
) -> None:
    ended = endpoint.process(f"{REPLICA}Generator")
    statuses: list[int] = []

    def hurt() -> None:
        fault.strikes("a generator's engine dies under load", "503 until it is replaced", NOTHING)
        serve.get_deployment_handle("Generator", "hurt").die.remote().result()
        wait_for(lambda: statuses.append(endpoint.health()) or statuses[-1] == 503)

    records = under_load(lambda seed: endpoint.paint_patiently("a sailor", seed), 64, hurt)
    endpoint.replaced(f"{REPLICA}Generator", ended)
    fault.over()
    assert endpoint.health() == 200
    cells = Counter((r["categories"]["gender"], r["categories"]["age"]) for r in records)
    assert len({record["seed"] for record in records}) == 64
    assert max(cells.values()) - min(cells.values()) <= 1


@pytest.mark.parametrize("damage", ["changed", pytest.param("gone", marks=pytest.mark.full)])
def test_a_damaged_adapter_in_the_store_is_not_served(
    endpoint: Endpoint,
    tracking_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
    fault: Fault,
    damage: str,
) -> None:
    folder, store = tmp_path_factory.mktemp("new"), tmp_path_factory.getbasetemp()
    before, known = endpoint.versions(), stored_weights(store)
    endpoint.registry.cut()  # so that nobody sees the sets before they are damaged
    register_champions(tracking_uri, endpoint.recipe, folder / "hurt", seed=len(known))
    damaged = stored_weights(store) - known
    assert len(damaged) == 4
    for weights in damaged:
        sound = weights.read_bytes()
        weights.unlink()
        if damage == "changed":
            weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    fault.strikes(f"weights in the store are {damage}", "the set before stays, the log says why")
    endpoint.registry.mend()
    time.sleep(3)
    assert endpoint.versions() == before
    register_champions(tracking_uri, endpoint.recipe, folder / "sound", seed=len(known) + 1)
    wait_for(lambda: endpoint.versions().isdisjoint(before))
    fault.over()


def stored_weights(store: Path) -> set[Path]:
    """Return the weights that the session's server keeps."""
    found = store.glob("mlflow*/artifacts/**/*.safetensors")
    return {path.resolve() for path in found}  # pytest links to the newest folder of a name


@pytest.mark.full
def test_a_registry_that_is_slow_is_not_felt(endpoint: Endpoint, fault: Fault) -> None:
    fault.strikes("the registry takes 10 s for every answer while pictures are asked", "nothing")
    endpoint.registry.delay_s = 10
    started = time.monotonic()
    under_load(lambda seed: endpoint.paint("a sailor", seed), 64, lambda: None)
    took_s = time.monotonic() - started
    endpoint.registry.delay_s = 0
    fault.over()
    assert took_s < 60


def test_replicas_that_start_while_the_registry_is_away_serve_what_was_served(
    endpoint: Endpoint, fault: Fault, outage_s: float
) -> None:
    before = endpoint.versions()
    killed = endpoint.process(f"{REPLICA}Generator")
    fault.strikes(
        f"the registry is away for {outage_s:g} s, and a generator is killed meanwhile",
        "some pictures come later",
    )
    endpoint.registry.cut()
    started = time.monotonic()
    records = under_load(lambda seed: endpoint.paint("a farmer", seed), 64, killed.kill)
    assert all(len(record["adapters"]) == 2 for record in records)
    endpoint.replaced(f"{REPLICA}Generator", killed)
    assert endpoint.versions() == before
    time.sleep(max(0.0, started + outage_s - time.monotonic()))
    assert endpoint.versions() == before
    endpoint.registry.mend()
    fault.over()
