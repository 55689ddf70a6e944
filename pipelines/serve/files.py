"""Pictures as files that say where they come from: PNG text chunks, EXIF in WebP and JPEG."""

import io
import json

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.serve.schemas import OutputFormat, Provenance

CHUNK = "fairgen"
_EXIF_DESCRIPTION = 0x010E


def encode(
    image: Image.Image,
    output_format: OutputFormat,
    provenance: Provenance | None,
    compression: int | None = None,
) -> bytes:
    """Return a file's bytes; `compression` is the quality of WebP and JPEG, from 0 to 100."""
    record = provenance.model_dump_json() if provenance else None
    buffer = io.BytesIO()
    if output_format == "png":
        chunks = PngInfo()
        if record:
            chunks.add_itxt(CHUNK, record)
        image.save(buffer, format="PNG", pnginfo=chunks)
    else:
        exif = Image.Exif()
        if provenance:  # the field is ASCII by the standard: other letters are escaped
            exif[_EXIF_DESCRIPTION] = json.dumps(provenance.model_dump(mode="json"))
        quality = 95 if compression is None else compression
        image.convert("RGB").save(buffer, format=output_format.upper(), quality=quality, exif=exif)
    return buffer.getvalue()


def read_provenance(content: bytes) -> Provenance | None:
    """Return the record inside a file that `encode` made, or None for any other picture."""
    with Image.open(io.BytesIO(content)) as image:
        record = image.info.get(CHUNK) or image.getexif().get(_EXIF_DESCRIPTION)
    return Provenance.model_validate_json(record) if record else None
