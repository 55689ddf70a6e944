"""A prompt of another language as the gate reads it: its phrases, and what each is there for.

The reading is one for all languages of `fairgen.gate.languages`: it knows what a phrase may be, and
looks at the phrases around it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from fairgen.gate import phrases
from fairgen.gate.languages import CHARACTERS, Entry, Language, Part, spelt_for_one

_PHRASE_WINDOW = 6  # phrases from a noun back to its article, or to what it belongs to
_NEGATION_WINDOW = 3  # phrases from a negation to what it denies
_ROLES = (
    Part.OTHER, Part.INDIVIDUAL, Part.PERSON, Part.GROUP, Part.ANIMAL, Part.THING, Part.BODY,
    Part.PORTRAIT, Part.DEPICTION, Part.ADJECTIVE, Part.FEATURE,
)  # fmt: skip
NOUNS = frozenset((*_ROLES[:9], Part.CREDIT))
_GRAMMAR = (
    Part.DETERMINER, Part.GENITIVE, Part.PREPOSITION, Part.CONNECTIVE, Part.NEGATION, Part.COPULA,
)  # fmt: skip
BESIDE_NOUNS = (Part.ADJECTIVE, Part.ADVERB, Part.FEATURE, Part.ALL_GENDERS)
_BEFORE_NOUNS = (
    Part.DETERMINER, Part.PLURAL, Part.GENITIVE, Part.ADJECTIVE, Part.DEPICTION, Part.NEGATION,
)  # fmt: skip
_PARTICIPLES = (
    "ado", "ada", "ido", "ida", "ndo", "ato", "ata", "uto", "uta", "nte", "é", "ée", "ant", "is",
    "ise",
)  # fmt: skip


@dataclass
class Phrase:
    """A phrase of a prompt, or a word that no list has, and what it is there for."""

    words: tuple[str, ...]
    entries: tuple[Entry, ...] = ()
    part: Part | None = None
    entry: Entry | None = None
    number: float = 0.0

    def has(self, *parts: Part) -> bool:
        return any(entry.part in parts for entry in self.entries)

    @property
    def may_stand_before_a_noun(self) -> bool:
        """Return whether a noun may follow; at a comma as well."""
        return self.is_break or self.has(*_BEFORE_NOUNS)

    @property
    def is_break(self) -> bool:
        return not self.entries and not self.words[0][0].isalnum()


class Sentence:
    """The phrases of a prompt, each with the part that it plays."""

    def __init__(self, prompt: str, words_of: Language) -> None:
        self.language = words_of
        self.by_character = words_of.code in CHARACTERS
        self.phrases: list[Phrase] = list(self._split(prompt))
        self._find_agents()
        for index, phrase in enumerate(self.phrases):
            phrase.part = self._part(index)
        self.has_animals = any(phrase.part == Part.ANIMAL for phrase in self.phrases)

    def _split(self, prompt: str) -> Iterator[Phrase]:
        words = self.language.words(spelt_for_one(prompt, self.language))
        index = 0
        for start, end, entries in phrases.find(words, self.language.table):
            yield from (Phrase((word,)) for word in words[index:start])
            found = tuple(words[start:end])
            number = next((float(word) for word in found if word.isdecimal()), 0.0)
            yield Phrase(found, entries, number=number)
            index = end
        yield from (Phrase((word,)) for word in words[index:])

    def at(self, index: int) -> Phrase:
        """Return the phrase at an index; outside the prompt there is a full stop."""
        return self.phrases[index] if 0 <= index < len(self.phrases) else Phrase((".",))

    def _find_agents(self) -> None:
        """Make persons of words that no list has and that end like one."""
        if self.by_character:
            self.phrases = list(self._joined())
            return
        for index, phrase in enumerate(self.phrases):
            before = self.at(index - 1)
            if phrase.entries or phrase.is_break:
                continue
            if self.language.code == "de" or before.may_stand_before_a_noun:
                agent = self.language.agent(phrase.words[0])
                phrase.entries = (agent,) if agent else ()

    def _joined(self) -> Iterator[Phrase]:
        """Yield phrases with unknown characters joined to the ending of a person behind them."""
        unknown: list[Phrase] = []
        for phrase in self.phrases:
            word = "".join(phrase.words)
            if not phrase.entries and not phrase.is_break and not word.isdecimal():
                ends = [e for e in _longest(self.language.listed("agentives")) if word.endswith(e)]
                if ends and len(word) > len(ends[0]):
                    phrase.entries = (Entry(Part.PERSON, word),)
                unknown.append(phrase)
                continue
            if phrase.has(Part.AGENTIVE) and not phrase.has(Part.PERSON) and unknown:
                noun = "".join(chain.from_iterable(p.words for p in (*unknown[-3:], phrase)))
                yield from unknown[:-3]
                yield Phrase((noun,), (Entry(Part.PERSON, noun),))
            else:
                yield from unknown
                yield phrase
            unknown = []
        yield from unknown

    def _part(self, index: int) -> Part | None:
        """Return what a phrase is there for; an adjective that may be a noun is one alone."""
        phrase = self.phrases[index]
        if self._is_inside_a_word(index):
            return None
        if phrase.has(Part.PERSON, Part.GROUP) and phrase.has(Part.ADJECTIVE):
            if self._stands_for_an_adjective(index):
                return Part.ADJECTIVE
        elif phrase.has(Part.PERSON) and phrase.has(*_GRAMMAR):
            return None
        elif phrase.has(Part.PERSON) and phrase.has(Part.THING):
            before = self.at(index - 1)
            if not (before.has(Part.DETERMINER) and before.words[0].startswith("un")):
                return Part.THING
        return next((part for part in _ROLES if phrase.has(part)), None)

    def _is_inside_a_word(self, index: int) -> bool:
        """Return whether a Chinese character stands beside another that no list has."""
        phrase = self.phrases[index]
        if not self.by_character or len("".join(phrase.words)) > 1 or phrase.has(Part.ADJECTIVE):
            return False
        beside = (self.at(index - 1), self.at(index + 1))
        return any(not one.entries and _is_chinese(one.words[0]) for one in beside)

    def _stands_for_an_adjective(self, index: int) -> bool:
        """Return whether a word that may be a noun, such as "viejo", stands beside another."""
        for step in (-1, 1):
            beside = index + step
            while self.at(beside).has(Part.ADVERB, Part.ADJECTIVE) and not self.at(beside).has(
                Part.PERSON
            ):
                beside += step
            if self.at(beside).has(Part.PERSON) and not self.at(beside).has(Part.ADJECTIVE):
                return True
        if self.by_character:
            return False
        before, following = self.at(index - 1), self.at(index + 1)
        for phrase in self.phrases[index + 1 : index + 1 + _NEGATION_WINDOW]:
            if phrase.has(Part.PERSON) and not phrase.has(Part.ADJECTIVE):
                return True
            if phrase.entries and not phrase.has(*BESIDE_NOUNS):
                break
        if following.part is None and following.has(*NOUNS):
            return True
        if not following.entries and not following.is_break:
            return not following.words[0].endswith(_PARTICIPLES)
        is_first = before.is_break or before.has(Part.GENITIVE, Part.DEPICTION)
        return not is_first and not before.has(Part.DETERMINER, Part.PLURAL, Part.ADJECTIVE)

    def article(self, index: int) -> Phrase | None:
        """Return the article or number before a person."""
        for before in range(index - 1, max(-1, index - 1 - _PHRASE_WINDOW), -1):
            phrase = self.phrases[before]
            is_another_noun = phrase.has(Part.GENITIVE) and not self.phrases[before + 1].entries
            if phrase.has(Part.PLURAL, Part.DETERMINER):
                return None if is_another_noun and self.language.code != "de" else phrase
            if len(phrase.words) == 1 and phrase.words[0].isdecimal() and phrase.words[0] != "1":
                return Phrase(phrase.words, (Entry(Part.PLURAL),), number=2.0)
            if phrase.is_break or phrase.has(Part.COPULA, Part.LIKENESS):
                return None
            stops = phrase.has(Part.PREPOSITION, Part.GENITIVE, Part.CONNECTIVE)
            if not self.by_character and (stops or phrase.part in NOUNS):
                return None
            if self.by_character and phrase.part in (Part.PERSON, Part.ANIMAL):
                return None
        return None

    def start(self, index: int) -> int:
        """Return the index of the first word of a noun's phrase."""
        while self.at(index - 1).has(Part.DETERMINER, Part.PLURAL, *BESIDE_NOUNS):
            owns = self.at(index - 1).has(Part.GENITIVE) and self.language.code != "de"
            if self.at(index - 1).part in NOUNS or owns:
                break
            index -= 1
        return index

    def head(self, index: int) -> Phrase | None:
        """Return the noun that an owner follows: "sombrero" of "sombrero viejo de un cocinero"."""
        for before in range(index - 1, max(-1, index - 1 - _PHRASE_WINDOW), -1):
            phrase = self.phrases[before]
            if phrase.part in NOUNS:
                return phrase
            if phrase.is_break or phrase.has(Part.PREPOSITION, Part.CONNECTIVE, Part.COPULA):
                return None
        return None

    def is_credited(self, index: int) -> bool:
        before = self.at(self.start(index) - 1)
        return before.has(Part.CREDIT) or self.at(index + 1).has(Part.STYLE)

    def is_denied(self, index: int) -> bool:
        following = (self.at(index + 1), self.at(index + 2))
        if any(phrase.has(Part.NEGATION_AFTER) for phrase in following[:1]):
            return True
        for before in range(index - 1, max(-1, index - 2 - _NEGATION_WINDOW), -1):
            phrase = self.phrases[before]
            if phrase.has(Part.NEGATION):
                return True
            if phrase.is_break or phrase.part in NOUNS or phrase.has(Part.CONNECTIVE):
                return False
            others = phrase.has(Part.ADJECTIVE, Part.FEATURE, Part.GENITIVE) or not phrase.entries
            if self.by_character and others:
                return False
        return False

    def adjectives_before(self, index: int) -> Iterator[Phrase]:
        """Yield the adjectives right before a noun."""
        for before in range(index - 1, max(-1, index - 1 - _PHRASE_WINDOW), -1):
            phrase = self.phrases[before]
            if phrase.part == Part.ADJECTIVE:
                yield phrase
            elif phrase.part in NOUNS or phrase.is_break or phrase.has(Part.DETERMINER):
                if phrase.words != (",",):
                    return
            elif phrase.has(Part.PREPOSITION, Part.COPULA):
                return

    def adjectives_after(self, start: int) -> Iterator[Phrase]:
        """Yield the adjectives that are said of a noun before an index."""
        unknown = 0
        for index, phrase in enumerate(self.phrases[start : start + 2 * _PHRASE_WINDOW], start):
            if phrase.part == Part.ADJECTIVE:
                following = self.at(index + 1)  # "weiße Blumen"
                unlisted = not following.entries and not following.is_break
                is_of_a_thing = following.part in (Part.THING, Part.ANIMAL, Part.BODY)
                if is_of_a_thing or (unlisted and self.language.code == "de"):
                    return
                yield phrase
            elif phrase.words == (",",):
                unknown = 1
            elif phrase.part in NOUNS or phrase.is_break or phrase.has(Part.PREPOSITION):
                return
            elif not phrase.entries:
                unknown += 1
                if unknown > 1 or self.by_character:
                    return


def _longest(endings: Sequence[str]) -> list[str]:
    return sorted(endings, key=len, reverse=True)


def _is_chinese(word: str) -> bool:
    return "\u3400" <= word[0] <= "\u9fff"
