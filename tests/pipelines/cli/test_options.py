"""What the verbs share: fairness on the command line, and errors in a sentence."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.cli.options import OneSentence, parse_fairness

ROOT = Path(__file__).parents[3]


def test_fairness_is_read_from_the_command_line() -> None:
    assert parse_fairness([]) is None
    assert parse_fairness(["off"]) == "off"
    assert parse_fairness(["gender=uniform", "skin=light:0.25,dark:0.75"]) == {
        "gender": "uniform",
        "skin": {"light": 0.25, "dark": 0.75},
    }


@pytest.mark.parametrize("given", ["gender", "gender=", "=uniform", "gender=woman", "age=old:much"])
def test_another_form_is_refused_with_the_allowed(given: str) -> None:
    with pytest.raises(ValueError, match=r"fairness: got .*allowed (is|are) "):
        parse_fairness([given])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["gender=woman:1", "gender=man:1"], "got 'gender' twice, allowed is it once"),
        (["gender=woman:0.5,woman:0.5"], "got 'woman' twice in 'gender=woman:0.5,woman:0.5'"),
        (["off", "gender=uniform"], "got 'off' beside 1 more, allowed is it alone"),
    ],
)
def test_what_contradicts_itself_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"fairness: {message}"):
        parse_fairness(given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", ""], "prompt: got '': String should have at least 1 character"),
        (
            ["generate", "x", "--seed", str(2**63)],
            "seed: got 9223372036854775808 of the first of 8 pictures",
        ),
        (["serve", "--port", "99999"], "less than or equal to 65535"),
        (["registry", "push", "--to", "http://127.0.0.1:1"], "to: got 'http://127.0.0.1:1', which"),
        (["evaluate", "--endpoint", "nonsense"], "endpoint: got 'nonsense', allowed is"),
        (["registry", "push", "--to", "nonsense"], "to: got 'nonsense', allowed is the address"),
        (["export", "gender-woman", "-n", "3"], "export: got -n for an adapter, allowed for --set"),
        (["serve", "--decisions", "/nowhere/log"], "decisions: got '/nowhere/log', allowed is a"),
        (["serve", "--cors-origin", "example.org"], "cors_origins: got 'example.org', allowed are"),
        (["serve", "--cors-origin", "http://a/"], "cors_origins: got 'http://a/', allowed are"),
        (["serve", "--allowed-host", "http://a:80"], "hosts: got 'http://a:80', allowed are names"),
        (["import", "gender", "woman=/nowhere", "man=/nowhere"], "/nowhere: there is no such file"),
        (["evaluate", "--candidates", "--champions"], "got --candidates and --champions, allowed"),
        (["generate", "x", "--seed", str(2**63 - 1), "-n", "2"], "of the first of 2 pictures"),
        (
            ["export", "--set", "gender", "--for", "comfyui", "--seed", str(10**20)],
            "seed: got 1000",
        ),
    ],
)
def test_what_is_wrong_is_named_at_once(arguments: list[str], message: str) -> None:
    refused = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    assert message in " ".join(refused.stderr.replace("│", "").split())
    assert "Traceback" not in refused.stderr and "pydantic" not in refused.stderr


@pytest.mark.parametrize("command", [["generate", "a doctor"], ["export", "gender-woman"]])
def test_a_file_in_the_place_of_a_folder_is_named_before_anything_is_done(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        refused = CliRunner().invoke(app, [*command, "-o", str(out)])
        assert refused.exit_code == 2 and "out: got" in refused.stderr
    assert (tmp_path / "file").read_text() == "kept"


def test_a_port_that_another_endpoint_listens_on_is_named() -> None:
    """Ray's proxy lets others of its kind listen there, too."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = CliRunner().invoke(app, ["serve", "--port", str(port)])
    assert refused.exit_code == 2 and f"port: got {port} of 127.0.0.1" in refused.stderr


def failing(error: BaseException) -> typer.Typer:
    """Return a command that raises."""
    command = typer.Typer(cls=OneSentence, pretty_exceptions_enable=False)

    @command.callback()
    def group() -> None:
        """A group of one."""

    @command.command()
    def fail() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("steps: got 0"), 2), (FileNotFoundError("no such file"), 2),
     (RuntimeError("training failed"), 1), (typer.Exit(3), 3)],
)  # fmt: skip
def test_an_error_is_told_in_a_sentence(error: Exception, status: int) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == status and "Traceback" not in result.output
    assert result.stderr.strip() == ("" if status == 3 else str(error))


