"""The prompt gate: may the indicator act on this prompt, and on which attributes?

Explicit beats implicit. In order: a prompt that shows nobody is left alone ("no people"); so is an
individual, whose identity implies every attribute ("named"), and more than one subject, since one
category for a whole group would be a stereotype of its own ("several people"); of one subject, an
attribute that the prompt names or negates is left alone, and the others are free, whoever stands
around. So is what the negative prompt names: guidance would draw its opposite, whatever an adapter
says ("negative prompt"). A portrait of nothing in particular is of a person.

The rules read words and their neighbours: `fairgen.gate.presence` says whom a prompt shows,
`fairgen.gate.subjects` who of them is its subject, `fairgen.gate.mentions` what it names. What is
not English `fairgen.gate.multilingual` reads, or says that it cannot ("language").
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fairgen.attributes import Attribute
from fairgen.gate.identification import language_name
from fairgen.gate.lexicon import Kind, english
from fairgen.gate.mentions import named_categories, undesired_categories
from fairgen.gate.multilingual import (
    Scene,
    categories_said,
    is_masculine_form,
    named_in,
    scene_beside_english,
)
from fairgen.gate.presence import read_people
from fairgen.gate.reading import Reading, Span

Reason = Literal[
    "free", "masculine form", "named", "negated", "no people", "several people", "negative prompt",
    "language",
]  # fmt: skip


_WHY: dict[Reason, str] = {
    "free": "the prompt leaves it open",
    "masculine form": "the prompt leaves it open: its language says the masculine form of anybody",
    "named": "the prompt names it ({named})",
    "negated": "the prompt says what it is not ({named})",
    "no people": "the prompt names no person",
    "several people": "the prompt is about several people",
    "negative prompt": "the negative prompt names it ({named})",
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
        is_individual = all(d.reason == "named" and not d.named for d in self.attributes.values())
        named = ", ".join(decision.named) or (self.person if is_individual else attribute)
        return _WHY[decision.reason].format(named=named, language=language_name(self.language))


Gate = Callable[[str, Sequence[Attribute], str | None], GateDecision]


def decide(
    prompt: str, attributes: Sequence[Attribute], negative_prompt: str | None = None
) -> GateDecision:
    """Return what the indicator may do with a prompt: one decision per attribute.

    An attribute that the negative prompt names is left alone.
    """
    scene = scene_beside_english(prompt)
    if scene is not None:
        return _decide_scene(scene, attributes, negative_prompt or "")
    reading = read_people(prompt)
    if not reading.shown:
        return _left_alone(attributes, None, "no people")
    person = _name(reading, reading.shown[0])
    if any(span.kind == Kind.INDIVIDUAL for span in reading.shown):
        return _left_alone(attributes, person, "named")
    if len(reading.shown) > 1 or reading.shown[0].kind in (Kind.PEOPLE, Kind.GROUP):
        return _left_alone(attributes, person, "several people")
    undesired = read_people(negative_prompt or "")
    decisions = {
        a.name: _decide(a, named_categories(reading, a), undesired_categories(undesired, a))
        for a in attributes
    }
    return GateDecision(person=person, attributes=decisions)


def decide_together(
    gate: Gate, texts: Sequence[str], attributes: Sequence[Attribute], negative_prompt: str | None
) -> GateDecision:
    """Return a gate's word on one or more texts that are read for one picture, each by an encoder
    of its own: one decision per attribute.

    A text that shows nobody says more of the people of the others. An attribute is acted on where
    a text leaves it open and none says otherwise.
    """
    alone = {text: gate(text, attributes, negative_prompt) for text in texts}
    things = [text for text, word in alone.items() if _shows_nobody(word)]
    if len(alone) == 1 or len(things) == len(alone):
        return alone[texts[0]]
    words = [
        gate(", ".join((text, *things)), attributes, negative_prompt) if things else word
        for text, word in alone.items()
        if text not in things
    ]
    return words[0].model_copy(
        update={
            "attributes": {
                a.name: min((w.attributes[a.name] for w in words), key=lambda found: found.act)
                for a in attributes
            }
        }
    )


def _shows_nobody(word: GateDecision) -> bool:
    return all(found.reason == "no people" for found in word.attributes.values())


def _name(reading: Reading, span: Span) -> str:
    """Return what a person is called, without a gender or an age before it: "doctor"."""
    words = reading.words[span.start : span.end]
    if span.kind in (Kind.PERSON, Kind.NOUN_TOO):
        while len(words) > 1 and words[0] in english().generic | english().ages:
            words = words[1:]
    return " ".join(words)


def _decide_scene(
    scene: Scene, attributes: Sequence[Attribute], negative_prompt: str
) -> GateDecision:
    """Return the decision on a prompt of another language; its negative prompt may be English."""
    undesired = read_people(negative_prompt)
    in_its_own = named_in(negative_prompt, scene.language, attributes) if negative_prompt else {}
    decisions = {}
    for attribute in attributes:
        if scene.reason:
            decisions[attribute.name] = AttributeDecision(act=False, reason=scene.reason)
            continue
        decisions[attribute.name] = _decide(
            attribute,
            categories_said(scene, attribute),
            in_its_own.get(attribute.name) or undesired_categories(undesired, attribute),
            "masculine form" if is_masculine_form(scene, attribute) else "free",
        )
    return GateDecision(person=scene.person, attributes=decisions, language=scene.language)


def _left_alone(
    attributes: Sequence[Attribute], person: str | None, reason: Reason
) -> GateDecision:
    decision = AttributeDecision(act=False, reason=reason)
    return GateDecision(person=person, attributes={a.name: decision for a in attributes})


def _decide(
    attribute: Attribute,
    denied: Mapping[str, bool],
    undesired: tuple[str, ...] | None,
    reason: Reason = "free",
) -> AttributeDecision:
    """Return the decision on an attribute by the categories that a prompt names, and whether each
    is denied, and those that its negative prompt names; `reason` is that of acting.
    """
    if denied:
        return AttributeDecision(
            act=False,
            reason="negated" if all(denied.values()) else "named",
            named=tuple(name for name in attribute.names if name in denied),
        )
    if undesired is not None:
        return AttributeDecision(act=False, reason="negative prompt", named=undesired)
    return AttributeDecision(act=True, reason=reason)
