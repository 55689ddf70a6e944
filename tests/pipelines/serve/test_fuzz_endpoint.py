"""The endpoint under requests that nobody foresaw: none breaks it, hangs, or stays.

FAIRGEN_FUZZ_CASES says how many there are; 2,000 is the full form.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fairgen.gate import decide
from fairgen.indicator import TargetDistribution
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.serve.gateway import create_app
from pipelines.serve.settings import Limits, ServeSettings
from tests.fairgen.test_fuzz_fairness import anything, fuzzed, fuzzed_slowly, targets
from tests.fuzzing import CASES, LONGEST_S, Memory
from tests.pipelines.endpoint import Endpoint
from tests.pipelines.in_process import InProcess, listening
from tests.pipelines.registered import register_champions
from tests.tiny import AGE, GENDER

pytestmark = pytest.mark.slow

LIMITS = Limits(num_images=2, side_px=32, num_steps=3)
PROMPT = "a photo of a doctor"
# all that schemathesis can check, but that what the schema allows is accepted: it knows no limits
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,negative_data_rejection,"
    "missing_required_header,unsupported_method,allow_header_conformance"
)
_RUN_TIMEOUT_S = 1800


class Witness:
    """Counts what the server answers, how long it takes, and what it holds afterwards."""

    def __init__(self, app: ASGIApp, seen: "JudgedLabels") -> None:
        self._app, self._seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = 0, time.monotonic()

        async def watched_send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._app(scope, receive, watched_send)
        operation = f"{scope['method']} {scope['path']}"
        self._seen.answers[operation, status] += 1
        self._seen.longest_s = max(self._seen.longest_s, time.monotonic() - started)
        self._seen.memory.look()


class JudgedLabels:
    """What a witness has seen: answers by operation and status."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.longest_s = 0.0
        self.memory = Memory()

    def of(self, operation: str) -> Counter[int]:
        found: Counter[int] = Counter()
        for (name, status), times in self.answers.items():
            found[status] += times * name.startswith(operation)
        return found


@pytest.fixture(scope="module")
def fuzzed_recipe(
    tracking_uri: str, tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Path]
) -> Recipe:
    folder = tmp_path_factory.mktemp("fuzzed")
    recipe = load_recipe(make_recipe(folder, "fuzzed", generation={"steps": 2}))
    register_champions(tracking_uri, recipe, folder, seed=1)
    return recipe


@pytest.fixture(scope="module")
def seen() -> JudgedLabels:
    return JudgedLabels()


@pytest.fixture(scope="module")
def endpoint(tracking_uri: str, fuzzed_recipe: Recipe, seen: JudgedLabels) -> Iterator[Endpoint]:
    chosen = ServeSettings(poll_s=None, limits=LIMITS, tracking_uri=tracking_uri)
    decide("una foto", fuzzed_recipe.attributes)  # the words of other languages stay once read
    backend = InProcess(chosen, fuzzed_recipe)
    app = create_app(backend, chosen, fuzzed_recipe)
    app.add_middleware(Witness, seen=seen)
    with listening(app) as address:
        yield Endpoint(address, fuzzed_recipe, backend)
    backend.generator.close()


@pytest.fixture(autouse=True)
def nothing_stays(endpoint: Endpoint, seen: JudgedLabels) -> Iterator[None]:
    """After every test: no 5xx, nobody waited long, no picture and no mailbox is left."""
    yield
    generator = endpoint.backend.generator
    assert not [found for found in seen.answers if found[1] >= 500 or found[1] == 0]
    assert seen.longest_s < LONGEST_S
    assert generator.engine_state.pending == 0


def test_what_the_schema_says_is_what_the_endpoint_does(
    endpoint: Endpoint, seen: JudgedLabels, tmp_path: Path
) -> None:
    """Schemathesis asks what the schema allows and what it does not, at every operation."""
    run = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{endpoint.address}/openapi.json",
            "--max-examples", str(CASES // 2), "--generation-deterministic",
            "--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--mode", "all",
            "--request-timeout", str(LONGEST_S), "--suppress-health-check", "all", "--no-color",
        ],
        capture_output=True, text=True, timeout=_RUN_TIMEOUT_S, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert seen.answers.total() >= CASES
    painting = seen.of("POST /v1/images/generations")
    assert painting[200] >= CASES // 20 and painting[400] >= CASES // 20
    seen.memory.check()


