"""What is built holds what is needed: the README's lines run from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the project's wheel was installed, without what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "fairgen"
    for package in ("fairgen", "pipelines"):
        shutil.copytree(ROOT / package, source / package)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "-q"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", *offline, "-w", folder / "wheel", source], check=True)
    (wheel,) = (folder / "wheel").glob("fairgen-*.whl")
    subprocess.run([*pip, "install", *offline, "--target", folder / "site", wheel], check=True)
    return folder / "site"


def run(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_the_readme_s_lines_run_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    which = f"import fairgen; assert fairgen.__file__.startswith({str(installed)!r})\n"
    done = run(installed, tmp_path, "-c", which + code)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4 and "'gender': 'woman'" in done.stdout


def test_the_command_finds_what_ships(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "-m", "pipelines.cli", "recipe", "check")
    assert done.returncode == 0, done.stderr
    assert f"portraits on {installed}" in done.stdout
