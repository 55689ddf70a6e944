"""The form of an edit, as multipart/form-data: its fields as JSON would have them, and its files.

Nothing of it is written to disk, and no name of a file is used.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from pipelines.serve.access.errors import RequestError
from pipelines.serve.schemas import EditRequest

CONTENT_TYPE = "multipart/form-data"
FILES = ("image", "mask")
MOST_IMAGES = 16
_MAX_FILES, _MAX_FIELDS, _CHUNK_BYTES = 64, 1000, 2**18
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{1,70}")
_NESTED = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_MAX_KEYS = 3  # fairness[joint][woman,old] has two
_IMAGE = "PNG, JPEG or WebP; `n` pictures are painted of each."
_MASK = "A PNG or WebP of the pictures' size: where it is transparent they are painted anew."
_VERBATIM = {"prompt", "negative_prompt"}
_TABLES = {"fairness", "categories", "guidance_interval"}


@dataclass(frozen=True)
class UploadedFile:
    """A file of a form, under the name of its field."""

    field: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """Fields and files of a form, in order, under the names that they were sent by."""

    texts: Sequence[tuple[str, str]]
    files: Sequence[UploadedFile]

    def fields(self) -> dict[str, Any]:
        """Return the fields as JSON would have them: numbers, booleans, tables; "" and "null" are
        fields left out.

        Raises RequestError for a name that is there twice, and for what is no table.
        """
        found: dict[str, Any] = {}
        for name, text in self.texts:
            match = _NESTED.fullmatch(name)
            if match is None:
                found[name] = text  # which is unknown
                continue
            field, keys = match.group(1), re.findall(r"\[([^\[\]]*)\]", match.group(2))
            if field in FILES:
                raise _refused(field, "got a text, allowed are files")
            if keys:
                _put(found, field, keys, text)
            elif field in found:
                raise _refused(field, "got several values, allowed is one")
            else:
                found[field] = _value(field, text)
        return found


class _Parser(MultiPartParser):
    """Keeps files in memory, and notes whether the form came to its end."""

    spool_max_size = 0  # of a spooled file: it never moves to disk
    ended = False

    def on_end(self) -> None:
        self.ended = True


async def read_form(request: Request, text_bytes: int) -> Form:
    """Return the form of a request whose body is in memory.

    Raises RequestError 400 for another kind of body, a form without its end, and a text of more
    than so many bytes or not in UTF-8.
    """
    parser = _Parser(
        Headers({"content-type": _content_type(request.headers.get("content-type", ""))}),
        _in_chunks(request),
        max_files=_MAX_FILES,
        max_fields=_MAX_FIELDS,
        max_part_size=2**31,  # the body has its bound, and each text the one below
    )
    try:
        found = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, f"body: {error.message}", code="invalid_form") from error
    if not parser.ended:
        raise RequestError(400, "body: got a form without its end", code="invalid_form")
    texts, files = [], []
    for sent, value in found.multi_items():
        name = _text(sent, "body", text_bytes)
        if not isinstance(value, UploadFile):
            texts.append((name, _text(value, name, text_bytes)))
        elif value.size or value.filename:  # else a page's choice of a file that nobody made
            files.append(UploadedFile(_file_field(name), await value.read()))
    await found.close()
    return Form(texts, files)


def form_schema() -> dict[str, Any]:
    """Return the form for OpenAPI, in which no field is null."""
    schema, file = EditRequest.model_json_schema(), {"type": "string", "format": "binary"}
    images = {"type": "array", "items": file, "minItems": 1, "maxItems": MOST_IMAGES}
    fields: dict[str, Any] = {
        "image": {**images, "description": _IMAGE},
        "mask": {**file, "description": _MASK},
    }
    for name, field in schema["properties"].items():
        kinds = [kind for kind in field.pop("anyOf", [field]) if kind.get("type") != "null"]
        if kinds:
            said = {key: field[key] for key in ("title", "description") if key in field}
            fields[name] = {**(kinds[0] if len(kinds) == 1 else {"anyOf": kinds}), **said}
    required = [*schema["required"], "image"]
    return {"schema": {**schema, "properties": fields, "required": required}}


async def _in_chunks(request: Request) -> AsyncGenerator[bytes, None]:
    """Yield a body in pieces, so that others get their turn between them."""
    async for content in request.stream():
        for at in range(0, len(content), _CHUNK_BYTES):
            yield content[at : at + _CHUNK_BYTES]
            await asyncio.sleep(0)


def _content_type(given: str) -> str:
    """Return a content type that the parser reads bytes by, each as one character: it would take a
    client's word for any codec.
    """
    kind, options = parse_options_header(given)
    boundary = options.get(b"boundary", b"")
    if kind != CONTENT_TYPE.encode():
        message = f"content-type: got {given[:80]!r}, allowed is {CONTENT_TYPE}"
        raise RequestError(400, message, param="content-type", code="invalid_content_type")
    if not _BOUNDARY.fullmatch(boundary):
        message = (
            f"content-type: got the boundary {boundary[:80]!r}, allowed are 1 to 70 characters"
        )
        raise RequestError(400, message, param="content-type", code="invalid_content_type")
    return f'{CONTENT_TYPE}; boundary="{boundary.decode()}"; charset=latin-1'


def _text(sent: str, field: str, most: int) -> str:
    content = sent.encode("latin-1")
    if len(content) > most:
        raise _refused(field, f"got {len(content)} bytes, allowed are at most {most}", "too_large")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _refused(field, f"got {content[:20]!r}, allowed is UTF-8") from error


def _file_field(name: str) -> str:
    """Return the field that a file belongs to: clients send several as `image[]` or `image[0]`."""
    match = _NESTED.fullmatch(name)
    field = match.group(1) if match else name
    if field not in FILES:
        known = field in EditRequest.model_fields
        allowed = "text" if known else ", ".join((*FILES, *EditRequest.model_fields))
        message = "got a file, allowed is" if known else "unknown field; allowed are"
        raise _refused(field, f"{message} {allowed}", "invalid_value" if known else "unknown_field")
    return field


def _put(found: dict[str, Any], field: str, keys: list[str], text: str) -> None:
    """Put a text under keys in brackets, as clients spell tables in forms."""
    if not all(keys):
        raise _refused(field, "got a list in brackets, allowed is a list as JSON")
    if len(keys) > _MAX_KEYS:
        raise _refused(field, "got tables in tables, allowed are tables of shares")
    table = found.setdefault(field, {})
    for key in keys[:-1]:
        table = table.setdefault(key, {}) if isinstance(table, dict) else table
    if not isinstance(table, dict) or keys[-1] in table:
        raise _refused(".".join((field, *keys)), "got several values, allowed is one")
    number = _json(text) if field == "fairness" else text
    table[keys[-1]] = number if isinstance(number, int | float) else text


def _value(field: str, text: str) -> Any:
    """Return a field's value; what is none of its kind stays a text, and is refused as that."""
    if field in _VERBATIM or field not in EditRequest.model_fields:
        return text
    if text in ("", "null"):
        return None
    annotation = EditRequest.model_fields[field].annotation
    kinds = {annotation, *get_args(annotation)}
    if field not in _TABLES and not kinds & {int, float, bool}:
        return text
    value = _json(text)
    if field in _TABLES:
        return text if isinstance(value, int | float) else value
    return value if isinstance(value, int | float) else text


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return text


def _refused(field: str, message: str, code: str = "invalid_value") -> RequestError:
    return RequestError(400, f"{field}: {message}", param=field, code=code)
