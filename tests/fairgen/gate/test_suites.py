"""The suites: prompts labelled with the attributes on which a careful person would want action."""

from itertools import chain

import pytest

from fairgen.gate import decide
from fairgen.judging.gate_suite import (
    SUITES,
    Count,
    Rate,
    SuiteName,
    count,
    label_prompt_set,
    read_suite,
)
from fairgen.judging.prompt_sets import bundled_prompt_sets
from tests.fairgen.gate.test_decision import ATTRIBUTES

LINES = {name: read_suite(name) for name in SUITES}
CLASSES = {name: tuple(dict.fromkeys(line.group for line in LINES[name])) for name in SUITES}


def share(rate: Rate) -> float:
    return rate.wrong / rate.total if rate.total else 0.0


def counted(suite: SuiteName, group: str) -> Count:
    return count(group, [line for line in LINES[suite] if line.group == group], ATTRIBUTES)


def test_the_suite_is_large_and_even() -> None:
    lines = LINES["gate-suite"]
    assert len(lines) >= 330
    assert len(CLASSES["gate-suite"]) == 12
    for group in CLASSES["gate-suite"]:
        assert sum(line.group == group for line in lines) >= 25, group


@pytest.mark.parametrize("group", CLASSES["gate-suite"])
def test_each_class_of_the_suite(group: str) -> None:
    counts = counted("gate-suite", group)
    assert counts.false_activation.wrong == 0, counts.mistakes
    assert share(counts.false_skip) <= 0.05, counts.mistakes


@pytest.mark.parametrize("suite", ["gate-suite", "gate-unseen", "gate-paragraphs"])
def test_the_mistakes_on_a_whole_suite_are_within_bounds(suite: SuiteName) -> None:
    counts = count(suite, LINES[suite], ATTRIBUTES)
    assert share(counts.false_activation) <= 0.01, counts.mistakes
    assert share(counts.false_skip) <= 0.02, counts.mistakes


@pytest.mark.parametrize("group", CLASSES["gate-unseen"])
def test_each_class_of_the_unseen_suite(group: str) -> None:
    counts = counted("gate-unseen", group)
    assert share(counts.false_activation) <= 0.04, counts.mistakes
    assert share(counts.false_skip) <= 0.07, counts.mistakes


@pytest.mark.parametrize("name", bundled_prompt_sets())
def test_prompt_sets_are_acted_on_as_their_form_says(name: str) -> None:
    counts = count(name, label_prompt_set(name), ATTRIBUTES)
    assert share(counts.false_activation) <= 0.01, counts.mistakes
    assert share(counts.false_skip) <= 0.02, counts.mistakes


def test_case_does_not_matter() -> None:
    for line in chain(*LINES.values()):
        free = decide(line.prompt, ATTRIBUTES).free
        assert decide(line.prompt.upper(), ATTRIBUTES).free == free, line.prompt
        assert decide(line.prompt.title(), ATTRIBUTES).free == free, line.prompt
