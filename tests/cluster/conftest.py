"""The manifests as they are sent to a cluster."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.manifests import CLUSTER, KUSTOMIZED


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of cluster/ with its secrets filled in, as its README says."""
    folder = tmp_path_factory.mktemp("cluster") / "cluster"
    shutil.copytree(CLUSTER, folder)
    for example in folder.rglob("*.env.example"):
        text = re.sub(r"=$", "=filled", example.read_text(), flags=re.MULTILINE)
        example.with_suffix("").write_text(text)
    return folder


@pytest.fixture(scope="session")
def rendered(filled: Path) -> dict[str, list[dict[str, Any]]]:
    """What `kubectl apply -k` sends, by folder."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl renders the kustomizations")
    return {name: _rendered(filled / name) for name in KUSTOMIZED}


def _rendered(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(done.stdout))
