"""A certificate chain to try Content Credentials with: its names say that it proves nothing."""

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

TEST_CHAIN = "FairGen test chain that proves nothing"
_YEAR = datetime.timedelta(days=365)


class ChainFiles(NamedTuple):
    """The files of a test chain: the signer's certificate with its issuer's, the signer's key, and
    the issuer's certificate alone, for those who shall trust it.
    """

    chain: Path
    key: Path
    root: Path


def write_test_chain(folder: Path, holds: datetime.timedelta = _YEAR) -> ChainFiles:
    """Write a new issuer and a signer's certificate of it that holds so long from now, or ended so
    long ago where `holds` is below zero; only the owner may read the key.

    Raises FileExistsError where one of the files is there: a key is never overwritten.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    files = ChainFiles(folder / "chain.pem", folder / "key.pem", folder / "root.pem")
    for path in files:
        if path.exists():
            raise FileExistsError(f"credentials: {path} is there already, allowed is a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("root", root_key, root_key, 10 * _YEAR)
    pems = [
        certificate.public_bytes(serialization.Encoding.PEM)
        for certificate in (_certificate("signer", key, root_key, holds), root)
    ]
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files.chain.write_bytes(b"".join(pems))
    files.root.write_bytes(pems[1])
    with open(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(private)
    return files


def _certificate(
    name: str,
    key: "EllipticCurvePrivateKey",
    issuer_key: "EllipticCurvePrivateKey",
    holds: datetime.timedelta,
) -> "x509.Certificate":
    """Return a certificate as C2PA's profile wants it: version 3, with its issuer's key identifier,
    a key usage, and for the signer an extended one.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(role: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, TEST_CHAIN),
                x509.NameAttribute(NameOID.COMMON_NAME, f"FairGen test {role}"),
            ]
        )

    is_root = key is issuer_key
    now = datetime.datetime.now(datetime.UTC)
    begun = min(now, now + holds) - datetime.timedelta(days=1)
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begun)
        .not_valid_after(now + holds)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not is_root:
        signs = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(signs, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
