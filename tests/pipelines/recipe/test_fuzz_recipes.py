"""A malformed recipe is refused with its file's name; none runs code or takes much memory."""

import datetime
import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.recipe.recipe import load_recipe
from tests.fuzzing import Memory, spread, watched
from tests.pipelines.conftest import SHIPPED

WHOLE = (SHIPPED / "portraits.yaml").read_text()
CONTENT = yaml.safe_load(WHOLE)
_LONGEST_REASON = 200_000
_WRONG = (
    None, -1, 1.5, True, "", "x", "../../x", [], [None], [[[]]], {}, {"odd": {"odd": [1]}}, {1: 2},
    {None: None}, float("nan"), float("inf"), 10**30, "x" * 1500, b"x", datetime.date(2020, 1, 1),
)  # fmt: skip
_BYTES = (b"\0", b"\xff", b"\x80", b"\t", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"&", b"*", b"!", b"%",
          b"@", b"{", b"]", b"'", b'"', b"\n", b"\r", b": ", b"- ", b"#", b"|", b"<: ")  # fmt: skip
_TAGGED = (
    "!!bool maybe", "!!int ''", "!!int x", "!!float x", "!!timestamp x", "!!binary '%'", "!!null x",
    "!!set [a]", "!!omap a", "!!pairs [[1]]", "!odd x", "!!python/none", "!!python/name:os.system",
    "!!python/module:os", "!!python/tuple [a]", "!!map [a]", "!!seq a", "!<tag:x> y", "=", "<<",
    "2020-13-45", "2020-01-01T99:00:00", "0001-01-01T00:00:00+23:59", "0x" + "f" * 6000, "1" * 5000,
    "1" + ":0" * 900, "1" + ":0" * 900 + ".5", "1e999999", ".nan", "-.inf", "0b", "0o9", "&a *a",
    "&a [*a]", "&a {b: *a}", "*nowhere", "&a &b x", "? [a]", "{? [a, b] : c}", "{a: 1, a: 2}",
)  # fmt: skip


