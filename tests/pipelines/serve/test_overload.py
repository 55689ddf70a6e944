"""More work than there is time or room for is refused, or ended, and leaves nothing behind."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from pipelines.recipe.recipe import Recipe
from tests.pipelines.endpoint import LIMITS, open_endpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served_recipe(make_served: Callable[..., Recipe]) -> Recipe:
    return make_served("overloaded")


def test_overload_is_a_429_that_says_when_to_come_back(served_recipe: Recipe) -> None:
    limits = LIMITS.model_copy(update={"queued_images": 16, "num_steps": 200})
    for endpoint in open_endpoint(served_recipe, limits=limits):
        body = {"prompt": "a doctor", "n": 8, "num_inference_steps": 200}  # seconds
        ask = partial(endpoint.post, json.dumps(body).encode())
        with ThreadPoolExecutor(8) as pool:
            answers = [each.result() for each in [pool.submit(ask) for _ in range(8)]]
        refused = [answer for answer in answers if answer[0] != 200]
        assert len(refused) == 7  # one request of a caller at most weighs as three quarters of all
        for status, answer, headers in refused:
            assert status == 429 and answer["error"]["type"] == "rate_limit_error"
            assert int(headers["retry-after"]) > 0
        assert endpoint.post(b'{"prompt": "a doctor", "n": 3}')[0] == 200


def test_work_that_cannot_be_done_in_time_is_refused_at_the_door(served_recipe: Recipe) -> None:
    largest = {"num_images": 64, "num_steps": 500, "timeout_s": 5.0}
    for endpoint in open_endpoint(served_recipe, limits=LIMITS.model_copy(update=largest)):
        endpoint.generate()  # by its steps the next ones are measured
        body = {"prompt": "a doctor", "n": 64, "num_inference_steps": 500}
        status, answer, headers = endpoint.post(json.dumps(body).encode())
        assert status == 429 and "in time" in answer["error"]["message"]
        assert int(headers["retry-after"]) >= 1


def test_a_request_that_takes_too_long_is_a_408_and_frees_its_rows(served_recipe: Recipe) -> None:
    limits = LIMITS.model_copy(update={"timeout_s": 0.05})
    for endpoint in open_endpoint(served_recipe, limits=limits):
        body = {"prompt": "a doctor", "n": 16, "num_inference_steps": 20}
        status, answer, _ = endpoint.post(json.dumps(body).encode())
        assert status == 408 and answer["error"]["type"] == "timeout_error"
        generator = endpoint.backend.generator
        for _ in range(200):
            if not generator.engine_state.pending:
                break
            endpoint.get("/health")
        assert generator.engine_state.pending == 0
