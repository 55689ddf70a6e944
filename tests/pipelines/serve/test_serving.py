"""The graph on a real cluster, over HTTPS: mixed requests, edits, and a champion that changes under
load.
"""

import hashlib
import io
import json
import socket
import sqlite3
import ssl
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import BadRequestError, DefaultHttpxClient, OpenAI
from PIL import Image
from ray import serve

from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import free_port
from pipelines.serve.access.door import Tls, open_door
from pipelines.serve.app import application
from pipelines.serve.run import APP, served
from pipelines.serve.settings import ServeSettings
from tests.pipelines.certificate import certificate
from tests.pipelines.endpoint import LosesAnswers
from tests.pipelines.load import under_load
from tests.pipelines.processes import children, wait_for
from tests.pipelines.registered import register_champions
from tests.tiny import save_tiny_clip

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PORT, OTHER_PORT = free_port(), free_port()
OPTIONS: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def recipe(make_recipe: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """One whose judge sees tiny pictures."""
    judge = {"kind": "clip", "path": str(save_tiny_clip(tmp_path_factory.mktemp("clip")))}
    folder = tmp_path_factory.mktemp("graph")
    return load_recipe(make_recipe(folder, "graph", judge=judge, second_judge=judge))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return certificate(tmp_path_factory.mktemp("tls"))


def trusted(tls: Tls) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tls.certificate))


@pytest.fixture(scope="module")
def client(
    cluster: None,
    tracking_uri: str,
    recipe: Recipe,
    tls: Tls,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OpenAI]:
    folder = tmp_path_factory.mktemp("graph-adapters")
    register_champions(tracking_uri, recipe, folder, seed=1)
    path = next(iter(tmp_path_factory.getbasetemp().glob("graph*/graph.yaml")))
    settings = ServeSettings(recipe=path, poll_s=0.5, inspect_share=1.0)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        with served(settings, folder / "home", "127.0.0.1", PORT, tls) as address:
            assert address == f"https://127.0.0.1:{PORT}"
            yield OpenAI(
                base_url=f"{address}/v1", api_key="none", max_retries=0,
                http_client=DefaultHttpxClient(verify=trusted(tls)),
            )  # fmt: skip


def paint(client: OpenAI, prompt: str, **extra: Any) -> dict[str, Any]:
    """Return the provenance of one picture."""
    return client.images.generate(prompt=prompt, extra_body=OPTIONS | extra).data[0].provenance


def generators_running() -> int:
    """Return how many generator replicas serve."""
    found = serve.status().applications[APP].deployments["Generator"]
    return found.replica_states.get("RUNNING", 0)


def test_the_endpoint_answers_by_https_only(client: OpenAI, tls: Tls) -> None:
    health = f"https://127.0.0.1:{PORT}/health"
    with urllib.request.urlopen(health, context=trusted(tls)) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.URLError, match="self-signed"):
        urllib.request.urlopen(health)
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=10)


def test_no_page_and_no_server_of_the_cluster_listens_beyond_this_machine(client: OpenAI) -> None:
    """But for one port of each replica, which Serve binds to all interfaces by itself."""
    replicas = children("ServeReplica")
    ours = {psutil.Process(), *psutil.Process().children(recursive=True)}
    assert replicas and not beyond_this_machine(ours - replicas)
    assert all(len(beyond_this_machine({replica})) <= 1 for replica in replicas)


def beyond_this_machine(processes: set[psutil.Process]) -> list[str]:
    """Return the addresses that processes listen on and that others reach."""
    addresses = [
        connection.laddr.ip.removeprefix("::ffff:")
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    return [address for address in addresses if address not in ("127.0.0.1", "::1")]


def test_requests_of_many_callers_follow_one_ledger(client: OpenAI) -> None:
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda i: paint(client, "a pilot", seed=i), range(24)))
    cells = Counter((r["categories"]["gender"], r["categories"]["age"]) for r in records)
    assert set(cells.values()) == {6}


