"""The gate on labelled prompts of the languages that it reads beside English.

Each language has two suites in the form of `fairgen.judging.gate_suite`: `gate-CODE` grew along
with the rules; `gate-CODE-held-out` was written before any rule, and is only counted.
"""

from collections.abc import Sequence
from typing import Literal

from fairgen.attributes import Attribute
from fairgen.judging.gate_suite import Line, SuiteCount, count_suite
from fairgen.judging.prompt_sets import PROMPTS

Code = Literal["es", "pt", "fr", "de", "it", "zh", "ja"]
CODES: tuple[Code, ...] = ("es", "pt", "fr", "de", "it", "zh", "ja")


def read_language_suite(code: Code, held_out: bool) -> tuple[Line, ...]:
    """Return a language's labelled lines: those held out, or those that the rules grew with."""
    rows = (PROMPTS / f"{_name(code, held_out)}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return tuple(
        Line(group=group, expected=frozenset(expected.split(",")) - {"-"}, prompt=prompt)
        for group, expected, prompt in (row.split("\t") for row in rows)
    )


def language_report(attributes: Sequence[Attribute]) -> tuple[SuiteCount, ...]:
    """Return the counts of both suites of every language.

    Raises ValueError when the labels speak of none of the attributes.
    """
    return tuple(
        count_suite(_name(code, held_out), read_language_suite(code, held_out), attributes)
        for code in CODES
        for held_out in (False, True)
    )


def _name(code: Code, held_out: bool) -> str:
    return f"gate-{code}-held-out" if held_out else f"gate-{code}"
