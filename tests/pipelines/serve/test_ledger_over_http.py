"""What the endpoint's ledger counts: what was delivered, once, whoever asks and however often."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from pipelines.recipe.recipe import Recipe
from pipelines.serve import deployments
from pipelines.serve.access.inlined import InlinedBodies
from pipelines.serve.gateway import create_app
from pipelines.serve.image_endpoint import ImageEndpoint
from pipelines.serve.image_plan import ImageUpdate
from pipelines.serve.indicator import Asked, Claim, Ended
from pipelines.serve.schemas import ImageRequest
from pipelines.serve.settings import AccessConfig, ServeSettings
from tests.pipelines.endpoint import LIMITS, OPTIONS, Endpoint, LosesAnswers, open_endpoint
from tests.pipelines.in_process import InProcess, listening
from tests.pipelines.processes import wait_for

pytestmark = pytest.mark.slow
LONG = 200  # steps: whoever leaves has left before they are done


@pytest.fixture(scope="module")
def served_recipe(make_served: Callable[..., Recipe]) -> Recipe:
    return make_served("counted")


@pytest.fixture(scope="module")
def endpoint(tracking_uri: str, served_recipe: Recipe) -> Iterator[Endpoint]:
    yield from open_endpoint(served_recipe, tracking_uri=tracking_uri)


def test_single_requests_share_one_ledger(endpoint: Endpoint) -> None:
    """And what was delivered stays counted."""
    backend = endpoint.backend
    settled, given_back = backend.num_settled, backend.num_given_back
    seen = Counter(
        endpoint.generate("a photo of a pilot", fairness={"gender": "uniform"})[0].provenance[
            "categories"
        ]["gender"]
        for _ in range(6)
    )
    assert seen == {"woman": 3, "man": 3}
    wait_for(lambda: backend.num_settled == settled + 6)
    assert backend.num_given_back == given_back


def test_prompts_that_differ_are_balanced_for_the_person_and_the_caller(
    endpoint: Endpoint,
) -> None:
    """Each prompt comes once: alone it would be a coin's."""
    seen: Counter[str] = Counter()
    for index in range(8):
        places = ("in a room", "at work", "outside", "by a window")
        prompt = f"a photo of a judge {places[index % 4]}, number {index}"
        (picture,) = endpoint.generate(prompt, fairness={"gender": "uniform"})
        seen[picture.provenance["categories"]["gender"]] += 1
        assert abs(seen["woman"] - seen["man"]) <= 1


@pytest.mark.parametrize("how", ["times out", "leaves"])
def test_what_nobody_got_is_assigned_again(
    served_recipe: Recipe, tracking_uri: str, how: str
) -> None:
    """Of fifteen pictures one category gets eight: the same one, as long as all are lost."""
    ask = json.dumps({"prompt": "a photo of a pilot", "fairness": {"gender": "uniform"}, "n": 15,
                      "num_inference_steps": LONG}).encode()  # fmt: skip
    timeout_s = 0.02 if how == "times out" else 60.0
    limits = LIMITS.model_copy(update={"timeout_s": timeout_s, "num_steps": LONG})
    for endpoint in open_endpoint(served_recipe, limits=limits, tracking_uri=tracking_uri):
        backend = endpoint.backend
        for lost in range(1, 4):
            if how == "times out":
                status, answer, _ = endpoint.post(ask)
                assert status in (408, 429), answer  # once a pass is measured, at the door
            else:
                endpoint.leave(ask)
            wait_for(partial(backend.has_given_back, 15 * lost))
        women = [categories["gender"] == "woman" for categories in backend.assigned]
        assert sum(women[:15]) in (7, 8)
        assert sum(women[:15]) == sum(women[15:30]) == sum(women[30:])


class LeftAsItCame(InProcess):
    """A backend whose caller is gone in the moment in which something comes."""

    caller: asyncio.Task

    async def paint(self, *asked: Any) -> AsyncIterator[ImageUpdate]:
        async for update in super().paint(*asked):
            self.caller.cancel()
            yield update


