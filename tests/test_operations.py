"""What docs/operations.md tells an operator exists: commands, flags, targets, files, settings."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from fairgen.engine.pass_size import CANDIDATES, DEFAULT_ROWS
from pipelines.benchmarks import markdown_table
from pipelines.cli.app import app
from pipelines.serve.app import OPEN_REQUESTS
from pipelines.serve.remote import CONFIG, serve_config
from pipelines.serve.settings import ServeSettings
from tests.faults import COLUMNS, Fault

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()
_STOPS = {"|", "||", "&&", "&", ";", ">", ">>", "<"}


def typed() -> Iterator[list[str]]:
    """Yield the words of every command of the page, from its blocks and from within its lines."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    outside = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for text in [*lines, *re.findall(r"`([^`]+)`", outside)]:
        lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        try:
            found = [*lexer, ";"]
        except ValueError:  # prose: a quote that stands alone
            continue
        for word in found:
            if word in _STOPS or word == "--":
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def commands(program: str) -> list[list[str]]:
    """Return what follows a program where it is called."""
    found = [words[1:] for words in typed() if Path(words[0]).name == program and words[1:]]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


def check(words: list[str]) -> None:
    """Raise what the command raises for a verb, a flag or an argument that it has not; a verb that
    is only named needs none.
    """
    command, name, left = get_command(app), "fairgen", words
    while left and left[0] in getattr(command, "commands", {}):
        name, left = left[0], left[1:]
        command = command.commands[name]
    if left is words or (left and hasattr(command, "commands")):
        raise ValueError(f"no such command: {words}")
    command.make_context(name, list(left), resilient_parsing=len(words) == 1)


@pytest.mark.parametrize("words", commands("fairgen"), ids=" ".join)
def test_every_command_of_ours_takes_what_it_is_given(words: list[str]) -> None:
    check(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["promot", "gender"], "no such command: .'promot'"),
        (["promote", "gender", "--set", "x"], "No such option: --set"),
        (["registry", "push"], "Missing parameter: to"),
        (["promote", "gender", "skin"], "unexpected extra argument"),
        (["serve", "--replicas", "many"], "valid integer"),
    ],
)
def test_a_wrong_command_is_found(words: list[str], message: str) -> None:
    with pytest.raises(Exception, match=message):
        check(words)


def test_the_page_names_the_commands_of_an_operator() -> None:
    assert {words[0] for words in commands("fairgen")} >= {
        "serve", "evaluate", "adapters", "promote", "registry", "recipe", "jobs",
    }  # fmt: skip


def test_every_flag_that_is_named_alone_is_one_of_the_endpoint() -> None:
    serve = get_command(app).commands["serve"]
    known = {option for parameter in serve.params for option in parameter.opts}
    promote = get_command(app).commands["promote"]
    known |= {option for parameter in promote.params for option in parameter.opts}
    of_others = {"--python-version"}
    named = set(re.findall(r"`(--[a-z-]+)[^`]*`", PAGE))
    assert named and named <= known | of_others


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[0] for words in commands("make")}
    assert {"train-all", "check", "clean"} <= named <= targets


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"\b(?:cluster|docs|pipelines)/[\w./-]*\w", PAGE))
    made = {"cluster/mlflow/registry.env"}  # from its example
    assert {"cluster/kuberay/base/serve.yaml", "docs/memory.md"} <= named
    for path in named - made:
        assert (ROOT / path).exists(), path
    for path in made:
        assert (ROOT / f"{path}.example").exists(), path


def test_every_setting_of_the_endpoint_is_one() -> None:
    blocks = re.findall(r"`(?:args: )(\{[^`]+\})`", PAGE)
    assert len(blocks) == 2
    for block in blocks:
        ServeSettings.model_validate(yaml.safe_load(block))
    limits = {f"limits.{name}" for name in type(ServeSettings().limits).model_fields}
    assert set(re.findall(r"`(limits\.\w+)`", PAGE)) <= limits


def test_the_figures_of_the_endpoint_are_its_own() -> None:
    settings = ServeSettings()
    there = ServeSettings.model_validate(serve_config(settings, CONFIG)["applications"][0]["args"])
    text = " ".join(PAGE.split())
    assert f"`max_replicas` is {settings.max_replicas} here and {there.max_replicas} in" in text
    assert f"every {settings.poll_s:g} s (`poll_s`)" in text
    assert f"{settings.upscale_delay_s:g} s (`upscale_delay_s`)" in text
    assert f"{settings.limits.queued_images} pictures at once (`limits.queued_images`)" in text
    assert f"in {settings.limits.timeout_s:g} s (`limits.timeout_s`)" in text
    assert f"({OPEN_REQUESTS} where it is measured)" in text
    assert f"A GPU takes {DEFAULT_ROWS} and" in text
    assert f"the fewest rows of {', '.join(map(str, CANDIDATES[:-1]))} and {CANDIDATES[-1]}" in text


def test_the_faults_of_the_page_are_those_that_were_recorded() -> None:
    faults = json.loads((ROOT / "docs" / "chaos.json").read_text())["faults"]
    rows = [Fault(**found).cells for found in faults]
    assert len(rows) >= 20 and len({fault for fault, *_ in rows}) == len(rows)
    assert markdown_table(COLUMNS, rows).strip() in PAGE
