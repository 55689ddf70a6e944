"""Which people a prompt shows: rules that tell a person in the picture from a mere word for one.

Each rule answers True or False, or None when it has nothing to say; the first answer counts.
"""

import re
from collections.abc import Callable, Sequence

from fairgen.gate import phrases
from fairgen.gate.agents import find_agents
from fairgen.gate.lexicon import Kind, english, kinds, synonyms
from fairgen.gate.reading import (
    Reading,
    Role,
    Span,
    has_a_verb,
    is_break,
    is_outside,
    is_participle,
)
from fairgen.gate.subjects import Relation, is_the_subject, relate

Rule = Callable[[Reading, Span], bool | None]

_PEOPLE = frozenset(
    (Kind.PERSON, Kind.PEOPLE, Kind.GROUP, Kind.NOUN_TOO, Kind.PRONOUN, Kind.INDIVIDUAL, Kind.NAME)
)
_ROLES = {
    Kind.THING: Role.THING,
    Kind.ANIMAL: Role.ANIMAL,
    Kind.FIGURINE: Role.FIGURINE,
    Kind.BODY: Role.BODY,
    Kind.PORTRAIT: Role.PORTRAIT,
    Kind.OTHER: Role.OTHER,
}
_RELATED = {Relation.BYSTANDER: Role.BYSTANDER, Relation.CROWD: Role.CROWD}
_PICTURE_WINDOW = 3  # words from a verb to a picture: "taking a quick photo"
_AT_WORK = frozenset(
    f"{verb}{ending}"
    for verb in ("tak", "snapp", "draw", "paint", "sketch", "shoot", "mak")
    for ending in ("e", "es", "ing", "s")
)
_VERB = re.compile(r"(?:ing|s)$")
_BODY_WINDOW = 3  # words after an owner: "a farmer's rough old hands"
_COMPOUND_WINDOW = 3  # words before a person: "panda mad scientist"
_GROUP_WINDOW = 5  # words after a group: "a group of small brown dogs"
_CREDIT_WINDOW = 20  # words before an individual: "by Rembrandt, Vermeer and Titian"
_SUBJECT_WINDOW = 3  # words after a portrait: "portrait photo of"
_PIECES = frozenset(("king", "queen", "bishop", "knight", "kings", "queens", "bishops", "knights"))
_BOARD = frozenset(("pawn", "pawns", "rook", "rooks", "chess", "chessboard", "checkmate"))
_PLAYERS = frozenset(("play", "plays", "playing", "played"))


def read_people(prompt: str) -> Reading:
    """Return a prompt's reading with the people whom it shows: at most two of them, since two are
    several.
    """
    reading = Reading(prompt)
    spans = [Span(*match) for match in phrases.find(reading.words, kinds())]
    for span in spans:
        reading.mark(span, _ROLES.get(span.kind, Role.NONE))
    people = [_counted(reading, span) for span in spans if span.kind in _PEOPLE]
    agents = [span for span in find_agents(reading) if not _overlaps(people, span)]
    reading.people = _side_by_side(reading, sorted([*people, *agents]))
    for span in reading.people:
        if _ends_a_phrase(reading, span):
            _place(reading, span)
        if len(reading.shown) > 1:
            return reading
    if not reading.shown and {Role.ANIMAL, Role.OTHER}.isdisjoint(reading.roles):
        reading.shown = [span for span in spans if _is_portrait_of_a_person(reading, span)][:1]
    return reading


def _counted(reading: Reading, span: Span) -> Span:
    is_one = reading.before_the_phrase(span.start)[0] in ("a", "an")
    ends = is_outside(reading.word(span.end))
    if is_one and ends and reading.text(span) in english().uncountables:
        return span._replace(kind=Kind.PERSON)
    return span


def _overlaps(spans: Sequence[Span], span: Span) -> bool:
    return any(other.start < span.end and span.start < other.end for other in spans)


def _place(reading: Reading, span: Span) -> None:
    """Say what a word for a person is there for."""
    if _is_the_person_behind(reading, span):
        reading.mark(span, Role.PERSON)
        return
    if _is_absent(reading, span):
        reading.mark(span, Role.ABSENT)
        return
    relation = relate(reading, span)
    reading.mark(span, _RELATED.get(relation, Role.PERSON))
    if relation == Relation.SUBJECT:
        reading.shown.append(span)
    if relation in (Relation.SUBJECT, Relation.SAME):
        reading.mentioned.append(span)


def _is_absent(reading: Reading, span: Span) -> bool:
    for name, rule in _ABSENCE:
        answer = rule(reading, span)
        if answer is not None:
            reading.rules[span] = name
            return answer
    return False


def _side_by_side(reading: Reading, spans: Sequence[Span]) -> list[Span]:
    """Return spans with neighbours made one person: "woman doctor", "President Obama"."""
    merged: list[Span] = []
    for span in spans:
        last = merged[-1] if merged else Span(-1, -1, Kind.OTHER)
        span = _with_surname(reading, span)
        if last.end != span.start or reading.tails[last.end - 1] == "'":
            merged.append(span)
        elif last.kind == Kind.INDIVIDUAL or (
            last.kind == Kind.PERSON and has_a_verb(reading, last)
        ):
            continue
        else:
            noun_too = (last.kind, span.kind) == (Kind.PERSON, Kind.NOUN_TOO)
            merged[-1] = Span(last.start, span.end, Kind.PERSON if noun_too else span.kind)
    return merged