def test_who_leaves_as_something_comes_has_left(served_recipe: Recipe, tracking_uri: str) -> None:
    """`asyncio.wait_for` of Python 3.11 takes the picture and forgets that nobody wants it."""
    settings = ServeSettings(poll_s=None, limits=LIMITS, tracking_uri=tracking_uri)
    backend = LeftAsItCame(settings, served_recipe)
    desk = ImageEndpoint(backend, settings, served_recipe)
    asked = {"prompt": "a photo of a pilot", "fairness": {"gender": "uniform"}, "n": 3}
    request = desk.completed(ImageRequest.model_validate(asked))

    async def leave() -> None:
        orders = await desk.orders(request, "", None)
        backend.caller = asyncio.create_task(desk.answer(request, orders))
        with pytest.raises(asyncio.CancelledError):
            await backend.caller
        while not backend.has_given_back(3):
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(leave(), 60))
    backend.generator.close()


class SlowDisk(InProcess):
    """A backend whose ledger is on disk late."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.written = asyncio.Event()

    async def keep(self, claim: Claim) -> None:
        await self.written.wait()
        await super().keep(claim)


@pytest.mark.parametrize("streams", [False, True], ids=["answer", "stream"])
def test_nobody_gets_a_picture_that_is_not_on_disk(
    served_recipe: Recipe, tracking_uri: str, streams: bool
) -> None:
    """It is painted meanwhile."""
    settings = ServeSettings(poll_s=None, limits=LIMITS, tracking_uri=tracking_uri)
    backend = SlowDisk(settings, served_recipe)
    desk = ImageEndpoint(backend, settings, served_recipe)
    asked = {"prompt": "a photo of a pilot", "stream": streams, "partial_images": int(streams)}
    request = desk.completed(ImageRequest.model_validate(asked))

    async def seen(events: list[str]) -> None:
        orders = await desk.orders(request, "", None)
        if not streams:
            events.append(await desk.answer(request, orders))
        else:
            events.extend([event async for event in desk.stream(request, orders)])

    async def ask() -> None:
        events: list[str] = []
        asking = asyncio.create_task(seen(events))
        while not backend.assigned or backend.generator.engine_state.waiting:
            await asyncio.sleep(0.01)
        done, _ = await asyncio.wait({asking}, timeout=1.0)
        assert not done and not any("b64_json" in event for event in events)
        assert backend.num_settled == 0
        backend.written.set()
        await asking
        assert "b64_json" in events[-1]
        while backend.num_settled == 0:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(ask(), 60))
    backend.generator.close()


def test_who_leaves_before_it_is_on_disk_is_settled_after_it(
    served_recipe: Recipe, tracking_uri: str
) -> None:
    """Else the ledger would count anew what was given back."""
    settings = ServeSettings(poll_s=None, limits=LIMITS, tracking_uri=tracking_uri)
    backend = SlowDisk(settings, served_recipe)
    desk = ImageEndpoint(backend, settings, served_recipe)
    request = desk.completed(ImageRequest(prompt="a photo of a pilot", n=3))

    async def leave() -> None:
        asking = asyncio.create_task(desk.answer(request, await desk.orders(request, "", None)))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait({asking})
        await asyncio.sleep(0.1)
        assert backend.num_settled == 0
        backend.written.set()
        await desk.settled()
        assert backend.has_given_back(3)

    asyncio.run(asyncio.wait_for(leave(), 60))
    backend.generator.close()


def test_calibration_makes_up_for_measured_misses(tracking_uri: str, served_recipe: Recipe) -> None:
    """The champions hit 97 of 100: to show a quarter women, 0.22 / 0.94 of the pictures are asked
    to. An attribute that the prompt names is not asked at all, calibrated or not.
    """
    ask = {"gender": {"woman": 0.25, "man": 0.75}, "age": {"old": 1.0}}
    for endpoint in open_endpoint(served_recipe, tracking_uri=tracking_uri, calibrate=True):
        records = [
            picture.provenance
            for _ in range(4)
            for picture in endpoint.generate("an old chef", n=16, fairness=ask)
        ]
        women = [record for record in records if record["categories"] == {"gender": "woman"}]
        assert abs(len(women) - 64 * 0.22 / 0.94) < 1
        assert women[0]["probability"] == pytest.approx(0.22 / 0.94, abs=1e-4)


def test_the_deployed_indicator_calibrates_when_it_is_set_to(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    settings = ServeSettings(recipe=make_recipe(tmp_path, "set"), calibrate=True)
    measured = {"gender": {"woman": {"woman": 0.8, "man": 0.2}, "man": {"woman": 0, "man": 1}}}
    ask = Asked("a chef", 5, {"gender": {"woman": 0.4, "man": 0.6}}), measured
    found = asyncio.run(deployments.Indicator(settings).assign(*ask))
    for picture in found.pictures:
        assert picture.probability == pytest.approx(0.5, abs=1e-4)


def test_the_deployed_indicator_takes_back_what_nobody_got(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    indicator = deployments.Indicator(ServeSettings(recipe=make_recipe(tmp_path, "back")))
    ask = Asked("a chef", 1, {"gender": "uniform"}, "someone"), {"gender": None}

    async def next_categories(lost: bool) -> dict[str, str]:
        found = await indicator.assign(*ask)
        await indicator.note([Ended(found.reservation, (0,) if lost else ())])
        return found.pictures[0].categories

    first = asyncio.run(next_categories(lost=True))
    assert asyncio.run(next_categories(lost=False)) == first
    assert asyncio.run(next_categories(lost=False)) != first


def test_a_refused_request_does_not_count_in_the_ledger(endpoint: Endpoint) -> None:
    ask = {"fairness": {"gender": "uniform"}}
    body = {"prompt": "a farmer", "size": "17x16"} | ask
    seen = []
    for _ in range(6):
        assert endpoint.post(json.dumps(body).encode())[0] == 400
        seen.append(endpoint.generate("a farmer", **ask)[0].provenance["categories"]["gender"])
    for prefix in range(1, 7):
        assert abs(seen[:prefix].count("woman") - prefix / 2) < 1


EVEN = {"fairness": {"gender": "uniform"}} | OPTIONS


def post(endpoint: Endpoint, prompt: str, n: int = 1, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"prompt": prompt, "n": n} | EVEN
    url = f"{endpoint.address}/v1/images/generations"
    return httpx2.post(url, json=body, headers=named, timeout=60)


def genders(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [found["provenance"]["categories"]["gender"] for found in answer.json()["data"]]


def test_the_official_client_that_lost_its_answer_gets_it_again_and_it_counts_once(
    endpoint: Endpoint,
) -> None:
    wire = LosesAnswers(num_lost=2)
    client = OpenAI(
        base_url=f"{endpoint.address}/v1", api_key="none", max_retries=3,
        http_client=httpx2.Client(transport=wire),
    )  # fmt: skip
    first = client.images.generate(prompt="a photo of a nurse", n=3, extra_body=EVEN)
    assert len(wire.contents) == 3 and len(set(wire.contents)) == 1
    seen = [picture.provenance["categories"]["gender"] for picture in first.data]
    seen += genders(post(endpoint, "a photo of a nurse", n=3))
    assert Counter(seen) == {"woman": 3, "man": 3}


def test_a_marked_try_takes_the_cells_of_the_one_that_was_lost(
    served_recipe: Recipe, tracking_uri: str
) -> None:
    """Its client left; whoever comes between does not get them."""
    prompt, limits = "a photo of a sailor", LIMITS.model_copy(update={"num_steps": LONG})
    body = json.dumps({"prompt": prompt, "n": 15, "num_inference_steps": LONG} | {
        "fairness": EVEN["fairness"]}).encode()  # fmt: skip
    for endpoint in open_endpoint(served_recipe, limits=limits, tracking_uri=tracking_uri):
        backend = endpoint.backend
        endpoint.leave(body, headers={"x-stainless-retry-count": "0"})
        wait_for(partial(backend.has_given_back, 15))
        lost = [categories["gender"] for categories in backend.assigned]
        between = genders(post(endpoint, prompt, n=15))
        url = f"{endpoint.address}/v1/images/generations"
        again = httpx2.post(url, content=body, timeout=60, headers={
            "content-type": "application/json", "x-stainless-retry-count": "1"})  # fmt: skip
        assert genders(again) == lost
        assert Counter(lost + between) == {"woman": 15, "man": 15}


def test_two_requests_that_are_alike_are_two(endpoint: Endpoint) -> None:
    seen = []
    for _ in range(4):
        seen += genders(post(endpoint, "a photo of a judge", x_stainless_retry_count="0"))
    assert Counter(seen) == {"woman": 2, "man": 2}


@pytest.mark.parametrize("refused_by", ["the door", "the queue"])
def test_a_try_after_a_refused_one_is_a_request_of_its_own(
    served_recipe: Recipe, tracking_uri: str, refused_by: str
) -> None:
    """It repeats nothing, though another request is like it, and so does the try after it."""
    at_once = 1 if refused_by == "the door" else None
    chosen = ServeSettings(
        poll_s=None,
        tracking_uri=tracking_uri,
        limits=LIMITS.model_copy(update={"num_steps": LONG, "queued_images": 15}),
        access=AccessConfig(concurrent_requests=at_once),
    )
    backend = InProcess(chosen, served_recipe)
    ask = {"prompt": "a photo of a farmer", "n": 15, "num_inference_steps": LONG} | {
        "fairness": EVEN["fairness"]}  # fmt: skip

    def send(count: int) -> httpx2.Response:
        headers = {"x-stainless-retry-count": str(count)}
        return httpx2.post(url, json=ask, headers=headers, timeout=60)

    app = InlinedBodies(create_app(backend, chosen, served_recipe))  # as Serve's proxy has it
    with listening(app) as address, ThreadPoolExecutor(1) as other:
        url = f"{address}/v1/images/generations"
        running = other.submit(send, 0)
        wait_for(lambda: backend.assigned)
        assert [send(count).status_code for count in (0, 1)] == [429, 429]
        first, second = running.result(), send(2)
        assert Counter(genders(first) + genders(second)) == {"woman": 15, "man": 15}
        assert send(3).content == second.content  # as to a client that has lost the answer
    backend.generator.close()


NOTHING_COUNTED = [
    {"prompt": "a photo of a car"},
    {"fairness": "off"},
    {"prompt": "a female doctor"},
    {"fairness": None, "categories": {"gender": "woman"}},
]


@pytest.mark.parametrize("asked", NOTHING_COUNTED)
def test_a_key_gets_its_answer_again_where_nothing_is_counted(
    endpoint: Endpoint, asked: dict[str, Any]
) -> None:
    body = {"prompt": "a doctor"} | EVEN | asked
    url, key = f"{endpoint.address}/v1/images/generations", {"idempotency-key": json.dumps(asked)}
    first, again = (httpx2.post(url, json=body, headers=key, timeout=60) for _ in range(2))
    assert first.status_code == 200 and first.content == again.content
    assert httpx2.post(url, json=body, timeout=60).content != first.content


def test_another_fairness_in_the_headers_is_another_request(endpoint: Endpoint) -> None:
    url = f"{endpoint.address}/v1/images/generations"

    def paint(category: str, **headers: str) -> httpx2.Response:
        headers |= {"x-fairness": json.dumps({"gender": {category: 1}})}
        body = {"prompt": "a photo of a tailor"} | OPTIONS
        return httpx2.post(url, json=body, headers=headers, timeout=60)

    assert genders(paint("woman", **{"x-stainless-retry-count": "0"})) == ["woman"]
    assert genders(paint("man", **{"x-stainless-retry-count": "1"})) == ["man"]
    assert genders(paint("woman", **{"idempotency-key": "key-4"})) == ["woman"]
    other = paint("man", **{"idempotency-key": "key-4"})
    assert other.json()["error"]["code"] == "idempotency_key_reused"


def test_a_refused_request_leaves_its_key_free(endpoint: Endpoint) -> None:
    assert post(endpoint, "a baker", 1000, idempotency_key="key-5").status_code == 400
    assert genders(post(endpoint, "a baker", idempotency_key="key-5"))


def test_an_idempotency_key_is_of_one_request(endpoint: Endpoint) -> None:
    first, again = (post(endpoint, "a chef", idempotency_key="key-1") for _ in range(2))
    assert first.status_code == 200 and first.content == again.content
    other = post(endpoint, "a pilot", idempotency_key="key-1").json()["error"]
    assert other["code"] == "idempotency_key_reused"
    assert other["message"] == "Idempotency-Key: got one of another request, allowed is a new one"
    assert genders(post(endpoint, "a pilot", idempotency_key="key-2"))
    refused = post(endpoint, "a pilot", idempotency_key="k" * 256)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")


def test_a_try_beside_another_of_its_key_is_a_409(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(2) as clients:
        asks = [
            clients.submit(post, endpoint, "a farmer", 16, idempotency_key="key-3")
            for _ in range(2)
        ]
    answers = sorted((ask.result() for ask in asks), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 409]
    assert answers[1].headers["Retry-After"] == "1"
    assert post(endpoint, "a farmer", 16, idempotency_key="key-3").content == answers[0].content
