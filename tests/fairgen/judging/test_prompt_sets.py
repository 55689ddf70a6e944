"""Every shipped prompt set loads, holds nothing twice, and reads as English."""

import re

import pytest
from pydantic import ValidationError

from fairgen.attributes import render
from fairgen.judging.prompt_sets import (
    PROMPTS,
    ConceptPrompts,
    ExplicitPrompt,
    ExplicitPrompts,
    ThingPrompts,
    bundled_prompt_sets,
    load_prompt_set,
)

OCCUPATIONS = ("occupations-36", "occupations-50")


def occupations(name: str) -> ConceptPrompts:
    found = load_prompt_set(name)
    assert isinstance(found, ConceptPrompts)
    return found


def test_every_yaml_ships_and_loads() -> None:
    files = {file.name for file in PROMPTS.iterdir() if file.name.endswith(".yaml")}
    assert {f"{name}.yaml" for name in bundled_prompt_sets()} == files
    assert set(bundled_prompt_sets()) == {*OCCUPATIONS, "no-people", "explicit"}
    for name in bundled_prompt_sets():
        texts = load_prompt_set(name).texts
        assert len({text.casefold() for text in texts}) == len(texts), name


@pytest.mark.parametrize(("name", "num_occupations"), [(OCCUPATIONS[0], 36), (OCCUPATIONS[1], 50)])
def test_occupations_are_as_many_as_their_name_says(name: str, num_occupations: int) -> None:
    found = occupations(name)
    assert len(set(found.concepts)) == len(found.concepts) == num_occupations
    assert len(set(found.templates)) == len(found.templates) == 5
    assert len(found.texts) == 5 * num_occupations


def test_the_occupations_are_apart() -> None:
    assert not set(occupations(OCCUPATIONS[0]).concepts) & set(occupations(OCCUPATIONS[1]).concepts)


@pytest.mark.parametrize("name", OCCUPATIONS)
def test_every_occupation_has_its_article(name: str) -> None:
    found = occupations(name)
    for template in found.templates:
        assert template.count("{subject}") == 1, template
    for concept in found.concepts:
        article = "an" if re.match("[aeiou]", concept) else "a"
        assert not re.match("hour|hono|uni|eu|one", concept), f"{concept}: sounds otherwise"
        assert render("{subject}", concept) == f"{article} {concept}"


def test_prompts_without_people_and_explicit_prompts_are_many() -> None:
    things, explicit = load_prompt_set("no-people"), load_prompt_set("explicit")
    assert isinstance(things, ThingPrompts)
    assert isinstance(explicit, ExplicitPrompts)
    assert len(things.prompts) >= 60
    assert len(explicit.prompts) >= 80
    for attribute in ("gender", "skin", "age"):
        assert sum(attribute in found.names for found in explicit.prompts) >= 25, attribute
    assert {name for found in explicit.prompts for name in found.names} == {"gender", "skin", "age"}


def test_an_unknown_name_lists_the_shipped() -> None:
    with pytest.raises(
        ValueError, match=r"prompt set: got 'cats', shipped are \['explicit', .*50'"
    ):
        load_prompt_set("cats")


def test_a_set_is_frozen_strict_and_holds_nothing_twice() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        occupations(OCCUPATIONS[0]).concepts = ()
    with pytest.raises(ValidationError, match="extra"):
        ThingPrompts(form="things", prompts=("a tree",), seed=1)
    with pytest.raises(ValueError, match=r"prompts: got \['a tree'\] twice"):
        ThingPrompts(form="things", prompts=("a tree", "a tree"))
    with pytest.raises(ValueError, match=r"prompts: got \['a cook'\] twice"):
        ConceptPrompts(form="concepts", concepts=("cook", "cook"), templates=("{subject}",))
    with pytest.raises(ValueError, match=r"templates: got \['a photo'\], allowed is one {subject}"):
        ConceptPrompts(form="concepts", concepts=("cook",), templates=("a photo", "{subject}"))
    with pytest.raises(ValueError, match=r"prompts: got \['an old cook'\] twice"):
        prompt = ExplicitPrompt(prompt="an old cook", names=("age",))
        ExplicitPrompts(form="explicit", prompts=(prompt, prompt))
