"""The endpoint over HTTP, in this process: OpenAI's client works, bad input gets its reason."""

import base64
import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AuthenticationError, OpenAI

from fairgen.sampling import TaylorSeer
from pipelines.recipe import TaylorSeerConfig
from pipelines.recipe.recipe import Recipe
from pipelines.serve.app import gpus_per_replica
from pipelines.serve.run import unserved
from pipelines.serve.settings import AccessConfig, ServeSettings
from tests.painted import grey_levels
from tests.pipelines.endpoint import LIMITS, OPTIONS, Endpoint, open_endpoint
from tests.pipelines.records import read_provenance
from tests.tiny import tiny_pipeline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served_recipe(make_served: Callable[..., Recipe]) -> Recipe:
    return make_served("served")


@pytest.fixture(scope="module")
def endpoint(tracking_uri: str, served_recipe: Recipe) -> Iterator[Endpoint]:
    yield from open_endpoint(served_recipe, tracking_uri=tracking_uri)


def test_the_official_client_gets_pictures_in_the_prescribed_distribution(
    endpoint: Endpoint,
) -> None:
    pictures = endpoint.generate(n=8, fairness={"gender": "uniform", "age": {"old": 1.0}}, seed=5)
    records = [picture.provenance for picture in pictures]
    assert Counter(record["categories"]["gender"] for record in records) == {"woman": 4, "man": 4}
    assert {record["categories"]["age"] for record in records} == {"old"}
    assert [record["seed"] for record in records] == list(range(5, 13))
    for picture in pictures:
        content = base64.b64decode(picture.b64_json)
        assert content.startswith(b"\x89PNG")
        inside = read_provenance(content)
        assert inside is not None and inside.model_dump(mode="json") == picture.provenance
        assert {adapter["version"] for adapter in picture.provenance["adapters"]} == {"1"}
        assert picture.provenance["probability"] == 0.5
        assert picture.provenance["gate"]["person"] == "doctor"


def test_health_says_what_is_served_and_what_the_recipe_has_beside_it(
    endpoint: Endpoint, served_recipe: Recipe, tracking_uri: str
) -> None:
    found = json.loads(endpoint.get("/health"))
    assert (found["status"], found["attributes"]) == ("ok", ["gender", "age"])
    assert found["missing"] == unserved(endpoint.address) == []
    bare = served_recipe.registry.model_copy(update={"prefix": "nobody-has-trained"})
    recipe = served_recipe.model_copy(update={"registry": bare})
    for without in open_endpoint(recipe, tracking_uri=tracking_uri):
        found = json.loads(without.get("/health"))
        assert (found["status"], found["attributes"]) == ("degraded", [])
        assert found["missing"] == unserved(without.address) == ["gender", "age"]


@pytest.mark.parametrize("siblings", [False, True])
def test_a_sibling_s_champions_are_served_where_the_recipe_says_so(
    tracking_uri: str, served_recipe: Recipe, tmp_path: Path, siblings: bool
) -> None:
    tiny_pipeline(seed=1).save_pretrained(tmp_path)
    loading = served_recipe.loading.model_copy(update={"siblings": siblings})
    other = served_recipe.model_copy(update={"base": str(tmp_path), "loading": loading})
    for endpoint in open_endpoint(other, tracking_uri=tracking_uri):
        served = endpoint.backend.generator.served
        assert sorted(served) == (["age", "gender"] if siblings else [])


def test_without_fairness_the_default_is_uniform_and_off_is_the_base(endpoint: Endpoint) -> None:
    categories = [p.provenance["categories"] for p in endpoint.generate("a chef", n=4)]
    assert Counter(c["gender"] for c in categories) == {"woman": 2, "man": 2}
    assert Counter(c["age"] for c in categories) == {"young": 2, "old": 2}
    off = endpoint.generate("a chef", seed=3, fairness="off")[0]
    base = endpoint.client.images.generate(
        model="served-base", prompt="a chef", extra_body=OPTIONS | {"seed": 3}
    ).data[0]
    assert off.provenance["categories"] == {} == base.provenance["categories"]
    assert off.provenance["adapters"] == []
    pixels = [base64.b64decode(picture.b64_json) for picture in (off, base)]
    assert read_provenance(pixels[0]) is not None


