"""`fairgen export`: an adapter for a tool, and a target distribution for people without FairGen."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.recipe.recipe import load_recipe
from tests.families import tiny
from tests.pipelines.registered import register_champions

pytestmark = pytest.mark.slow
Export = Callable[..., Result]


@pytest.fixture(scope="module")
def recipe_path(
    make_recipe: Callable[..., Path],
    tracking_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A recipe whose champions are registered."""
    folder = tmp_path_factory.mktemp("exported")
    path = make_recipe(folder, "exported")
    register_champions(tracking_uri, load_recipe(path), folder, seed=1)
    return path


@pytest.fixture
def export(
    recipe_path: Path, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Export:
    """Return what runs `fairgen export` into `out`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)

    def run(*arguments: str) -> Result:
        options = ["--recipe", str(recipe_path), "-o", str(tmp_path / "out")]
        return CliRunner().invoke(app, ["export", *arguments, *options])

    return run


@pytest.mark.parametrize("tool", ["comfyui", "a1111", "forge", "invokeai"])
def test_an_adapter_is_written_for_a_tool(tool: str, export: Export, tmp_path: Path) -> None:
    done = export("gender-woman", "--for", tool)
    file = tmp_path / "out" / "gender-woman.safetensors"
    assert done.exit_code == 0 and done.stdout.strip() == str(file)
    assert "Downloading artifacts" not in done.stderr
    with safe_open(file, framework="pt") as stored:
        assert stored.metadata()["ss_base_model_version"] == "sd_v1"
    assert all(key.startswith("lora_unet_") for key in load_file(file))
    assert (tmp_path / "out" / "README.md").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gender-woman", "--for", "gimp"], "for: got 'gimp', allowed are ['comfyui', 'a1111',"),
        (["gender-woman", "--for", "forge", "--format", "peft"], "format: got 'peft' and --for"),
        (["gender-woman", "--set", "gender"], "got a name and --set, or neither"),
        ([], "got a name and --set, or neither"),
        (["--set", "gender"], "for: got none, allowed for --set are a1111, comfyui and forge"),
        (["--set", "gender", "--for", "invokeai"], "for: got 'invokeai', allowed for a set are"),
        (["--set", "height", "--for", "a1111"], "attribute: got 'height', allowed are"),
        (
            ["--set", "gender", "--for", "a1111", "--fairness", "age=uniform"],
            "fairness: got ['age'], allowed are the sets ['gender']",
        ),
        (["--set", "gender", "--for", "a1111", "--fairness", "off"], "fairness: got 'off'"),
        (
            ["--set", "gender", "--for", "a1111", "--fairness", "gender=woman:0.7"],
            "gender: got shares that sum to 0.7, allowed is a sum of 1",
        ),
        (
            ["--set", "gender", "--set", "gender", "--for", "a1111"],
            "allowed is each attribute once",
        ),
        (
            ["--set", "gender", "--for", "forge", "--prompt", "a photo of a {red} nurse"],
            "prompt: got 'a photo of a {red} nurse', in which the tool reads '{'",
        ),
        (
            ["--set", "gender", "--for", "comfyui", "--prompt", "a photo of a female doctor"],
            "prompt: got 'a photo of a female doctor', which leaves gender alone",
        ),
        (
            ["--set", "gender", "--for", "comfyui", "--prompt", "a photo of a car"],
            "prompt: got 'a photo of a car', which leaves gender alone",
        ),
        (
            ["gender-woman", "--fairness", "gender=uniform"],
            "got --fairness for an adapter, allowed for --set only",
        ),
    ],
)
def test_what_cannot_be_exported_is_told_and_nothing_is_written(
    arguments: list[str], message: str, export: Export, tmp_path: Path
) -> None:
    refused = export(*arguments)
    assert refused.exit_code == 2 and message in " ".join(refused.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_family_that_a_tool_does_not_know_is_told_and_nothing_is_written(
    export: Export, tmp_path: Path
) -> None:
    tiny("PixArt-sigma").save_pretrained(tmp_path / "base")
    for arguments in (["gender-woman"], ["--set", "gender"]):
        refused = export(*arguments, "--for", "a1111", "--base", str(tmp_path / "base"))
        text = " ".join(refused.stderr.split())
        assert refused.exit_code == 2
        assert "for: got 'a1111', which knows no LoRA of PixArt on the prompt's" in text
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tool", ["a1111", "forge"])
def test_a_target_leaves_for_a1111_as_a_line_and_as_prompts_in_the_exact_quota(
    tool: str, export: Export, tmp_path: Path
) -> None:
    shares = ["--fairness", "gender=woman:0.25,man:0.75", "--fairness", "age=uniform"]
    asked = ["--set", "gender", "--set", "age", "-n", "24", "--prompt", "a photo of a nurse"]
    done = export(*asked, *shares, "--for", tool)
    assert done.exit_code == 0, done.stderr
    out = tmp_path / "out"
    line = (out / "dynamic-prompt.txt").read_text().strip()
    assert line.startswith(
        "a photo of a nurse {0.25::<lora:gender-woman:1>|0.75::<lora:gender-man:1>} {"
    )
    prompts = (out / "prompts.txt").read_text().splitlines()
    counts = Counter(name for text in prompts for name in re.findall(r"<lora:([^:]+):1>", text))
    assert len(prompts) == 24 and counts["gender-woman"] == 6 and counts["gender-man"] == 18
    named = set(counts) | set(re.findall(r"<lora:([^:]+):1>", line))
    assert named == {file.stem for file in (out / "loras").iterdir()}
    assert "24 in the exact quota" in (out / "README.txt").read_text()


def test_a_target_leaves_for_comfyui_as_a_prompt_a_picture(export: Export, tmp_path: Path) -> None:
    done = export("--set", "gender", "--fairness", "gender=uniform", "-n", "9", "--for", "comfyui")
    assert done.exit_code == 0, done.stderr
    out = tmp_path / "out"
    files = sorted((out / "prompts").iterdir())
    prompts = [json.loads(file.read_text()) for file in files]
    worn = Counter(nodes["lora0"]["inputs"]["lora_name"] for nodes in prompts)
    assert len(prompts) == 9 and sorted(worn.values()) == [4, 5]
    assert set(worn) == {file.name for file in (out / "loras").iterdir()}
    sampled = [nodes["sampled"]["inputs"] for nodes in prompts]
    assert len({inputs["seed"] for inputs in sampled}) == 9
    assert {inputs["steps"] for inputs in sampled} == {12}
    assert {inputs["sampler_name"] for inputs in sampled} == {"dpmpp_2m"}
    assert {nodes["positive"]["inputs"]["text"] for nodes in prompts} == {"a photo of a person"}
    assert {nodes["latent"]["inputs"]["width"] for nodes in prompts} == {16}  # the base's own
    prefixes = {nodes["saved"]["inputs"]["filename_prefix"] for nodes in prompts}
    assert all(re.fullmatch(r"fairgen/\d{4}-gender-(woman|man)", prefix) for prefix in prefixes)
    readme = (out / "README.txt").read_text()
    assert "base model" in readme and prompts[0]["model"]["inputs"]["ckpt_name"] in readme


def test_a_base_whose_config_is_nowhere_is_told(export: Export, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for base in (str(tmp_path / "empty"), "nobody/nothing"):
        refused = export("gender-woman", "--for", "forge", "--base", base)
        assert refused.exit_code == 2 and not (tmp_path / "out").exists()
        assert "whose config cannot be read" in " ".join(refused.stderr.split())


def test_a_folder_with_prompts_of_before_is_refused(export: Export, tmp_path: Path) -> None:
    asked = ["--set", "gender", "--for", "comfyui", "-n"]
    assert export(*asked, "4").exit_code == 0
    refused = export(*asked, "2")
    assert refused.exit_code == 2 and "allowed is an empty folder" in " ".join(
        refused.stderr.split()
    )
    assert len(list((tmp_path / "out" / "prompts").iterdir())) == 4


def test_an_adapter_takes_the_place_of_no_other(export: Export, tmp_path: Path) -> None:
    assert export("gender-woman").exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    refused = export("gender-man")
    assert refused.exit_code == 2 and "allowed is an empty folder" in " ".join(
        refused.stderr.split()
    )
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_text_of_a_user_reaches_no_path(export: Export, tmp_path: Path) -> None:
    text = "a photo of a doctor ../../evil 'x' \"y\""
    asked = ["--set", "gender", "--set", "age", "-n", "2", "--for", "comfyui", "--prompt", text]
    assert export(*asked).exit_code == 0
    paths = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert all(re.fullmatch(r"[a-zA-Z0-9_./-]+", path) and ".." not in path for path in paths)
    nodes = json.loads((tmp_path / "out" / "prompts" / "0001.json").read_text())
    assert nodes["positive"]["inputs"]["text"] == text


def test_a_set_without_champions_is_told(
    export: Export, make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_recipe(tmp_path, "unregistered")
    asked = ["--set", "gender", "--for", "forge", "--recipe", str(other)]
    refused = CliRunner().invoke(app, ["export", *asked, "-o", str(tmp_path / "out")])
    assert refused.exit_code == 2 and "set: got ['gender-man', 'gender-woman']" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("woman={bare}", "man={bare}"), "gender: got the same LoRA for woman and man"),
        (("woman={ours}", "man={ours}"), "got gender-woman, learnt from the word 'female', for"),
        (
            ("woman={ours}", "woman={ours}", "man={ours}"),
            "allowed is one file for each category",
        ),
        (
            ("woman={ours}", "man=nowhere.safetensors"),
            "nowhere.safetensors: there is no such file",
        ),
    ],
)
def test_loras_that_make_no_set_are_not_imported(
    files: tuple[str, ...], message: str, export: Export, recipe_path: Path, tmp_path: Path
) -> None:
    assert export("gender-woman", "--for", "comfyui").exit_code == 0
    lora = tmp_path / "out" / "gender-woman.safetensors"
    nameless = tmp_path / "nameless.safetensors"
    save_file(load_file(lora), nameless)
    given = [file.format(ours=lora, bare=nameless) for file in files]
    refused = CliRunner().invoke(app, ["import", "gender", *given, "--recipe", str(recipe_path)])
    assert refused.exit_code == 2 and message in " ".join(refused.stderr.split())
