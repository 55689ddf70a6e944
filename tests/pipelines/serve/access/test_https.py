"""The files of an HTTPS endpoint; that one answers is seen in `test_serving`."""

from pathlib import Path

import pytest

from pipelines.serve.access.door import Tls
from tests.pipelines.certificate import certificate


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certificate(tmp_path), certificate(tmp_path / "other")
    with pytest.raises(ValueError, match=r"tls: got .*key.pem, which no server can use"):
        Tls.of(tmp_path / "chain.pem", tmp_path / "other" / "key.pem")
