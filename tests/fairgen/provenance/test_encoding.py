"""A picture's file says where it comes from, in the words that were written."""

import io
from xml.etree import ElementTree

import numpy
import pytest
from PIL import Image

from fairgen.provenance import OutputFormat, encode, read_record
from tests.fairgen.provenance.pictures import FORMATS, Record, picture

PROMPTS = [
    "a doctor", "una foto de una enfermera, ¿sí?", "一位医生的照片", "医者の写真、「今日」",
    "صورة طبيبة", "врач", "ein Arzt „heute“", 'a "doctor" & <nurse>, it\'s',
    "a \t tab,\n a line, a \0 zero", "👩🏽‍⚕️",
]  # fmt: skip
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PROPERTY = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("output_format", FORMATS)
def test_what_was_written_is_read_back_from_every_form(
    output_format: OutputFormat, prompt: str
) -> None:
    record = Record(prompt=prompt)
    assert read_record(encode(picture(8), output_format, record)) == record.model_dump()


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_record_of_any_length_leaves_a_picture(output_format: OutputFormat) -> None:
    """In JPEG a segment holds 64 KiB, and of ASCII letters only: others take up to twelve."""
    prompt = "\N{PERSON WITH BALL}" * 20_000
    content = encode(picture(), output_format, Record(seed=7, categories={}, prompt=prompt))
    found = read_record(content)
    assert found is not None and found["seed"] == 7
    kept = found["prompt"]
    assert prompt.startswith(kept) and (
        len(kept) > 2000 if output_format == "jpeg" else kept == prompt
    )


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_picture_without_a_record_has_none(output_format: OutputFormat) -> None:
    assert read_record(encode(picture(8), output_format)) is None


@pytest.mark.parametrize("description", ["a holiday", "[1, 2]", '{"camera": 3}', "{"])
def test_what_another_tool_describes_is_no_record(description: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = description
    buffer = io.BytesIO()
    picture(8).save(buffer, format="JPEG", exif=exif)
    assert read_record(buffer.getvalue()) is None


@pytest.mark.parametrize("output_format", FORMATS)
def test_other_readers_find_iptc_s_digital_source_type(output_format: OutputFormat) -> None:
    for record in (None, Record(prompt="a doctor")):
        content = encode(picture(8), output_format, record)
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            said = image.getxmp()["xmpmeta"]["RDF"]["Description"]
            assert said["DigitalSourceType"] == SOURCE_TYPE
            packet = image.info["xmp"]
        root = ElementTree.fromstring(packet)
        assert [found.text for found in root.iter(PROPERTY)] == [SOURCE_TYPE]
        assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf" ')


@pytest.mark.parametrize("output_format", FORMATS)
def test_what_a_file_says_changes_no_pixel(output_format: OutputFormat) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, format=output_format.upper(), quality=95)
    with Image.open(buffer) as plain:
        expected = numpy.asarray(plain)
    with Image.open(io.BytesIO(encode(picture(), output_format, Record(prompt="p")))) as image:
        assert numpy.array_equal(numpy.asarray(image), expected)


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("output_format", FORMATS)
def test_an_alpha_channel_is_kept_where_the_form_has_one_and_white_elsewhere(
    output_format: OutputFormat, mark: bool
) -> None:
    transparent = picture(256)
    alpha = Image.new("L", transparent.size, 255)
    alpha.paste(0, (0, 0, 128, 256))
    transparent.putalpha(alpha)
    with Image.open(io.BytesIO(encode(transparent, output_format, mark=mark))) as image:
        if output_format == "jpeg":
            left = numpy.asarray(image)[:, :120]
            assert image.mode == "RGB" and left.mean() > 250
        else:
            assert image.mode == "RGBA" and image.getchannel("A").tobytes() == alpha.tobytes()
