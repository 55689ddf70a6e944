"""Attributes name their categories and render prompts that read as English."""

import pytest
from pydantic import ValidationError

from fairgen.attributes import Attribute, Category, adapter_name, render
from tests.tiny import GENDER


def test_prompts_have_the_right_article() -> None:
    template = "a photo of {subject}"
    assert render(template, "doctor") == "a photo of a doctor"
    assert render(template, "astronaut") == "a photo of an astronaut"
    assert render(template, "astronaut", ["female"]) == "a photo of a female astronaut"
    assert render(template, "doctor", ["old", "female"]) == "a photo of an old female doctor"


def test_an_unknown_category_lists_the_allowed() -> None:
    assert GENDER.category("woman").word == "female"
    with pytest.raises(ValueError, match=r"gender: got 'child', allowed are \['woman', 'man'\]"):
        GENDER.category("child")


def test_an_attribute_needs_two_distinct_well_named_categories() -> None:
    woman = Category(name="woman", word="female")
    with pytest.raises(ValidationError, match="at least 2"):
        Attribute(name="gender", categories=(woman,))
    with pytest.raises(ValidationError, match="distinct names"):
        Attribute(name="gender", categories=(woman, woman))
    with pytest.raises(ValidationError, match="name"):
        Category(name="../woman", word="female")


def test_adapters_are_named_for_attribute_and_category() -> None:
    assert adapter_name("gender", "woman") == "gender-woman"
