"""The gate's words: lists in `words/`, one idea a file, and what every phrase of them may be.

A file holds phrases in lower case and in the singular, sorted, with commas between them; a line
that begins with "# " is a comment. A hyphen reads as a space, # as any number.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path

from fairgen.gate.phrases import Table, forms

WORDS = Path(__file__).parent / "words"
Words = frozenset[str]


class Kind(StrEnum):
    """What a phrase may be, wherever it stands."""

    PERSON = "person"
    PEOPLE = "people"
    GROUP = "group"
    NOUN_TOO = "noun too"
    PRONOUN = "pronoun"
    NAME = "name"
    INDIVIDUAL = "individual"
    THING = "thing"
    ANIMAL = "animal"
    FIGURINE = "figurine"
    BODY = "body"
    PORTRAIT = "portrait"
    OTHER = "other"


@dataclass(frozen=True)
class Lexicon:
    """The words of one language: each field is the file of its name, which explains it."""

    adverbs: Words
    ages: Words
    amounts: Words
    animal_works: Words
    animals: Words
    attacks: Words
    backgrounds: Words
    belongings: Words
    body: Words
    bystanders: Words
    callings: Words
    collectives: Words
    colours: Words
    complexions: Words
    connectives: Words
    copulas: Words
    crafts: Words
    dealers: Words
    depictions: Words
    determiners: Words
    devices: Words
    endings: Words
    figurines: Words
    genders: Words
    generic: Words
    given_names: Words
    honorifics: Words
    individuals: Words
    keepers: Words
    likenesses: Words
    looks: Words
    makers: Words
    negations: Words
    neutral: Words
    nouns_too: Words
    occupations: Words
    origins: Words
    other_uses: Words
    parts: Words
    pasts: Words
    pictures: Words
    portraits: Words
    prepositions: Words
    pronouns: Words
    sovereigns: Words
    stages: Words
    things: Words
    titles: Words
    tones: Words
    uncountables: Words
    verbs: Words
    watchers: Words
    worn: Words
    young: Words

    @cached_property
    def grammar(self) -> Words:
        """The words that end the phrase of a noun."""
        return (
            self.determiners
            | self.negations
            | self.copulas
            | self.adverbs
            | self.prepositions
            | self.connectives
            | self.likenesses
        )

    @cached_property
    def adjectives(self) -> Words:
        """The adjectives of many things: one must stand beside the person to be the person's."""
        last_words = {origin.rsplit(maxsplit=1)[-1] for origin in self.origins}
        return self.ages | last_words | self.colours | self.tones


def read_words(file: Path) -> tuple[str, ...]:
    """Return the phrases of a file of words, in their order."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# ")]
    return tuple(" ".join(phrase.split()) for phrase in " ".join(lines).split(","))


@cache
def english() -> Lexicon:
    """Return the English words."""
    return Lexicon(
        **{
            field.name: frozenset(read_words(WORDS / "en" / f"{field.name}.txt"))
            for field in fields(Lexicon)
        }
    )


@cache
def kinds() -> Table[Kind]:
    """Return the kind of every phrase and of its plurals; where two lists have it, the later's."""
    words = english()
    people = (
        words.neutral,
        words.generic,
        words.bystanders,
        words.parts,
        words.occupations,
        words.titles,
    )
    table: Table[Kind] = Table()
    for phrases, kind, plural in (
        (sorted(words.body), Kind.BODY, Kind.BODY),
        (sorted(words.things), Kind.THING, Kind.THING),
        (sorted(words.animals), Kind.ANIMAL, Kind.ANIMAL),
        (sorted(words.figurines), Kind.FIGURINE, Kind.FIGURINE),
        ([phrase for some in people for phrase in sorted(some)], Kind.PERSON, Kind.PEOPLE),
        (sorted(words.nouns_too), Kind.NOUN_TOO, Kind.PEOPLE),
        (sorted(words.collectives), Kind.GROUP, Kind.GROUP),
        (sorted(words.pronouns), Kind.PRONOUN, Kind.PRONOUN),
        (sorted(words.portraits), Kind.PORTRAIT, Kind.PORTRAIT),
        (sorted(words.given_names), Kind.NAME, Kind.OTHER),
        (sorted(words.individuals), Kind.INDIVIDUAL, Kind.PEOPLE),
        (sorted(words.other_uses), Kind.OTHER, Kind.OTHER),
    ):
        for phrase in phrases:
            singular, *plurals = forms(phrase)
            if kind != Kind.THING or phrase not in words.verbs:
                table.update((form, plural) for form in plurals if form not in table)
            table[singular] = kind
    return table


@cache
def synonyms() -> dict[str, tuple[str, ...]]:
    """Return the words that say what another does: "policewoman" and "countess" of "woman"."""
    words = english()
    table = {ending: list[str]() for ending in words.endings}
    for file in (WORDS / "en" / "same_as").glob("*.txt"):
        table[file.stem] = list(read_words(file))
    for word in (*sorted(words.parts), *sorted(words.occupations), *sorted(words.titles)):
        endings = [ending for ending in words.endings if word.endswith(ending)]
        if endings and max(endings, key=len) != word:
            table[max(endings, key=len)].append(word)
    for others in table.values():  # "female" says what "woman" says
        for other in others:
            others += [more for more in table.get(other, ()) if more not in others]
    return {word: tuple(others) for word, others in table.items()}
