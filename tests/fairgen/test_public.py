"""The library stands alone: no cluster, no registry, no server; few names are public."""

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import fairgen

ROOT = Path(__file__).parents[2]
EXTRAS = (
    "ray", "mlflow", "fastapi", "starlette", "limits", "prometheus_client", "aiohttp", "jinja2",
    "pipelines",
)  # fmt: skip
BLOCKED = f"""
import importlib, pkgutil, sys

for name in {EXTRAS}:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError, as if it were not installed
import fairgen
assert "torch" not in sys.modules, "import fairgen costs nothing"
for name in fairgen.__all__:
    getattr(fairgen, name)
names = [m.name for m in pkgutil.walk_packages(fairgen.__path__, "fairgen.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.slow
def test_the_library_imports_where_no_extra_is_installed() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15


def test_the_library_alone_asks_for_no_cluster_registry_or_server() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    alone = {line.split(">")[0].split("[")[0] for line in project["dependencies"]}
    assert not alone & {
        "ray",
        "mlflow",
        "fastapi",
        "c2pa-python",
        "prometheus-client",
        "matplotlib",
    }
    assert {"train", "serve", "registry", "quantization", "faces", "provenance", "dev"} == set(
        project["optional-dependencies"]
    )


def test_the_version_is_one() -> None:
    assert version("fairgen") == fairgen.__version__


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(fairgen, "Engine")


def test_the_api_page_is_what_the_docstrings_say(tmp_path: Path) -> None:
    page = tmp_path / "api.md"
    command = [Path(sys.executable).with_name("griffe2md"), "fairgen", "-o", page]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert page.read_text() == (ROOT / "docs/api.md").read_text(), "run `make api`"
