"""What a file says of its picture, and whether its signature holds."""

import io
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.provenance.chain import TEST_CHAIN
from fairgen.provenance.credentials import KEY_PURPOSES, check_installed, read_certificates
from fairgen.provenance.encoding import XMP_CHUNK, OutputFormat, record_of
from fairgen.provenance.manifest import ACTIONS, RECORD
from fairgen.provenance.mark import FoundMark, find_mark
from fairgen.provenance.xmp import digital_source_type

if TYPE_CHECKING:
    import c2pa

_BEGINNINGS: dict[OutputFormat, re.Pattern[bytes]] = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
}
_UNTRUSTED, _EXPIRED = "signingCredential.untrusted", {"signingCredential.expired"}
_MOST_BYTES, _MOST_PIXELS = 256 * 2**20, 100_000_000
SignatureState = Literal["trusted", "valid", "expired", "broken", "elsewhere"]


class Signature(BaseModel):
    """What the Content Credentials of a file say, and whether they hold.

    `state` is "valid" where picture and signature belong together, "trusted" where a trusted issuer
    also vouches for the signer, "expired" where the certificate has ended since and no authority
    has stamped the time, "broken" where they do not belong together, "elsewhere" where the file
    only names an address. `signed_at` is the time of a time-stamping authority, `claimed_at` that
    of the signer's own clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: SignatureState
    problems: tuple[str, ...] = ()
    subject: str = ""
    issuer: str = ""
    is_test_chain: bool = False
    expires: str | None = None
    signed_at: str | None = None
    claimed_at: str | None = None
    generator: str = ""
    digital_source_type: str | None = None
    record: dict[str, Any] | None = None


class Inspection(BaseModel):
    """What a file says: its record, IPTC's word in XMP, its invisible mark, its signature; None for
    what is not there.

    `damage` says why its pixels and words cannot be read, `xmp_problem` why its XMP cannot.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: OutputFormat
    width_px: int | None = None
    height_px: int | None = None
    damage: str | None = None
    record: dict[str, Any] | None = None
    digital_source_type: str | None = None
    xmp_problem: str | None = None
    mark: FoundMark | None = None
    signature: Signature | None = None

    @property
    def is_consistent(self) -> bool:
        """Whether nothing that the file says is known to be wrong, or to hold no more."""
        if self.damage is not None:
            return False
        return self.signature is None or self.signature.state not in ("broken", "expired")


def inspect_file(path: Path, trusted: Path | None = None) -> Inspection:
    """Return what a PNG, WebP or JPEG file of any tool says; nothing is asked over a network.

    `trusted` is a PEM file with the certificates of issuers that are trusted, none without it.
    Raises ValueError for a file that is no such picture, is damaged and not signed, or is larger
    than 256 MiB or 100 million pixels.
    """
    check_installed()
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise ValueError(f"{path}: got {size:,} bytes, allowed are at most {_MOST_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{error.filename}: cannot be read: {error.strerror}") from error
    anchors = _anchors(trusted) if trusted is not None else None
    found = next((name for name, begins in _BEGINNINGS.items() if begins.match(content)), None)
    if found is None:
        raise ValueError(f"{path}: got another kind of file, allowed are PNG, WebP and JPEG")
    signature = _signature(content, f"image/{found}", anchors)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"got {image.width}x{image.height} pixels, allowed are at most "
                                 f"{_MOST_PIXELS:,}")  # fmt: skip
            image.load()  # what stands behind the pixels is read with them
            return _inspected(image, found, signature)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        damage = str(error).replace(" <", " (").partition(" (_io.")[0]
        if signature is None:
            raise ValueError(f"{path}: {damage}") from error
    return Inspection(format=found, damage=damage, signature=signature)


def _anchors(path: Path) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    found = read_certificates(path, "trust")
    return b"".join(one.public_bytes(Encoding.PEM) for one in found).decode()


def _inspected(image: Image.Image, found: OutputFormat, signature: Signature | None) -> Inspection:
    packet = image.info.get("xmp") or image.info.get(XMP_CHUNK)
    source, problem = None, None
    if packet:
        try:
            source = digital_source_type(packet)
        except ValueError as error:
            problem = str(error)
    return Inspection(
        format=found,
        width_px=image.width,
        height_px=image.height,
        record=record_of(image),
        digital_source_type=source,
        xmp_problem=problem,
        mark=find_mark(image),
        signature=signature,
    )


def _signature(content: bytes, media_type: str, anchors: str | None) -> Signature | None:
    """Return what the Content Credentials of a file say, None where it has none."""
    import c2pa

    trust = {"trust_config": "\n".join(KEY_PURPOSES)}
    if anchors is not None:
        trust["user_anchors"] = anchors
    offline = {"remote_manifest_fetch": False, "ocsp_fetch": False}
    try:
        context = c2pa.Context.from_dict({"trust": trust, "verify": offline})
        reader = c2pa.Reader.try_create(media_type, io.BytesIO(content), context=context)
        if reader is None:
            return None
        with reader:
            return _read(reader)
    except c2pa.C2paError.RemoteManifest as error:
        return Signature(state="elsewhere", problems=(str(error),))
    except c2pa.C2paError as error:  # it stumbles over a damaged file without credentials, too
        is_signed = b"jumb" in content and b"c2pa" in content
        return Signature(state="broken", problems=(str(error),)) if is_signed else None


def _read(reader: "c2pa.Reader") -> Signature:
    """Return what the active manifest says."""
    label = json.loads(reader.json())["active_manifest"]
    manifests = {item["label"]: item for item in json.loads(reader.crjson())["manifests"]}
    found = manifests.get(label, {})
    certificate = found.get("signature", {}).get("certificateInfo", {})
    claim = found.get("claim.v2") or found.get("claim") or {}
    results = reader.get_validation_results() or {}
    failures = [
        item
        for item in results.get("activeManifest", {}).get("failure", [])
        if item["code"] != _UNTRUSTED
    ]
    active = reader.get_active_manifest() or {}
    said = {item["label"]: item["data"] for item in active.get("assertions", [])}
    created = _created(said)
    issuer = _name(certificate.get("issuer"))
    generator = claim.get("claim_generator_info") or {}
    return Signature(
        state=_state(reader.get_validation_state(), {item["code"] for item in failures}),
        problems=tuple(item.get("explanation") or item["code"] for item in failures),
        subject=_name(certificate.get("subject")),
        issuer=issuer,
        is_test_chain=TEST_CHAIN in issuer,
        expires=certificate.get("validity", {}).get("notAfter"),
        signed_at=(active.get("signature_info") or {}).get("time"),
        claimed_at=created.get("when"),
        generator=" ".join(
            str(generator[key]) for key in ("name", "version") if generator.get(key)
        ),
        digital_source_type=created.get("digitalSourceType"),
        record=said.get(RECORD),
    )


def _state(found: str | None, failures: set[str]) -> SignatureState:
    """Return the state of a signature, from the library's word and the codes of what has failed."""
    if found in ("Trusted", "Valid"):
        return "trusted" if found == "Trusted" else "valid"
    return "expired" if failures and failures <= _EXPIRED else "broken"


def _created(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the action by which a picture came into being, empty where none is named."""
    for label, data in said.items():
        if label.startswith(ACTIONS):
            for action in data.get("actions", []):
                if action.get("action") in ("c2pa.created", "c2pa.opened"):
                    return action
    return {}


def _name(parts: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{key}={value}" for key, value in (parts or {}).items())