def test_the_same_seed_is_the_same_picture(endpoint: Endpoint) -> None:
    ask = {"seed": 11, "fairness": {"gender": {"woman": 1.0}}}
    first, again = (endpoint.generate("a judge", **ask)[0].b64_json for _ in range(2))
    assert first == again


def test_guidance_for_a_part_of_the_steps_is_painted_and_recorded(endpoint: Endpoint) -> None:
    asked = {"seed": 3, "fairness": "off", "guidance_scale": 12.0}
    changes: list[dict[str, Any]] = [
        {}, {"guidance_interval": [0, 0.5]}, {"guidance_interval": [0, 0]}, {"guidance_scale": 1.0},
    ]  # fmt: skip
    found = [endpoint.generate("a doctor", **asked | change)[0] for change in changes]
    whole, half, none, unguided = (base64.b64decode(picture.b64_json) for picture in found)

    shares = [(p.provenance["guidance_start"], p.provenance["guidance_stop"]) for p in found]
    assert shares == [(0.0, 1.0), (0.0, 0.5), (0.0, 0.0), (0.0, 1.0)]
    assert grey_levels(whole, half) > 0 and grey_levels(half, none) > 0
    assert grey_levels(none, unguided) == 0


def test_a_record_s_seed_and_categories_give_its_picture_again(endpoint: Endpoint) -> None:
    asked = endpoint.generate("a judge", n=3, seed=31)
    records = [picture.provenance for picture in asked]
    whole = endpoint.generate(
        "a judge", n=3, seed=31, categories=[r["categories"] for r in records]
    )
    for picture, record, again in zip(asked, records, whole, strict=True):
        pinned = {"seed": record["seed"], "categories": record["categories"]}
        (alone,) = endpoint.generate("a judge", **pinned)
        for other in (again, alone):
            assert other.provenance["categories"] == record["categories"]
            assert other.provenance["adapters"] == record["adapters"]
            assert (other.provenance["gate"], other.provenance["probability"]) == (None, 1.0)
            assert grey_levels(*(base64.b64decode(p.b64_json) for p in (other, picture))) <= 1


def test_what_the_prompt_names_is_left_alone_and_said(endpoint: Endpoint) -> None:
    named = endpoint.generate("a photo of a female doctor", n=2)
    for picture in named:
        assert set(picture.provenance["categories"]) == {"age"}
        gate = picture.provenance["gate"]["attributes"]["gender"]
        assert (gate["act"], gate["reason"], gate["named"]) == (False, "named", ["woman"])
    thing = endpoint.generate("a photo of a car")[0].provenance
    assert thing["categories"] == {} and thing["gate"]["attributes"]["age"]["reason"] == "no people"


def test_a_negative_prompt_that_names_a_category_leaves_its_attribute_alone(
    endpoint: Endpoint,
) -> None:
    (picture,) = endpoint.generate("a doctor", negative_prompt="a photo of a female doctor")
    record = picture.provenance
    assert set(record["categories"]) == {"age"}
    assert record["gate"]["attributes"]["gender"]["reason"] == "negative prompt"
    assert record["negative_prompt"] == "a photo of a female doctor"
    (usual,) = endpoint.generate("a doctor", negative_prompt="blurry, extra fingers, ugly")
    assert set(usual.provenance["categories"]) == {"gender", "age"}


def test_what_only_a_rewriting_names_is_taken_out(endpoint: Endpoint) -> None:
    rewritten = "A doctor, a middle-aged man with grey hair, at a desk"
    (picture,) = endpoint.generate(rewritten, original_prompt="a doctor")
    record = picture.provenance
    assert set(record["categories"]) == {"gender", "age"}
    assert "man" not in record["prompt"].split() and "doctor" in record["prompt"].lower()
    assert record["removed"] and picture.revised_prompt == record["prompt"]
    (as_asked,) = endpoint.generate(rewritten, original_prompt=rewritten)
    assert as_asked.provenance["prompt"] == rewritten
    assert "gender" not in as_asked.provenance["categories"] and as_asked.revised_prompt is None


