"""The operator's names: programs that cannot say fairness get it by a model's name."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, NotFoundError

from pipelines.recipe.recipe import Recipe
from pipelines.serve.access.errors import RequestError
from pipelines.serve.models import ModelAlias, Models, check_aliases, read_aliases
from pipelines.serve.schemas import ImageRequest
from tests.pipelines.endpoint import OPTIONS, Endpoint, open_endpoint
from tests.pipelines.records import read_provenance
from tests.tiny import ATTRIBUTES

TABLE = """
models:
  gpt-image-1: {fairness: {gender: {woman: 1.0}}, steps: 2, size_policy: native}
  dall-e-2: {fairness: {gender: uniform}, size_policy: nearest, url: true}
  plain: {base: true}
  as-it-is:
"""


def request(**given: Any) -> ImageRequest:
    return ImageRequest.model_validate({"prompt": "a doctor"} | given)


@pytest.mark.parametrize(
    ("policy", "asked", "painted"),
    [
        ("native", "1024x1024", None),
        ("nearest", "1024x1024", "64x64"),
        ("nearest", "1536x1024", "96x64"),
        ("nearest", "1024x1792", "64x96"),
        ("refuse", "64x96", "64x96"),
        ("refuse", "auto", "auto"),
        ("refuse", None, None),
    ],
)
def test_a_size_that_is_not_painted_is_answered_by_policy(
    policy: str, asked: str | None, painted: str | None
) -> None:
    alias = ModelAlias(size_policy=policy)
    assert alias.applied(request(size=asked), ("64x64", "96x64", "64x96")).size == painted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("half: {fairness: {gender: {woman: 0.5}}}", r"models\.half: .*0\.5"),
        ("race: {fairness: {race: uniform}}", r"models\.race: .*race"),
        ("many: {steps: 5000}", r"models\.many: steps: got 5000, allowed are at most 100"),
        ("both: {base: true, fairness: {gender: uniform}}", "got fairness beside base, which has"),
        ("'': {steps: 2}", "models: got the name '', allowed is one with letters"),
    ],
)
def test_a_name_whose_requests_would_all_be_refused_is_refused_at_the_start(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "names.yaml").write_text(f"models:\n  {text}\n")
    with pytest.raises(ValueError, match=message):
        check_aliases(read_aliases(tmp_path / "names.yaml"), ATTRIBUTES, 100)


@pytest.mark.parametrize("field", ["fairness", "categories"])
def test_the_base_model_refuses_what_it_cannot_do(field: str) -> None:
    asked = request(**{field: {"gender": "uniform" if field == "fairness" else "woman"}})
    with pytest.raises(RequestError, match=f"{field}: got some of the base model, which has no"):
        ModelAlias(base=True).applied(asked, ())
    assert ModelAlias(base=True).applied(request(fairness="off"), ()).fairness == "off"


def test_a_size_that_is_refused_names_those_that_are_not() -> None:
    with pytest.raises(RequestError, match="size: got 32x32, allowed are 64x64, 96x64 and auto"):
        ModelAlias().applied(request(size="32x32"), ("64x64", "96x64"))
    assert ModelAlias().applied(request(size="32x32"), ()).size == "32x32"


def test_a_request_s_own_words_count_before_its_name_s() -> None:
    alias = ModelAlias(fairness={"gender": "uniform"}, steps=3, guidance_scale=2, url=True)
    own = {
        "fairness": "off", "num_inference_steps": 7, "guidance_scale": 1.0,
        "response_format": "b64_json",
    }  # fmt: skip
    assert alias.applied(request(**own), ()) == request(**own)
    given = alias.applied(request(), ())
    assert (given.fairness, given.num_inference_steps) == ({"gender": "uniform"}, 3)
    assert (given.guidance_scale, given.response_format) == (2, "url")
    pinned = alias.applied(request(categories={"gender": "man"}), ())
    assert (pinned.fairness, pinned.categories) == (None, {"gender": "man"})


def test_a_table_is_read_and_a_wrong_one_named(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(TABLE)
    aliases = read_aliases(path)
    assert list(aliases) == ["gpt-image-1", "dall-e-2", "plain", "as-it-is"]
    assert aliases["as-it-is"] == ModelAlias()
    assert Models("own", aliases).named("plain", 400)[0] == "own-base"
    for text, message in (
        ("models: [a]", "got no table"),
        ("a: 1", "allowed is `models:`"),
        ("models: {a: {fairnes: off}}", "models.a.fairnes: Extra inputs"),
        ("models: {a: {size_policy: crop}}", "models.a.size_policy: Input should be 'refuse'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_aliases(path)


@pytest.fixture(scope="module")
def endpoint(
    tracking_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
    make_served: Callable[..., Recipe],
) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("aliased")
    (folder / "models.yaml").write_text(TABLE)
    recipe = make_served("aliased", generation={"sizes": ["16x16", "32x16"]})
    aliases = read_aliases(folder / "models.yaml")
    yield from open_endpoint(recipe, tracking_uri=tracking_uri, models=aliases)


@pytest.mark.slow
def test_a_client_that_knows_no_fairness_gets_it_by_name(endpoint: Endpoint) -> None:
    client = endpoint.client
    names = [model.id for model in client.models.list()]
    assert names[2:] == ["gpt-image-1", "dall-e-2", "plain", "as-it-is"]
    women = client.images.generate(model="gpt-image-1", prompt="a doctor", size="1024x1024", n=3)
    assert women.size == "16x16"
    for picture in women.data:
        record = picture.provenance
        assert (record["categories"], record["model"]) == ({"gender": "woman"}, "aliased")
        assert record["num_inference_steps"] == 2
    links = client.images.generate(model="dall-e-2", prompt="a nurse", size="1792x1024", n=4)
    assert links.size == "32x16" and all(picture.b64_json is None for picture in links.data)
    shown = [base64.b64decode(picture.url.partition(",")[2]) for picture in links.data]
    records = [read_provenance(content) for content in shown]
    assert Counter(r.categories["gender"] for r in records if r) == {"woman": 2, "man": 2}
    (plain,) = client.images.generate(model="plain", prompt="a doctor", extra_body=OPTIONS).data
    assert plain.provenance["model"] == "aliased-base" and not plain.provenance["categories"]


@pytest.mark.slow
def test_unknown_names_sizes_and_paths_say_what_is_known(endpoint: Endpoint) -> None:
    client = endpoint.client
    with pytest.raises(BadRequestError, match="model: got 'dall-e-3', allowed are") as found:
        client.images.generate(model="dall-e-3", prompt="a doctor")
    assert found.value.code == "model_not_found"
    with pytest.raises(NotFoundError, match="model: got 'dall-e-3'"):
        client.models.retrieve("dall-e-3")
    with pytest.raises(BadRequestError, match="size: got 64x64, allowed are 16x16, 32x16 and auto"):
        client.images.generate(prompt="a doctor", size="64x64")
    with pytest.raises(BadRequestError, match="background"):
        client.images.generate(prompt="a doctor", background="transparent")
    for path, right in (
        ("/images/generations", "allowed is /v1/images/generations"),
        ("/v1/v1/images/generations", "allowed is /v1/images/generations"),
        ("/images/edits", "allowed is /v1/images/edits"),
        ("/v1/images/variations", "allowed is /v1/images/edits, with a prompt and a `strength`"),
        ("/models", "allowed is /v1/models"),
        ("/nothing", "Not Found"),
    ):
        answer = httpx2.post(endpoint.address + path, json={"prompt": "a doctor"})
        assert answer.status_code == 404 and right in answer.json()["error"]["message"]


@pytest.mark.slow
def test_a_header_says_fairness_where_the_body_does_not(endpoint: Endpoint) -> None:
    def ask(header: str, **body: Any) -> httpx2.Response:
        asked = {"prompt": "a doctor"} | OPTIONS | body
        url = f"{endpoint.address}/v1/images/generations"
        return httpx2.post(url, json=asked, headers={"X-Fairness": header}, timeout=60)

    def categories(answer: httpx2.Response) -> dict[str, str]:
        assert answer.status_code == 200, answer.text
        return answer.json()["data"][0]["provenance"]["categories"]

    man = json.dumps({"gender": {"man": 1.0}})
    assert categories(ask(man)) == {"gender": "man"}
    assert categories(ask("off")) == {}
    assert categories(ask(man, fairness={"age": {"old": 1.0}})) == {"age": "old"}
    assert categories(ask(man, model="gpt-image-1")) == {"gender": "man"}
    for header in ("on", "{", "[1]", '{"gender": {"child": 1}}'):
        answer = ask(header)
        assert answer.status_code == 400 and answer.json()["error"]["param"] is not None
