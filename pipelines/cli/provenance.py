"""The verbs of provenance: a chain to try signing with, and what a file says of its picture."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import HOME, REPORT
from pipelines.files import check_file

if TYPE_CHECKING:
    from fairgen.provenance import Inspection

credentials_app = typer.Typer(no_args_is_help=True, help="Sign pictures with Content Credentials.")
inspect_app = typer.Typer()
_HALVES = "\ud800-\udfff"  # of letters: no terminal takes them
_MOVES = "\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"  # the cursor, or the order of letters
_UNSEEN = re.compile(f"[{_MOVES}{_HALVES}]")
_STATES = {
    "trusted": "holds, and a trusted issuer vouches for the signer",
    "valid": "holds; whether the signer is who it says is not known",
    "expired": "holds no more: the certificate has ended, and no authority has stamped the time",
    "broken": "does not hold",
    "elsewhere": "lies elsewhere, and is not fetched",
}


@credentials_app.callback()
def credentials() -> None:
    """Sign pictures with Content Credentials."""


@credentials_app.command("init")
def init(
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = HOME
    / "credentials",
) -> None:
    """Make a certificate chain and a key to try signing with; it proves nothing."""
    from fairgen.provenance import write_test_chain

    files = write_test_chain(out)
    typer.echo(f"Sign: --credentials {files.chain} --credentials-key {files.key}")
    typer.echo(f"Check: fairgen inspect --trust {files.root} PICTURE")
    typer.secho(
        "This is a test chain: anybody can make one, and nobody else trusts it. For pictures that "
        "others shall believe, ask a certificate authority for one by C2PA's profile.",
        fg="red",
        err=True,
    )


@credentials_app.command("bench")
def bench(
    pictures: Annotated[
        Path | None,
        typer.Option(help="A folder with pictures of yours; without it the embedded model paints."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSON file to write.")] = REPORT
    / "provenance.json",
) -> None:
    """Measure what signing and marking cost a picture, and what of both is left of a file."""
    from pipelines import benchmarks

    check_file("out", out)
    found = (
        benchmarks.embedded_pictures() if pictures is None else benchmarks.read_pictures(pictures)
    )
    typer.echo(benchmarks.provenance_tables(benchmarks.measure_provenance(found, out)))
    typer.echo(f"Every figure: {out}")


@inspect_app.command()
def inspect(
    files: Annotated[list[Path], typer.Argument(help="PNG, WebP or JPEG files, of any tool.")],
    trust: Annotated[
        Path | None, typer.Option(help="PEM with the issuers that you trust; none without it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, by file.")] = False,
) -> None:
    """Say what a file says of its picture, whether its signature holds, and by whom; ends with
    status 1 where one does not hold or a file is unreadable, and, with --trust, where no issuer of
    it vouches for a picture.
    """
    from fairgen.provenance import inspect_file

    found: dict[str, Inspection | str] = {}
    for path in files:
        try:
            found[str(path)] = inspect_file(path, trust)
        except ValueError as error:
            found[str(path)] = str(error)
    if as_json:
        table = {
            name: {"error": one} if isinstance(one, str) else one.model_dump(mode="json")
            for name, one in found.items()
        }
        text = json.dumps(table, indent=2, ensure_ascii=False)
        typer.echo(re.sub(f"[{_HALVES}]", _escaped, text))
    else:
        for name, one in found.items():
            if isinstance(one, str):
                typer.secho(one, fg="red", err=True)
            else:
                typer.echo(
                    "\n  ".join(_UNSEEN.sub(_escaped, line) for line in [name, *_lines(one)])
                )
    if not all(_is_fine(one, trust is not None) for one in found.values()):
        raise typer.Exit(1)


def _is_fine(found: "Inspection | str", is_trust_asked: bool) -> bool:
    if isinstance(found, str) or not found.is_consistent:
        return False
    signature = found.signature
    return not is_trust_asked or (signature is not None and signature.state == "trusted")


def _mark(found: "Inspection") -> str:
    if found.mark is None:
        return "none found"
    width, height = (f"{share:.0%}" for share in found.mark.kept)
    cropped = "" if found.mark.kept == (1, 1) else f", in {width} x {height} of the marked picture"
    return f"FairGen's, {found.mark.score:g} standard deviations{cropped}"


def _escaped(sign: re.Match[str]) -> str:
    return f"\\u{ord(sign[0]):04x}"


def _lines(found: "Inspection") -> list[str]:
    """Return what people read of an inspection."""
    source_type = found.digital_source_type or found.xmp_problem or "none"
    size = f"{found.width_px} x {found.height_px} pixels"
    lines = [f"{found.format}, {size if found.damage is None else found.damage}"]
    if found.damage is None:
        lines.append(f"IPTC digital source type: {source_type}")
        lines.append(f"invisible mark: {_mark(found)}")
    signature = found.signature
    if signature is None:
        lines.append("signature: none")
    else:
        problems = f" ({'; '.join(signature.problems)})" if signature.problems else ""
        lines.append(f"signature: {_STATES[signature.state]}{problems}")
        test = " (a test chain: it proves nothing)" if signature.is_test_chain else ""
        for name, value in (
            ("signed by", signature.subject),
            ("issued by", signature.issuer and signature.issuer + test),
            ("certificate ends", signature.expires),
            ("time by an authority", signature.signed_at),
            ("time by the signer", signature.claimed_at),
            ("made with", signature.generator),
            ("signed digital source type", signature.digital_source_type),
        ):
            if value:
                lines.append(f"{name}: {value}")
    signed = signature.record if signature is not None else None
    if (record := signed or found.record) is None:
        return [*lines, "record: none"]
    holds = signature is not None and signature.state in ("trusted", "valid")
    lines.append("record, signed:" if signed and holds else "record, not vouched for:")
    return [
        *lines,
        *(f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in record.items()),
    ]
