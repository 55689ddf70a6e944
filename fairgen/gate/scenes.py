"""Whom a prompt of another language shows, and what it says of that person in English words.

A form that the language uses for everybody, such as "el médico", says "masculine form" of the
person; only a recipe that mentions these words takes it for a man.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from fairgen.gate import phrases
from fairgen.gate.languages import ANY_GENDER, MASCULINE_FORM, Entry, Number, Part, language, plain
from fairgen.gate.lexicon import english
from fairgen.gate.sentences import BESIDE_NOUNS, NOUNS, Phrase, Sentence

_GENDER_WORDS = frozenset(
    ("woman", "man", "female", "male", "feminine", "masculine", MASCULINE_FORM)
)
_KIN = frozenset(
    ("daughter", "son", "wife", "husband", "mother", "father", "sister", "brother", "widow")
)


@dataclass(frozen=True)
class Saying:
    """What a prompt says of its person, as one English word, and whether it denies it."""

    english: str
    denied: bool = False
    number: float = 0.0


@dataclass
class Scene:
    """Whom a prompt shows: the person, or why no single one is left to decide about."""

    person: str | None
    reason: Literal["", "named", "no people", "several people", "language"]
    language: str
    sayings: list[Saying] = field(default_factory=list)


@dataclass
class Person:
    """A person who is shown: the nouns that speak of it, by their indices, and what they say."""

    nouns: list[int]
    entry: Entry
    several: bool
    sayings: list[Saying] = field(default_factory=list)


def read_scene(prompt: str, code: str) -> Scene:
    """Return whom a prompt of a language shows; the reason is "" where it shows one person."""
    sentence = Sentence(prompt, language(code))
    shown = people(sentence)
    if not shown:
        return Scene(None, "named" if names_somebody(sentence) else "no people", code)
    noun = shown[0].entry.noun
    if names_somebody(sentence):
        return Scene(noun, "named", code)
    if len(shown) > 1 or shown[0].several:
        return Scene(noun, "several people", code)
    return Scene(noun, "", code, [*shown[0].sayings, *sayings(sentence, shown[0])])


def names_somebody(sentence: Sentence) -> bool:
    """Return whether the prompt is about somebody whom everybody knows by name."""
    for index, phrase in enumerate(sentence.phrases):
        if phrase.part == Part.INDIVIDUAL and not sentence.at(index + 1).has(Part.STYLE):
            return not sentence.is_credited(index)
    if sentence.by_character:
        return False
    known = [bool(phrase.entries) for phrase in sentence.phrases for _ in phrase.words]
    words = [plain(word) for phrase in sentence.phrases for word in phrase.words]
    for start, end, is_whole in phrases.find(words, _names()):
        credited = any(sentence.at(i).has(Part.CREDIT) for i in range(max(0, start - 3), start))
        surname = words[end : end + 1]
        follows = is_whole or (surname and surname[0].isalpha() and not known[end])
        if follows and not all(known[start:end]) and not credited:
            return True
    return False


def people(sentence: Sentence) -> list[Person]:
    """Return the people who are shown: at most two, since two are several."""
    shown: list[Person] = []
    denied: list[Saying] = []
    for index, phrase in enumerate(sentence.phrases):
        if phrase.part == Part.GROUP and not _is_absent(sentence, index):
            return [Person([index], phrase.entries[0], several=True)]
        if phrase.part != Part.PERSON or _is_absent(sentence, index):
            continue
        person = _person(sentence, index)
        if shown and _is_the_same(sentence, shown[-1], person):
            _add(sentence, shown[-1], person)
        elif sentence.is_denied(index):
            denied += [replace(saying, denied=True) for saying in person.sayings]
        else:
            shown.append(person)
        if len(shown) > 1:
            return shown
    for person in shown:
        person.sayings.extend(denied)
    return shown or _portrait(sentence)


def _add(sentence: Sentence, one: Person, other: Person) -> None:
    """Add what another noun says of a person."""
    beside = other.nouns[0] == one.nouns[-1] + 1
    if beside and sentence.language.has_gender:  # "persona maga" and "obdachlose Person" only agree
        if _is_neutral(one.entry) and not other.entry.generic:
            other.sayings = _without_gender(other.sayings)
        elif _is_neutral(other.entry) and not one.entry.generic:
            one.sayings = _without_gender(one.sayings)
    one.sayings += other.sayings
    if one.entry.generic and not other.entry.generic:
        one.entry = other.entry
    if _leaves_the_choice(sentence, one.nouns[-1], other.nouns[0]):
        one.sayings = _without_gender(one.sayings)
    one.nouns += other.nouns


def _is_neutral(entry: Entry) -> bool:
    return entry.generic and not entry.english


def _portrait(sentence: Sentence) -> list[Person]:
    if any(phrase.part in (Part.ANIMAL, Part.OTHER, Part.THING) for phrase in sentence.phrases):
        return []
    for index, phrase in enumerate(sentence.phrases):
        if phrase.part == Part.PORTRAIT and not sentence.at(index + 1).has(Part.GENITIVE):
            entry = next(e for e in phrase.entries if e.part == Part.PORTRAIT)
            before = sentence.at(index - 1)
            if not (sentence.by_character and before.has(Part.GENITIVE)):
                return [Person([index], entry, several=False)]
    return []


def _person(sentence: Sentence, index: int) -> Person:
    """Return a person with what the noun and its article say."""
    entries = [e for e in sentence.phrases[index].entries if e.part == Part.PERSON]
    article = sentence.article(index)
    numbers = _numbers(article, entries)
    entry = min(entries, key=lambda e: numbers.index(e.number) if e.number in numbers else 9)
    several = entry.number == Number.SEVERAL or Number.SEVERAL in numbers[:1]
    words = list(entry.english)
    if entry.common and sentence.language.has_gender:
        feminine = article is not None and article.has(Part.FEMININE)
        beside = (*sentence.adjectives_before(index), *sentence.adjectives_after(index + 1))
        feminine |= any(
            e.feminine and e.part == Part.ADJECTIVE and len(p.entries) == 1
            for p in beside
            for e in p.entries
        )
        if feminine:
            words.append("woman")
        elif article is not None:
            words.append(MASCULINE_FORM)
    end = index + 1
    follows = (sentence.at(end), sentence.at(end + 1))
    if any(p.words == (ANY_GENDER,) or p.has(Part.ALL_GENDERS) for p in follows):
        words = [word for word in words if word not in _GENDER_WORDS]
    if sentence.at(end).has(Part.PLURAL_SUFFIX):
        several = True
    return Person([index], entry, several, [Saying(word) for word in words])


def _numbers(article: Phrase | None, entries: Sequence[Entry]) -> tuple[Number, ...]:
    """Return how many a noun may speak of behind an article, the likeliest first."""
    if article is None:
        return (Number.ONE, Number.SEVERAL, Number.OBLIQUE)
    if article.has(Part.PLURAL) and article.number != 1:
        return (Number.SEVERAL,)
    if article.has(Part.EITHER):
        is_a_woman = any("woman" in e.english and e.number == Number.ONE for e in entries)
        common = any(e.common or e.generic for e in entries)
        is_one = any(e.number == Number.ONE for e in entries)
        if not is_a_woman and not (common and is_one):
            return (Number.SEVERAL,)
    return (Number.ONE, Number.OBLIQUE, Number.SEVERAL)


def _is_absent(sentence: Sentence, index: int) -> bool:
    start = sentence.start(index)
    before = sentence.at(start - 1)
    if sentence.is_credited(index):
        return True
    if sentence.at(index - 1).part == Part.ANIMAL or _describes(sentence, index):
        return True
    dressed = before.has(Part.LIKENESS) or sentence.at(index + 1).has(Part.LIKENESS)
    if dressed and sentence.has_animals and not _person_before(sentence, start):
        return True
    if sentence.phrases[index].part == Part.GROUP:
        following = sentence.phrases[index + 1 : index + 4]
        genitive = sentence.at(index + 1).has(Part.GENITIVE)
        if genitive and any(p.part in (Part.ANIMAL, Part.THING) for p in following):
            return True
        if sentence.at(index + 1).part in (Part.ANIMAL, Part.THING):
            return True
        head = sentence.head(start - 1) if before.has(Part.GENITIVE) else None
        if head is not None and head.part in (Part.PERSON, Part.THING):
            return True  # "medico di famiglia"
        return sentence.is_denied(index)
    if sentence.by_character:
        return False
    generic = any(entry.generic for entry in sentence.phrases[index].entries)
    if sentence.at(index - 1).part == Part.THING and sentence.language.code != "de":
        return not generic  # "cuisine professionnelle"
    owns = before.has(Part.GENITIVE) or (
        sentence.language.code == "de"
        and any(p.has(Part.GENITIVE) for p in sentence.phrases[start:index])
    )
    if owns or before.has(Part.PURPOSE):
        head = sentence.head(start - 1 if before.has(Part.GENITIVE, Part.PURPOSE) else start)
        if head is not None and head.part in (Part.THING, Part.ANIMAL):
            return True
        if head is not None and head.part == Part.PERSON and not before.has(Part.PURPOSE):
            return True
    return False


def _person_before(sentence: Sentence, index: int) -> bool:
    return any(phrase.part == Part.PERSON for phrase in sentence.phrases[:index])


def _describes(sentence: Sentence, index: int) -> bool:
    """Return whether a Chinese or Japanese noun only describes the next: "医生的帽子"."""
    if not sentence.by_character:
        return False
    following = sentence.at(index + 1)
    if following.part in (Part.THING, Part.ANIMAL, Part.OTHER):
        return True
    if not following.has(Part.GENITIVE):
        return False
    for phrase in sentence.phrases[index + 2 : index + 5]:
        if phrase.part == Part.PERSON:
            said = {word for entry in phrase.entries for word in entry.english}
            return not _KIN.isdisjoint(said)
        if phrase.part in NOUNS or phrase.is_break:
            return phrase.part in (Part.THING, Part.ANIMAL, Part.OTHER)
        if phrase.has(Part.PREPOSITION, Part.GENITIVE):
            return False
    return False


def _leaves_the_choice(sentence: Sentence, start: int, end: int) -> bool:
    between = sentence.phrases[start:end]
    return any(p.has(Part.ALTERNATIVE) or p.words == ("/",) for p in between)


def _is_the_same(sentence: Sentence, one: Person, other: Person) -> bool:
    index = other.nouns[0]
    between = sentence.phrases[one.nouns[-1] + 1 : index]
    if one.several or other.several or sentence.is_denied(index):
        return False
    generic = one.entry.generic != other.entry.generic
    alike = one.entry.noun == other.entry.noun
    if _leaves_the_choice(sentence, one.nouns[-1], index):
        return True
    if any(phrase.has(Part.LIKENESS) for phrase in between):
        return True
    adjoining = all(
        phrase.has(*BESIDE_NOUNS) or (sentence.by_character and phrase.has(Part.GENITIVE))
        for phrase in between
    )
    if adjoining:
        return True
    if any(p.has(Part.COPULA) for p in between) and not any(p.is_break for p in between):
        return True
    breaks = [i for i, phrase in enumerate(between) if phrase.is_break]
    clause = between[breaks[-1] if breaks else 0 :]
    if alike and not any(phrase.has(Part.CONNECTIVE) for phrase in clause):
        return True
    ends_a_phrase = (Part.DETERMINER, Part.PREPOSITION, Part.CONNECTIVE, Part.PLURAL)
    bare = not any(
        p.is_break or (p.has(*ends_a_phrase) and not p.has(Part.GENITIVE)) for p in between
    )
    if bare and other.entry.generic and not sentence.at(index - 1).has(Part.GENITIVE):
        return not sentence.by_character and _KIN.isdisjoint(other.entry.english)
    joined = [
        p
        for p in between
        if p.is_break or (p.entries and not p.has(Part.DETERMINER, *BESIDE_NOUNS))
    ]
    return generic and len(joined) == 1 and joined[0].is_break


def sayings(sentence: Sentence, person: Person) -> Iterator[Saying]:
    """Yield what adjectives beside the person and features anywhere say."""
    beside: list[Phrase] = []
    for noun in person.nouns:
        beside += [*sentence.adjectives_before(noun), *sentence.adjectives_after(noun + 1)]
    for index, phrase in enumerate(sentence.phrases):
        part = Part.ADJECTIVE if any(phrase is one for one in beside) else Part.FEATURE
        for entry in phrase.entries:
            if entry.part == part:
                denied = sentence.is_denied(index)
                yield from (Saying(word, denied, phrase.number) for word in entry.english)


def _without_gender(sayings: Sequence[Saying]) -> list[Saying]:
    return [saying for saying in sayings if saying.english not in _GENDER_WORDS]


@cache
def _names() -> phrases.Table[bool]:
    """Return the names of persons whom everybody knows, and given names, which need another."""
    table: phrases.Table[bool] = phrases.Table()
    table.update((phrases.forms(name)[0], False) for name in english().given_names)
    table.update((phrases.forms(name)[0], True) for name in english().individuals)
    return table
