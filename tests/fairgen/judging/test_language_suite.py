"""The gate's mistakes on labelled prompts of seven languages are few."""

from pathlib import Path

import pytest

from fairgen.gate import decide
from fairgen.judging.gate_suite import Rate
from fairgen.judging.language_suite import CODES, Code, language_report, read_language_suite
from pipelines.recipe.recipe import load_recipe

RECIPE = Path(__file__).parents[3] / "pipelines" / "recipes" / "portraits.yaml"
ATTRIBUTES = load_recipe(RECIPE).attributes
TOTALS = {found.suite: found.total for found in language_report(ATTRIBUTES)}


def share(rate: Rate) -> float:
    return rate.wrong / rate.total


@pytest.mark.parametrize("code", CODES)
def test_mistakes_on_prompts_held_out_are_within_bounds(code: Code) -> None:
    counts = TOTALS[f"gate-{code}-held-out"]
    assert share(counts.false_activation) <= 0.03
    assert share(counts.false_skip) <= 0.05


@pytest.mark.parametrize("code", CODES)
def test_prompts_that_the_rules_grew_with_are_decided_as_labelled(code: Code) -> None:
    assert TOTALS[f"gate-{code}"].mistakes == ()


@pytest.mark.parametrize("code", CODES)
def test_a_suite_is_large_and_most_of_it_is_read_in_its_language(code: Code) -> None:
    halves = [read_language_suite(code, held_out) for held_out in (False, True)]
    lines = [line for half in halves for line in half]
    assert all(len(half) >= 60 for half in halves)
    assert len({line.prompt for line in lines}) == len(lines)
    groups = {"occupation", "context", "long", "named", "negated", "several", "nobody"}
    assert {line.group for line in lines} == groups
    other = [p.prompt for p in lines if decide(p.prompt, ATTRIBUTES).language != code]
    assert len(other) <= 0.05 * len(lines), other


def test_the_figures_of_the_method_s_page_are_those_that_are_counted() -> None:
    text = " ".join((RECIPE.parents[2] / "docs" / "method.md").read_text().split())
    held_out = [counts for name, counts in TOTALS.items() if name.endswith("-held-out")]
    for rates, words in (
        ([counts.false_activation for counts in held_out], "acts falsely in"),
        ([counts.false_skip for counts in held_out], "leaves"),
    ):
        rate = Rate(wrong=sum(r.wrong for r in rates), total=sum(r.total for r in rates))
        low, high = (f"{100 * bound:.1f}" for bound in rate.interval)
        assert f"{words} {rate.wrong} of {rate.total}" in text
        assert f"({low} to {high} %)" in text