def test_clients_that_leave_at_any_moment_leave_nothing_reserved(
    client: OpenAI, tls: Tls, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Before they are answered, and before anything is assigned to them, too."""
    (ledger,) = tmp_path_factory.getbasetemp().glob(
        "graph-adapters[0-9]*/home/ledger/ledger.sqlite"
    )

    def num_reserved() -> int:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            query = "SELECT count(*) FROM fairgen_reservations WHERE state = 'open'"
            return int(connection.execute(query).fetchone()[0])

    body = json.dumps({"prompt": "a photo of a baker", "n": 4, "num_inference_steps": 20}).encode()
    head = b"POST /v1/images/generations HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    for moment in range(60):
        with (
            socket.create_connection(("127.0.0.1", PORT)) as plain,
            trusted(tls).wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(moment * 0.0005)
    paint(client, "a photo of a baker")
    wait_for(lambda: num_reserved() == 0, timeout_s=30)


def test_an_answer_that_was_lost_comes_again_and_counts_once(client: OpenAI, tls: Tls) -> None:
    wire = LosesAnswers(num_lost=1, verify=trusted(tls))
    patient = OpenAI(
        base_url=client.base_url, api_key="none", max_retries=2,
        http_client=DefaultHttpxClient(transport=wire),
    )  # fmt: skip
    even = {"fairness": {"gender": "uniform"}}
    (first,) = patient.images.generate(prompt="a photo of a chef", extra_body=OPTIONS | even).data
    assert len(wire.contents) == 2 and len(set(wire.contents)) == 1
    second = paint(client, "a photo of a chef", **even)
    genders = {record["categories"]["gender"] for record in (first.provenance, second)}
    assert genders == {"woman", "man"}


def test_the_graph_reads_what_the_picture_sees(client: OpenAI) -> None:
    """As far as the encoder does, and what the negative prompt names."""
    whole = paint(client, "a photo of a doctor in a room with a hat and a coat, a woman")
    assert whole["prompt_cut_at"] and set(whole["categories"]) == {"gender", "age"}
    named = paint(client, "a doctor", negative_prompt="a photo of a female doctor")
    assert set(named["categories"]) == {"age"}
    rewritten = paint(client, "A doctor, a tall man, at a desk", original_prompt="a doctor")
    assert set(rewritten["categories"]) == {"gender", "age"} and rewritten["removed"]


def test_an_edit_goes_through_the_graph(client: OpenAI) -> None:
    def noise() -> bytes:
        content = io.BytesIO()
        Image.effect_noise((1600, 1200), 80).save(content, "PNG")
        return content.getvalue()

    images = [noise(), noise()]  # many messages of the proxy's
    assert len(images[0]) > 2**20
    asked = {"fairness": {"gender": "uniform"}, "strength": 0.5, "seed": 4}
    pictures = client.images.edit(
        image=images, prompt="a photo of a baker", n=2, size="16x16", extra_body=OPTIONS | asked
    ).data
    records = [picture.provenance for picture in pictures]
    sha256 = [hashlib.sha256(image).hexdigest() for image in images for _ in range(2)]
    assert [record["start"]["sha256"] for record in records] == sha256
    assert Counter(r["categories"]["gender"] for r in records) == {"woman": 2, "man": 2}
    with pytest.raises(BadRequestError, match="image: got a file that cannot be read"):
        client.images.edit(image=images[0][:50_000], prompt="a baker", extra_body=OPTIONS)


def test_the_judge_looks_at_delivered_pictures_beside_the_traffic(client: OpenAI, tls: Tls) -> None:
    paint(client, "a doctor", fairness={"gender": {"woman": 1.0}})
    paint(client, "a car")  # nothing is asked of it
    wait_for(lambda: "fairgen_hit_rate" in page(tls))
    asked = [
        line for line in page(tls).splitlines() if line.startswith("fairgen_images_inspected_t")
    ]
    genders = [line for line in asked if 'attribute="gender"' in line]
    assert any('asked="woman"' in line for line in genders)
    assert sum(float(line.split()[-1]) for line in genders) <= sum(
        float(line.split()[-1])
        for line in page(tls).splitlines()
        if line.startswith('fairgen_images_total{attribute="gender"')
    )


def page(tls: Tls, port: int = PORT) -> str:
    """Return what Prometheus scrapes."""
    address = f"https://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(address, timeout=30, context=trusted(tls)) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"fairness": {"gender": {"child": 1.0}}}, "fairness.gender", "allowed are ['woman', 'm"),
        ({"size": "17x16"}, "size", "size: got 17x16, allowed are multiples of 4"),
        ({"size": "17x16", "stream": True}, "size", "size: got 17x16, allowed are multiples of 4"),
    ],
)
def test_a_refusal_by_a_replica_reaches_the_caller_as_it_is(
    client: OpenAI, change: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(BadRequestError) as found:
        client.images.generate(prompt="a doctor", extra_body=OPTIONS | change)
    assert found.value.param == param
    assert message in str(found.value) and "Traceback" not in str(found.value)


def test_a_new_champion_goes_live_under_load_without_a_failed_request(
    client: OpenAI, tracking_uri: str, recipe: Recipe, tmp_path: Path
) -> None:
    def promote() -> None:
        register_champions(tracking_uri, recipe, tmp_path, seed=2)

    prompts = ["a doctor", "a nurse", "a judge", "a chef"]
    records = under_load(lambda i: paint(client, prompts[i % 4], seed=i), 200, promote)
    deadline = time.monotonic() + 60
    while {a["version"] for a in paint(client, "a farmer")["adapters"]} != {"2"}:
        assert time.monotonic() < deadline, "the new champion is not served"
    versions = Counter(a["version"] for record in records for a in record["adapters"])
    assert versions["1"] > 0 and set(versions) <= {"1", "2"}
    for record in records:
        gender, age = (a["version"] for a in record["adapters"])
        assert {gender, age} <= {"1", "2"}


def test_while_a_killed_gateway_is_replaced_nobody_is_refused(client: OpenAI) -> None:
    (gateway,) = children(f"ServeReplica:{APP}:Gateway")
    gateway.kill()
    wait_for(lambda: not gateway.is_running())
    assert paint(client.with_options(timeout=60), "a chef")["adapters"]  # also for the handshake


def test_replicas_follow_the_load_and_share_one_ledger(
    client: OpenAI,
    tls: Tls,
    tracking_uri: str,
    recipe: Recipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = next(iter(tmp_path_factory.getbasetemp().glob("graph*/graph.yaml")))
    settings = ServeSettings(
        recipe=path, tracking_uri=tracking_uri, max_rows=4, max_replicas=2, cpus_per_replica=0.5,
        upscale_delay_s=0.5,
    )  # fmt: skip
    deadline, records = time.monotonic() + 120, []
    with open_door("127.0.0.1", OTHER_PORT, tls, ()) as door, ThreadPoolExecutor(8) as pool:
        serve.run(application(settings, door), name=APP, route_prefix="/")
        assert generators_running() == 1
        client = client.copy(base_url=f"https://127.0.0.1:{OTHER_PORT}/v1")
        while generators_running() < 2:
            assert time.monotonic() < deadline, "no second replica"
            records += pool.map(lambda i: paint(client, "a sailor", seed=i), range(24))
        records += pool.map(lambda i: paint(client, "a sailor", seed=i), range(24))
        heard_of = {
            line for line in page(tls, OTHER_PORT).splitlines() if "fairgen_reloads{" in line
        }
    cells = Counter((r["categories"]["gender"], r["categories"]["age"]) for r in records)
    assert max(cells.values()) - min(cells.values()) <= 1 and len(cells) == 4
    assert len({line for line in heard_of if line.startswith("fairgen_reloads{")}) == 2
