"""The words of the languages that the gate reads beside English, and what a phrase of them may be.

Each language is a folder of `words/`, one idea a file, in the form of the English lists. Two marks
are new: "enfermero" or "actor/actriz" is the form for anybody, with the one for a woman where no
ending gives it; "abuela = grandmother" is a word, with the English words that say the same, which
are those that a recipe's categories know.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, cached_property

from fairgen.gate.lexicon import WORDS, read_words
from fairgen.gate.phrases import Key, Table

LATIN = ("es", "pt", "fr", "de", "it")
CHARACTERS = ("zh", "ja")
MASCULINE_FORM = "masculine form"
ANY_GENDER = "\u26a5"  # stands behind a word whose spelling includes every gender
_TOKEN = re.compile(
    r"[\u3400-\u9fff々\u3041-\u309f]"  # a Chinese character or a syllable is a word of its own
    r"|[\u30a1-\u30fe]+"  # katakana
    r"|[^\W\d_\u3041-\u30fe\u3400-\u9fff]+|\d+|[#\n\u26a5]|[^\w\s'()\[\]{}\"“”«»„*\-]"
)
_ELISIONS = ((re.compile("[\u2018\u2019\u02bc`´]"), "'"), (re.compile(r"\bun'"), "una "))
_INCLUSIVE = re.compile(  # an ending in capitals belongs to a word in capitals
    r"(?<![^\W_])([^\W_]{2,}+)(?:[:*_·•⋅.]|/-?|\()"
    r"([a-zäöüèé]{1,6}|(?<=[A-ZÄÖÜÈÉ][:*_·•⋅./(])[A-ZÄÖÜÈÉ]{1,6}|(?<=[A-ZÄÖÜÈÉ]/-)[A-ZÄÖÜÈÉ]{1,6})\b\)?"
)
_CAPITAL_IN = re.compile(r"(?<=[a-zäöüß])In(?=(?:nen)?\b)")
_LETTER_FOR_ALL = re.compile(r"\b(\w{3,})[x@e](s?)(?!\w)", re.IGNORECASE)
_LONGEST_ENDING = 6  # letters
_OF_ANY_GENDER = frozenset(
    (
        "baby",
        "child",
        "elderly",
        "middle-aged",
        "pensioner",
        "retired",
        "senior",
        "teenager",
        "young",
    )
)
_UMLAUTS = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"))


class Part(StrEnum):
    """What a phrase is in a sentence; the file of that name lists most of its words."""

    PERSON = "person"
    GROUP = "collectives"
    INDIVIDUAL = "individuals"
    ADJECTIVE = "adjectives"
    FEATURE = "features"
    THING = "things"
    ANIMAL = "animals"
    OTHER = "other_uses"
    BODY = "body"
    PORTRAIT = "portraits"
    DEPICTION = "depictions"
    DETERMINER = "determiners"
    FEMININE = "feminine_determiners"
    SINGULAR = "singular_determiners"
    EITHER = "either_determiners"
    PLURAL = "plural_determiners"
    PLURAL_SUFFIX = "plural_suffixes"
    NEGATION = "negations"
    NEGATION_AFTER = "negations_after"
    COPULA = "copulas"
    LIKENESS = "likenesses"
    GENITIVE = "genitives"
    PREPOSITION = "prepositions"
    PURPOSE = "purposes"
    CONNECTIVE = "connectives"
    ALTERNATIVE = "alternatives"
    ADVERB = "adverbs"
    CREDIT = "credits"
    STYLE = "styles"
    ALL_GENDERS = "all_genders"
    AGENTIVE = "agentives"
    NO_PERSON = "not_agentives"


class Number(StrEnum):
    """How many a noun's form speaks of; an oblique form is of one behind an article for one."""

    ONE = "one"
    SEVERAL = "several"
    OBLIQUE = "oblique"


@dataclass(frozen=True)
class Entry:
    """What a phrase may be: a part of a sentence, the noun that the ledger knows the person by,
    and the English words that say the same.

    `common` marks a noun of two genders, which its article tells apart.
    """

    part: Part
    noun: str = ""
    english: tuple[str, ...] = ()
    number: Number = Number.ONE
    feminine: bool = False
    common: bool = False
    generic: bool = False


