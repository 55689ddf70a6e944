"""The prompt gate: may the indicator act on this prompt, and on which attributes?

Explicit beats implicit. In order: a prompt that shows nobody is left alone ("no people"); so is an
individual, whose identity implies every attribute ("named"), and more than one person, since one
category for a whole group would be a stereotype of its own ("several people"); of one person, an
attribute that the prompt names or negates is left alone, and the others are free. A portrait of
nothing in particular is of a person.

The rules read words and their neighbours: what is a person comes from `fairgen.gate.people` and
what is none from `fairgen.gate.things`, what names a category from the attributes.
"""

import re
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from fairgen.attributes import Attribute
from fairgen.gate import individuals, lexicon, people, phrases, things
from fairgen.gate.lexicon import ADJECTIVES, FUNCTION, ORIGINS
from fairgen.gate.phrases import Table

Reason = Literal["free", "named", "negated", "no people", "several people"]


class AttributeDecision(BaseModel):
    """Whether the indicator may act on one attribute, why, and which categories are mentioned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    act: bool
    reason: Reason
    named: tuple[str, ...] = ()


class GateDecision(BaseModel):
    """The gate's word on a prompt: the person it found, if any, and a decision per attribute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str | None
    attributes: dict[str, AttributeDecision]

    @property
    def free(self) -> tuple[str, ...]:
        """The attributes that the indicator may act on."""
        return tuple(name for name, found in self.attributes.items() if found.act)


def decide(prompt: str, attributes: Sequence[Attribute]) -> GateDecision:
    """Return what the indicator may do with a prompt: one decision per attribute."""
    reading = _Reading(prompt)
    if not reading.shown:
        return _left_alone(attributes, None, "no people")
    person = reading.text(reading.shown[0])
    if any(span.kind == "figure" for span in reading.shown):
        return _left_alone(attributes, person, "named")
    if len(reading.shown) > 1 or reading.shown[0].kind in ("people", "group"):
        return _left_alone(attributes, person, "several people")
    return GateDecision(person=person, attributes={a.name: _decide(reading, a) for a in attributes})


def _left_alone(
    attributes: Sequence[Attribute], person: str | None, reason: Reason
) -> GateDecision:
    decision = AttributeDecision(act=False, reason=reason)
    return GateDecision(person=person, attributes={a.name: decision for a in attributes})


def _decide(reading: "_Reading", attribute: Attribute) -> AttributeDecision:
    negated: dict[str, bool] = {}
    for start, end, meanings in phrases.find(reading.words, _mentions(attribute)):
        if reading.is_about_the_person(start, end):
            number = next((float(w) for w in reading.words[start:end] if w.isdecimal()), 0.0)
            _, category = min(meanings, key=lambda meaning: abs(meaning[0] - number))
            negated[category] = negated.get(category, True) and reading.is_negated(start)
    if not negated:
        return AttributeDecision(act=True, reason="free")
    reason: Reason = "negated" if all(negated.values()) else "named"
    named = tuple(name for name in attribute.names if name in negated)
    return AttributeDecision(act=False, reason=reason, named=named)


@cache
def _mentions(attribute: Attribute) -> Table[list[tuple[float, str]]]:
    """Return the categories that a phrase may mean; a number means the category nearest to it.

    A word means what it says the same as; of what one origin or skin speaks, each of them does.
    """
    table: Table[list[tuple[float, str]]] = Table()
    spoken = [(c.name, (c.word, *c.mentions)) for c in attribute.categories]
    for category, mentions in [*spoken, ("", attribute.mentions)]:
        for mention in chain.from_iterable((m, *lexicon.same().get(m, ())) for m in mentions):
            number = next((float(digits) for digits in re.findall(r"\d+", mention)), 0.0)
            for form in phrases.forms(mention)[: 1 if mention in ADJECTIVES else None]:
                table.setdefault(form, []).append((number, category))
    if not {*attribute.mentions, *(c.word for c in attribute.categories)}.isdisjoint(ORIGINS):
        for origin in ORIGINS:
            table.setdefault(phrases.forms(origin)[0], [(0.0, "")])
    if any(form[-1] == "skinned" for form in table):
        table.setdefault(("skinned",), [(0.0, "")])
    return table


