"""Who is the subject of a picture, and who is only in it: rules on the second word for a person.

A subject may be mentioned again. Bystanders are in a picture that is not of them: "a doctor with a
patient". Two subjects are several people. Each rule answers, or returns None when it has nothing
to say; the first answer counts.
"""

from collections.abc import Callable
from enum import Enum, auto
from itertools import pairwise

from fairgen.gate.lexicon import Kind, english, kinds
from fairgen.gate.reading import Reading, Span, has_a_verb, is_break

_BACKGROUND_WINDOW = 6  # words from a person to "in the background"
_SHORTEST_NAME = 3  # letters of a short name: "vet" for "veterinarian"
_SHORT_SENTENCE = 10  # words of a caption: "A doctor sits. A nurse stands."
_BOTH = frozenset(
    ((".", "both"), ("each", "other"), ("one", "another"), ("the", "two"), ("the", "pair"))
)
_FINITE = frozenset(("is", "are", "was", "were"))
_SINGULAR = (Kind.PERSON, Kind.NOUN_TOO, Kind.PRONOUN, Kind.NAME)


class Relation(Enum):
    """What a word for a person has to do with the picture's subject."""

    SUBJECT = auto()  # the subject itself, or one more
    SAME = auto()  # the subject, mentioned again, or nobody
    BYSTANDER = auto()  # one more person in the picture that is of the subject
    CROWD = auto()  # several such people, or somebody in the background


Rule = Callable[[Reading, Span], Relation | None]


def relate(reading: Reading, span: Span) -> Relation:
    """Return what a word has to do with the picture's subject, and note the rule that says so."""
    for name, rule in _RULES:
        answer = rule(reading, span)
        if answer is not None:
            reading.rules[span] = name
            return answer
    return Relation.SUBJECT


def is_the_subject(reading: Reading, span: Span) -> bool:
    """Return whether a word with "the" is a general one for the subject: "the man's coat"."""
    determiner, _ = reading.before_the_phrase(span.start)
    definite = determiner in ("the", "this", "that") and span.kind in _SINGULAR
    words = english()
    general = reading.noun(span) in words.generic | words.neutral
    return definite and general and bool(reading.shown) and _may_be_the_subject(reading, span)


def _is_denied(reading: Reading, span: Span) -> Relation | None:
    _, index = reading.before_the_phrase(span.start)
    return Relation.SAME if reading.word(index) in english().negations else None


def _opens_the_sentence(reading: Reading, span: Span) -> Relation | None:
    """The people before a subject are bystanders: "Among her students, a professor", "Guests chat
    while a barista".
    """
    if reading.shown or span.kind == Kind.INDIVIDUAL or not _may_be_a_bystander(reading, span):
        return None
    lead = reading.word(reading.lead(span.start))
    before_a_comma = lead in english().prepositions and lead != "of"
    sentence = reading.sentence(span.start)
    for other in reading.people:
        if other.start <= span.end or other.kind not in _SINGULAR:
            continue
        if reading.sentence(other.start) != sentence:
            return None
        determiner, before = reading.before_the_phrase(other.start)
        meanwhile = determiner in ("a", "an") and reading.word(before) in ("while", "as")
        follows = meanwhile or (before_a_comma and is_break(reading.word(before)))
        return Relation.CROWD if follows else None
    return None


def _is_the_first(reading: Reading, span: Span) -> Relation | None:
    return Relation.SUBJECT if span.kind == Kind.INDIVIDUAL or not reading.shown else None


def _is_a_pronoun(reading: Reading, span: Span) -> Relation | None:
    return Relation.SAME if span.kind == Kind.PRONOUN else None


def _is_a_likeness(reading: Reading, span: Span) -> Relation | None:
    words = english()
    _, index = reading.before_the_phrase(span.start)
    calling = reading.word(index) == "of" and reading.word(index - 1) in words.callings
    return Relation.SAME if calling or reading.word(index) in words.likenesses else None


def _is_said_of_somebody(reading: Reading, span: Span) -> Relation | None:
    _, index = reading.before_the_phrase(span.start)
    if span.kind not in _SINGULAR or reading.word(index) not in english().copulas:
        return None
    return Relation.SAME if reading.word(index - 1) != "there" else None


def _is_in_apposition(reading: Reading, span: Span) -> Relation | None:
    determiner, index = reading.before_the_phrase(span.start)
    if not is_break(reading.word(index)) or span.kind not in _SINGULAR:
        return None
    definite = determiner in ("", "the", "this", "that")
    beside = any(other.end == index for other in reading.mentioned)
    if not definite and not beside and not _is_a_verb(reading, span.end + 1):
        return None
    return Relation.SAME if _may_be_the_subject(reading, span) else None


def _is_a_verb(reading: Reading, index: int) -> bool:
    """Return whether a word has the form of a verb in -s and goes on: "confers with"."""
    words, verb = english(), reading.word(index)
    has_form = verb.endswith("s") and not verb.endswith(("ss", "us", "is"))
    goes_on = reading.word(index + 1) in words.prepositions | words.determiners
    return has_form and goes_on and (verb,) not in kinds()


def _is_repeated(reading: Reading, span: Span) -> Relation | None:
    """The same noun is the same person, unless it is "a" or "another" one."""
    determiner, index = reading.before_the_phrase(span.start)
    new = ("a", "an", "another", "one", "each", "every")
    if span.kind not in _SINGULAR or determiner in new or _is_coordinate(reading, index):
        return None
    nouns = {reading.noun(other) for other in reading.mentioned}
    return Relation.SAME if reading.noun(span) in nouns else None