class Language:
    """One language's phrases; its tables are made when they are first asked for.

    `has_gender` is whether nouns for persons have a form for women; `spellings` are the words of
    the table as they are written, accents and all.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self.spellings: frozenset[str] = frozenset()
        self._files = {file.stem: read_words(file) for file in (WORDS / code).glob("*.txt")}
        self.has_gender = "feminine_endings" in self._files

    def listed(self, name: str) -> tuple[str, ...]:
        """Return a file's phrases; none where the language needs no such file."""
        return self._files.get(name, ())

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Every word of every phrase."""
        return frozenset(word for key in self.table for word in key)

    @cached_property
    def table(self) -> Table[tuple[Entry, ...]]:
        """What each phrase may be: as it is written, and, where no other word is, without its
        accents.
        """
        exact: dict[Key, dict[Entry, None]] = {}
        for phrase, entry in self._phrases():
            key = tuple(tokens(phrase))
            if key:
                exact.setdefault(key, {})[entry] = None
        self.spellings = frozenset(word for key in exact for word in key)
        table: Table[tuple[Entry, ...]] = Table()
        table.update((key, tuple(entries)) for key, entries in exact.items())
        for key, entries in exact.items():
            for spelling in (plain, _without_umlauts):
                table.setdefault(tuple(map(spelling, key)), tuple(entries))
        return table

    def words(self, text: str) -> list[str]:
        """Return a text's words: those that nobody spells so without their accents, traditional
        characters as the simplified.
        """
        known, simplified = self.vocabulary, self._simplified
        spelt = (simplified.get(word, word) for word in tokens(text))
        return [word if word in known else plain(word) for word in spelt]

    def agent(self, word: str) -> Entry | None:
        """Return the person whom an unlisted word ends like, if it does."""
        for ending, said in self._agentives:
            if word.endswith(ending) and len(word) > len(ending) + 2:
                return Entry(Part.PERSON, word, said, common=not said)
        return None

    @cached_property
    def _agentives(self) -> list[tuple[str, tuple[str, ...]]]:
        """The endings of persons, the longest first, and what they say in English."""
        said: dict[str, tuple[str, ...]] = {}
        for ending in self.listed("agentives"):
            known = self.table.get(tuple(tokens(ending)), ())
            feminine = self._changed(ending, "feminine_endings", longest=True)
            masculine = (MASCULINE_FORM,) if feminine and self.code != "de" else ()
            said[plain(ending)] = next((e.english for e in known if e.english), masculine)
            if self.code != "de":
                said.update((plain(one), ("woman",)) for one in feminine)
        return sorted(said.items(), key=lambda pair: -len(pair[0]))

    @cached_property
    def _simplified(self) -> dict[str, str]:
        pairs = (phrase.split(" = ") for phrase in self.listed("traditional"))
        return {traditional: simplified for traditional, simplified in pairs}

    def _phrases(self) -> Iterator[tuple[str, Entry]]:
        yield from self._people()
        for part in Part:
            for phrase in self.listed(part.value):
                word, _, same = phrase.partition(" = ")
                english = tuple(same.split("+")) if same else ()
                entry = Entry(part, word.split("/")[0], english)
                yield word.split("/")[0], entry
                if part == Part.ADJECTIVE:
                    for form, feminine in self._declined(word):
                        yield form, Entry(part, entry.noun, english, feminine=feminine)
                elif part in (Part.THING, Part.ANIMAL):
                    for form in self._changed(word, "plural_endings"):
                        yield form, entry

    def _people(self) -> Iterator[tuple[str, Entry]]:
        for phrase in self.listed("occupations"):
            base, _, given = phrase.partition("/")
            feminine = [given] if given else self._changed(base, "feminine_endings", longest=True)
            if feminine == [base]:  # a word for women alone
                yield from self._inflected(Entry(Part.PERSON, base, ("woman",)), base)
                continue
            masculine = (MASCULINE_FORM,) if feminine else ()
            yield from self._inflected(
                Entry(Part.PERSON, base, masculine, common=not feminine), base
            )
            for form in feminine:
                yield from self._inflected(Entry(Part.PERSON, base, ("woman",)), form)
        neutral, people = self.listed("neutral"), self.listed("people")
        for phrase in people:
            noun, _, same = phrase.partition(" = ")
            words = tuple(same.split("+"))
            common = noun not in neutral and _OF_ANY_GENDER.issuperset(words)
            entry = Entry(Part.PERSON, noun, words, common=common, generic=True)
            yield from self._inflected(entry, noun)
        for noun in neutral:
            if not any(phrase.startswith(f"{noun} = ") for phrase in people):
                yield from self._inflected(Entry(Part.PERSON, noun, generic=True), noun)

    def _inflected(self, entry: Entry, form: str) -> Iterator[tuple[str, Entry]]:
        """Yield a noun's forms for one and for several."""
        yield form, entry
        for plural in self._changed(form, "plural_endings"):
            yield plural, replace(entry, number=Number.SEVERAL)
        if "woman" not in entry.english:
            for case in self._changed(form, "genitive_endings"):
                yield case, replace(entry, number=Number.OBLIQUE)

    def _declined(self, word: str) -> Iterator[tuple[str, bool]]:
        """Yield an adjective's other forms, and whether each is only a woman's."""
        base, _, given = word.partition("/")
        if self.code == "de":
            yield from (
                (base.removesuffix("e") + end, False) for end in ("e", "er", "es", "en", "em")
            )
            return
        feminine = [given] if given else self._changed(base, "feminine_endings", longest=True)
        yield from ((form, form != base) for form in feminine)
        yield from ((form, False) for form in self._changed(base, "plural_endings"))
        for one in feminine:
            yield from ((form, True) for form in self._changed(one, "plural_endings"))

    def _changed(self, form: str, file: str, longest: bool = False) -> list[str]:
        """Return a phrase with other endings: on its last word in German, else on its first, and on
        an adjective behind that.
        """
        pairs = self._endings(file)
        before, head, behind = "", form, ""
        if " " in form:
            before, head = form.rsplit(" ", 1) if self.code == "de" else ("", form.split(" ", 1)[0])
            behind = form[len(head) + 1 :] if not before else ""
        ends = [head[-length:] for length in range(1, min(len(head), _LONGEST_ENDING) + 1)]
        fitting = [(old, new) for old in ends for new in pairs.get(old, ())]
        if longest and fitting:
            longest_ending = fitting[-1][0]
            fitting = [pair for pair in fitting if pair[0] == longest_ending]
        heads = [head.removesuffix(old) + new for old, new in fitting]
        behinds = [behind, *self._changed(behind, file, longest)] if behind.isalpha() else [behind]
        changed = [f"{before} {one} {end}".strip() for one in heads for end in behinds]
        return list(dict.fromkeys(changed))

    @cache  # noqa: B019  # a language lives as long as the process
    def _endings(self, file: str) -> dict[str, list[str]]:
        """Return ending -> what takes its place, of a file of pairs."""
        pairs: dict[str, list[str]] = {}
        for old, new in (pair.split("/") for pair in self.listed(file)):
            pairs.setdefault(old, []).append(new)
        return pairs


