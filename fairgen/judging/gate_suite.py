"""The gate on labelled prompts: how often it acts where a careful person would not act, and how
often it leaves a prompt alone that a careful person would balance.

A line of a suite holds a class, the attributes on which one would want action, and the prompt.
The author of the rules of `fairgen.gate` has not seen the mistakes on the suites that are held out:

- `gate-suite` grew along with the rules; it shows that they still hold.
- `gate-unseen` was unseen when the rules were written and was measured once: 46 of 667 decisions
  falsely acted (6.9 %), 32 of 482 falsely skipped (6.6 %). It has since been used to mend them.
- `gate-held-out` was written after that measure and before the mending, and is only counted.
  Before the mending 13 of 281 falsely acted (4.6 %), 8 of 187 falsely skipped (4.3 %).
- `gate-paragraphs` holds rare and compound occupations, occupations in a scene with other people,
  paragraphs as language models write them, animals and chess pieces in human roles, and the syntax
  of other tools. Before the rules for them 23 of 132 falsely acted, 202 of 468 falsely skipped.
- `gate-paragraphs-held-out` holds the same, was written before those rules, and is only counted.
  Before them 9 of 74 falsely acted (12.2 %), 111 of 226 falsely skipped (49.1 %).

One subject among bystanders ("a barber shaving a customer") wants action; 15 lines of the older
suites were labelled otherwise when they were counted before.

The prompt sets are measured too: the gate should leave `no-people` alone, and the attributes that
`explicit` names; an occupation alone leaves every attribute free.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from fairgen.attributes import Attribute
from fairgen.gate import decide
from fairgen.judging.intervals import proportion_interval
from fairgen.judging.prompt_sets import (
    PROMPTS,
    ConceptPrompts,
    ThingPrompts,
    bundled_prompt_sets,
    load_prompt_set,
)

LABELLED = ("gender", "skin", "age")
SuiteName = Literal[
    "gate-suite",
    "gate-unseen",
    "gate-held-out",
    "gate-paragraphs",
    "gate-paragraphs-held-out",
]
SUITES: tuple[SuiteName, ...] = get_args(SuiteName)


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Line(_Result):
    """A prompt, its class, and the attributes on which a careful person would want action."""

    group: str
    expected: frozenset[str]
    prompt: str


class Rate(_Result):
    """How many of the attribute decisions with one label are wrong."""

    wrong: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the share; [0, 1] where there was nothing to decide."""
        return proportion_interval(self.wrong, self.total) if self.total else (0.0, 1.0)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.wrong} of {self.total} ({low:.1%} to {high:.1%})"


class Mistake(_Result):
    """A prompt on which the gate is wrong, and about which attributes."""

    prompt: str
    activated: tuple[str, ...]
    skipped: tuple[str, ...]


class Count(_Result):
    """False activations and false skips over the prompts of a class, or of a whole suite."""

    group: str
    num_prompts: int
    false_activation: Rate
    false_skip: Rate
    mistakes: tuple[Mistake, ...]


class SuiteCount(_Result):
    """A suite's counts per class, in the order of its lines, and in total."""

    suite: str
    groups: tuple[Count, ...]
    total: Count


def read_suite(name: SuiteName) -> tuple[Line, ...]:
    """Return a shipped suite's labelled lines."""
    rows = (PROMPTS / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return tuple(
        Line(group=group, expected=frozenset(expected.split(",")) - {"-"}, prompt=prompt)
        for group, expected, prompt in (row.split("\t") for row in rows)
    )


def label_prompt_set(name: str) -> tuple[Line, ...]:
    """Return a shipped prompt set as labelled lines of one class, named like the set."""
    prompt_set = load_prompt_set(name)
    labels: Iterable[tuple[str, Iterable[str]]]
    if isinstance(prompt_set, ConceptPrompts):
        labels = ((text, LABELLED) for text in prompt_set.texts)
    elif isinstance(prompt_set, ThingPrompts):
        labels = ((text, ()) for text in prompt_set.texts)
    else:
        labels = ((p.prompt, set(LABELLED) - set(p.names)) for p in prompt_set.prompts)
    return tuple(Line(group=name, expected=frozenset(free), prompt=text) for text, free in labels)


def count(group: str, lines: Sequence[Line], attributes: Sequence[Attribute]) -> Count:
    """Return what the gate gets wrong on lines, counted over their attribute decisions.

    Attributes that the labels do not speak of are not counted. Raises ValueError when no other is
    left.
    """
    measured = [attribute for attribute in attributes if attribute.name in LABELLED]
    if not measured:
        names = [attribute.name for attribute in attributes]
        raise ValueError(f"attributes: got {names}, allowed is one at least of {list(LABELLED)}")
    mistakes = []
    num_left_alone = num_free = 0
    for line in lines:
        free = decide(line.prompt, measured).free
        wanted = tuple(a.name for a in measured if a.name in line.expected)
        num_free += len(wanted)
        num_left_alone += len(measured) - len(wanted)
        if free != wanted:
            activated = tuple(name for name in free if name not in wanted)
            skipped = tuple(name for name in wanted if name not in free)
            mistakes.append(Mistake(prompt=line.prompt, activated=activated, skipped=skipped))
    return Count(
        group=group,
        num_prompts=len(lines),
        false_activation=Rate(wrong=sum(len(m.activated) for m in mistakes), total=num_left_alone),
        false_skip=Rate(wrong=sum(len(m.skipped) for m in mistakes), total=num_free),
        mistakes=tuple(mistakes),
    )


def count_suite(suite: str, lines: Sequence[Line], attributes: Sequence[Attribute]) -> SuiteCount:
    """Return the counts of lines per class and in total. Raises ValueError like `count`."""
    groups = dict.fromkeys(line.group for line in lines)
    return SuiteCount(
        suite=suite,
        groups=tuple(
            count(group, [line for line in lines if line.group == group], attributes)
            for group in groups
        ),
        total=count("all", lines, attributes),
    )


def gate_report(attributes: Sequence[Attribute]) -> tuple[SuiteCount, ...]:
    """Return the counts of every labelled suite and every shipped prompt set, in that order.

    Raises ValueError like `count`.
    """
    labelled = [(name, read_suite(name)) for name in SUITES]
    labelled_sets = [(name, label_prompt_set(name)) for name in bundled_prompt_sets()]
    return tuple(
        count_suite(name, lines, attributes) for name, lines in (*labelled, *labelled_sets)
    )
