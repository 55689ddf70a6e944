"""What the README says is true: its code runs, its commands, files and pictures exist."""

import os
import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from fairgen.attributes import Attribute
from fairgen.judging import JudgeConfig
from fairgen.judging.config import OnnxFacesJudgeConfig
from fairgen.judging.face_classes import check_face_classes
from pipelines.benchmarks.capacity import INDICATOR_REQUESTS_PER_S, scaling_table
from pipelines.benchmarks.memory_estimate import memory_page
from pipelines.benchmarks.speed import memory_measured, read_speed
from pipelines.cli.app import app
from pipelines.recipe import load_recipe
from pipelines.recipe.bundled import expand_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SPEED = read_speed(ROOT / "docs" / "speed.json")


def blocks(language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0][:40])
def test_the_python_blocks_run(code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    exec(compile(code, "README.md", "exec"), {})


def test_there_is_python_to_run() -> None:
    assert any("FairGenPipeline" in code for code in blocks("python"))


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", README))
    assert {"train-all", "test"} <= named <= targets


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"`((?:fairgen|pipelines)/[^`]+)`", README)
    assert named
    for path in named:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_every_verb_named_on_a_page_exists(page: Path) -> None:
    from typer.main import get_command

    verbs = set(re.findall(r"\bfairgen ([a-z][a-z-]+)", page.read_text()))
    assert verbs <= set(get_command(app).commands), page


def test_the_attributes_and_the_judge_of_the_page_are_valid() -> None:
    page = (ROOT / "docs" / "attributes.md").read_text()
    own, judged = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    names = [Attribute.model_validate(entry).name for entry in expand_names(own)["attributes"]]
    assert names == ["gender", "hair"]
    judge: OnnxFacesJudgeConfig = TypeAdapter(JudgeConfig).validate_python(judged["judge"])
    check_face_classes(judge.classes, load_recipe("portraits").attributes)


@pytest.mark.slow
def test_the_page_on_memory_is_what_is_calculated() -> None:
    page = "\n".join((memory_page(), memory_measured(SPEED)))
    assert (ROOT / "docs" / "memory.md").read_text() == page


@pytest.mark.slow
def test_replicas_are_those_that_are_simulated() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert scaling_table(SPEED) in page
    assert f"| {INDICATOR_REQUESTS_PER_S} requests a second, however many pictures" in page


def test_no_placeholder_is_left() -> None:
    assert "<!--" not in README
