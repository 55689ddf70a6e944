"""What a generator serves when it starts: the champions, or what was served last, or nothing;
never pictures without the adapters that were asked for.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.registry import Registry
from pipelines.registry.server import current
from tests.pipelines.endpoint import Endpoint, open_endpoint
from tests.pipelines.registered import register_champions

pytestmark = pytest.mark.slow

AWAY = "http://127.0.0.1:9"
ASKED = b'{"prompt": "a doctor"}'


@pytest.fixture
def recipe(write_recipe: Callable[..., Path]) -> Recipe:
    return load_recipe(write_recipe("started"))


@pytest.fixture
def champions(tracking_uri: str, recipe: Recipe, tmp_path: Path) -> Iterator[Registry]:
    """The registry, with champions of both attributes; what a test has registered is removed."""
    register_champions(tracking_uri, recipe, tmp_path / "first", seed=1)
    registry = Registry(tracking_uri, recipe)
    yield registry
    for attribute in recipe.attributes:
        for name in attribute.names:
            registry.client.delete_registered_model(recipe.registered_name(attribute.name, name))


def served_by(endpoint: Endpoint) -> dict[str, str]:
    """Return attribute -> the set that is served."""
    return {a["name"]: a["adapter_set"] for a in json.loads(endpoint.get("/v1/attributes"))}


def refusal(endpoint: Endpoint) -> str:
    """Return why nothing is painted; whoever asks is told when to come back."""
    status, answer, headers = endpoint.post(ASKED)
    assert status == 503 and headers["retry-after"] == "5"
    return answer["error"]["message"]


def test_without_a_registry_the_base_model_is_served(recipe: Recipe) -> None:
    for endpoint in open_endpoint(recipe):
        assert served_by(endpoint) == {}
        assert endpoint.generate()[0].provenance["categories"] == {}
        status, answer, _ = endpoint.post(
            b'{"prompt": "a doctor", "fairness": {"gender": "uniform"}}'
        )
        assert status == 400 and "allowed are []" in answer["error"]["message"]


def test_while_the_registry_is_away_what_was_served_last_is_served(
    champions: Registry, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")
    home = tmp_path / "home"
    for endpoint in open_endpoint(recipe, tracking_uri=AWAY, home=home):
        assert "adapters of any attribute cannot be had" in refusal(endpoint)
        assert endpoint.backend.generator.state().failed_reloads == 1
    for endpoint in open_endpoint(recipe, tracking_uri=champions.tracking_uri, home=home):
        served = served_by(endpoint)
    for endpoint in open_endpoint(recipe, tracking_uri=AWAY, home=home):
        assert served_by(endpoint) == served and len(served) == 2
        assert len(endpoint.generate()[0].provenance["adapters"]) == 2
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "9"  # others here wait as before


@pytest.mark.parametrize("damage", ["weights", "set"])
def test_one_damaged_set_that_was_served_last_is_not_left_out_in_silence(
    champions: Registry, recipe: Recipe, tmp_path: Path, damage: str
) -> None:
    home = tmp_path / "home"
    for endpoint in open_endpoint(recipe, tracking_uri=champions.tracking_uri, home=home):
        assert len(served_by(endpoint)) == 2
    (hurt,) = home.rglob("gender.json")
    if damage == "weights":
        (hurt,) = home.rglob("started-gender-woman/*/*.safetensors")
    content = bytearray(hurt.read_bytes())
    content[-1] ^= 1
    hurt.write_bytes(content)
    for endpoint in open_endpoint(recipe, tracking_uri=AWAY, home=home):
        assert "adapters of ['gender'] cannot be had" in refusal(endpoint)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_start_with_a_damaged_champion_serves_the_set_before_or_nothing(
    champions: Registry, recipe: Recipe, tmp_path: Path, keeps: bool
) -> None:
    settings: dict[str, Any] = {"tracking_uri": champions.tracking_uri}
    settings |= {"home": tmp_path / "home"} if keeps else {}
    for endpoint in open_endpoint(recipe, **settings):
        before = served_by(endpoint)
    register_champions(champions.tracking_uri, recipe, tmp_path / "second", seed=2)
    new = champions.champions()
    woman = new["gender"].members["woman"]
    champions.client.set_model_version_tag(woman.name, woman.version, "sha256", "0" * 64)
    for endpoint in open_endpoint(recipe, **settings):
        if keeps:
            assert served_by(endpoint) == before | {"age": new["age"].adapter_set}
        else:
            assert "adapters of ['gender'] cannot be had" in refusal(endpoint)
        assert endpoint.backend.generator.state().failed_reloads == 1


def test_an_attribute_that_nobody_has_promoted_holds_nothing_up(
    champions: Registry, recipe: Recipe, tmp_path: Path
) -> None:
    for name in recipe.attribute("age").names:
        champions.client.delete_registered_model_alias(
            recipe.registered_name("age", name), "champion"
        )
    home = tmp_path / "home"
    for uri in (champions.tracking_uri, AWAY):
        for endpoint in open_endpoint(recipe, tracking_uri=uri, home=home):
            assert list(served_by(endpoint)) == ["gender"]


def looked_again(endpoint: Endpoint) -> None:
    """Let the generator look at the registry, and wait until it has refused what it found."""
    generator = endpoint.backend.generator
    failed = generator.state().failed_reloads
    generator.poll_now()
    deadline = time.monotonic() + 60
    while generator.state().failed_reloads == failed:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_version_whose_bytes_change_under_its_number_is_refused(
    champions: Registry, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody deletes the models, and registers others: they are version 1 again."""
    for endpoint in open_endpoint(recipe, tracking_uri=champions.tracking_uri):
        before = served_by(endpoint)
        (picture,) = endpoint.generate(fairness={"gender": {"woman": 1.0}}, seed=1)
        for name in recipe.attribute("gender").names:
            champions.client.delete_registered_model(recipe.registered_name("gender", name))
        register_champions(champions.tracking_uri, recipe, tmp_path / "other", seed=5)
        new = champions.champions()
        assert new["gender"].members["woman"].version == "1"
        looked_again(endpoint)
        deadline = time.monotonic() + 60
        while served_by(endpoint) == before:  # the other attribute's new set goes live
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert served_by(endpoint) == before | {"age": new["age"].adapter_set}
        assert "started-gender-woman version 1: got sha256" in caplog.text
        (again,) = endpoint.generate(fairness={"gender": {"woman": 1.0}}, seed=1)
        (one, other) = (p.provenance["adapters"] for p in (picture, again))
        assert [a for a in one if "gender" in a["name"]] == [
            a for a in other if "gender" in a["name"]
        ]


def test_weights_that_stand_in_another_category_s_place_are_refused(
    champions: Registry, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    """A man's weights, registered by hand as a woman's, with tags that fit them."""
    client = champions.client
    found = champions.champions()["gender"].members
    for place, origin in (("woman", "man"), ("man", "woman")):
        name, source = found[place].name, found[origin]
        stored = client.get_model_version(source.name, source.version)
        tags = client.get_model_version(name, found[place].version).tags
        tags |= {"sha256": source.sha256, "adapter_set": "exchanged"}
        with current(champions.tracking_uri):
            made = mlflow.register_model(stored.source, name, tags=tags)
        client.set_registered_model_alias(name, "champion", made.version)
    for endpoint in open_endpoint(recipe, tracking_uri=champions.tracking_uri):
        assert "adapters of ['gender'] cannot be had" in refusal(endpoint)
    assert "got weights of gender-man, allowed are gender-woman's" in caplog.text