def _with_surname(reading: Reading, span: Span) -> Span:
    """Return a name with the word after it: "Maria Sanchez", "King Olaf", but not "a king"."""
    words = english()
    end = span.end
    if not reading.tails[end - 1] and _is_unknown(reading, end):
        end += 1
    is_an_office = (
        reading.noun(span) in words.sovereigns
        and reading.word(span.start - 1) not in words.determiners
    )
    if span.kind == Kind.NAME or (is_an_office and end > span.end):
        return Span(span.start, end, Kind.INDIVIDUAL)
    return span


def _is_unknown(reading: Reading, index: int) -> bool:
    word = reading.word(index)
    return not (reading.role(index) != Role.NONE or (word,) in kinds() or is_outside(word))


def _ends_a_phrase(reading: Reading, span: Span) -> bool:
    if span.kind != Kind.NOUN_TOO or is_outside(reading.word(span.end)):
        return True
    if _person_behind(reading, span) is not None:
        return _is_the_person_behind(reading, span)
    return reading.role(span.end) == Role.NONE and has_a_verb(reading, span)


def _is_portrait_of_a_person(reading: Reading, span: Span) -> bool:
    if span.kind != Kind.PORTRAIT:
        return False
    following = reading.words[span.end : span.end + _SUBJECT_WINDOW]
    return reading.role(span.end) != Role.THING and "of" not in following


# Is a word for a person only there to describe something else, or is the person elsewhere?


def _is_part_of_a_compound(reading: Reading, span: Span) -> bool | None:
    return reading.tails[span.end - 1] == "-" or None


def _owns_a_thing(reading: Reading, span: Span) -> bool | None:
    """Whoever owns a part of a body is in the picture with it, and so is the subject."""
    if reading.tails[span.end - 1] != "'" or is_the_subject(reading, span):
        return None
    for index in range(span.end, span.end + _BODY_WINDOW):
        if reading.role(index) in (Role.BODY, Role.PORTRAIT):
            return None
        if reading.word(index) in english().grammar or is_break(reading.word(index)):
            return True
    return True


def _describes_a_noun(reading: Reading, span: Span) -> bool | None:
    if reading.role(span.end) not in (Role.THING, Role.ANIMAL, Role.FIGURINE, Role.OTHER):
        return None
    if reading.tails[span.end - 1] == "'" and is_the_subject(reading, span):
        return None
    _, index = reading.before_the_phrase(span.start)
    if reading.word(index) == "and" and reading.shown and reading.word(span.end) in english().verbs:
        return None
    is_a_surname = reading.noun(span) in english().honorifics
    is_a_verb = is_participle(reading.word(span.end)) or has_a_verb(reading, span)
    return None if is_a_surname or is_a_verb else True


def _is_an_animal_or_a_toy(reading: Reading, span: Span) -> bool | None:
    """The phrase may begin with one: "cat astronaut", "panda mad scientist"."""
    words = english()
    noun = reading.noun(span)
    for index in range(span.start - 1, max(-1, span.start - 1 - _COMPOUND_WINDOW), -1):
        role, tail = reading.role(index), reading.tails[index]
        if role != Role.NONE or reading.limits_a_phrase(index) or tail:
            if tail == "'" or noun in words.keepers:
                return None
            if role == Role.ANIMAL:
                works = words.animal_works | {"animal"}
                return works.isdisjoint(reading.words[index : index + 2]) or None
            return (role == Role.FIGURINE and noun not in words.crafts) or None
    return None


def _begins_a_compound(reading: Reading, span: Span) -> bool | None:
    """Another person may be the compound's last word: "a child care worker"."""
    if reading.before_the_phrase(span.start)[0] not in ("a", "an") or reading.tails[span.end - 1]:
        return None
    behind = _person_behind(reading, span)
    if behind is None or has_a_verb(reading, span):
        return None
    return not any(is_participle(w) for w in reading.words[span.end : behind.start]) or None


def _person_behind(reading: Reading, span: Span) -> Span | None:
    """Return the person at the end of a span's phrase, if it is another."""
    behind = next((other for other in reading.people if other.start > span.end), None)
    if behind is None or behind.kind not in (Kind.PERSON, Kind.NOUN_TOO):
        return None
    between = range(span.end, behind.start)
    whole = not any(reading.limits_a_phrase(index) for index in between)
    return behind if whole and len(between) <= _COMPOUND_WINDOW else None


def _is_the_person_behind(reading: Reading, span: Span) -> bool:
    """Return whether a word only says more of the person behind: "a woman sales manager"."""
    behind = _person_behind(reading, span)
    words = english()
    ages = (words.generic - words.young) | words.stages | set(synonyms()["elderly"])
    says_more = reading.text(span) in ages or span.kind == Kind.NOUN_TOO
    if behind is None or not says_more or reading.tails[span.end - 1]:
        return False
    return reading.noun(behind) not in words.generic | words.nouns_too


