"""Clients as people have them, each in a process and on packages of its own: `make clients`."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.serve.schemas import Provenance
from tests.pipelines.endpoint import Endpoint
from tests.pipelines.records import read_provenance

pytestmark = [pytest.mark.slow, pytest.mark.clients]

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".venv" / "clients"
REFUSALS = {  # client -> what it raises for a name that is unknown
    "node/ai_sdk_compatible": "AI_APICallError",
    "node/ai_sdk_openai": "AI_APICallError",
    "node/openai_6": "BadRequestError",
    "node/openai_7": "BadRequestError",
    "python/haystack": "BadRequestError",
    "python/langchain_community": "BadRequestError",
    "python/litellm": "BadRequestError",
    "python/llama_index": "BadRequestError",
    "python/openai_1": "BadRequestError",
    "python/openai_3": "BadRequestError",
    "python/pydantic_ai": "ModelHTTPError",
}
EDITORS = [
    "node/openai_6", "node/openai_7", "python/litellm", "python/openai_1", "python/openai_3",
]  # fmt: skip
PEOPLE = ("doctor", "nurse", "teacher", "firefighter", "judge", "chef", "pilot", "farmer", "artist",
          "lawyer", "scientist", "baker")  # fmt: skip
QUIET = {  # what libraries would ask of hosts that are not the endpoint
    "HAYSTACK_TELEMETRY_ENABLED": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",
}


def command_of(client: str) -> tuple[list[str], dict[str, str]]:
    """Return how a client's script is run, and in which environment; skip what is not installed."""
    language, _, name = client.partition("/")
    if language == "python":
        packages = INSTALLED / name
        command = [sys.executable, "-P", "-S", str(HERE / "python" / f"{name}.py")]
        environment = {"PYTHONPATH": str(packages)}
    else:
        packages = INSTALLED / "node"
        script = packages / f"{name}.mjs"  # beside its modules: node looks for them from there
        command, environment = [shutil.which("node") or "", str(script)], {}
    if not (packages / ".ready").exists() or not command[0]:
        pytest.skip(f"{packages} is not there, `make clients` installs it")
    if language == "node":
        shutil.copyfile(HERE / "node" / script.name, script)
    return command, environment


@pytest.fixture(scope="module", params=REFUSALS)
def client(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def prompt(client: str) -> str:
    """A prompt that no other client uses: each is counted for itself."""
    return f"a photo of a {PEOPLE[list(REFUSALS).index(client)]}"


@pytest.fixture(scope="module")
def answer(
    client: str, prompt: str, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a client's script has printed."""
    command, environment = command_of(client)
    home = tmp_path_factory.mktemp("client")
    done = subprocess.run(
        [*command, f"{endpoint.address}/v1", prompt],
        env={"PATH": os.environ["PATH"], "HOME": str(home)} | QUIET | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def content_of(picture: str) -> bytes:
    """Return the file of a picture that came as base64 or as a data: URI."""
    return base64.b64decode(picture.partition(",")[2] if picture.startswith("data:") else picture)


def record_of(picture: str) -> Provenance:
    record = read_provenance(content_of(picture))
    assert record is not None
    return record


def test_a_name_s_fairness_comes_by_the_client_s_defaults(
    answer: dict[str, Any], prompt: str
) -> None:
    assert len(answer["by_name"]) == 2
    for picture in answer["by_name"]:
        assert Image.open(io.BytesIO(content_of(picture))).size == (16, 16)
        assert record_of(picture).prompt == prompt
    counts = Counter(record_of(picture).categories["gender"] for picture in answer["by_name"])
    assert counts == {"woman": 1, "man": 1}


def test_fairness_that_a_client_says_itself_counts_before_its_name_s(
    answer: dict[str, Any],
) -> None:
    assert answer["said"]
    for picture in answer["said"]:
        assert record_of(picture).categories == {"gender": "man"}


def test_a_wrong_name_is_the_client_s_own_error_with_the_right_names(
    answer: dict[str, Any], client: str
) -> None:
    kind, message = answer["refused"]
    assert kind == REFUSALS[client]
    assert "model: got" in message and "allowed are ['portraits', 'portraits-base'" in message


@pytest.mark.parametrize("client", EDITORS, indirect=True)
def test_an_edit_is_of_the_picture_and_of_the_fairness_that_the_client_sends(
    answer: dict[str, Any], prompt: str
) -> None:
    assert answer["edited"]
    for picture in answer["edited"]:
        record = record_of(picture)
        assert (record.prompt, record.categories) == (prompt, {"gender": "man"})
        assert record.start is not None and record.start.strength == 0.5


@pytest.mark.parametrize("client", ["python/openai_3"], indirect=True)
def test_the_table_of_names_holds_every_name_of_openai_s_types(answer: dict[str, Any]) -> None:
    assert set(answer["names"]) <= set(answer["listed"])
    assert answer["size"] == "16x16" and answer["num_tokens"] > 0
