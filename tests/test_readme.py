"""What the README says is true: its code runs, its commands, files and pictures exist."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0][:40])
def test_the_python_blocks_run(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    exec(compile(code, "README.md", "exec"), {})


def test_there_is_python_to_run() -> None:
    assert any("FairGenPipeline" in code for code in blocks("python"))


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", README))
    assert {"train-all", "test"} <= named <= targets


def test_every_local_link_and_picture_exists() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    linked += re.findall(r"`((?:fairgen|pipelines)/[^`]+)`", README)
    assert linked
    for path in linked:
        assert (ROOT / path).exists(), path


def test_no_placeholder_is_left() -> None:
    assert "<!--" not in README
