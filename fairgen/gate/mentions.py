"""Which words of a prompt name an attribute of its person."""

import re
from functools import cache
from itertools import chain

from fairgen.attributes import Attribute
from fairgen.gate import phrases
from fairgen.gate.lexicon import Kind, english, kinds, synonyms
from fairgen.gate.phrases import Table
from fairgen.gate.reading import Reading, Role, is_adjective, is_break, is_outside

_NEGATION_WINDOW = 5  # words from a negation to what it denies
_BEFORE_WINDOW = 8  # words from an adjective to the person behind it
_AFTER_WINDOW = 8  # words from the person to an adjective behind them
_SUBJECT_WINDOW = 6  # words from the person to the verb: "the doctor in the picture is"
_SHARED_WINDOW = 4  # words after an adjective that another noun may share: "old and in a red coat"
_PEOPLE = (Role.PERSON, Role.BYSTANDER)
_Meanings = list[tuple[float, str]]
_KINDS_OF_PEOPLE = (Kind.PERSON, Kind.PEOPLE, Kind.NOUN_TOO, Kind.GROUP)


def named_categories(reading: Reading, attribute: Attribute) -> dict[str, bool]:
    """Return the attribute's categories that are named of the person, and whether each is denied.

    One more person in the picture is read as well, since an adapter acts on the whole picture. A
    word that names no single category counts as the category "".
    """
    denied: dict[str, bool] = {}
    for start, end, meanings in _find(reading, attribute):
        _, category = _nearest(reading, start, end, meanings)
        denied[category] = denied.get(category, True) and _is_negated(reading, start)
    return denied


def find_mentions(reading: Reading, attribute: Attribute) -> list[tuple[int, int]]:
    """Return the words, from start to before end, that name an attribute of the person."""
    return [(start, end) for start, end, _ in _find(reading, attribute)]


def _find(reading: Reading, attribute: Attribute) -> list[tuple[int, int, _Meanings]]:
    return [
        (start, end, meanings)
        for start, end, meanings in phrases.find(reading.words, _meanings(attribute))
        if _is_about_the_person(reading, start, end)
    ]


@cache
def _families() -> tuple[tuple[frozenset[phrases.Key], frozenset[phrases.Key]], ...]:
    """Return words of which an attribute may know one, and all that speak of it then."""
    words = english()
    skins = frozenset((tone, "skinned") for tone in ("dark", "light", "fair", "brown", "olive"))
    origins, genders, stages, complexions = (
        frozenset(phrases.forms(word)[0] for word in some)
        for some in (words.origins, words.genders, words.stages, words.complexions)
    )
    return (
        (origins, origins),
        (frozenset((word,) for word in ("male", "female", "man", "woman")), genders),
        (stages | {("young",), ("old",)}, stages),
        (skins, complexions),
    )


def undesired_categories(reading: Reading, attribute: Attribute) -> tuple[str, ...] | None:
    """Return the attribute's categories that a negative prompt names; None if it says nothing.

    A negative prompt is a list of words without a person, so that each of them counts but those of
    a thing ("old photo") and of light ("dark").
    """
    named = [
        category
        for start, end, meanings in phrases.find(reading.words, _meanings(attribute))
        if _is_about_anybody(reading, start, end)
        for _, category in [_nearest(reading, start, end, meanings)]
    ]
    return tuple(name for name in attribute.names if name in named) if named else None


def _is_about_anybody(reading: Reading, start: int, end: int) -> bool:
    """Return whether a word of a list of words may be of a person."""
    words, word, following = english(), reading.word(end - 1), reading.word(end)
    if Role.OTHER in reading.roles[start:end] or reading.words[start:end] in (
        ["skin"],
        ["skinned"],
    ):
        return False
    if word not in words.adjectives:
        return True
    if following in words.looks or (following,) in kinds():
        return following in words.looks or kinds()[following,] in _KINDS_OF_PEOPLE
    return word not in words.tones and is_outside(following)


def _nearest(reading: Reading, start: int, end: int, meanings: _Meanings) -> tuple[float, str]:
    """Return the meaning whose number is nearest to the phrase's."""
    number = next((float(w) for w in reading.words[start:end] if w.isdecimal()), 0.0)
    return min(meanings, key=lambda meaning: abs(meaning[0] - number))


@cache
def _meanings(attribute: Attribute) -> Table[_Meanings]:
    """Return the categories that a phrase may mean; a number means the category nearest to it.

    A word also means what its synonyms say. If the attribute knows one origin, gender, age or
    kind of skin, each of them speaks of it.
    """
    table: Table[_Meanings] = Table()
    adjectives = english().adjectives
    words_of = [(c.name, (c.word, *c.mentions)) for c in attribute.categories]
    for category, words in [*words_of, ("", attribute.mentions)]:
        for word in chain.from_iterable((w, *synonyms().get(w, ())) for w in words):
            number = next((float(digits) for digits in re.findall(r"\d+", word)), 0.0)
            for form in phrases.forms(word)[: 1 if word in adjectives else None]:
                table.setdefault(form, []).append((number, category))
    declared = {
        phrases.forms(word)[0] for word in (*chain(*(w for _, w in words_of)), *attribute.mentions)
    }
    for known, others in _families():
        if not known.isdisjoint(declared):
            for form in others:
                table.setdefault(form, [(0.0, "")])
    if any(form[-1] == "skinned" for form in table):
        table.setdefault(("skinned",), [(0.0, "")])
        for colour in english().colours | english().tones:
            table.setdefault((colour, "skin"), table.get((colour,), [(0.0, "")]))
    return table