def test_mistakes_of_our_own_and_of_whoever_looks_for_them_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = CliRunner().invoke(failing(KeyError("name")), ["fail"])
    assert isinstance(result.exception, KeyError)
    monkeypatch.setenv("FAIRGEN_DEBUG", "1")
    result = CliRunner().invoke(failing(ValueError("steps: got 0")), ["fail"])
    assert isinstance(result.exception, ValueError)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "a doctor", "--fairness", "gendr=uniform"], "fairness: got ['gendr']"),
        (["generate", "a doctor", "--fairness", "gender=woman:0.5,mann:0.5"], "mann"),
        (["generate", "a doctor", "--fairness", "gender"], "fairness: got 'gender', allowed"),
        (["generate", "a doctor", "--base", "/no/folder"], "base: got '/no/folder', which is no"),
        (["train-all", "--base", "no-folder"], "base: got 'no-folder', which is no folder"),
        (["evaluate", "--base", "/no/folder"], "base: got '/no/folder', which is no folder"),
        (["serve", "--base", "/no/folder"], "base: got '/no/folder', which is no folder"),
        (["recipe", "check", "--base", "/no/folder"], "base: got '/no/folder', which is no folder"),
        (["train-all", "--base", "no/body"], "base: got 'no/body', which is no folder and"),
        (["train-all", "--base", "."], "base: got '.', a folder without model_index.json"),
    ],
)
def test_what_is_wrong_is_said_before_anything_heavy_is_loaded(
    arguments: list[str], message: str
) -> None:
    script = (
        "import sys; sys.argv[0] = 'fairgen'; from pipelines.cli.app import app\n"
        "try: app()\nexcept SystemExit as end: code = end.code\n"
        "print(code, {'torch', 'diffusers', 'ray', 'mlflow'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "2 set()\n", result.stderr
    assert message in result.stderr and len(result.stderr.splitlines()) <= 2


def test_a_job_that_this_machine_can_never_hold_is_refused_at_once(
    write_recipe: Callable[..., Path],
) -> None:
    path = write_recipe(jobs={"cpus_per_worker": 4096})
    result = CliRunner().invoke(app, ["train-all", str(path)])
    assert result.exit_code == 2
    assert "jobs: got 1 workers a job, 4096 CPU each; the largest of 1 nodes has" in result.stderr


@pytest.mark.parametrize("part", ["vae", "tokenizer"])
def test_a_base_without_all_of_its_parts_is_refused(
    part: str, tiny_base: Path, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    base = tmp_path / "cut"
    base.mkdir()
    for path in tiny_base.iterdir():
        if path.name != part:
            (base / path.name).symlink_to(path)
    result = CliRunner().invoke(app, ["recipe", "check", str(write_recipe()), "--base", str(base)])
    assert result.exit_code == 2 and f"which lacks the folders ['{part}']" in result.stderr
    if part == "tokenizer":
        (base / part).mkdir()
        result = CliRunner().invoke(
            app, ["recipe", "check", str(write_recipe()), "--base", str(base)]
        )
        assert result.exit_code == 2 and "whose tokenizer is an empty folder" in result.stderr
        (base / part).rmdir()
    (base / part).symlink_to(tiny_base / part)
    whole = ["recipe", "check", str(write_recipe()), "--base", str(base)]
    assert CliRunner().invoke(app, whole).exit_code == 0


def test_no_verb_s_help_loads_anything_heavy() -> None:
    script = (
        "import sys, typer\n"
        "from typer.testing import CliRunner\n"
        "from pipelines.cli.app import app\n"
        "def verbs(command, path=()):\n"
        "    yield path\n"
        "    for name, inside in getattr(command, 'commands', {}).items():\n"
        "        yield from verbs(inside, (*path, name))\n"
        "found = list(verbs(typer.main.get_command(app)))\n"
        "assert all(CliRunner().invoke(app, [*verb, '--help']).exit_code == 0 for verb in found)\n"
        "print(len(found), {'torch', 'diffusers', 'ray', 'mlflow', 'scipy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    number, heavy = result.stdout.split(maxsplit=1)
    assert int(number) > 20 and heavy.strip() == "set()"


@pytest.mark.parametrize("verb", ["train-all", "edits"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(
    verb: str, tmp_path: Path
) -> None:
    (tmp_path / "report").write_text("no folder")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", verb],
        env={**os.environ, "FAIRGEN_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "report: got" in done.stderr and "is a file" in done.stderr


@pytest.mark.parametrize("verb", ["adapters", "ui"])
def test_a_home_that_is_a_file_is_refused_in_a_sentence(verb: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("no folder")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", verb],
        env={**os.environ, "FAIRGEN_HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"FAIRGEN_HOME: got '{home}', which is a file; allowed is a folder\n"
