"""Records survive being signed: c2pa gives a list of numbers back as a text."""

from typing import Any

from pydantic import TypeAdapter

from fairgen.pipeline import ImageRecord
from pipelines.serve import Provenance


def lists_of_numbers(schema: Any) -> list[Any]:
    """Return the items of a JSON schema's lists that are numbers."""
    if isinstance(schema, list):
        return [part for item in schema for part in lists_of_numbers(item)]
    if not isinstance(schema, dict):
        return []
    items = [schema.get("items"), *schema.get("prefixItems", ())]
    numbers = [
        item
        for item in items
        if isinstance(item, dict) and item.get("type") in ("number", "integer")
    ]
    return numbers + [part for item in schema.values() for part in lists_of_numbers(item)]


def test_no_record_has_a_list_of_numbers() -> None:
    assert lists_of_numbers(TypeAdapter(dict[str, tuple[float, float]]).json_schema())
    for record in (ImageRecord, Provenance):
        assert lists_of_numbers(record.model_json_schema(mode="serialization")) == []