def ask(endpoint: Endpoint, fairness: object, **fields: Any) -> tuple[int, dict[str, Any]]:
    """Return status and answer of a request with a fairness, as Python spells its JSON."""
    body = {"prompt": PROMPT, "fairness": fairness} | fields
    status, answer, _ = endpoint.post(json.dumps(body).encode())
    return status, answer


def check_refusal(status: int, answer: dict[str, Any]) -> None:
    """Check that an answer is OpenAI's error object, and that it says what is wrong where."""
    assert 400 <= status < 500 and answer.keys() == {"error"}
    error = answer["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    field, separator, _ = error["message"].partition(": got ")
    assert separator and field.split(".")[0] in {"fairness", "joint", "gender", "age"}


@fuzzed
@given(fairness=anything)
def test_any_fairness_is_honoured_or_refused_by_name(endpoint: Endpoint, fairness: object) -> None:
    status, answer = ask(endpoint, fairness)
    if status != 200:
        check_refusal(status, answer)


@fuzzed_slowly
@given(target=targets((GENDER, AGE)), num_images=st.integers(1, 2))
def test_a_fairness_that_can_be_met_is(
    endpoint: Endpoint, target: dict[str, Any], num_images: int
) -> None:
    status, answer = ask(endpoint, target, n=num_images, num_inference_steps=1)
    assert status == 200, answer
    asked = TargetDistribution.from_request(target, endpoint.recipe.attributes)
    likely = dict(zip(asked.cells, asked.probabilities, strict=True))
    assert len(answer["data"]) == num_images
    for picture in answer["data"]:
        categories = picture["provenance"]["categories"]
        share = likely[tuple(categories[name] for name in asked.attributes)]
        assert share > 0 and picture["provenance"]["probability"] == pytest.approx(share)


def test_a_fairness_nested_as_deep_as_json_goes_is_refused(endpoint: Endpoint) -> None:
    """Where a table cannot be written out any more, and beyond, where it cannot be read."""
    depths = (3, 30, 300, *range(sys.getrecursionlimit() - 120, sys.getrecursionlimit()), 5000)
    statuses = Counter[int]()
    for depth in depths:
        for opened, closed in (("[", "]"), ('{"woman": ', "}")):
            nested = opened * depth + "1" + closed * depth
            for field in ("gender", "joint", "woman,old"):
                body = f'{{"prompt": "{PROMPT}", "fairness": {{"{field}": {nested}}}}}'
                status, answer, _ = endpoint.post(body.encode())
                statuses[status] += 1
                assert answer["error"]["type"] == "invalid_request_error"
    assert statuses.keys() == {400}


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"negative_prompt": "\ud800"}, "negative_prompt", "unable to parse raw data as a unicode"),
        ({"fairness": {"gender": {"woman": [[0.5]]}}}, "fairness", "got {'gender': {'woman': [["),
        ({"body": 1}, "body", "body: unknown field; allowed are prompt, model, n"),
        ({"fairness2": 1}, "fairness2", "fairness2: unknown field; allowed are prompt, model, n"),
        ({"size": "16x16\n"}, "size", "allowed are 'auto' and WIDTHxHEIGHT"),
        ({"size": "1٦x1٦"}, "size", "allowed are 'auto' and WIDTHxHEIGHT"),
        ({"n": "2"}, "n", "n: got '2': Input should be a valid integer"),
        ({"guidance_scale": False}, "guidance_scale", "got False: Input should be a valid number"),
        ({"stream": "yes"}, "stream", "got 'yes': Input should be a valid boolean"),
    ],
)
def test_what_fuzzing_has_found_is_a_400_that_names_the_field(
    endpoint: Endpoint, change: dict[str, Any], param: str, message: str
) -> None:
    status, answer, _ = endpoint.post(json.dumps({"prompt": PROMPT} | change).encode())
    assert status == 400 and answer["error"]["param"] == param
    assert message in answer["error"]["message"]


def test_a_405_says_which_methods_there_are(endpoint: Endpoint) -> None:
    for path, method in (("/v1/models", "GET"), ("/v1/images/generations", "POST")):
        request = urllib.request.Request(endpoint.address + path, method="DELETE")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        assert refused.value.code == 405 and refused.value.headers["Allow"] == method
