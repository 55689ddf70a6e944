"""YAML as a person writes it: plain values, and no more of them than a recipe can need."""

from pathlib import Path
from typing import Any

import yaml

_MOST_VALUES = 20_000  # with every alias written out: aliases of aliases grow as powers
_DEEPEST = 32
_LONGEST_CHARS = 2_000  # of one value: Python writes no longer numbers out
_UNREADABLE = (  # PyYAML's own errors, and what its constructors let through, as for !!bool maybe
    yaml.YAMLError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


def read_yaml(path: Path) -> Any:
    """Return a file's content: mappings, lists and plain values, with safe tags only.

    Raises ValueError that names the file for what is no such YAML, or too much of it.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _check_size(root)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except _UNREADABLE as error:
        raise ValueError(f"{path}: no valid YAML: {error}") from error


def _check_size(root: yaml.Node) -> None:
    """Raise ValueError for more values than a recipe can need, deeper ones, or longer ones, and for
    a key that is given twice.
    """
    num_values, remaining = 0, [(root, 1)]
    while remaining:
        node, depth = remaining.pop()
        num_values += 1
        if num_values > _MOST_VALUES:
            raise ValueError(f"got over {_MOST_VALUES} values, aliases written out")
        if depth > _DEEPEST:
            raise ValueError(f"got values nested deeper than {_DEEPEST}")
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            remaining += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            remaining += [(part, depth + 1) for part in node.value]
        elif len(node.value) > _LONGEST_CHARS:
            raise ValueError(f"got a value of {len(node.value)} characters, {node.value[:20]!r}...")


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise ValueError for a key that stands twice: the last one would count, in silence."""
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            line = key.start_mark.line + 1
            raise ValueError(f"got {key.value!r} twice, again in line {line}; allowed is once")
        seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
