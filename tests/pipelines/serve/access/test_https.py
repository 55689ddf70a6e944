"""The endpoint over HTTPS, on a real cluster."""

import datetime
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipelines.registry.local_server import free_port
from pipelines.serve.run import Tls, served
from pipelines.serve.settings import ServeSettings

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def certificate(folder: Path) -> Tls:
    """Write a certificate that this machine signs for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "chain.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Tls.of(folder / "chain.pem", folder / "key.pem")


def test_the_endpoint_answers_by_https_only(
    cluster: None,
    tracking_uri: str,
    write_recipe: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    tls, port = certificate(tmp_path), free_port()
    settings = ServeSettings(recipe=write_recipe("https"))
    with served(settings, tmp_path, "127.0.0.1", port, tls) as address:
        assert address == f"https://127.0.0.1:{port}"
        trusted = ssl.create_default_context(cafile=str(tls.certificate))
        with urllib.request.urlopen(f"{address}/health", context=trusted) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.URLError, match="self-signed"):
            urllib.request.urlopen(f"{address}/health")
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certificate(tmp_path), certificate(tmp_path / "other")
    with pytest.raises(ValueError, match=r"tls: got .*key.pem, which no server can use"):
        Tls.of(tmp_path / "chain.pem", tmp_path / "other" / "key.pem")