def test_the_gate_reads_as_far_as_an_encoder_does(endpoint: Endpoint) -> None:
    """The base model reads fourteen words."""
    seen = "a photo of a doctor in a room with a hat and a coat"
    (picture,) = endpoint.generate(f"{seen}, a woman")
    record = picture.provenance
    assert record["prompt_cut_at"] in (len(seen), len(seen) + 1)
    assert set(record["categories"]) == {"gender", "age"}
    (whole,) = endpoint.generate("a photo of a doctor, a woman")
    assert whole.provenance["prompt_cut_at"] is None
    assert set(whole.provenance["categories"]) == {"age"}


def test_signs_of_other_tools_are_named_and_read_as_text(endpoint: Endpoint) -> None:
    (picture,) = endpoint.generate("a photo of a (doctor:1.3) <lora:style:0.8>")
    record = picture.provenance
    assert record["foreign_signs"] == ["(doctor:1.3)", "<lora:style:0.8>"]
    assert set(record["categories"]) == {"gender", "age"}


def test_pictures_stream_from_partial_to_completed(endpoint: Endpoint) -> None:
    events = list(
        endpoint.client.images.generate(
            prompt="a nurse", n=2, stream=True, partial_images=2,
            extra_body=OPTIONS | {"num_inference_steps": 6},
        )
    )  # fmt: skip
    kinds = Counter(event.type for event in events)
    assert kinds == {"image_generation.partial_image": 4, "image_generation.completed": 2}
    for index in (0, 1):
        own = [event for event in events if event.index == index]
        assert [e.partial_image_index for e in own[:-1]] == [0, 1]
        assert own[-1].type == "image_generation.completed" and own[-1].provenance["seed"] >= 0


def test_a_url_is_a_data_uri_in_place_of_base64(endpoint: Endpoint) -> None:
    options = {"response_format": "url", "output_format": "webp"} | OPTIONS
    status, answer, _ = endpoint.post(json.dumps({"prompt": "a nurse"} | options).encode())
    assert status == 200 and "b64_json" not in answer["data"][0]
    head, _, content = answer["data"][0]["url"].partition(",")
    assert head == "data:image/webp;base64"
    assert read_provenance(base64.b64decode(content)) is not None
    (picture,) = endpoint.client.images.generate(
        prompt="a nurse", response_format="url", extra_body=OPTIONS
    ).data
    assert picture.url.startswith("data:image/png;base64,") and picture.b64_json is None


@pytest.mark.parametrize("output_format", ["webp", "jpeg"])
def test_other_formats_carry_the_record_too(endpoint: Endpoint, output_format: str) -> None:
    answer = endpoint.client.images.generate(
        prompt="a nurse", output_format=output_format, output_compression=80, extra_body=OPTIONS
    )
    assert answer.output_format == output_format and answer.size == "16x16"
    assert answer.usage.input_tokens == answer.usage.total_tokens > 2
    assert answer.usage.input_tokens_details.image_tokens == answer.usage.output_tokens == 0
    inside = read_provenance(base64.b64decode(answer.data[0].b64_json))
    assert inside is not None and inside.prompt == "a nurse"


