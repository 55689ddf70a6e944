"""Forms of edits, as clients write them on the wire, are read as JSON would be."""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from openai import DefaultHttpxClient, OpenAI
from pydantic import ValidationError
from starlette.requests import Request

from pipelines.serve.access.errors import RequestError
from pipelines.serve.schemas import EditRequest
from pipelines.serve.uploads.form import Form, form_schema, read_form

TEXT_BYTES = 1000
TYPE = "multipart/form-data; boundary=B"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'Content-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return b"--B\r\n" + head.encode() + content + b"\r\n"


def read(body: bytes, content_type: str = TYPE) -> Form:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", content_type.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(read_form(request, TEXT_BYTES))


def form(*parts: bytes) -> Form:
    return read(b"".join(parts) + b"--B--\r\n")


def texts(**fields: str) -> Form:
    return form(*(part(name, text.encode()) for name, text in fields.items()))


def by_openai(**asked: Any) -> Form:
    """Return the form that the official client writes."""
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(200, json={"created": 1, "data": []})

    wire = DefaultHttpxClient(transport=httpx2.MockTransport(answer))
    client = OpenAI(base_url="http://nowhere/v1", api_key="none", http_client=wire)
    client.images.edit(**asked)
    return read(sent[0].read(), sent[0].headers["content-type"])


def test_the_official_client_s_form_is_what_it_was_asked_for() -> None:
    found = by_openai(
        image=b"one", prompt="ä doctor", n=2, size=None, user="", quality="auto", stream=False,
        input_fidelity="high",
        extra_body={"strength": 0.5, "seed": 7, "negative_prompt": "", "fairness": {
            "gender": {"woman": 0.25, "man": 0.75}, "age": "uniform"}},
    )  # fmt: skip
    assert EditRequest.model_validate(found.fields()) == EditRequest(
        prompt="ä doctor", n=2, quality="auto", stream=False, input_fidelity="high", strength=0.5,
        seed=7, negative_prompt="",
        fairness={"gender": {"woman": 0.25, "man": 0.75}, "age": "uniform"},
    )  # fmt: skip
    assert [(file.field, file.content) for file in found.files] == [("image", b"one")]


@pytest.mark.parametrize(
    ("extra", "fields"),
    [
        ({"fairness": "off"}, {"fairness": "off"}),
        ({"fairness": {"joint": {"woman,old": 1}}}, {"fairness": {"joint": {"woman,old": 1}}}),
        ({"fairness": json.dumps({"gender": "uniform"})}, {"fairness": {"gender": "uniform"}}),
        ({"categories": {"gender": "man"}}, {"categories": {"gender": "man"}}),
        (
            {"categories": json.dumps([{"gender": "man"}, {}])},
            {"categories": [{"gender": "man"}, {}]},
        ),
    ],
)
def test_tables_come_in_brackets_and_as_json(extra: dict[str, Any], fields: dict[str, Any]) -> None:
    found = by_openai(image=b"one", prompt="a", extra_body=extra)
    assert found.fields() == {"prompt": "a"} | fields


def test_several_pictures_and_a_mask_come_in_order_whatever_they_are_called() -> None:
    found = by_openai(
        image=[b"one", ("../../etc/passwd", b"two", "text/html")], mask=b"three", prompt="a"
    )
    assert [file.content for file in found.files] == [b"one", b"two", b"three"]
    assert [file.field for file in found.files] == ["image", "image", "mask"]
    names: Sequence[str] = ("image[1]", "image", "image[]", "image[0]")
    found = form(*(part(name, name.encode(), "x.png") for name in names))
    assert [file.content.decode() for file in found.files] == list(names)


def test_fields_left_open_by_a_client_are_left_out() -> None:
    found = texts(prompt="null", n="", size="null", seed="null", fairness="", negative_prompt="")
    asked = EditRequest.model_validate(found.fields())
    assert (asked.prompt, asked.n, asked.size, asked.seed) == ("null", 1, None, None)
    assert (asked.fairness, asked.negative_prompt) == (None, "")


