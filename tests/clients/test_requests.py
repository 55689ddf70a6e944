"""What clients send that are not run here: their requests, as their code writes them."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pipelines.serve.schemas import Provenance
from tests.pipelines.endpoint import Endpoint
from tests.pipelines.records import read_provenance

REQUESTS = json.loads(Path(__file__).with_name("requests.json").read_text())


def record_of(picture: dict[str, Any], form: str) -> Provenance:
    """Return the record inside the file that a picture's one form holds."""
    assert {"b64_json", "url"} & set(picture) == {form}
    record = read_provenance(base64.b64decode(picture[form].rpartition(",")[2]))
    assert record is not None
    return record


@pytest.mark.parametrize(
    "sent", REQUESTS, ids=[f"{sent['client']}-{number}" for number, sent in enumerate(REQUESTS)]
)
def test_a_client_s_request_gets_what_the_client_reads(
    endpoint: Endpoint, sent: dict[str, Any]
) -> None:
    right = sent["right"]
    url = endpoint.address + sent.get("path", "/v1/images/generations")
    answer = httpx2.post(url, json=sent["body"], headers=sent.get("headers"), timeout=60)
    content = answer.json()
    assert answer.status_code == right["status"], content
    if right["status"] != 200:
        error = content["error"]
        assert error["param"] == right["param"] and error["message"].startswith(right["message"])
        return
    assert content["size"] == right.get("size", "16x16")
    assert len(content["data"]) == (sent["body"].get("n") or 1)
    usage = content["usage"]
    assert usage["total_tokens"] == usage["input_tokens_details"]["text_tokens"] > 0
    for picture in content["data"]:
        given = record_of(picture, right["form"]).categories["gender"]
        assert given == right.get("category", given)
