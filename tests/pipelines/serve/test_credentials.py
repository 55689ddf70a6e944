"""A whole request through the gateway: every finished picture is signed, or there is none."""

import base64
import datetime
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import c2pa
import pytest
from PIL import Image

from fairgen.provenance import CredentialFiles, OutputFormat, inspect_file, write_test_chain
from pipelines.recipe.recipe import Recipe
from tests.pipelines.endpoint import OPTIONS, Endpoint, open_endpoint
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
    begun = time.monotonic()
    for endpoint in open_endpoint(signing_recipe, tracking_uri=tracking_uri, credentials=files):
        assert len(endpoint.generate(PROMPT)) == 1
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
