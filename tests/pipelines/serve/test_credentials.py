"""A whole request through the gateway: every finished picture is signed, or there is none."""

import base64
import datetime
import io
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import c2pa
import pytest
from PIL import Image

from fairgen.provenance import (
    CredentialFiles,
    OutputFormat,
    find_mark,
    inspect_file,
    write_test_chain,
)
from pipelines.recipe.recipe import Recipe
from tests.pipelines.endpoint import LIMITS, OPTIONS, Endpoint, open_endpoint
from tests.pipelines.records import read_provenance

pytestmark = pytest.mark.slow
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PROMPT = "a photo of a doctor, 医者 طبيبة „heute“"


@pytest.fixture(scope="module")
def signing_recipe(make_served: Callable[..., Recipe]) -> Recipe:
    return make_served("signing")


def chain(folder: Path, holds: datetime.timedelta = datetime.timedelta(days=1)) -> CredentialFiles:
    files = write_test_chain(folder, holds)
    return CredentialFiles(chain=files.chain, key=files.key)


@pytest.fixture(scope="module")
def endpoint(
    tracking_uri: str, signing_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    files = chain(tmp_path_factory.mktemp("credentials"))
    yield from open_endpoint(signing_recipe, tracking_uri=tracking_uri, credentials=files)


def signed_record(content: bytes, output_format: str) -> dict:
    """Return the record of a picture whose credentials plain c2pa finds valid."""
    with c2pa.Reader(f"image/{output_format}", io.BytesIO(content)) as reader:
        assert reader.get_validation_state() == "Valid"
        manifest = reader.get_active_manifest()
    said = {item["label"]: item["data"] for item in manifest["assertions"]}
    (created,) = said["c2pa.actions.v2"]["actions"]
    assert created["digitalSourceType"] == SOURCE_TYPE
    return said["org.fairgen.provenance"]


@pytest.mark.parametrize("output_format", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("response_format", ["b64_json", "url"])
def test_every_picture_of_a_request_is_signed_with_its_record(
    endpoint: Endpoint, output_format: OutputFormat, response_format: str
) -> None:
    asked = {"output_format": output_format, "response_format": response_format}
    for found in endpoint.generate(PROMPT, n=2, fairness={"gender": "uniform"}, **asked):
        text = found.b64_json or found.url.partition("base64,")[2]
        content = base64.b64decode(text)
        record = signed_record(content, output_format)
        inside = read_provenance(content)
        assert inside is not None and inside.model_dump(mode="json") == record == found.provenance
        assert record["prompt"] == PROMPT and record["adapters"][0]["version"] == "1"


def test_the_last_picture_of_a_stream_is_signed_and_partial_ones_are_not(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    options = OPTIONS | {"fairness": "off"}
    events = list(
        endpoint.client.images.generate(
            prompt=PROMPT, stream=True, partial_images=1, extra_body=options
        )
    )
    partial, final = (base64.b64decode(event.b64_json) for event in events)
    assert signed_record(final, "png")["categories"] == {}
    (tmp_path / "partial.png").write_bytes(partial)
    found = inspect_file(tmp_path / "partial.png")
    assert found.signature is found.record is None and found.digital_source_type == SOURCE_TYPE


def test_signing_changes_no_pixel(
    endpoint: Endpoint, tracking_uri: str, signing_recipe: Recipe
) -> None:
    def pixels(asked: Endpoint) -> bytes:
        (found,) = asked.generate(PROMPT, seed=3, fairness="off")
        with Image.open(io.BytesIO(base64.b64decode(found.b64_json))) as image:
            return image.tobytes()

    for plain in open_endpoint(signing_recipe, tracking_uri=tracking_uri):
        assert pixels(plain) == pixels(endpoint)


def test_a_picture_that_cannot_be_signed_is_an_error_and_never_unsigned(
    tracking_uri: str, signing_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = chain(tmp_path, datetime.timedelta(seconds=20))
    begun, wall_begun = time.monotonic(), time.time()
    for endpoint in open_endpoint(signing_recipe, tracking_uri=tracking_uri, credentials=files):
        assert len(endpoint.generate(PROMPT)) == 1
        (line,) = re.findall(
            r"^fairgen_credentials_end_seconds.* (\S+)$", endpoint.get("/metrics"), re.M
        )
        assert abs(float(line) - wall_begun - 20) < 2
        time.sleep(max(0, begun + 22 - time.monotonic()))
        body = {"prompt": PROMPT, "n": 2, **OPTIONS}
        with caplog.at_level(logging.ERROR):
            status, answer, _ = endpoint.post(json.dumps(body).encode())
        assert status == 500 and answer["error"]["message"] == "internal error"
        assert "a picture could not be signed: Signature: the certificate was not" in caplog.text
        assert "PRIVATE" not in caplog.text
        assert endpoint.backend.num_given_back == 2
        assert endpoint.get("/health")  # it still answers


def test_an_endpoint_with_credentials_that_cannot_sign_does_not_start(
    signing_recipe: Recipe, tmp_path: Path
) -> None:
    files = chain(tmp_path)
    files.key.chmod(0o644)
    with pytest.raises(ValueError, match="with mode 644, which others may read, allowed is"):
        next(open_endpoint(signing_recipe, credentials=files))


def sized(recipe: Recipe, size_px: int) -> Recipe:
    """Return a recipe that paints pictures of a size."""
    generation = recipe.generation.model_copy(update={"size_px": size_px})
    return recipe.model_copy(update={"generation": generation})


def test_pictures_are_marked_and_say_so(signing_recipe: Recipe, tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"side_px": 512})
    asked = {"fairness": "off", "output_format": "jpeg", "guidance_scale": 1.0}
    asked["num_inference_steps"] = 1
    settings = {"credentials": chain(tmp_path), "mark": True, "limits": limits}
    for endpoint in open_endpoint(sized(signing_recipe, 256), **settings):
        (found,) = endpoint.generate(PROMPT, **asked)
        content = base64.b64decode(found.b64_json)
        assert found.provenance["marked"]
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (256, 256) and find_mark(image) is not None
        with c2pa.Reader("image/jpeg", io.BytesIO(content)) as reader:
            assertions = reader.get_active_manifest()["assertions"]
        said = {item["label"]: item["data"] for item in assertions}
        actions = [action["action"] for action in said["c2pa.actions.v2"]["actions"]]
        assert actions == ["c2pa.created", "c2pa.watermarked.unbound"]
        body = {"prompt": PROMPT, "size": "128x256", **OPTIONS}
        status, answer, _ = endpoint.post(json.dumps(body).encode())
        assert status == 400 and answer["error"]["param"] == "size"
        assert "allowed are 256 pixels and more a side, since" in answer["error"]["message"]


def test_an_endpoint_whose_pictures_are_too_small_for_a_mark_does_not_start(
    signing_recipe: Recipe,
) -> None:
    small = signing_recipe.generation.model_copy(update={"size_px": 256, "sizes": ("64x64",)})
    for recipe in (
        signing_recipe,
        sized(signing_recipe, 64),
        signing_recipe.model_copy(update={"generation": small}),
    ):
        with pytest.raises(ValueError, match=r"^mark: got pictures of \d+x\d+ pixels, allowed are"):
            next(open_endpoint(recipe, mark=True))