def value_paths(content: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a recipe's content."""
    inside = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inside:
        yield (*here, key)
        if isinstance(value, dict | list):
            yield from value_paths(value, (*here, key))


def changed(path: tuple[Any, ...], value: Any = ..., more: Any = ...) -> bytes:
    """Return the recipe with another value at a path, or none, or an unknown field in it."""
    content = parent = deepcopy(CONTENT)
    for key in path[:-1]:
        parent = parent[key]
    if more is not ...:
        parent[path[-1]]["odd"] = more
    elif value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return yaml.dump(content, Dumper=yaml.CSafeDumper).encode()


def values_changed() -> Iterator[tuple[str, bytes]]:
    rng = random.Random(0)
    for path in value_paths(CONTENT):
        if len(path) <= 2:
            yield f"without {path}", changed(path)
        value = rng.choice(_WRONG)
        yield f"{path} is {str(value)[:20]!r}", changed(path, value)
        part = CONTENT
        for key in path:
            part = part[key]
        if isinstance(part, dict):
            yield f"one more in {path}", changed(path, more=1)


def bytes_changed() -> Iterator[tuple[str, bytes]]:
    rng, content = random.Random(0), WHOLE.encode()
    lines = WHOLE.splitlines(keepends=True)
    for _ in range(40):
        num_bytes = rng.randrange(len(content))
        yield f"first {num_bytes} bytes", content[:num_bytes]
    for odd in _BYTES:
        index = rng.randrange(len(content))
        yield f"{odd!r} at {index}", content[:index] + odd + content[index:]
    for _ in range(30):
        one, other = sorted(rng.sample(range(len(lines)), 2))
        yield f"lines from {one} to {other} gone", "".join(lines[:one] + lines[other:]).encode()
        yield f"line {one} twice", "".join(lines[: one + 1] + lines[one:]).encode()
    yield "UTF-16", WHOLE.encode("utf-16")
    yield "another recipe behind it", f"{WHOLE}\n---\n{WHOLE}".encode()
    yield "itself behind it", f"{WHOLE}\n{WHOLE}".encode()


def powers(first: str, entry: str, deep: int = 7, wide: int = 9) -> str:
    """Return anchors, each of which names the one before so many times."""
    lines = [f"a0: &a0 {first}"]
    for level in range(1, deep):
        aliases = ", ".join([f"*a{level - 1}"] * wide)
        lines.append(f"a{level}: &a{level} {entry.format(aliases)}")
    return "\n".join([*lines, f"name: *a{deep - 1}\n"])


def written(marker: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what nobody writes by mistake."""
    rest = WHOLE.replace("name: portraits", "{}", 1)
    for value in (*_TAGGED, f"!!python/object/apply:os.mkdir ['{marker}']",
                  f"!!python/object/new:os.mkdir ['{marker}']"):  # fmt: skip
        yield f"name is {value[:40]}", rest.replace("{}", f"name: {value}", 1).encode()
    for name, text in {
        "nothing": "", "a comment": "# nothing", "null": "~", "a text": "x", "a number": "7",
        "a list": "- name: x", "an empty mapping": "{}", "an end": "...", "tabs": "\tname: x",
        "aliases of aliases": powers("[x]", "[{}]") + rest.replace("{}", ""),
        "merges of merges": powers("{x: 1}", "{{<<: [{}]}}"),
        "a chain of aliases": powers("[x]", "[{}]", deep=2000, wide=1),
        "brackets": "name: " + "[" * 1500, "closed brackets": "name: " + "[" * 200 + "]" * 200,
        "mappings": "\n".join(" " * level + "a:" for level in range(500)),
        "many values": "name: [" + "x, " * 30_000 + "]", "a long value": "name: " + "x" * 10**6,
    }.items():  # fmt: skip
        yield name, text.encode()


@pytest.mark.slow
def test_a_malformed_recipe_is_refused_with_its_file_or_is_valid(tmp_path: Path) -> None:
    marker, file, memory = tmp_path / "ran", tmp_path / "recipe.yaml", Memory()
    variants = [*spread([*values_changed()]), *bytes_changed(), *written(marker)]
    refused = 0
    for name, content in variants:
        file.write_bytes(content)
        with watched(name):
            try:
                load_recipe(file)
            except ValueError as error:
                refused += 1
                assert type(error) is ValueError and str(error).startswith(f"{file}: ")
                assert len(str(error)) < _LONGEST_REASON
        memory.look()
    assert refused >= 200 and refused >= 0.7 * len(variants)
    assert not marker.exists()
    memory.check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name: \xff", "can't decode byte 0xff"),
        (b"name: !!bool maybe", "no valid YAML: 'maybe'"),
        (b"name: 2020-13-45", "month must be in 1..12"),
        (b"name: " + b"[" * 50 + b"]" * 50, "got values nested deeper than 32"),
        (powers("[x]", "[{}]").encode(), "got over 20000 values, aliases written out"),
        (b"name: 0x" + b"f" * 5000, "got a value of 5002 characters, '0xfff"),
    ],
)
def test_values_that_pyyaml_accepts_but_no_recipe_needs_are_refused(
    tmp_path: Path, text: bytes, message: str
) -> None:
    (tmp_path / "recipe.yaml").write_bytes(text)
    with pytest.raises(ValueError) as refused:
        load_recipe(tmp_path / "recipe.yaml")
    assert message in str(refused.value) and "recipe.yaml: no valid YAML" in str(refused.value)


@pytest.mark.parametrize("path", [("comparison", "sweep"), ("ablation", "sample")])
def test_an_unknown_field_inside_an_optional_section_is_named(
    tmp_path: Path, path: tuple[str, str]
) -> None:
    (tmp_path / "recipe.yaml").write_bytes(changed(path, more=1))
    allowed = r"got 1 for an unknown field; allowed are num_images, concepts"
    with pytest.raises(ValueError, match=rf"{'.'.join(path)}.odd: {allowed}"):
        load_recipe(tmp_path / "recipe.yaml")


@pytest.mark.slow
def test_the_command_refuses_a_malformed_recipe(tmp_path: Path) -> None:
    marker, file = tmp_path / "ran", tmp_path / "recipe.yaml"
    chosen = dict(written(marker))
    names = ["nothing", "a list", "brackets", "aliases of aliases", "name is !!bool maybe",
             "name is &a [*a]", "many values"]  # fmt: skip
    names += [name for name in chosen if "python/object" in name]
    for name in names:
        file.write_bytes(chosen[name])
        with watched(name):
            result = CliRunner().invoke(app, ["evaluate", str(file)])
        assert result.exit_code == 2 and file.name in result.output, name
    assert not marker.exists()