def _is_a_chess_piece(reading: Reading, span: Span) -> bool | None:
    """A king is a piece beside a pawn, and a person who plays chess."""
    if reading.noun(span) not in _PIECES or not _PLAYERS.isdisjoint(reading.words):
        return None
    return not _BOARD.isdisjoint(reading.words) or None


def _looks_at_the_picture(reading: Reading, span: Span) -> bool | None:
    determiner, _ = reading.before_the_phrase(span.start)
    outside = determiner == "the" and reading.noun(span) in english().watchers
    return (outside and not reading.shown) or None


def _is_attacked(reading: Reading, span: Span) -> bool | None:
    """A picture of a dragon that attacks a knight is of the dragon."""
    if reading.shown:
        return None
    start = reading.sentence(span.start)
    before = range(start + 1, span.start)
    for index in before:
        stem = _VERB.sub("", reading.word(index))
        attacks = stem in english().attacks or f"{stem}e" in english().attacks
        if attacks and Role.ANIMAL in reading.roles[start:index]:
            return True
    return None


def _is_an_infinitive(reading: Reading, span: Span) -> bool | None:
    return (reading.word(span.start - 1) == "to" and reading.noun(span) in english().verbs) or None


def _is_a_group_of_others(reading: Reading, span: Span) -> bool | None:
    if reading.word(span.end) != "of":
        return None
    of_animals = Role.ANIMAL in reading.roles[span.end : span.end + _GROUP_WINDOW]
    if span.kind == Kind.GROUP or of_animals:
        return reading.noun(span) not in english().keepers
    return None


def _belongs_to_an_animal(reading: Reading, span: Span) -> bool | None:
    determiner, _ = reading.before_the_phrase(span.start)
    may = span.kind == Kind.PRONOUN or determiner in ("its", "his", "her", "their")
    if may and not reading.shown and Role.ANIMAL in reading.roles:
        return reading.noun(span) not in english().keepers
    return None


def _is_credited(reading: Reading, span: Span) -> bool | None:
    """An individual may have made the picture, or own what it shows."""
    if span.kind != Kind.INDIVIDUAL:
        return None
    _, index = reading.before_the_phrase(span.start)
    if reading.shown and _is_a_tag(reading, span):
        return True
    credited = "by" in reading.words[max(0, span.start - _CREDIT_WINDOW) : span.start]
    return credited or (reading.word(index) == "of" and _is_owned(reading, index))


def _is_a_tag(reading: Reading, span: Span) -> bool:
    """Return whether a name stands alone in a list, behind more than the subject."""
    before, after = reading.word(span.start - 1), reading.word(span.end)
    num_commas = reading.words[reading.shown[-1].end : span.start].count(",")
    return before == "," and num_commas > 1 and (is_break(after) or after == "style")


def _comes_after_a_preposition(reading: Reading, span: Span) -> bool | None:
    words = english()
    _, index = reading.before_the_phrase(span.start)
    match reading.word(index):
        case "by":
            return reading.noun(span) in words.makers
        case "for":
            before = reading.word(index - 1)
            return reading.noun(span) in words.makers or not before.endswith("ing")
        case "of":
            beside = any(other.end == index for other in reading.shown)
            shows = bool(reading.shown) and _is_a_finished_picture(reading, index - 1)
            return beside or shows or _is_owned(reading, index)
        case "than":
            return True
        case lead:
            return (lead in words.likenesses and not reading.shown) or None


def _is_a_finished_picture(reading: Reading, index: int) -> bool:
    """Return whether a word is of a picture, and nobody is at work on it: "takes a photo of"."""
    before = reading.words[max(0, index - _PICTURE_WINDOW) : index]
    return reading.word(index) in english().pictures and _AT_WORK.isdisjoint(before)


def _is_owned(reading: Reading, of: int) -> bool:
    """Return whether "of" follows what a person has or had: "hat of", "style of"."""
    before = reading.word(of - 1)
    if reading.role(of - 1) == Role.OTHER and reading.role(of) != Role.OTHER:
        return True
    if reading.role(of - 1) in (Role.THING, Role.FIGURINE):
        return before not in english().depictions
    return before in english().belongings


_ABSENCE: tuple[tuple[str, Rule], ...] = (
    ("part of a compound", _is_part_of_a_compound),
    ("owner of a thing", _owns_a_thing),
    ("description of a noun", _describes_a_noun),
    ("animal or toy", _is_an_animal_or_a_toy),
    ("part of a longer word for a person", _begins_a_compound),
    ("chess piece", _is_a_chess_piece),
    ("onlooker of the picture", _looks_at_the_picture),
    ("attacked by an animal", _is_attacked),
    ("infinitive", _is_an_infinitive),
    ("group of others", _is_a_group_of_others),
    ("an animal's person", _belongs_to_an_animal),
    ("credited individual", _is_credited),
    ("after a preposition", _comes_after_a_preposition),
)