def test_models_attributes_health_metrics_and_docs(endpoint: Endpoint) -> None:
    assert [m.id for m in endpoint.client.models.list()] == ["served", "served-base"]
    attributes = json.loads(endpoint.get("/v1/attributes"))
    assert [a["name"] for a in attributes] == ["gender", "age"]
    woman = attributes[0]["categories"][0]
    assert (woman["name"], woman["adapter"]["version"]) == ("woman", "1")
    assert woman["confusion"] == {"woman": 0.97, "man": 0.03}
    assert json.loads(endpoint.get("/health"))["status"] == "ok"
    endpoint.generate("a judge", fairness={"gender": {"man": 1.0}})
    page = endpoint.get("/metrics")
    assert 'fairgen_images_total{attribute="gender",category="man"}' in page
    process = endpoint.backend.generator.state().process
    for name, value in {
        "pictures_waiting": r"0\.0", "batch_rows": r"[2-9]\.0|\d\d\.0", "reloads": r"2\.0",
        "step_seconds": r"0\.\d+",
    }.items():  # fmt: skip
        assert re.search(rf'^fairgen_{name}{{process="{process}"}} ({value})$', page, re.M), page
    schema = json.loads(endpoint.get("/openapi.json"))
    assert "/v1/images/generations" in schema["paths"]
    assert "<html" in endpoint.get("/").lower()


