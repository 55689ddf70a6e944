"""What a file says is read, whether its signature holds, and files of other tools."""

import io
import random
import shutil
from pathlib import Path

import c2pa
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fairgen.provenance import (
    TEST_CHAIN,
    CredentialFiles,
    OutputFormat,
    encode,
    inspect_file,
    marked,
    write_test_chain,
)
from fairgen.provenance.credentials import Credentials
from tests.fairgen.provenance.pictures import FORMATS, Record, credentials, picture

RECORD = Record(prompt='医者の写真、طبيبة "heute"')
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syn'
    'tax-ns#"><rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {}</rdf:RDF>'
    "</x:xmpmeta>"
)


def signed(folder: Path, output_format: OutputFormat, record: Record = RECORD) -> Path:
    path = folder / f"picture.{output_format}"
    path.write_bytes(encode(picture(), output_format, record, credentials=credentials(folder)))
    return path


def changed(path: Path, position: int) -> None:
    """Change a byte of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("output_format", FORMATS)
def test_everything_that_was_written_is_read(output_format: OutputFormat, tmp_path: Path) -> None:
    found = inspect_file(signed(tmp_path, output_format))
    assert (found.format, found.width_px, found.height_px) == (output_format, 64, 64)
    assert found.record == RECORD.model_dump() and found.digital_source_type == SOURCE_TYPE
    signature = found.signature
    assert signature is not None and (signature.state, signature.problems) == ("valid", ())
    assert signature.record == RECORD.model_dump()
    assert signature.subject == f"O={TEST_CHAIN}, CN=FairGen test signer"
    assert signature.issuer == f"O={TEST_CHAIN}, CN=FairGen test root"
    assert signature.is_test_chain and signature.signed_at is None
    assert signature.claimed_at and signature.digital_source_type == SOURCE_TYPE
    assert signature.generator.startswith("FairGen ") and found.is_consistent


def test_an_issuer_is_trusted_only_when_it_is_named(tmp_path: Path) -> None:
    path = signed(tmp_path, "png")
    other = write_test_chain(tmp_path / "other")
    states = [
        inspection.signature.state
        for inspection in (
            inspect_file(path, tmp_path / "root.pem"),
            inspect_file(path, other.root),
            inspect_file(path),
        )
        if inspection.signature is not None
    ]
    assert states == ["trusted", "valid", "valid"]


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_signature_does_not_hold_when_a_pixel_or_a_word_changes(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    path = signed(tmp_path, output_format)
    content = path.read_bytes()
    pixels = {"png": b"IDAT", "webp": b"VP8 ", "jpeg": b"\xff\xda"}[output_format]
    for position in (content.rindex(pixels) + 40, content.index(b"heute")):
        path.write_bytes(content)
        changed(path, position)
        found = inspect_file(path)
        assert found.signature is not None and found.signature.state == "broken"
        assert found.signature.problems and not found.is_consistent


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_manifest_of_another_picture_does_not_hold(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    signing = credentials(tmp_path)
    one, other = (
        encode(image, output_format, RECORD, credentials=signing)
        for image in (picture(), picture().rotate(90))
    )
    plain_one, plain_other = (
        encode(image, output_format, RECORD) for image in (picture(), picture().rotate(90))
    )
    assert len(one) - len(plain_one) == len(other) - len(plain_other)
    cut = next(i for i, (a, b) in enumerate(zip(plain_other, other, strict=False)) if a != b)
    extra = len(other) - len(plain_other)
    swapped = other[:cut] + one[cut : cut + extra] + other[cut + extra :]
    path = tmp_path / f"swapped.{output_format}"
    path.write_bytes(swapped)
    assert swapped != other
    signature = inspect_file(path).signature
    assert signature is not None and signature.state == "broken"


def test_a_file_under_another_name_still_holds(tmp_path: Path) -> None:
    path = signed(tmp_path, "webp")
    moved = Path(shutil.move(path, tmp_path / "a holiday.jpeg"))
    found = inspect_file(moved)
    assert found.format == "webp" and found.signature is not None
    assert found.signature.state == "valid"


@pytest.mark.parametrize("output_format", FORMATS)
def test_iptc_s_word_and_the_record_are_there_where_the_signature_is_stripped(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    with Image.open(signed(tmp_path, output_format)) as image:
        image.load()
        options = {"exif": image.getexif(), "xmp": image.info["xmp"]}
        if output_format == "png":
            chunks = PngInfo()
            for name, text in image.text.items():
                chunks.add_itxt(name, text)
            options = {"pnginfo": chunks}
        image.save(tmp_path / "saved", format=output_format.upper(), **options)
    found = inspect_file(tmp_path / "saved")
    assert found.signature is None and found.is_consistent
    assert found.digital_source_type == SOURCE_TYPE and found.record == RECORD.model_dump()


@pytest.mark.parametrize(
    "said",
    [
        'e:DigitalSourceType="{0}"/>',
        "><e:DigitalSourceType>{0}</e:DigitalSourceType></rdf:Description>",
        '><e:DigitalSourceType rdf:resource="{0}"/></rdf:Description>',
    ],
)
def test_xmp_of_other_tools_is_read_in_each_of_its_forms(said: str, tmp_path: Path) -> None:
    kind = SOURCE_TYPE.replace("trainedAlgorithmicMedia", "digitalCapture")
    picture().save(tmp_path / "a.jpg", xmp=XMP.format(said.format(kind)).encode())
    found = inspect_file(tmp_path / "a.jpg")
    assert found.digital_source_type == kind and found.record is found.signature is None


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        ("<x", "xmp: got a packet that cannot be read"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "xmp: got a packet that cannot be read"),
    ],
)
def test_xmp_that_cannot_be_trusted_is_said_to_be_unreadable(
    packet: str, problem: str, tmp_path: Path
) -> None:
    picture().save(tmp_path / "a.jpg", xmp=packet.encode())
    found = inspect_file(tmp_path / "a.jpg")
    assert found.digital_source_type is None and (found.xmp_problem or "").startswith(problem)


def test_a_manifest_of_another_tool_is_read(tmp_path: Path) -> None:
    """Several manifests: the last editor's is the active one."""
    files = write_test_chain(tmp_path)
    first = encode(
        picture(), "png", RECORD,
        credentials=Credentials.read(CredentialFiles(chain=files.chain, key=files.key)),
    )  # fmt: skip
    info = c2pa.C2paSignerInfo("es256", files.chain.read_bytes(), files.key.read_bytes(), None)
    edited = io.BytesIO()
    with c2pa.Signer.from_info(info) as signer:
        builder = c2pa.Builder({"claim_generator_info": [{"name": "Paint"}], "title": "edited"})
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
        builder.add_ingredient({"title": "parent"}, "image/png", io.BytesIO(first))
        builder.sign(signer, "image/png", io.BytesIO(first), edited)
    (tmp_path / "edited.png").write_bytes(edited.getvalue())
    signature = inspect_file(tmp_path / "edited.png").signature
    assert signature is not None and (signature.state, signature.generator) == ("valid", "Paint")
    assert signature.record is None and signature.digital_source_type is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no picture", "got another kind of file, allowed are PNG, WebP and JPEG"),
        (b"", "got another kind of file, allowed are PNG, WebP and JPEG"),
        (b"\xff\xd8\xff no picture", r"a.png: cannot identify image file$"),
        (encode(picture(), "png")[:2000], "truncated"),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        inspect_file(path)