def _is_negated(reading: Reading, start: int) -> bool:
    """Return whether a negation stands before a word, in the same clause."""
    for word in reversed(reading.words[max(0, start - _NEGATION_WINDOW) : start]):
        if word in ("but", "with") or is_break(word):
            return False
        if word in english().negations:
            return True
    return False


def _is_about_the_person(reading: Reading, start: int, end: int) -> bool:
    """Return whether a mention is of the person; some adjectives must stand beside it."""
    if not {Role.ABSENT, Role.CROWD, Role.OTHER}.isdisjoint(reading.roles[start:end]):
        return False
    owns = reading.word(start) in ("her", "his")
    if reading.role(end) == Role.ANIMAL and reading.role(start) != Role.PERSON and not owns:
        return _stands_before_the_person(reading, end)
    last_word = next(w for w in reversed(reading.words[start:end]) if not w.isdecimal())
    if last_word not in english().adjectives or reading.word(end) in english().looks:
        return True
    if reading.tails[end - 1] == "-":
        return reading.word(end) == "born" and _stands_before_the_person(reading, end + 1)
    return _stands_before_the_person(reading, end) or _stands_after_the_person(reading, start, end)


def _stands_before_the_person(reading: Reading, end: int) -> bool:
    """Return whether an adjective's phrase ends with the person: "a young court reporter"."""
    last_role = Role.NONE
    if _is_worn(reading, end):
        return False
    for index in range(end, end + _BEFORE_WINDOW):
        word, role = reading.word(index), reading.role(index)
        if word == "one" and index == end:
            return True
        if word in (",", "and", "but"):
            joins = last_role == Role.NONE and (
                index == end or is_adjective(reading.word(index - 1))
            )
            if not joins and not _joins_nouns(reading, index):
                break
        elif role != Role.NONE:
            last_role = role
            if role in _PEOPLE and reading.role(index + 1) not in _PEOPLE:
                break
            if reading.tails[index] == "'":
                break
        elif reading.limits_a_phrase(index):
            break
    return last_role in _PEOPLE


def _is_worn(reading: Reading, index: int) -> bool:
    """Return whether an adjective is of what somebody wears: "white coat doctor"."""
    words, following = english(), reading.word(index + 1)
    trade = following in words.dealers | words.keepers | words.crafts
    return reading.word(index) in words.worn and not trade


def _joins_nouns(reading: Reading, index: int) -> bool:
    """Return whether "and" joins two nouns before another: "a white fish and game warden"."""
    after = reading.word(index + 1)
    return (
        reading.word(index) == "and"
        and after not in english().determiners
        and not is_adjective(after)
        and reading.role(index + 2) == Role.PERSON
    )


def _stands_after_the_person(reading: Reading, start: int, end: int) -> bool:
    """Return whether an adjective is said of the person: "is old", ", old," or "aged 70"."""
    words = english()
    word, following = reading.word(end - 1), reading.word(end)
    subject = start - 1
    while subject > start - _AFTER_WINDOW and _may_come_between(reading, subject):
        subject -= 1
    between = reading.words[max(0, subject + 1) : start]
    if not is_outside(following) and ("who" not in between or reading.role(end) != Role.NONE):
        return False
    if not words.copulas.isdisjoint(between):
        return _is_subject(reading, subject)
    if reading.role(subject) == Role.PERSON:
        if word in words.tones or (word in words.colours and "," not in between):
            return False
        return following != "and" or Role.THING not in reading.roles[end : end + _SHARED_WINDOW]
    alone = (is_break(reading.word(subject)) or "," in between) and is_break(following)
    return alone and word not in words.tones and word not in words.colours


def _may_come_between(reading: Reading, index: int) -> bool:
    """Return whether a word may stand between the person and an adjective said of them."""
    words, word = english(), reading.word(index)
    if reading.role(index) != Role.NONE or word in words.prepositions:
        return False
    return (
        word in (",", "and", "or", "who", "that", "does")
        or word in words.copulas
        or word in words.adverbs
        or word in words.negations
        or is_adjective(word)
    )


def _is_subject(reading: Reading, index: int) -> bool:
    """Return whether a verb after an index is of the person: "the doctor in the picture is"."""
    if reading.word(index) in english().looks or reading.role(index) == Role.PERSON:
        return True
    for earlier in range(index, max(-1, index - _SUBJECT_WINDOW), -1):
        word = reading.word(earlier)
        if reading.role(earlier) == Role.PERSON:
            return reading.word(earlier + 1) in english().prepositions
        if is_break(word) or word in ("that", "which", "where", "whose"):
            return False
    return False
