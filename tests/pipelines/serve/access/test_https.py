"""The files of an HTTPS endpoint; that one answers is seen in `test_serving`."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pipelines.serve.access.door import Tls
from tests.pipelines.certificate import certificate


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certificate(tmp_path), certificate(tmp_path / "other")
    with pytest.raises(ValueError, match=r"tls: got .*key.pem, which no server can use"):
        Tls.of(tmp_path / "chain.pem", tmp_path / "other" / "key.pem")


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    key = serialization.load_pem_private_key(tls.key.read_bytes(), None)
    tls.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    with pytest.raises(ValueError, match="allowed are a chain and its key, without a password"):
        Tls.of(tls.certificate, tls.key)
