"""docs/clients.md names the versions that are run, what is replayed, and the table of names."""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "clients.md").read_text()
ROWS = {tuple(row.split(" | ")[:2]): row for row in re.findall(r"^\| (.*) \|$", PAGE, re.MULTILINE)}
SNIPPETS = re.findall(r"```(python|js)\n(.*?)```", PAGE, re.DOTALL)


def versions_of(seen: str) -> set[tuple[str, str]]:
    """Return the clients and versions of rows that end with a word, without their languages."""
    return {
        (name.partition(" (")[0], version)
        for (name, version), row in ROWS.items()
        if row.endswith(f"| {seen}")
    }


def test_the_page_s_versions_are_those_that_are_installed() -> None:
    pinned = set()
    for path in (HERE / "python").glob("*.txt"):
        name, version = path.read_text().split()[0].split("==")
        pinned.add((name.partition("[")[0], version))
    assert {path.stem for path in (HERE / "python").glob("*.txt")} == {
        path.stem for path in (HERE / "python").glob("*.py")
    }
    modules = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
    for name, version in modules.items():
        if name.startswith("@ai-sdk/"):
            pinned.add((f"ai with {name}", version))
        elif name.startswith("openai-"):
            pinned.add(("openai", version.removeprefix("npm:openai@")))
    assert versions_of("run") == pinned


def test_the_page_s_replayed_clients_are_those_of_the_requests() -> None:
    requests = json.loads((HERE / "requests.json").read_text())
    replayed = {(sent["client"], sent["version"]) for sent in requests}
    assert versions_of("replayed") == {
        (client, version)
        for client, version in replayed
        if client not in ("OpenAI's types", "JSON of any language")
    }
    assert f"{len(requests)} requests" in PAGE


def test_the_page_s_table_of_names_is_the_tests_own() -> None:
    table = (HERE / "models.yaml").read_text().partition("\n")[2]
    assert f"```yaml\n{table}```" in PAGE


def test_a_lock_file_names_no_host() -> None:
    packages = json.loads((HERE / "node" / "package-lock.json").read_text())["packages"]
    assert len(packages) > 5 and not any("resolved" in package for package in packages.values())


def test_snippets_are_short_and_are_code() -> None:
    assert len(SNIPPETS) == 13
    for language, text in SNIPPETS:
        assert len(text.splitlines()) <= 8, text
        if language == "python":
            compile(text, "docs/clients.md", "exec")
