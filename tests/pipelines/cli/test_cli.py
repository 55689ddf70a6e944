"""The command line and the Makefile in front of it."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app

ROOT = Path(__file__).parents[3]


def test_importing_the_command_imports_nothing_heavy() -> None:
    script = (
        "import sys, pipelines.cli.app;"
        "print({'torch', 'diffusers', 'ray', 'mlflow', 'pydantic'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("verb", [["train-all"], ["evaluate"], ["recipe", "check"]])
def test_a_wrong_recipe_ends_with_its_reason(
    verb: list[str], write_recipe: Callable[..., Path]
) -> None:
    path = write_recipe(discovery={"rank": 0})
    result = CliRunner().invoke(app, [*verb, str(path)])
    assert result.exit_code == 2
    assert "discovery.rank: got 0, allowed is greater than" in result.stderr


def test_the_version_is_that_of_the_installed_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"fairgen {metadata.version('fairgen')}\n"


def test_a_shipped_recipe_is_found_by_its_name() -> None:
    result = CliRunner().invoke(app, ["recipe", "check", "sdxl"])
    assert result.exit_code == 0
    assert "sdxl on stabilityai/stable-diffusion-xl-base-1.0, recipe hash" in result.stdout
    result = CliRunner().invoke(app, ["recipe", "check", "photographs"])
    assert result.exit_code == 2
    assert "recipe: got 'photographs', which is no file; shipped are ['flux', " in result.stderr


def test_recipe_check_says_what_would_be_trained(write_recipe: Callable[..., Path]) -> None:
    result = CliRunner().invoke(app, ["recipe", "check", str(write_recipe())])
    assert result.exit_code == 0
    assert "gender: woman, man" in result.stdout


def test_the_gate_is_measured_on_the_shipped_prompts_and_shows_its_mistakes() -> None:
    result = CliRunner().invoke(app, ["gate", "--classes", "--mistakes"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    for expected in ("gate-held-out", "occupations-50", "other_use", "negated"):
        assert expected in result.stdout
    mistakes = [line for line in result.stdout.splitlines() if " acted on " in line]
    assert any(line.startswith("gate-suite: \"the Queen's portrait") for line in mistakes)


def test_attributes_that_were_never_trained_cannot_be_evaluated(
    write_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["evaluate", str(write_recipe())])
    assert result.exit_code == 2
    assert "got no finished training of ['age', 'gender']" in result.stderr


def test_every_make_target_is_listed_and_one_line_over_the_command() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split():
        assert re.search(rf"make {target}\b", listed.stdout)
    for verb in ("train-all", "evaluate", "compare", "ablate", "groups", "edits", "gate", "serve",
                 "bench", "ui", "portraits", "portraits-report"):  # fmt: skip
        assert re.search(
            rf"^{verb}: \$\(READY\).*\n\t\$\(BIN\)/fairgen {verb}", makefile, re.MULTILINE
        )
