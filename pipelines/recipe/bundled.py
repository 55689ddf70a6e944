"""Attributes and prompt sets that ship: a recipe may name them instead of spelling them out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fairgen.judging import ConceptPrompts, load_prompt_set
from pipelines.recipe.folders import RECIPES


def bundled_attributes() -> dict[str, Path]:
    """Return the files of the attributes that ship, by name."""
    return {file.stem: file for file in sorted((RECIPES / "attributes").glob("*.yaml"))}


def expand_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's content with every name of a shipped attribute or prompt set replaced.

    Raises ValueError for a name that does not ship.
    """
    expanded = dict(content)
    if isinstance(attributes := content.get("attributes"), list):
        expanded["attributes"] = [_attribute(entry) for entry in attributes]
    if isinstance(concepts := content.get("concepts"), Mapping):
        expanded["concepts"] = {
            group: _concepts(group, value) if isinstance(value, str) else value
            for group, value in concepts.items()
        }
    return expanded


def _attribute(entry: Any) -> Any:
    if not isinstance(entry, str):
        return entry
    known = bundled_attributes()
    if entry not in known:
        raise ValueError(f"attributes: got {entry!r}, shipped are {list(known)}")
    return yaml.safe_load(known[entry].read_text())


def _concepts(group: str, name: str) -> tuple[str, ...]:
    try:
        prompt_set = load_prompt_set(name)
    except ValueError as error:
        raise ValueError(f"concepts.{group}: {error}") from error
    if not isinstance(prompt_set, ConceptPrompts):
        raise ValueError(f"concepts.{group}: got {name!r}, allowed are sets of concepts")
    return prompt_set.concepts
