"""Pictures into a folder without a server, and the registry from the command line."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fairgen.provenance import inspect_file, write_test_chain
from pipelines.cli.app import app
from pipelines.recipe.recipe import load_recipe
from pipelines.registry import Registry, TrainingRuns, promote
from tests.pipelines.commands import output_of, start
from tests.pipelines.processes import wait_for
from tests.pipelines.records import read_provenance
from tests.pipelines.registered import register_champions
from tests.pipelines.registry.test_registry import trained


@pytest.mark.slow
def test_pictures_are_painted_into_a_folder_in_the_asked_distribution(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = write_recipe("folder")
    register_champions(tracking_uri, load_recipe(path), tmp_path / "adapters", seed=1)
    champion = Registry(tracking_uri, load_recipe(path)).champions()["gender"].members["woman"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    arguments = ["generate", "a doctor", "-n", "6", "--recipe", str(path)]
    asked = ["--fairness", "gender=woman:0.5,man:0.5", "--seed", "9"]
    result = CliRunner().invoke(app, [*arguments, *asked])
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(app, [*arguments, *asked, "-o", "out"])
    assert again.exit_code == 2 and "out: got 'out', which holds files; allowed is" in again.stderr
    assert "gender: man 3, woman 3" in result.stdout
    records = json.loads((out / "records.json").read_text())
    assert [record["seed"] for record in records] == list(range(9, 15))
    files = [out / f"{index:03d}.png" for index in range(6)]
    inside = [read_provenance(file.read_bytes()) for file in files]
    assert Counter(r.categories["gender"] for r in inside if r) == {"woman": 3, "man": 3}
    with Image.open(out / "grid.png") as grid:
        assert grid.width > 4 * 256 and grid.height > 2 * 256  # four a row, words below
    calibrated = ["--calibrate", "--fairness", "gender=woman:0.25,man:0.75"]  # hit 97 of 100
    assert CliRunner().invoke(app, [*arguments, *calibrated]).exit_code == 0
    records = json.loads((tmp_path / "out-2" / "records.json").read_text())
    woman = next(r for r in records if r["categories"]["gender"] == "woman")
    assert woman["probability"] == pytest.approx(0.22 / 0.94, abs=1e-4)
    chain = write_test_chain(tmp_path / "credentials")
    signing = ["--credentials", str(chain.chain), "--credentials-key", str(chain.key)]
    assert CliRunner().invoke(app, [*arguments, *signing]).exit_code == 0
    for name in ("000.png", "005.png", "grid.png"):
        signature = inspect_file(tmp_path / "out-3" / name, chain.root).signature
        assert signature is not None and signature.state == "trusted"
    unmarked = CliRunner().invoke(app, [*arguments, "--mark"])
    assert unmarked.exit_code == 2 and "allowed are 256 and more a side" in unmarked.stderr
    refused = CliRunner().invoke(app, [*arguments, "--fairness", "height=uniform"])
    assert refused.exit_code == 2 and "allowed are ['age', 'gender']" in refused.stderr
    assert "not balanced" not in result.stderr
    for prompt, why in (
        ("a car", "the prompt names no person"),
        ("two doctors", "the prompt is about several people"),
        ("a female doctor", r"the prompt names it (woman)"),
    ):
        named = str(tmp_path / prompt.replace(" ", "-"))
        alone = CliRunner().invoke(
            app, ["generate", prompt, *arguments[2:], "--strict", "-o", named]
        )
        assert alone.exit_code == 3 and f"gender was not balanced: {why}" in alone.stderr
        assert (Path(named) / "grid.png").exists()
    listed = CliRunner(env={"COLUMNS": "60"}).invoke(app, ["adapters", str(path)])
    (line,) = (line for line in listed.stdout.splitlines() if champion.name in line)
    assert {champion.version, "champion", champion.adapter_set, champion.sha256[:12]} <= set(
        line.split()
    )


@pytest.mark.slow
def test_who_ends_it_keeps_what_was_finished(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe, out = str(write_recipe("ended")), tmp_path / "out"
    asked = ("generate", "a doctor", "-n", "5000", "--recipe", recipe)
    painting = start(tmp_path, *asked, MLFLOW_TRACKING_URI=tracking_uri)
    wait_for(lambda: len(list(out.glob("*.png"))) > 8)
    painting.send_signal(signal.SIGINT)
    assert painting.wait(timeout=60) == 130
    shown = output_of(tmp_path)
    records = json.loads((out / "records.json").read_text())
    files = sorted(out.glob("[0-9]*.png"))
    assert "Traceback" not in shown
    assert f"{len(files)} of 5000 pictures were finished" in shown
    assert 8 < len(files) < 5000 and (out / "grid.png").exists()
    by_name = {f"{record['seed'] - records[0]['seed']:04d}": record for record in records}
    for file in files:
        inside = read_provenance(file.read_bytes())
        assert inside is not None and inside.seed == by_name[file.stem]["seed"]


@pytest.mark.slow
def test_pictures_without_champions_are_said_to_be_the_bare_model_s(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.chdir(tmp_path)
    arguments = ["generate", "a doctor", "-n", "2", "--recipe", str(write_recipe("bare"))]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    for attribute in ("gender", "age"):
        assert f"{attribute} was not balanced: the registry holds no champions" in result.stderr
    assert CliRunner().invoke(app, [*arguments, "--strict"]).exit_code == 3
    off = CliRunner().invoke(app, [*arguments, "--strict", "--fairness", "off"])
    assert off.exit_code == 0 and "not balanced" not in off.stderr


@pytest.mark.slow
def test_champions_that_cannot_be_had_are_told_in_a_sentence(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = write_recipe("damaged")
    register_champions(tracking_uri, load_recipe(path), tmp_path / "adapters", seed=1)
    registry = Registry(tracking_uri, load_recipe(path))
    champion = registry.champions()["gender"].members["woman"]
    registry.client.set_model_version_tag(champion.name, champion.version, "sha256", "0" * 64)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    asked = ["generate", "a doctor", "--recipe", str(path), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1 and "adapters of ['gender'] cannot be had" in result.stderr


@pytest.mark.slow
def test_a_set_is_promoted_only_when_it_was_measured_or_forced(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe("promoted"))
    with TrainingRuns(tracking_uri, recipe) as runs:
        registry = runs.registry
        unmeasured = trained(recipe, "gender", tmp_path, seed=4)
        runs.register_adapter_set(recipe.attribute("gender"), unmeasured, None)
        with pytest.raises(ValueError, match="got fd unmeasured and hit rate unmeasured"):
            promote(registry, "gender", None, force=False)
        assert registry.champions() == {}
        with pytest.raises(ValueError, match=r"adapter_set: got 'other', which lacks"):
            promote(registry, "gender", "other", force=True)
        with pytest.raises(ValueError, match="attribute: got 'height'"):
            promote(registry, "height", None, force=True)
        versions = promote(registry, "gender", None, force=True)
        assert [version.champion for version in versions] == [True, True]
        assert list(registry.champions()) == ["gender"]


@pytest.mark.slow
def test_a_set_that_is_not_what_the_registry_says_is_refused_and_the_old_one_stays(
    tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    from pipelines.serve.generator import GeneratorService
    from pipelines.serve.settings import ServeSettings

    path = write_recipe("refused")
    recipe = load_recipe(path)
    register_champions(tracking_uri, recipe, tmp_path / "first", seed=1)
    settings = ServeSettings(recipe=path, tracking_uri=tracking_uri, poll_s=None)
    service = GeneratorService(settings, recipe)
    try:
        before = service.served
        register_champions(tracking_uri, recipe, tmp_path / "second", seed=2)
        client = Registry(tracking_uri, recipe).client
        client.set_model_version_tag("refused-gender-woman", "2", "sha256", "0" * 64)
        service.poll_now()
        deadline = time.monotonic() + 60
        while service.served["age"] == before["age"]:  # the sound set goes live
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert service.served["age"].members["old"].version == "2"
        assert service.served["gender"] == before["gender"]
    finally:
        service.close()
