"""The content of a recipe file: with `extends: NAME` it says only how it differs from another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.recipe.folders import RECIPES, bundled_recipes
from pipelines.recipe.yaml_file import read_yaml

_KEY = "extends"


def read_content(file: Path) -> dict[str, Any]:
    """Return a recipe file's content, merged over that of the recipe which it extends, if any.

    Mappings merge, any other value replaces the older one, and null deletes it. A name stands for a
    recipe that ships, or one beside the file. Raises ValueError that names the file for what is no
    mapping, an unknown name, or recipes that extend each other in a circle.
    """
    files = [file]
    contents = [_read_mapping(file)]
    while _KEY in contents[-1]:
        name = contents[-1].pop(_KEY)
        base = _find(name, files[-1])
        if base.resolve() in {earlier.resolve() for earlier in files}:
            circle = " -> ".join(earlier.stem for earlier in (*files, base))
            raise ValueError(f"{file}: {_KEY}: got {name!r}, which leads in a circle: {circle}")
        files.append(base)
        contents.append(_read_mapping(base))
    merged = contents.pop()
    while contents:
        merged = _merge(merged, contents.pop())
    return merged


def _read_mapping(file: Path) -> dict[str, Any]:
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise ValueError(
            f"{file}: got {type(content).__name__}, allowed is a mapping with a recipe's fields"
        )
    return content


def _find(name: Any, file: Path) -> Path:
    """Return the file of the recipe that `file` extends."""
    files = {
        other.stem: other
        for folder in (file.parent, RECIPES / "shared")
        for other in sorted(folder.glob("*.yaml"))
    } | bundled_recipes()
    if not isinstance(name, str) or name not in files:
        raise ValueError(f"{file}: {_KEY}: got {name!r}, allowed are {sorted(files)}")
    return files[name]


def _merge(older: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(older)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged
