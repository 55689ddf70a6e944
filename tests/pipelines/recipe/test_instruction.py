"""A recipe's instruction reaches the base model wherever it learns, paints and measures."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.evaluation import EvaluationWorker
from pipelines.recipe.models import load_learner, load_painter
from pipelines.recipe.recipe import Recipe, load_recipe
from tests.families import tiny
from tests.tiny import save_tiny_clip

OTHER = "Name the colors of: "
Write = Callable[[str | None], Recipe]


@pytest.fixture
def recipe_with(write_recipe: Callable[..., Path], tmp_path: Path) -> Write:
    """Return a function that writes a recipe of a tiny model with an instruction."""
    tiny("SANA").save_pretrained(tmp_path / "base")
    clip = {"kind": "clip", "path": str(save_tiny_clip(tmp_path / "clip"))}

    def write(instruction: str | None) -> Recipe:
        asked = {"steps": 2, "guidance_scale": 4.0, "scheduler": "own", "size_px": 32}
        if instruction is not None:
            asked["instruction"] = instruction
        path = write_recipe(generation=asked, judge=clip)
        return load_recipe(path, base=str(tmp_path / "base"))

    return write


@pytest.mark.parametrize("instruction", ["", OTHER])
def test_adapters_are_learnt_and_worn_with_a_recipe_s_instruction(
    instruction: str, recipe_with: Write
) -> None:
    recipe = recipe_with(instruction)
    for backbone in (load_learner(recipe), load_painter(recipe)):
        assert backbone.instruction_in({}) == instruction
    own = load_painter(recipe_with(None)).instruction_in({})
    assert own.startswith("Given a user prompt")


def test_evaluation_measures_what_an_instruction_does(recipe_with: Write) -> None:
    pictures = [
        EvaluationWorker(recipe_with(instruction), []).paint_base("car")
        for instruction in (None, "", OTHER, None)
    ]
    assert pictures[0] == pictures[3]
    assert len({tuple(found) for found in pictures}) == 3


def test_adapters_belong_to_the_instruction_and_recipes_without_one_keep_their_hash(
    recipe_with: Write,
) -> None:
    hashes = [recipe_with(instruction).recipe_hash for instruction in (None, "", OTHER)]
    assert len(set(hashes)) == 3
    assert "instruction" not in recipe_with(None).model_dump()["generation"]


def test_a_base_that_puts_nothing_before_a_prompt_is_refused(
    write_recipe: Callable[..., Path],
) -> None:
    recipe = load_recipe(write_recipe(generation={"instruction": OTHER}))
    for load in (load_learner, load_painter):
        with pytest.raises(ValueError, match=r"^instruction: got 'Name the .*, allowed is none"):
            load(recipe)
