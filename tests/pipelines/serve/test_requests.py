"""What a request may hold: typed clients are taken, bad input gets its reason and its field."""

import json
import urllib.error
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import BadRequestError

from pipelines.recipe.recipe import Recipe
from tests.pipelines.endpoint import OPTIONS, Endpoint, open_endpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoint(tracking_uri: str, make_served: Callable[..., Recipe]) -> Iterator[Endpoint]:
    yield from open_endpoint(make_served("asked"), tracking_uri=tracking_uri)


@pytest.mark.parametrize(
    "given",
    [
        dict.fromkeys(("n", "stream", "output_format", "partial_images", "negative_prompt", "size",
                       "quality", "fairness", "seed")),
        dict.fromkeys(("complexity", "frame_count", "frame_duration_ms", "svg")),
        {"complexity": "high", "quality": "max"},
        {"n": 1.0, "safety_identifier": "somebody", "num_inference_steps": 3.0},
    ],
)  # fmt: skip
def test_what_typed_clients_send_is_taken(endpoint: Endpoint, given: dict[str, Any]) -> None:
    status, answer, _ = endpoint.post(json.dumps({"prompt": "a nurse"} | OPTIONS | given).encode())
    assert status == 200, answer
    assert "url" not in answer["data"][0] and len(answer["data"]) == 1


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": 17}, "n", "got 17, allowed are at most 16"),
        ({"prompt": ""}, "prompt", "at least 1 character"),
        ({"prompt": "x" * 81}, "prompt", "allowed are at most 80"),
        ({"prompt": 7}, "prompt", "valid string"),
        ({"size": "huge"}, "size", "allowed are 'auto' and WIDTHxHEIGHT"),
        ({"size": "17x16"}, "size", "size: got 17x16, allowed are multiples of 4"),
        ({"size": "128x128"}, "size", "got 128, allowed are at most 64"),
        ({"num_inference_steps": 21}, "num_inference_steps", "allowed are at most 20"),
        ({"guidance_scale": -0.5}, "guidance_scale", "greater than or equal to 0"),
        ({"guidance_interval": [0.5]}, "guidance_interval", "at least 2 items"),
        ({"guidance_interval": [0.6, 0.5]}, "guidance_interval", "allowed are two shares from 0"),
        ({"guidance_interval": [0, "1"]}, "guidance_interval.1", "valid number"),
        ({"response_format": "file"}, "response_format", "b64_json"),
        ({"n": 1.5}, "n", "valid integer"),
        ({"prompt": None}, "prompt", "required"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"etta": 1}, "etta", "unknown field; allowed are prompt"),
        ({"complexity": "most"}, "complexity", "got 'most': Input should be 'low', 'medium'"),
        ({"frame_count": 9}, "frame_count", "got 9, allowed is null: pictures are no GIF"),
        ({"svg": {"model": "a"}}, "svg", "svg: got {'model': 'a'}, allowed is null"),
        ({"fairness": "on"}, "fairness", "got 'on', allowed are 'off', {attribute: 'uniform'}"),
        ({"fairness": {"height": "uniform"}}, "fairness", "got ['height'], allowed are ['age', 'g"),
        ({"fairness": {"gender": {"woman": 0.7}}}, "fairness.gender", "sum to 0.7, allowed is"),
        ({"fairness": {"gender": {"child": 1}}}, "fairness.gender", "got ['child'], allowed are"),
        (
            {"fairness": {"joint": {"woman,old": 2}}},
            "fairness.joint.woman,old",
            "allowed are shares",
        ),
        ({"fairness": {}}, "fairness", "got nothing"),
        ({"categories": {"height": "tall"}}, "categories", "got 'height', allowed are ['age', 'g"),
        ({"categories": {"gender": "child"}}, "categories.gender", "allowed are ['woman', 'man']"),
        ({"categories": [{}, {}]}, "categories", "got those of 2 pictures, allowed are as many as"),
        ({"categories": "woman"}, "categories", "got 'woman', allowed is a table of categories"),
        ({"categories": {"gender": 1}}, "categories", "allowed is a table of categories"),
        ({"categories": {}, "fairness": "off"}, None, "allowed is one of both"),
    ],
)
def test_bad_input_is_a_400_that_names_the_field(
    endpoint: Endpoint, change: dict[str, Any], param: str | None, message: str
) -> None:
    body = {"prompt": "a doctor"} | OPTIONS | change
    status, answer, _ = endpoint.post(json.dumps(body).encode())
    error = answer["error"]
    assert status == 400 and error["type"] == "invalid_request_error"
    assert message in error["message"]
    assert error["param"] == param


def test_the_clients_own_exceptions_come_out(endpoint: Endpoint) -> None:
    with pytest.raises(BadRequestError, match="allowed are at most 16"):
        endpoint.generate(n=17)
    with pytest.raises(BadRequestError, match=r"allowed are \['asked', 'asked-base'\]"):
        endpoint.client.images.generate(prompt="a doctor", model="dall-e-3")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"prompt": "a"} x'])
def test_what_is_no_json_object_is_refused(endpoint: Endpoint, body: bytes) -> None:
    status, answer, _ = endpoint.post(body)
    assert status == 400 and answer["error"]["message"]


def test_a_body_over_the_limit_is_a_413(endpoint: Endpoint) -> None:
    status, answer, _ = endpoint.post(json.dumps({"prompt": "x" * 3000}).encode())
    assert status == 413 and "allowed are 2048" in answer["error"]["message"]


def test_unknown_paths_and_methods_are_error_objects(endpoint: Endpoint) -> None:
    for path, status in (("/v2/images", 404), ("/v1/images/generations", 405)):
        with pytest.raises(urllib.error.HTTPError) as found:
            endpoint.get(path)
        assert found.value.code == status and "error" in json.load(found.value)
