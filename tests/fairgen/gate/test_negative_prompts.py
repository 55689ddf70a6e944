"""What a negative prompt names of a person leaves that attribute alone."""

from pathlib import Path

import pytest

from fairgen.gate import decide
from pipelines.recipe.recipe import load_recipe

RECIPE = Path(__file__).parents[3] / "pipelines" / "recipes" / "portraits.yaml"
GENDER, SKIN, AGE = ATTRIBUTES = load_recipe(RECIPE).attributes
ALL = ("gender", "skin", "age")


@pytest.mark.parametrize(
    ("negative_prompt", "attribute", "categories"),
    [
        ("a photo of a female doctor", "gender", ("woman",)),
        ("male", "gender", ("man",)),
        ("blurry, (man:1.3), boring", "gender", ("man",)),
        ("no women", "gender", ("woman",)),
        ("nonbinary", "gender", ()),
        ("facial hair, ugly", "gender", ("man",)),
        ("old", "age", ("old",)),
        ("wrinkles, extra fingers", "age", ("old",)),
        ("elderly people", "age", ("old",)),
        ("pale skin", "skin", ("light",)),
        ("black people", "skin", ("dark",)),
        ("asian", "skin", ()),
    ],
)
def test_an_attribute_that_the_negative_prompt_names_is_left_alone(
    negative_prompt: str, attribute: str, categories: tuple[str, ...]
) -> None:
    decision = decide("a doctor", ATTRIBUTES, negative_prompt)
    assert decision.free == tuple(name for name in ALL if name != attribute)
    found = decision.attributes[attribute]
    assert (found.reason, found.named) == ("negative prompt", categories)
    names = ", ".join(categories) or attribute
    assert decision.why(attribute) == f"the negative prompt names it ({names})"


@pytest.mark.parametrize(
    "negative_prompt",
    [
        None,
        "",
        "blurry, extra fingers, bad anatomy, ugly",
        "black and white, old photo, white background, dark, light, bright, asian style, crowd",
        "lowres, bad hands, jpeg artifacts, watermark, dark, overexposed, bad skin, two people",
    ],
)
def test_a_negative_prompt_without_a_category_changes_nothing(negative_prompt: str | None) -> None:
    assert decide("a doctor", ATTRIBUTES, negative_prompt) == decide("a doctor", ATTRIBUTES)


def test_the_prompt_comes_before_the_negative_prompt() -> None:
    assert decide("a female doctor", ATTRIBUTES, "male").attributes["gender"].reason == "named"
    assert decide("a red house", ATTRIBUTES, "male").attributes["gender"].reason == "no people"
