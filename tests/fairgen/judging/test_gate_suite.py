"""False activations and false skips are counted over the attribute decisions of each label."""

import pytest
from pydantic import ValidationError

from fairgen.attributes import Attribute, Category
from fairgen.judging.gate_suite import (
    LABELLED,
    SUITES,
    Line,
    Rate,
    count,
    count_suite,
    gate_report,
    label_prompt_set,
    read_suite,
)
from fairgen.judging.prompt_sets import bundled_prompt_sets
from tests.tiny import ATTRIBUTES

LINES = (
    Line(group="a", expected=frozenset(LABELLED), prompt="a doctor"),
    Line(group="a", expected=frozenset(LABELLED), prompt="a red house"),
    Line(group="b", expected=frozenset(), prompt="a female doctor"),
)


def test_every_attribute_decision_counts_once_under_its_label() -> None:
    found = count("a", LINES, ATTRIBUTES)
    assert found.num_prompts == 3
    assert found.false_activation == Rate(wrong=2, total=3)
    assert found.false_skip == Rate(wrong=3, total=6)
    skips, activations = found.mistakes
    assert (skips.prompt, skips.skipped, skips.activated) == ("a red house", LABELLED, ())
    assert activations.activated == ("skin", "age")


def test_a_suite_counts_per_class_and_in_total() -> None:
    found = count_suite("both", LINES, ATTRIBUTES)
    assert [group.group for group in found.groups] == ["a", "b"]
    for rate in ("false_activation", "false_skip"):
        for number in ("wrong", "total"):
            parts = [getattr(getattr(group, rate), number) for group in found.groups]
            assert getattr(getattr(found.total, rate), number) == sum(parts)


def test_a_rate_has_a_wilson_interval() -> None:
    low, high = Rate(wrong=0, total=100).interval
    assert low == pytest.approx(0, abs=1e-9)
    assert high == pytest.approx(0.037, abs=1e-3)
    assert Rate(wrong=0, total=0).interval == (0.0, 1.0)
    assert str(Rate(wrong=1, total=50)) == "1 of 50 (0.4% to 10.5%)"
    with pytest.raises(ValidationError, match="frozen"):
        Rate(wrong=0, total=1).wrong = 1


def test_attributes_without_labels_are_not_counted() -> None:
    glasses = Attribute(
        name="glasses",
        categories=(Category(name="on", word="with"), Category(name="off", word="no")),
    )
    assert count("a", LINES, (*ATTRIBUTES, glasses)) == count("a", LINES, ATTRIBUTES)
    assert count("a", LINES, ATTRIBUTES[:1]).false_skip == Rate(wrong=1, total=2)
    with pytest.raises(ValueError, match=r"attributes: got \['glasses'\], allowed .*'gender'"):
        count("a", LINES, (glasses,))


def test_suites_hold_no_prompt_twice_and_label_known_attributes() -> None:
    lines = [line for suite in SUITES for line in read_suite(suite)]
    assert len({line.prompt.casefold() for line in lines}) == len(lines)
    assert all(line.group.replace("_", "").isalpha() for line in lines)
    for line in lines:
        assert line.expected <= set(LABELLED), line


def test_what_a_prompt_set_names_is_not_wanted() -> None:
    labels = {line.prompt: line.expected for line in label_prompt_set("explicit")}
    assert labels["a photo of a female doctor"] == {"skin", "age"}
    assert {line.expected for line in label_prompt_set("no-people")} == {frozenset()}
    assert {line.expected for line in label_prompt_set("occupations-36")} == {frozenset(LABELLED)}


def test_the_report_holds_every_suite_and_every_prompt_set() -> None:
    report = gate_report(ATTRIBUTES)
    assert [found.suite for found in report] == [*SUITES, *bundled_prompt_sets()]
    assert all(found.total.num_prompts for found in report)