def _is_one_of_two(reading: Reading, span: Span) -> Relation | None:
    """Subjects are joined by "and": "a doctor and a nurse"."""
    _, index = reading.before_the_phrase(span.start)
    return Relation.SUBJECT if _is_coordinate(reading, index) else None


def _is_among_many(reading: Reading, span: Span) -> Relation | None:
    if not _may_be_a_bystander(reading, span):
        return None
    one = span.kind in _SINGULAR and not _is_later(reading, span)
    return Relation.BYSTANDER if one else Relation.CROWD


def _is_in_the_background(reading: Reading, span: Span) -> Relation | None:
    sentence = reading.sentence(span.start)
    start = max(sentence, span.start - _BACKGROUND_WINDOW)
    around = [*reading.words[start : span.start], *_clause(reading, span.end)]
    return Relation.CROWD if not english().backgrounds.isdisjoint(around) else None


def _is_acted_on(reading: Reading, span: Span) -> Relation | None:
    """A sentence is of its subject, whomever the verb adds: "a doctor is talking to a reporter"."""
    words, subject = english(), reading.shown[0]
    noun = reading.noun(subject)
    equals = noun in words.bystanders or {noun, reading.noun(span)} <= words.generic
    if equals or _is_later(reading, span):
        return None
    if reading.before_the_phrase(span.start)[0] == "another":
        return None
    if _are_two(reading, span.end):
        return Relation.SUBJECT
    return Relation.BYSTANDER if _has_a_sentence(reading, subject, span) else None


def _are_two(reading: Reading, start: int) -> bool:
    """Return whether a later word speaks of two people: "Both smile", "each other"."""
    return any(pair in _BOTH for pair in pairwise(reading.words[start:]))


def _has_a_sentence(reading: Reading, subject: Span, span: Span) -> bool:
    """Return whether the subject has a finite verb before a span."""
    past = reading.word(subject.end)
    return (
        any(has_a_verb(reading, m) or _is_a_verb(reading, m.end) for m in reading.mentioned)
        or past in english().pasts
        or (past.endswith("ed") and reading.word(subject.end + 1) in english().determiners)
        or not _FINITE.isdisjoint(reading.words[subject.end : span.start])
        or any(
            reading.word(index) == "," and _is_a_verb(reading, index + 1)
            for index in range(subject.end, span.start)
        )
    )


def _is_another_name(reading: Reading, span: Span) -> Relation | None:
    """A later word with "the" is the subject's: "A chemist ... The scientist"."""
    determiner, _ = reading.before_the_phrase(span.start)
    if determiner not in ("the", "this", "that"):
        return None
    same = _may_be_the_subject(reading, span) or _is_later(reading, span)
    return Relation.SAME if same else None


def _comes_later(reading: Reading, span: Span) -> Relation | None:
    """Whom a later sentence brings in is a bystander, but two captions are of two subjects."""
    if not _is_later(reading, span):
        return None
    words = english()
    if reading.word(span.end) == "," and reading.word(span.end + 1) in ("she", "he", "they"):
        return Relation.SAME if reading.noun(span) in words.generic | words.neutral else None
    sentence = reading.sentence(span.start)
    _, index = reading.before_the_phrase(span.start)
    first = reading.sentence(reading.shown[0].start)
    is_next = reading.sentence(sentence - 1) == first and sentence - first <= _SHORT_SENTENCE
    return Relation.CROWD if index >= sentence or not is_next else None


def _may_be_a_bystander(reading: Reading, span: Span) -> bool:
    return span.kind in (Kind.PEOPLE, Kind.GROUP) or reading.noun(span) in english().bystanders


def _may_be_the_subject(reading: Reading, span: Span) -> bool:
    words = english()
    for other in reading.shown:
        nouns = {reading.noun(other), reading.noun(span)}
        if len(nouns) == 1 or len(nouns & words.generic) == 1 or nouns & words.neutral:
            return True
        short, long = sorted(nouns, key=len)
        if len(short) >= _SHORTEST_NAME and long.startswith(short):
            return True
    return False


def _is_coordinate(reading: Reading, index: int) -> bool:
    joined = reading.word(index) in ("and", "or")
    return joined and any(other.end == index for other in reading.shown)


def _is_later(reading: Reading, span: Span) -> bool:
    return reading.sentence(span.start) > reading.shown[0].start


def _clause(reading: Reading, start: int) -> list[str]:
    words = reading.words[start : start + _BACKGROUND_WINDOW]
    end = next((i for i, word in enumerate(words) if is_break(word)), len(words))
    return words[:end]


_RULES: tuple[tuple[str, Rule], ...] = (
    ("denied", _is_denied),
    ("before the subject", _opens_the_sentence),
    ("the first person", _is_the_first),
    ("pronoun", _is_a_pronoun),
    ("likeness", _is_a_likeness),
    ("said of somebody", _is_said_of_somebody),
    ("in apposition", _is_in_apposition),
    ("repeated", _is_repeated),
    ("one of two", _is_one_of_two),
    ("bystander", _is_among_many),
    ("in the background", _is_in_the_background),
    ("object of a sentence", _is_acted_on),
    ("another name", _is_another_name),
    ("in a later sentence", _comes_later),
)
