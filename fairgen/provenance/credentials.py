"""Signing: an operator's certificate chain and key, checked before the first picture."""

import datetime
import io
import os
import stat
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.provenance.manifest import manifest_of

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

# what a certificate may be for: e-mail, documents, C2PA's claims, C2PA's claims by Microsoft's name
KEY_PURPOSES = (
    "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1",
    "1.3.6.1.4.1.311.76.59.1.9",
)  # fmt: skip
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_PROFILE = (
    "allowed is a chain by C2PA's profile: the signer's certificate first, with a key usage, an "
    "extended one such as emailProtection, and its issuer's key identifier"
)


class SigningError(RuntimeError):
    """A picture that could not be signed."""


class CredentialFiles(BaseModel):
    """Where an operator's certificate chain lies, and the private key of its first certificate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chain: Path
    key: Path


class Credentials:
    """An operator's certificate chain and private key, which sign pictures. Any thread may call it;
    neither its text nor its errors hold the key.
    """

    def __init__(self, chain: "Sequence[x509.Certificate]", key: "PrivateKeyTypes") -> None:
        """Raises ValueError for a kind of key that C2PA does not know."""
        import c2pa
        from cryptography.hazmat.primitives import serialization

        pem = key.private_bytes(  # as c2pa reads it, whatever form the file has
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        # nothing else that stands in the chain's file, such as a key, may get into a manifest
        public = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
        self._signer = c2pa.C2paSignerInfo(_algorithm(key), public, pem, None)
        self._context = c2pa.Context.from_dict(
            {
                # a thumbnail is 1,024 pixels wide, however small the picture
                "builder": {"thumbnail": {"enabled": False}},
                "trust": {"trust_config": "\n".join(KEY_PURPOSES)},
                "verify": {"verify_after_sign": False},
            }
        )
        self.subject = chain[0].subject.rfc4514_string()
        self.issuer = chain[0].issuer.rfc4514_string()
        self.expires = min(one.not_valid_after_utc for one in chain)

    @classmethod
    def read(cls, files: CredentialFiles) -> Self:
        """Return the credentials of two PEM files, once a picture was signed with them.

        Raises ValueError for a file that is none, a key that others may read, is locked or belongs
        to another certificate, and a chain that has ended or is not by C2PA's profile.
        """
        check_installed()
        chain = _chain(files.chain)
        key = _key(files.key)
        if key.public_key() != chain[0].public_key():
            raise ValueError(
                f"credentials_key: got {files.key}, allowed is the key of the first certificate in "
                f"{files.chain}"
            )
        credentials = cls(chain, key)
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, format="PNG")
        try:
            problem = _problem(credentials.sign(buffer.getvalue(), "image/png", None, False))
        except SigningError as error:
            problem = str(error)
        if problem:
            raise ValueError(f"credentials: got {files.chain}, {problem}; {_PROFILE}")
        return credentials

    def sign(
        self,
        content: bytes,
        media_type: str,
        record: Mapping[str, Any] | None,
        is_marked: bool,
        is_edit: bool = False,
    ) -> bytes:
        """Return a picture's file with its Content Credentials. Raises SigningError for a picture
        that cannot be signed, such as one painted after the certificate has ended.
        """
        import c2pa

        signed = io.BytesIO()
        manifest = manifest_of(record, media_type, is_marked, is_edit)
        try:
            with (
                c2pa.Signer.from_info(self._signer) as signer,
                c2pa.Builder(manifest, context=self._context) as builder,
            ):
                builder.sign(signer, media_type, io.BytesIO(content), signed)
        except c2pa.C2paError as error:
            raise SigningError(f"a picture could not be signed: {error}") from None
        return signed.getvalue()


def check_installed() -> None:
    """Raise ValueError where the libraries that sign and read signatures are not installed."""
    try:
        import c2pa  # noqa: F401
        import cryptography  # noqa: F401
        import defusedxml  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            f"provenance: {error.name} is not installed, which needs "
            "`pip install 'fairgen[provenance]'`"
        ) from error


def _problem(content: bytes) -> str | None:
    """Return why a signature that was just made does not hold, None where it does."""
    import c2pa

    trust = {"trust": {"trust_config": "\n".join(KEY_PURPOSES)}}
    context = c2pa.Context.from_dict(trust)
    with c2pa.Reader("image/png", io.BytesIO(content), context=context) as reader:
        if reader.get_validation_state() in ("Valid", "Trusted"):
            return None
        results = reader.get_validation_results() or {}
    failures = results.get("activeManifest", {}).get("failure", [])
    return "; ".join(found["explanation"] for found in failures)


def _content(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{field}: got {path}, which cannot be read: {error.strerror}") from error


def read_certificates(path: Path, field: str) -> "list[x509.Certificate]":
    """Return the certificates of a PEM file. Raises ValueError, by a field, for one without."""
    from cryptography import x509

    content = _content(path, field)
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ValueError(f"{field}: got {path}, allowed is a PEM file with certificates") from error


def _chain(path: Path) -> "list[x509.Certificate]":
    """Return the certificates of a chain that holds today, the signer's first."""
    from cryptography.exceptions import InvalidSignature

    chain = read_certificates(path, "credentials")
    now = datetime.datetime.now(datetime.UTC)
    for certificate in chain:
        whose = f"credentials: got {path} with {certificate.subject.rfc4514_string()!r}, which"
        if certificate.not_valid_after_utc < now:
            ended = certificate.not_valid_after_utc.date()
            raise ValueError(f"{whose} ended on {ended}, allowed is one that holds today")
        if certificate.not_valid_before_utc > now:
            begins = certificate.not_valid_before_utc.date()
            raise ValueError(f"{whose} begins on {begins}, allowed is one that holds today")
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise ValueError(
                f"credentials: got {path}, in which a certificate is not followed by its issuer's, "
                "allowed is the signer's first, then each one's issuer's"
            ) from error
    return chain


def _key(path: Path) -> "PrivateKeyTypes":
    """Return a private key that only its owner may read, by the rule of ssh: it refuses one of the
    process's own user that the group or others may touch.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    content = _content(path, "credentials_key")
    found = path.stat()
    if found.st_uid == os.getuid() and (mode := stat.S_IMODE(found.st_mode)) & 0o077:
        raise ValueError(
            f"credentials_key: got {path} with mode {mode:03o}, which others may read, allowed is "
            "600 or 400"
        )
    try:
        return serialization.load_pem_private_key(content, password=None)
    except TypeError as error:  # what cryptography raises for a passphrase
        raise ValueError(
            f"credentials_key: got {path}, which a passphrase locks, allowed is a key without one"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"credentials_key: got {path}, allowed is a private key as PEM") from error


def _algorithm(key: "PrivateKeyTypes") -> str:
    """Return C2PA's name of the algorithm that a key signs by."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    kind = key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else type(key).__name__
    raise ValueError(
        f"credentials_key: got {kind}, allowed are P-256, P-384, P-521, Ed25519 and RSA of 2,048 "
        "bits or more"
    )
