"""A chain to try signing with, and files that are inspected, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from fairgen.provenance import CredentialFiles, Credentials, encode
from pipelines.cli.app import app
from tests.fairgen.provenance.pictures import Record, picture

RECORD = Record(prompt="医者の写真、طبيبة „heute“")


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A signed picture beside the test chain that `fairgen credentials init` made."""
    made = run("credentials", "init", "-o", tmp_path)
    assert made.exit_code == 0 and "This is a test chain: anybody can make one" in made.stderr
    files = CredentialFiles(chain=tmp_path / "chain.pem", key=tmp_path / "key.pem")
    path = tmp_path / "a.webp"
    path.write_bytes(encode(picture(), "webp", RECORD, credentials=Credentials.read(files)))
    return path


def test_what_a_signed_picture_says_is_shown(signed: Path) -> None:
    shown = run("inspect", signed)
    assert shown.exit_code == 0, shown.output
    for line in (
        "webp, 64 x 64 pixels",
        "digitalsourcetype/trainedAlgorithmicMedia",
        "signature: holds; whether the signer is who it says is not known",
        "CN=FairGen test root (a test chain: it proves nothing)",
        "record, signed:",
        '  prompt: "医者の写真、طبيبة „heute“"',
    ):
        assert line in shown.stdout
    trusted = run("inspect", "--trust", signed.parent / "root.pem", signed)
    assert trusted.exit_code == 0 and "a trusted issuer vouches for the signer" in trusted.stdout


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_record_that_others_have_spoilt_costs_no_other_file(
    flags: list[str], signed: Path, tmp_path: Path
) -> None:
    """A JSON nested past what Python reads, and half a letter, which no terminal takes."""
    for name, value in (("deep", "[" * 60_000 + "]" * 60_000), ("half", '"\\ud800"')):
        chunks = PngInfo()
        chunks.add_itxt("fairgen", f'{{"seed": 1, "categories": {value}}}')
        picture().save(tmp_path / f"{name}.png", pnginfo=chunks)
    shown = run("inspect", *flags, tmp_path / "deep.png", tmp_path / "half.png", signed)
    assert shown.exit_code == 0, shown.output
    for name in ("deep.png", "half.png", signed.name):
        assert name in shown.stdout
    assert "\\ud800" in shown.stdout and "医者の写真" in shown.stdout


def test_the_status_tells_what_does_not_hold(signed: Path, tmp_path: Path) -> None:
    run("credentials", "init", "-o", tmp_path / "other")
    untrusted = run("inspect", "--trust", tmp_path / "other" / "root.pem", signed)
    assert untrusted.exit_code == 1 and "whether the signer is who it says" in untrusted.stdout
    changed = bytearray(signed.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "changed.webp").write_bytes(changed)
    broken = run("inspect", signed, tmp_path / "changed.webp")
    assert broken.exit_code == 1
    assert "signature: does not hold (" in broken.stdout
    assert "record, signed:" in broken.stdout and "record, not vouched for:" in broken.stdout
    assert "signature: holds" in broken.stdout
    missing = run("inspect", tmp_path / "none.png", signed)
    assert missing.exit_code == 1 and "none.png: cannot be read: No such file" in missing.stderr
    assert "signature: holds" in missing.stdout
    picture().save(tmp_path / "plain.png")
    plain = run("inspect", tmp_path / "plain.png")
    assert plain.exit_code == 0 and "signature: none\n  record: none" in plain.stdout
    vouched = run("inspect", "--trust", signed.parent / "root.pem", signed, tmp_path / "plain.png")
    assert vouched.exit_code == 1, "nobody vouches for a picture that was signed and is no more"


def test_json_holds_everything_by_file(signed: Path, tmp_path: Path) -> None:
    shown = run("inspect", "--json", signed, tmp_path / "none.png")
    assert shown.exit_code == 1
    found = json.loads(shown.stdout)
    assert found[str(signed)]["record"] == RECORD.model_dump()
    assert found[str(signed)]["signature"]["state"] == "valid"
    assert "cannot be read" in found[str(tmp_path / "none.png")]["error"]


def test_an_existing_chain_is_kept(signed: Path) -> None:
    again = run("credentials", "init", "-o", signed.parent)
    assert again.exit_code == 2 and "is there already, allowed is a new folder" in again.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--credentials", "chain.pem"], "credentials: got one of chain and key, allowed are both"),
        (["--credentials-key", "key.pem"], "credentials: got one of chain and key, allowed are bo"),
        (["--credentials", "no.pem", "--credentials-key", "key.pem"], "no.pem, which cannot be"),
        (["--credentials", "chain.pem", "--credentials-key", "chain.pem"], "which others may read"),
        (["--credentials", "root.pem", "--credentials-key", "key.pem"], "allowed is the key of"),
    ],
)  # fmt: skip
def test_the_endpoint_refuses_credentials_before_anything_starts(
    given: list[str], said: str, signed: Path, make_recipe: Callable[..., Path]
) -> None:
    paths = [part if part.startswith("--") else str(signed.parent / part) for part in given]
    refused = run("serve", make_recipe(signed.parent, "refused"), *paths)
    assert refused.exit_code == 2 and said in refused.stderr
    assert "Pictures are signed" not in refused.stdout and "PRIVATE" not in refused.output


def test_a_mark_is_refused_where_pictures_are_too_small_for_it_before_anything_starts() -> None:
    refused = run("serve", "portraits", "--mark")
    assert refused.exit_code == 2
    assert "mark: got pictures of 64x64 pixels, allowed are 256 and more a side" in refused.stderr
