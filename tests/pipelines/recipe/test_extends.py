"""A recipe that extends another says only how it differs."""

from pathlib import Path

import pytest

from pipelines.recipe.extends import read_content
from pipelines.recipe.recipe import load_recipe


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return file


def test_mappings_merge_lists_are_replaced_and_null_deletes(tmp_path: Path) -> None:
    write(tmp_path, "first", "a: {x: 1, y: {z: 2}}\nb: [1, 2]\nc: 3\nd: 4\n")
    second = write(tmp_path, "second", "extends: first\na: {y: {w: 5}}\nb: [6]\nc: null\n")
    assert read_content(second) == {"a": {"x": 1, "y": {"z": 2, "w": 5}}, "b": [6], "d": 4}
    third = write(tmp_path, "third", "extends: second\na: 7\nc: 8\n")
    assert read_content(third) == {"a": 7, "b": [6], "c": 8, "d": 4}


def test_a_recipe_may_extend_a_shipped_one_of_its_own_name(tmp_path: Path) -> None:
    file = write(tmp_path, "sdxl", "extends: sdxl\nname: ours\ndiscovery: {num_rows: 2}\n")
    recipe, shipped = load_recipe(file), load_recipe("pipelines/recipes/sdxl.yaml")
    assert recipe.discovery == shipped.discovery.model_copy(update={"num_rows": 2})
    assert (recipe.name, recipe.thresholds) == ("ours", shipped.thresholds)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a": "extends: nothing"}, "extends: got 'nothing', allowed are .*'photographs'"),
        ({"a": "extends: [sdxl]"}, r"extends: got \['sdxl'\], allowed are"),
        ({"a": "extends: null"}, "extends: got None, allowed are"),
        ({"a": "extends: ../a"}, r"extends: got '\.\./a', allowed are"),
        ({"a": "extends: a"}, "extends: got 'a', which leads in a circle: a -> a"),
        (
            {"a": "extends: b", "b": "extends: c", "c": "extends: a"},
            "extends: got 'a', which leads in a circle: a -> b -> c -> a",
        ),
        ({"a": "extends: b", "b": "- a list"}, "b.yaml: got list, allowed is a mapping"),
        ({"a": "extends: sdxl\ndiscovery: {rank: 0}"}, "a.yaml: discovery.rank: got 0, allowed"),
        ({"a": "extends: sdxl\nthresholds: null"}, "a.yaml: thresholds: got nothing, allowed is"),
        ({"a": "extends: photographs\nbase: x"}, "a.yaml: name: got nothing, allowed is a value"),
    ],
)
def test_what_cannot_be_extended_is_refused_with_the_reason(
    tmp_path: Path, texts: dict[str, str], message: str
) -> None:
    for name, text in texts.items():
        write(tmp_path, name, text)
    with pytest.raises(ValueError, match=message):
        load_recipe(tmp_path / "a.yaml")
