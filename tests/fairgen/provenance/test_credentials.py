"""Pictures are signed, and what signs them is checked before the first."""

import datetime
import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fairgen.gate import decide
from fairgen.pipeline import ImageRecord
from fairgen.provenance import (
    CredentialFiles,
    Credentials,
    OutputFormat,
    SigningError,
    encode,
    inspect_file,
    read_record,
    write_test_chain,
)
from tests.fairgen.provenance.pictures import FORMATS, Record, credentials, picture

RECORD = Record(prompt='医者の写真、طبيبة "heute"')
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
DAY = datetime.timedelta(days=1)


def manifest_of(content: bytes, output_format: OutputFormat) -> tuple[str, dict[str, Any]]:
    """Return what plain c2pa makes of a file: its state and its manifest."""
    with c2pa.Reader(f"image/{output_format}", io.BytesIO(content)) as reader:
        found = json.loads(reader.json())
        return found["validation_state"], found["manifests"][found["active_manifest"]]


@pytest.mark.parametrize("output_format", FORMATS)
def test_c2pa_reads_what_was_signed_and_by_whom(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    content = encode(picture(), output_format, RECORD, credentials=credentials(tmp_path))
    state, manifest = manifest_of(content, output_format)
    assert state == "Valid"
    assert manifest["signature_info"]["common_name"] == "FairGen test signer"
    assert manifest["claim_generator_info"][0]["name"] == "FairGen"
    assert manifest["title"] == f"FairGen, seed {RECORD.seed}"
    said = {item["label"]: item["data"] for item in manifest["assertions"]}
    (created,) = said["c2pa.actions.v2"]["actions"]
    assert (created["action"], created["digitalSourceType"]) == ("c2pa.created", SOURCE_TYPE)
    assert created["softwareAgent"]["name"] == "FairGen"
    assert said["org.fairgen.provenance"] == RECORD.model_dump() == read_record(content)
    assert "thumbnail" not in manifest


@pytest.mark.parametrize("output_format", FORMATS)
def test_an_edit_says_that_another_picture_is_in_it(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    signing = credentials(tmp_path)
    content = encode(picture(), output_format, RECORD, credentials=signing, is_edit=True)
    state, manifest = manifest_of(content, output_format)
    said = {item["label"]: item["data"] for item in manifest["assertions"]}
    (created,) = said["c2pa.actions.v2"]["actions"]
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    assert state == "Valid" and created["digitalSourceType"] == kind
    file = tmp_path / f"edit.{output_format}"
    file.write_bytes(content)
    assert inspect_file(file).digital_source_type == kind


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_longest_prompts_of_the_endpoint_fit(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    record = Record(prompt="👩" * 2000, negative_prompt="医" * 2000)
    content = encode(picture(), output_format, record, credentials=credentials(tmp_path))
    state, manifest = manifest_of(content, output_format)
    said = {item["label"]: item["data"] for item in manifest["assertions"]}
    assert state == "Valid" and read_record(content) == record.model_dump()
    assert said["org.fairgen.provenance"] == record.model_dump()


def test_the_library_s_records_are_signed(tmp_path: Path) -> None:
    record = ImageRecord(
        prompt="a doctor", seed=3, categories={"gender": "woman"}, probability=0.5,
        adapters={"gender-woman": "0123456789ab"}, base="0123456789ab", storage="float32",
        gate=decide("a doctor", ()),
    )  # fmt: skip
    content = encode(picture(), "png", record, credentials=credentials(tmp_path))
    assert ImageRecord.model_validate_json(json.dumps(read_record(content))) == record
    _, manifest = manifest_of(content, "png")
    assert manifest["title"] == "FairGen, seed 3"
    said = {item["label"]: item["data"] for item in manifest["assertions"]}
    assert ImageRecord.model_validate_json(json.dumps(said["org.fairgen.provenance"])) == record


def test_the_signer_states_every_assertion_itself(tmp_path: Path) -> None:
    content = encode(picture(), "png", RECORD, credentials=credentials(tmp_path))
    with c2pa.Reader("image/png", io.BytesIO(content)) as reader:
        claim = json.loads(reader.crjson())["manifests"][0]["claim.v2"]
    created = [item["url"].rpartition("/")[2] for item in claim["created_assertions"]]
    assert {"c2pa.actions.v2", "org.fairgen.provenance"} <= set(created)
    assert not claim.get("gathered_assertions")


def test_many_threads_sign_at_once(tmp_path: Path) -> None:
    signing = credentials(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        records = [Record(prompt=str(index)) for index in range(40)]
        made = list(
            threads.map(
                lambda record: encode(picture(), "png", record, credentials=signing), records
            )
        )
    for record, content in zip(records, made, strict=True):
        state, manifest = manifest_of(content, "png")
        said = {item["label"]: item["data"] for item in manifest["assertions"]}
        assert (state, said["org.fairgen.provenance"]["prompt"]) == ("Valid", record.prompt)


@pytest.mark.slow
def test_no_picture_is_made_once_the_certificate_has_ended(tmp_path: Path) -> None:
    signing = credentials(tmp_path, datetime.timedelta(seconds=2))
    (tmp_path / "a.png").write_bytes(encode(picture(), "png", RECORD, credentials=signing))
    time.sleep(3.1)
    with pytest.raises(SigningError, match="the certificate was not valid at time of signing"):
        encode(picture(), "png", RECORD, credentials=signing)
    signature = inspect_file(tmp_path / "a.png").signature
    assert signature is not None and signature.state == "expired"
    assert signature.record == RECORD.model_dump()


@pytest.mark.parametrize(
    "form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_a_key_may_have_the_form_that_openssl_writes(
    form: serialization.PrivateFormat, tmp_path: Path
) -> None:
    files = write_test_chain(tmp_path)
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    files.key.write_bytes(pem)
    assert Credentials.read(CredentialFiles(chain=files.chain, key=files.key)).expires


def test_a_key_that_stands_beside_the_chain_gets_into_no_picture(tmp_path: Path) -> None:
    files = write_test_chain(tmp_path)
    secret = files.key.read_bytes()
    files.key.write_bytes(files.chain.read_bytes() + secret)
    both = Credentials.read(CredentialFiles(chain=files.key, key=files.key))
    content = encode(picture(), "png", RECORD, credentials=both)
    key = serialization.load_pem_private_key(secret, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value.to_bytes(32, "big")
    assert number not in content and secret[40:80] not in content
    assert manifest_of(content, "png")[0] == "Valid"
    assert "PRIVATE" not in repr(vars(both)) and secret[40:80] not in repr(vars(both)).encode()


def lock(files: Any) -> None:
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"word")
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )


def exchange(files: Any, key: Any) -> None:
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def reverse(files: Any) -> None:
    parts = files.chain.read_text().split("-----END CERTIFICATE-----\n")[:2]
    files.chain.write_text("".join(f"{part}-----END CERTIFICATE-----\n" for part in parts[::-1]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda files: files.chain.unlink(), r"^credentials: got \S+chain.pem, which cannot"),
        (lambda files: files.key.unlink(), r"^credentials_key: got \S+key.pem, which cannot"),
        (lambda files: files.chain.write_text("no"), r"chain.pem, allowed is a PEM file with"),
        (lambda files: files.key.write_text("no"), r"^credentials_key: got \S+, allowed is a priv"),
        (lambda files: files.key.chmod(0o640), r"key.pem with mode 640, which others may read"),
        (lock, r"^credentials_key: got \S+key.pem, which a passphrase locks, allow"),
        (lambda files: exchange(files, ec.generate_private_key(ec.SECP256R1())),
         r"key.pem, allowed is the key of the first certificate in \S+chain.pem$"),
        (lambda files: exchange(files, ed25519.Ed25519PrivateKey.generate()),
         r"key.pem, allowed is the key of the first certificate in \S+chain.pem$"),
        (reverse, r"in which a certificate is not followed by its issuer's"),
        (lambda files: files.chain.write_bytes(files.root.read_bytes()), r"allowed is the key"),
    ],
)  # fmt: skip
def test_credentials_that_cannot_sign_are_refused_by_name(
    damage: Any, said: str, tmp_path: Path
) -> None:
    files = write_test_chain(tmp_path)
    damage(files)
    with pytest.raises(ValueError, match=said) as refused:
        Credentials.read(CredentialFiles(chain=files.chain, key=files.key))
    assert "PRIVATE" not in str(refused.value)


def test_a_chain_that_has_ended_is_refused_with_its_date(tmp_path: Path) -> None:
    yesterday = (datetime.datetime.now(datetime.UTC) - DAY).date()
    with pytest.raises(ValueError, match=f"which ended on {yesterday}, allowed is one that holds"):
        credentials(tmp_path, -DAY)


def test_a_certificate_that_is_not_by_the_profile_is_refused(tmp_path: Path) -> None:
    from tests.pipelines.certificate import certificate

    tls = certificate(tmp_path)  # for HTTPS: without a key usage
    tls.key.chmod(0o600)
    with pytest.raises(
        ValueError, match="the certificate is invalid; allowed is a chain by C2PA's"
    ):
        Credentials.read(CredentialFiles(chain=tls.certificate, key=tls.key))


def test_a_test_chain_never_replaces_a_key(tmp_path: Path) -> None:
    files = write_test_chain(tmp_path / "new")
    assert os.stat(files.key).st_mode & 0o777 == 0o600
    before = files.key.read_bytes()
    with pytest.raises(FileExistsError, match="is there already, allowed is a new folder"):
        write_test_chain(tmp_path / "new")
    assert files.key.read_bytes() == before
