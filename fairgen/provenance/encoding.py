"""Pictures as files that say where they come from: their record, IPTC's word, a signature."""

import io
import json
from typing import Any, Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel

from fairgen.pictures import opaque
from fairgen.provenance.credentials import Credentials
from fairgen.provenance.xmp import source_type, xmp_packet

CHUNK = "fairgen"
XMP_CHUNK = "XML:com.adobe.xmp"
_EXIF_DESCRIPTION = 0x010E
_MOST_OF_JPEG = 65_000  # what else is in a segment of 64 KiB takes some bytes
OutputFormat = Literal["png", "webp", "jpeg"]


def encode(
    image: Image.Image,
    output_format: OutputFormat,
    record: BaseModel | None = None,
    *,
    compression: int | None = None,
    credentials: Credentials | None = None,
    mark: bool = False,
    is_edit: bool = False,
) -> bytes:
    """Return a file's bytes, in which IPTC's digital source type says that a model has made the
    picture, or, with `is_edit`, edited one; with its record, and signed with credentials, where
    these are given.

    The record is in a text chunk of PNG, and in the EXIF description of WebP and JPEG: in that of
    JPEG, which takes 64 KiB, the longest texts of a record that is larger are cut.
    `compression` is the quality of these two, from 0 to 100. With `mark` the pixels bear an
    invisible mark. Raises SigningError for a picture that cannot be signed, ValueError and
    MarkingError for one that cannot be marked.
    """
    if output_format == "jpeg":  # which has no alpha channel
        image = opaque(image)
    if mark:
        from fairgen.provenance.mark import marked

        image = marked(image)
    said = None if record is None else record.model_dump(mode="json")
    packet = xmp_packet(source_type(is_edit))
    buffer = io.BytesIO()
    if output_format == "png":
        chunks = PngInfo()
        if record is not None:
            chunks.add_itxt(CHUNK, record.model_dump_json())
        chunks.add_itxt(XMP_CHUNK, packet)
        image.save(buffer, format="PNG", pnginfo=chunks)
    else:
        exif = Image.Exif()
        if record is not None:  # the field is ASCII by the standard: other letters are escaped
            exif[_EXIF_DESCRIPTION] = _within(said, _MOST_OF_JPEG if output_format == "jpeg" else 0)
        quality = 95 if compression is None else compression
        image.save(
            buffer,
            format=output_format.upper(),
            quality=quality,
            exif=exif,
            xmp=packet.encode(),
        )
    if credentials is None:
        return buffer.getvalue()
    return credentials.sign(buffer.getvalue(), f"image/{output_format}", said, mark, is_edit)


def _within(said: Any, most: int) -> str:
    """Return a record as JSON in ASCII, its longest entries halved until it is as short as `most`
    where that is given.
    """
    text = json.dumps(said)
    while most and len(text) > most:
        longest = max(
            (name for name, value in said.items() if isinstance(value, str | list)),
            key=lambda name: len(json.dumps(said[name])),
        )
        said = {**said, longest: said[longest][: len(said[longest]) // 2]}
        text = json.dumps(said)
    return text


def read_record(content: bytes) -> dict[str, Any] | None:
    """Return the record inside a file that `encode` made, or None for any other picture."""
    with Image.open(io.BytesIO(content)) as image:
        return record_of(image)


def record_of(image: Image.Image) -> dict[str, Any] | None:
    """Return the record inside an opened picture; None where another tool describes it."""
    text = image.info.get(CHUNK) or image.getexif().get(_EXIF_DESCRIPTION)
    try:
        record = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):  # of another tool, or nested past what Python reads
        return None
    is_ours = isinstance(record, dict) and {"seed", "categories"} <= record.keys()
    return record if is_ours else None