def test_a_file_that_a_page_s_form_leaves_open_is_none() -> None:
    found = form(part("prompt", b"a"), part("image", b"x", "a.png"), part("mask", b"", ""))
    assert [file.field for file in found.files] == ["image"]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"n": "two"}, "n", "valid integer"),
        ({"n": "1.5"}, "n", "valid integer"),
        ({"n": "[1]"}, "n", "valid integer"),
        ({"stream": "yes"}, "stream", "valid boolean"),
        ({"strength": "0"}, "strength", "greater than 0"),
        ({"strength": "1.1"}, "strength", "less than or equal to 1"),
        ({"strength": "NaN"}, "strength", "valid number"),
        ({"guidance_scale": "Infinity"}, "guidance_scale", "valid number"),
        ({"fairness": "on"}, "fairness", "off"),
        ({"fairness": "7"}, "fairness", "off"),
        ({"fairness": "[" * 900}, "fairness", "off"),
        ({"fairness[gender][woman][tall]": "1"}, None, "tables in tables"),
        ({"categories[gender][x]": "woman"}, "categories", "valid"),
        ({"svg[model]": "a"}, "svg", "pictures are no GIF and no SVG"),
        ({"frame_count": "9"}, "frame_count", "allowed is null"),
        ({"background": "transparent"}, "background", "opaque"),
        ({"etta": "1"}, "etta", "Extra inputs"),
        ({"fairness]": "1"}, "fairness]", "Extra inputs"),
    ],
)
def test_what_is_no_value_of_a_field_is_refused_by_its_name(
    fields: dict[str, str], field: str | None, message: str
) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        EditRequest.model_validate(texts(prompt="a", **fields).fields())
    assert field in {None, *(found["loc"][0] for found in refused.value.errors())}


@pytest.mark.parametrize(
    ("parts", "field", "message"),
    [
        ([("n", b"1"), ("n", b"2")], "n", "n: got several values, allowed is one"),
        (
            [("fairness", b"off"), ("fairness[gender]", b"uniform")],
            "fairness.gender",
            "got several values",
        ),
        (
            [("fairness[gender]", b"uniform"), ("fairness[gender][woman]", b"1")],
            "fairness.gender.woman",
            "got several values",
        ),
        ([("categories[][gender]", b"man")], "categories", "allowed is a list as JSON"),
        ([("fairness[a][b][c][d]", b"1")], "fairness", "got tables in tables"),
        ([("image", b"x")], "image", "image: got a text, allowed are files"),
        ([("mask[]", b"x")], "mask", "mask: got a text, allowed are files"),
        ([("prompt", b"x" * 1001)], "prompt", "prompt: got 1001 bytes, allowed are at most 1000"),
        ([("prompt", b"\xff\xfe")], "prompt", "prompt: got b'.*', allowed is UTF-8"),
        ([("x" * 1001, b"x")], "body", "body: got 1001 bytes"),
    ],
)
def test_a_form_that_cannot_be_meant_is_refused(
    parts: list[tuple[str, bytes]], field: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        form(*(part(*each) for each in parts)).fields()
    assert (refused.value.status, refused.value.param) == (400, field)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("prompt", "prompt: got a file, allowed is text"),
        ("markup", "markup: unknown field; allowed are image, mask, prompt"),
        ("images", "images: unknown field"),
    ],
)
def test_a_file_where_none_belongs_is_refused(field: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        form(part(field, b"x", "x.png"))
    assert refused.value.param == field


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b'{"prompt": "a"}', "application/json", "allowed is multipart/form-data"),
        (b"", "", "content-type: got '', allowed is multipart/form-data"),
        (b"", "multipart/form-data", "got the boundary b'', allowed are 1 to 70"),
        (b"", f"multipart/form-data; boundary={'b' * 71}", "allowed are 1 to 70"),
        (b"", 'multipart/form-data; boundary="\xe4"', "got the boundary"),
        (b"", TYPE, "body: got a form without its end"),
        (b"junk", TYPE, "body: Invalid multipart data"),
        (part("prompt", b"a")[:-2], TYPE, "body: got a form without its end"),
        (b"--B\r\n\r\nx\r\n--B--\r\n", TYPE, "name"),
        (part("image", b"x", "x") * 65 + b"--B--\r\n", TYPE, "body: Too many files"),
        (part("n", b"x") * 1001 + b"--B--\r\n", TYPE, "body: Too many fields"),
    ],
)
def test_what_is_no_whole_form_is_refused(body: bytes, content_type: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        read(body, content_type)
    assert refused.value.status == 400


@pytest.mark.parametrize("codec", ["punycode", "utf-16", "idna", "nothing"])
def test_a_form_is_read_as_utf_8_whatever_codec_it_names(codec: str) -> None:
    body = part("prompt", "ä doctor-".encode()) + b"--B--\r\n"
    assert read(body, f"{TYPE}; charset={codec}").fields() == {"prompt": "ä doctor-"}


def test_no_upload_is_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    content = b"\r\n--" * 2**20
    found = form(part("image", content, "x.png"), part("prompt", b"a"))
    assert [file.content for file in found.files] == [content]


def test_the_form_of_the_docs_has_every_field_that_can_be_set() -> None:
    fields = form_schema()["schema"]["properties"]
    never = {"frame_count", "frame_duration_ms", "svg"}
    assert set(fields) == {"image", "mask", *EditRequest.model_fields} - never
    assert "null" not in json.dumps(fields)
