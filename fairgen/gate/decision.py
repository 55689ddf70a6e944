"""The prompt gate: may the indicator act on this prompt, and on which attributes?

Explicit beats implicit. In order: a prompt that shows nobody is left alone ("no people"); so is an
individual, whose identity implies every attribute ("named"), and more than one person, since one
category for a whole group would be a stereotype of its own ("several people"); of one person, an
attribute that the prompt names or negates is left alone, and the others are free. A portrait of
nothing in particular is of a person.

The rules read words and their neighbours: `fairgen.gate.presence` says whom a prompt shows,
`fairgen.gate.mentions` what it names.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fairgen.attributes import Attribute
from fairgen.gate.identification import language_name
from fairgen.gate.lexicon import Kind
from fairgen.gate.mentions import named_categories
from fairgen.gate.multilingual import (
    Scene,
    categories_said,
    is_masculine_form,
    scene_beside_english,
)
from fairgen.gate.presence import read_people
from fairgen.gate.reading import Reading

Reason = Literal[
    "free", "masculine form", "named", "negated", "no people", "several people", "language"
]


_WHY: dict[Reason, str] = {
    "free": "the prompt leaves it open",
    "masculine form": "the prompt leaves it open: its language says the masculine form of anybody",
    "named": "the prompt names it ({named})",
    "negated": "the prompt says what it is not ({named})",
    "no people": "the prompt names no person",
    "several people": "the prompt is about several people",
    "language": "the gate does not read the prompt's language ({language})",
}


class AttributeDecision(BaseModel):
    """Whether the indicator may act on one attribute, why, and which categories are mentioned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    act: bool
    reason: Reason
    named: tuple[str, ...] = ()


class GateDecision(BaseModel):
    """The gate's word on a prompt: the person it found, if any, a decision per attribute, and the
    language in which it read the prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str | None
    attributes: dict[str, AttributeDecision]
    language: str = "en"

    @property
    def free(self) -> tuple[str, ...]:
        """The attributes that the indicator may act on."""
        return tuple(name for name, decision in self.attributes.items() if decision.act)

    def why(self, attribute: str) -> str:
        """Return why an attribute is left alone, or acted on, in a few words."""
        decision = self.attributes[attribute]
        named = ", ".join(decision.named) or self.person
        return _WHY[decision.reason].format(named=named, language=language_name(self.language))


def decide(prompt: str, attributes: Sequence[Attribute]) -> GateDecision:
    """Return what the indicator may do with a prompt: one decision per attribute."""
    scene = scene_beside_english(prompt)
    if scene is not None:
        return _decide_scene(scene, attributes)
    reading = read_people(prompt)
    if not reading.shown:
        return _left_alone(attributes, None, "no people")
    person = reading.text(reading.shown[0])
    if any(span.kind == Kind.INDIVIDUAL for span in reading.shown):
        return _left_alone(attributes, person, "named")
    if len(reading.shown) > 1 or reading.shown[0].kind in (Kind.PEOPLE, Kind.GROUP):
        return _left_alone(attributes, person, "several people")
    return GateDecision(person=person, attributes={a.name: _decide(reading, a) for a in attributes})


def _decide_scene(scene: Scene, attributes: Sequence[Attribute]) -> GateDecision:
    """Return the decision on a prompt of another language."""
    decisions = {}
    for attribute in attributes:
        denied = categories_said(scene, attribute)
        reason: Reason = "negated" if denied and all(denied.values()) else "named"
        if not denied:
            reason = "masculine form" if is_masculine_form(scene, attribute) else "free"
        decisions[attribute.name] = AttributeDecision(
            act=not (denied or scene.reason),
            reason=scene.reason or reason,
            named=() if scene.reason else tuple(n for n in attribute.names if n in denied),
        )
    return GateDecision(person=scene.person, attributes=decisions, language=scene.language)


def _left_alone(
    attributes: Sequence[Attribute], person: str | None, reason: Reason
) -> GateDecision:
    decision = AttributeDecision(act=False, reason=reason)
    return GateDecision(person=person, attributes={a.name: decision for a in attributes})


def _decide(reading: Reading, attribute: Attribute) -> AttributeDecision:
    denied = named_categories(reading, attribute)
    if not denied:
        return AttributeDecision(act=True, reason="free")
    return AttributeDecision(
        act=False,
        reason="negated" if all(denied.values()) else "named",
        named=tuple(name for name in attribute.names if name in denied),
    )