def test_answers_are_counted_by_their_status(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> dict[str, float]:
        page = endpoint.get("/metrics")
        found = re.findall(r'^fairgen_answers_total{status="(\d+)"} (\S+)$', page, re.M)
        return {status: float(count) for status, count in found}

    endpoint.generate()
    endpoint.post(b"{")
    before = counted()
    endpoint.generate()
    list(endpoint.client.images.generate(prompt="a pilot", stream=True, extra_body=OPTIONS))
    endpoint.post(b"{")
    endpoint.post(b"x" * (LIMITS.body_bytes + 1))
    endpoint.get("/v1/models")

    async def broken(_: object) -> None:
        raise RuntimeError("no ledger")

    monkeypatch.setattr(endpoint.backend, "assign", broken)
    assert endpoint.post(b'{"prompt": "a pilot"}')[0] == 500
    after = counted()
    grown = {status: after[status] - before.get(status, 0.0) for status in after}
    assert {status: count for status, count in grown.items() if count} == {
        "200": 2, "400": 1, "413": 1, "500": 1
    }  # fmt: skip


def test_with_api_keys_only_their_holders_are_served(
    served_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRGEN_API_KEYS", "the-first-key-of-two,the-second-key-of-two")
    for endpoint in open_endpoint(served_recipe):
        for key in ("the-first-key-of-two", "the-second-key-of-two"):
            client = OpenAI(base_url=f"{endpoint.address}/v1", api_key=key, max_retries=0)
            assert client.images.generate(prompt="a doctor", extra_body=OPTIONS).data
        with pytest.raises(AuthenticationError, match="API key is missing or wrong"):
            endpoint.generate()
        assert json.loads(endpoint.get("/health"))["missing"] == ["gender", "age"]


def test_decisions_are_kept_and_prompts_are_not(
    tracking_uri: str, served_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    prompt, log = "a portrait of a nurse in Ouagadougou", tmp_path / "decisions.jsonl"
    for endpoint in open_endpoint(served_recipe, tracking_uri=tracking_uri, decisions=log):
        endpoint.generate(prompt, n=2, seed=3, fairness={"gender": "uniform"})
        list(endpoint.client.images.generate(prompt=prompt, stream=True, extra_body=OPTIONS))
        endpoint.post(json.dumps({"prompt": prompt, "n": 99}).encode())
    first, second = (json.loads(line) for line in log.read_text().splitlines())
    assert first["delivered"] == 2 and first["caller"] == "127.0.0.1"
    assert [picture["seed"] for picture in first["pictures"]] == [3, 4]
    assert {p["categories"]["gender"] for p in first["pictures"]} == {"woman", "man"}
    assert sorted(first["adapters"]) == ["served-gender-man 1", "served-gender-woman 1"]
    assert second["delivered"] == 1 and second["prompt_sha256"] == first["prompt_sha256"]
    assert "Ouagadougou" not in caplog.text + log.read_text()


def test_a_decision_that_cannot_be_kept_costs_no_picture(
    served_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for endpoint in open_endpoint(served_recipe, decisions=tmp_path):  # a folder takes no line
        assert len(endpoint.generate(n=2)) == 2
    assert "a decision is not logged" in caplog.text  # it was written by the endpoint's end


@pytest.mark.parametrize("open_to", [(), ("https://page.example",)])
def test_pages_of_other_hosts_read_answers_only_where_they_are_named(
    served_recipe: Recipe, open_to: tuple[str, ...]
) -> None:
    """Clients of OpenAI's say in headers of their own what they are, and count their tries."""
    sent = "authorization, content-type, idempotency-key, x-fairness, x-stainless-retry-count"
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = sent
    for endpoint in open_endpoint(served_recipe, access=AccessConfig(cors_origins=open_to)):
        url = f"{endpoint.address}/v1/images/generations"
        request = urllib.request.Request(url, headers=asked, method="OPTIONS")
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            assert not open_to and error.headers["Access-Control-Allow-Origin"] is None
        else:
            assert answer.headers["Access-Control-Allow-Origin"] == open_to[0]
            assert answer.headers["Access-Control-Allow-Headers"] == sent


@pytest.mark.parametrize(
    ("had", "wanted", "of_cluster", "taken"),
    [
        (2.0, None, None, 1),
        (0.0, None, None, 0),
        (2.0, 0.5, "1", 0.5),
        (0.0, None, "1", 1),
        (2.0, None, "0", 0),
    ],
)
def test_a_generator_takes_a_gpu_where_there_is_one_or_the_cluster_says_so(
    monkeypatch: pytest.MonkeyPatch,
    had: float,
    wanted: float | None,
    of_cluster: str | None,
    taken: float,
) -> None:
    if of_cluster is not None:
        monkeypatch.setenv("FAIRGEN_GPUS_PER_REPLICA", of_cluster)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": had} if had else {})
    assert gpus_per_replica(ServeSettings(gpus_per_replica=wanted)) == taken


def test_more_steps_than_the_scheduler_takes_are_refused_with_the_most(
    tracking_uri: str, served_recipe: Recipe
) -> None:
    generation = served_recipe.generation.model_copy(update={"scheduler": "lcm"})
    recipe = served_recipe.model_copy(update={"generation": generation})
    limits = LIMITS.model_copy(update={"num_steps": 100})
    for endpoint in open_endpoint(recipe, tracking_uri=tracking_uri, limits=limits):
        asked = {"prompt": "a doctor", "num_inference_steps": 51}
        status, body, _ = endpoint.post(json.dumps(asked).encode())
        assert (status, body["error"]["param"]) == (400, "num_inference_steps")
        message = "num_inference_steps: got 51, allowed are at most 50 with LCMScheduler"
        assert body["error"]["message"] == message
        assert endpoint.post(json.dumps(asked | {"num_inference_steps": 2}).encode())[0] == 200


def test_pictures_are_forecast_as_the_recipe_says_unless_a_request_forbids_it(
    tracking_uri: str, served_recipe: Recipe
) -> None:
    rule = {"cache_interval": 7, "disable_cache_before_step": 1,
            "disable_cache_after_step": None, "max_order": 0}  # fmt: skip
    changes = {"steps": 8, "taylorseer": TaylorSeerConfig(**rule)}
    generation = served_recipe.generation.model_copy(update=changes)
    recipe = served_recipe.model_copy(update={"generation": generation})
    for endpoint in open_endpoint(recipe, tracking_uri=tracking_uri):
        asked = {"seed": 5, "guidance_scale": 25.0, "fairness": "off"}
        found = [
            endpoint.generate("a doctor", **asked | change)[0]
            for change in ({}, {"taylorseer": True}, {"taylorseer": False})
        ]
        forecast, same, computed = (base64.b64decode(picture.b64_json) for picture in found)
        assert [picture.provenance["taylorseer"] for picture in found] == [rule, rule, None]
        record = read_provenance(forecast)
        assert record is not None and record.taylorseer == TaylorSeer(**rule)
        assert grey_levels(forecast, same) == 0 < grey_levels(forecast, computed)