def test_other_forms_and_pictures_that_are_too_large_are_refused(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match="got another kind of file, allowed are PNG"):
        inspect_file(tmp_path / "a.gif")
    Image.new("1", (20_000, 6_000)).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"got 20000x6000 pixels, allowed are at most 100,000,000"):
        inspect_file(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"none.png: cannot be read: No such file"):
        inspect_file(tmp_path / "none.png")


@pytest.mark.parametrize("output_format", FORMATS)
def test_whatever_byte_changes_a_signature_that_holds_is_of_the_same_picture_and_record(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    path = signed(tmp_path, output_format)
    content = path.read_bytes()
    drawn, expected = random.Random(0), inspect_file(path)
    with Image.open(path) as image:
        pixels = image.tobytes()
    broken = 0
    for _ in range(80):
        path.write_bytes(content)
        changed(path, drawn.randrange(len(content)))
        try:
            found = inspect_file(path)
        except ValueError:
            broken += 1
            continue
        if found.signature is None or not found.is_consistent:
            broken += 1
            continue
        with Image.open(path) as image:
            assert image.tobytes() == pixels
        assert found.signature.record == expected.record == found.record
    assert broken > 60  # what is left is padding


@pytest.mark.parametrize("output_format", FORMATS)
def test_what_is_put_behind_a_picture_breaks_its_signature(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    path = signed(tmp_path, output_format)
    path.write_bytes(path.read_bytes() + b"more")
    found = inspect_file(path)
    assert found.signature is not None and found.signature.state == "broken"


@pytest.mark.parametrize("content", ["no certificate", ""])
def test_a_list_of_trust_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    path = signed(tmp_path, "png")
    (tmp_path / "trust.pem").write_text(content)
    with pytest.raises(ValueError, match=r"^trust: got \S+, allowed is a PEM file with certifica"):
        inspect_file(path, tmp_path / "trust.pem")


def test_a_mark_is_told_from_a_crop(tmp_path: Path) -> None:
    made = marked(picture(384))
    made.save(tmp_path / "whole.jpg", quality=75)
    made.crop((10, 20, 360, 370)).save(tmp_path / "crop.png")
    whole, crop = (inspect_file(tmp_path / name).mark for name in ("whole.jpg", "crop.png"))
    assert whole is not None and whole.kept == (1, 1)
    assert crop is not None and max(crop.kept) < 1
    picture(384).save(tmp_path / "plain.png")
    assert inspect_file(tmp_path / "plain.png").mark is None