_PEOPLE = ("person", "people", "group", "noun too", "pronoun", "figure", "name")
_SAID = frozenset((*lexicon.COPULAS, *lexicon.ADVERBS, *lexicon.NEGATIONS))
_LOOKS = (
    "skin",
    "skinned",
    "complexion",
    "complexioned",
    "looking",
    "descent",
    "origin",
    "heritage",
    "appearance",
)
_SUFFIX = re.compile(r"(?:ed|ing|y|ful|ous|ish|ive|al|less|ic|en|ant|ent)$")


def _is_adjective(word: str) -> bool:
    return word in ADJECTIVES or _SUFFIX.search(word) is not None


def _is_break(word: str) -> bool:
    return not word[0].isalnum()


def _is_participle(word: str) -> bool:
    return len(word) > 4 and word.endswith(("ing", "ed"))


def _is_outside(word: str) -> bool:
    """Return whether a word cannot be the noun of the phrase before it."""
    return _is_break(word) or word in FUNCTION or _is_participle(word)


class _Span(NamedTuple):
    start: int
    end: int
    kind: str


class _Reading:
    """A prompt's words, the people whom it shows, and what every word is there for.

    Roles: "person"; "absent", a person who is not in the picture; "thing", "animal", "body",
    "portrait"; "other", a phrase that only sounds like a person; "" for the rest.
    """

    def __init__(self, prompt: str) -> None:
        self.words, self.tails = phrases.read(prompt)
        self.roles = [""] * len(self.words)
        self.shown: list[_Span] = []
        spans = [_Span(*found) for found in phrases.find(self.words, lexicon.kinds())]
        for span in spans:
            self._mark(span, "" if span.kind in _PEOPLE else span.kind)
        for span in self._side_by_side([span for span in spans if span.kind in _PEOPLE]):
            if not self._ends_a_phrase(span):
                continue
            self._mark(span, "absent" if self._is_absent(span) else "person")
            if self._role(span.start) == "person" and not self._is_nobody_else(span):
                self.shown.append(span)
            if len(self.shown) > 1:
                return
        if not self.shown:
            self.shown = [span for span in spans if self._is_portrait_of_a_person(span)][:1]

    def text(self, span: _Span) -> str:
        return " ".join(self.words[span.start : span.end])

    def _word(self, index: int) -> str:
        return self.words[index] if 0 <= index < len(self.words) else "."

    def _role(self, index: int) -> str:
        return self.roles[index] if 0 <= index < len(self.words) else ""

    def _mark(self, span: _Span, role: str) -> None:
        self.roles[span.start : span.end] = [role] * (span.end - span.start)

    def _side_by_side(self, spans: Sequence[_Span]) -> list[_Span]:
        """Return spans with neighbours made one person: "woman doctor", "President Obama"."""
        merged: list[_Span] = []
        for span in spans:
            last = merged[-1] if merged else _Span(-1, -1, "")
            span = self._with_surname(span)
            if last.end != span.start or self.tails[last.end - 1] == "'":
                merged.append(span)
            elif last.kind == "figure" or (last.kind == "person" and self._has_a_verb(last)):
                merged[-1] = _Span(last.start, last.end, last.kind)
            else:
                kind = "person" if (last.kind, span.kind) == ("person", "noun too") else span.kind
                merged[-1] = _Span(last.start, span.end, kind)
        return merged

    def _with_surname(self, span: _Span) -> _Span:
        """Return a name with the word after it: "Maria Sanchez", "King Olaf", but not "a king"."""
        noun = self._word(span.end - 1)
        bare = (
            noun in individuals.SOVEREIGNS and self._word(span.start - 1) not in lexicon.DETERMINERS
        )
        following = span.end
        if not self.tails[span.end - 1] and self._is_unknown(following):
            following += 1
        if span.kind == "name" or (bare and following > span.end):
            return _Span(span.start, following, "figure")
        return span

    def _is_unknown(self, index: int) -> bool:
        word = self._word(index)
        return not (self._role(index) or (word,) in lexicon.kinds() or _is_outside(word))

    def _has_a_verb(self, span: _Span) -> bool:
        """Return whether a verb in -s follows: "a baby sleeps", since no plural has an article."""
        following = self._word(span.end)
        if not following.endswith("s") or following.endswith(("ss", "us", "is")):
            return False
        if self._before_the_phrase(span.start)[0] in ("a", "an", "1", "one", "another"):
            return True
        has_an_object = self._word(span.end + 1) in lexicon.DETERMINERS
        is_a_noun = (following,) in lexicon.kinds()
        return following[:-1] in lexicon.VERBS and (has_an_object or not is_a_noun)

    def _ends_a_phrase(self, span: _Span) -> bool:
        if span.kind != "noun too" or _is_outside(self._word(span.end)):
            return True
        return not self._role(span.end) and self._has_a_verb(span)

    def _is_absent(self, span: _Span) -> bool:
        """Return whether a word for a person only describes something else, or is elsewhere."""
        start, end, kind = span
        noun, following, tail = self._word(end - 1), self._word(end), self.tails[end - 1]
        if tail == "-" or (tail == "'" and not self._owns_a_body(end)):
            return True
        if self._role(end) in ("thing", "animal", "figurine", "other"):
            surname = noun in individuals.HONORIFICS
            if not (surname or _is_participle(following) or self._has_a_verb(span)):
                return True
        if noun not in people.KEEPERS and self._is_an_animal_or_a_toy(start):
            return True
        if self._word(start - 1) == "to" and noun in lexicon.VERBS:
            return True
        if following == "of" and (kind == "group" or "animal" in self.roles[end : end + 5]):
            return noun not in people.KEEPERS
        determiner, at = self._before_the_phrase(start)
        of_an_animal = kind == "pronoun" or determiner in ("its", "his", "her", "their")
        if of_an_animal and not self.shown and "animal" in self.roles:
            return noun not in people.KEEPERS
        lead, before = self._word(at), self._word(at - 1)
        if kind == "figure":
            credited = "by" in self.words[max(0, start - 20) : start]
            return credited or (lead == "of" and self._is_owned(at))
        if lead == "by":
            return noun in people.MAKERS
        if lead == "for":
            return noun in people.MAKERS or not before.endswith("ing")
        if lead == "of":
            return self._is_owned(at) or any(other.end == at for other in self.shown)
        return lead == "than" or (lead in lexicon.LIKENESSES and not self.shown)

    def _is_an_animal_or_a_toy(self, start: int) -> bool:
        """Return whether the phrase begins with one: "cat astronaut", "panda mad scientist"."""
        for index in range(start - 1, max(-1, start - 4), -1):
            if self._role(index) or self._limits_a_phrase(index) or self.tails[index]:
                return self._role(index) in ("animal", "figurine") and self.tails[index] != "'"
        return False

    def _is_owned(self, of: int) -> bool:
        """Return whether "of" follows what a person has or had: "hat of", "style of"."""
        before = self._word(of - 1)
        if self._role(of - 1) in ("thing", "figurine"):
            return before not in things.DEPICTIONS
        return before in things.BELONGINGS

    def _is_nobody_else(self, span: _Span) -> bool:
        """Return whether a word for a person is about somebody already found, or about nobody."""
        determiner, at = self._before_the_phrase(span.start)
        lead = self._word(at)
        if lead in lexicon.NEGATIONS:
            return True
        if span.kind == "figure" or not self.shown:
            return False
        if span.kind == "pronoun" or lead in lexicon.LIKENESSES:
            return True
        if lead in lexicon.COPULAS and self._word(at - 1) != "there":
            return True
        definite = determiner in ("", "the", "this", "that")
        if _is_break(lead) and (definite or self.shown[-1].end == at):
            return any(self._may_be_one(other, span) for other in self.shown)
        return determiner == "the" and any(self.text(o) == self.text(span) for o in self.shown)

    def _may_be_one(self, one: _Span, other: _Span) -> bool:
        nouns = {self._word(one.end - 1), self._word(other.end - 1)}
        generic = len(nouns.intersection(people.GENERIC))
        return len(nouns) == 1 or generic == 1 or bool(nouns.intersection(people.NEUTRAL))

    def _owns_a_body(self, end: int) -> bool:
        for index in range(end, end + 3):
            if self._role(index) in ("body", "portrait"):
                return True
            if self._word(index) in FUNCTION or _is_break(self._word(index)):
                return False
        return False

    def _before_the_phrase(self, start: int) -> tuple[str, int]:
        """Return the determiner of a noun phrase, and the index before the phrase."""
        at = start - 1
        while at >= max(0, start - 6) and not self._limits_a_phrase(at):
            at -= 1
        determiner = self._word(at)
        return (determiner, at - 1) if determiner in lexicon.DETERMINERS else ("", at)

    def _limits_a_phrase(self, index: int) -> bool:
        word = self._word(index)
        return self.tails[index] != "-" and (word in FUNCTION or _is_break(word))

    def _is_portrait_of_a_person(self, span: _Span) -> bool:
        if span.kind != "portrait" or "animal" in self.roles or "other" in self.roles:
            return False
        return self._role(span.end) != "thing" and "of" not in self.words[span.end : span.end + 3]

    def is_negated(self, start: int) -> bool:
        """Return whether a negation stands before a word, in the same clause."""
        for word in reversed(self.words[max(0, start - 5) : start]):
            if word in ("but", "with") or _is_break(word):
                return False
            if word in lexicon.NEGATIONS:
                return True
        return False

    def is_about_the_person(self, start: int, end: int) -> bool:
        """Return whether a mention is of the person; some adjectives must stand beside it."""
        if not {"absent", "other"}.isdisjoint(self.roles[start:end]):
            return False
        if self._role(end) == "animal" and self._role(start) != "person":
            return False
        last = next(w for w in reversed(self.words[start:end]) if not w.isdecimal())
        if last not in ADJECTIVES or self._word(end) in _LOOKS:
            return True
        if self.tails[end - 1] == "-":
            return False
        return self._stands_before_the_person(end) or self._stands_after_the_person(start, end)

    def _stands_before_the_person(self, end: int) -> bool:
        """Return whether only adjectives come between an adjective and the person."""
        for index in range(end, end + 8):
            word = self._word(index)
            if self._role(index) or (word == "one" and index == end):
                return self._role(index) in ("person", "")
            if word in (",", "and", "but"):
                if index > end and not _is_adjective(self._word(index - 1)):
                    return False
            elif word in FUNCTION or _is_break(word):
                return False
        return False

    def _stands_after_the_person(self, start: int, end: int) -> bool:
        """Return whether an adjective is said of the person: "is old", ", old," or "aged 70"."""
        word, following = self._word(end - 1), self._word(end)
        if not _is_outside(following):
            return False
        subject = start - 1
        while subject > start - 8 and self._may_come_between(subject):
            subject -= 1
        between = self.words[max(0, subject + 1) : start]
        if not set(between).isdisjoint(lexicon.COPULAS):
            return self._is_subject(subject)
        if self._role(subject) == "person":
            if word in lexicon.TONES or (word in lexicon.COLOURS and "," not in between):
                return False
            return following != "and" or "thing" not in self.roles[end : end + 4]
        alone = (_is_break(self._word(subject)) or "," in between) and _is_break(following)
        return alone and word not in lexicon.TONES and word not in lexicon.COLOURS

    def _may_come_between(self, index: int) -> bool:
        word = self._word(index)
        if self._role(index) or word in lexicon.PREPOSITIONS:
            return False
        return (
            word in (",", "and", "or", "who", "that", "does")
            or word in _SAID
            or _is_adjective(word)
        )

    def _is_subject(self, index: int) -> bool:
        """Return whether a verb after an index is of the person: "the doctor in the picture is"."""
        if self._word(index) in _LOOKS or self._role(index) == "person":
            return True
        for at in range(index, max(-1, index - 6), -1):
            if self._role(at) == "person":
                return self._word(at + 1) in lexicon.PREPOSITIONS
            if _is_break(self._word(at)) or self._word(at) in ("that", "which", "where", "whose"):
                return False
        return False