def tokens(text: str) -> list[str]:
    """Return a text's words and punctuation; Chinese and Japanese by character."""
    text = unicodedata.normalize("NFKC", text).casefold()
    for pattern, replacement in _ELISIONS:
        text = pattern.sub(replacement, text)
    return _TOKEN.findall(text)


def plain(word: str) -> str:
    """Return a Latin word without its accents."""
    if word.isascii() or word > "\u024f":
        return word
    letters = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _without_umlauts(word: str) -> str:
    for umlaut, letters in _UMLAUTS:
        word = word.replace(umlaut, letters)
    return plain(word)


def spelt_for_one(prompt: str, words_of: Language) -> str:
    """Return a prompt with spellings for every gender as one noun with a mark behind it."""
    if not words_of.has_gender:
        return prompt

    def is_person(word: str) -> bool:
        entries = words_of.table.get(tuple(words_of.words(word)), ())
        return any(entry.part == Part.PERSON for entry in entries)

    def joined(match: re.Match[str]) -> str:
        word, ending = match.groups()
        for one in (word, word + ending, word[:-1] + ending):
            if is_person(one) and not is_person(ending):
                return f"{one} {ANY_GENDER} "
        if words_of.code != "de" and word.casefold() in words_of.listed("determiners"):
            return word
        return match[0]

    def with_o(match: re.Match[str]) -> str:
        word, plural = match.groups()
        if not is_person(match[0]):
            for one in (f"{word}o{plural}", word + ("es" if plural else "")):
                if is_person(one):
                    return f"{one} {ANY_GENDER} "
        return match[0]

    prompt = _INCLUSIVE.sub(joined, _CAPITAL_IN.sub(":in", prompt))
    return _LETTER_FOR_ALL.sub(with_o, prompt) if words_of.code in ("es", "pt") else prompt


@cache
def language(code: str) -> Language:
    """Return a language that the gate reads, by its code."""
    return Language(code)
