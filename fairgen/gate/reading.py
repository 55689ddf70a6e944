"""A prompt as the gate reads it: its words, what each is there for, and the phrases around them."""

import re
from enum import Enum, auto
from typing import NamedTuple

from fairgen.gate import phrases
from fairgen.gate.lexicon import Kind, english, kinds
from fairgen.gate.syntax import without_signs

_PHRASE_WINDOW = 6  # words back from a noun to what its phrase begins with
_FULL_STOPS = frozenset(".!?;\n")
_ADJECTIVE = re.compile(r"(?:ed|ing|y|ful|ous|ish|ive|al|less|ic|en|ant|ent)$")


class Role(Enum):
    """What a word is there for."""

    NONE = auto()
    PERSON = auto()
    ABSENT = auto()  # a person who is not in the picture
    BYSTANDER = auto()  # one more person in the picture that is of another
    CROWD = auto()  # several such people
    THING = auto()
    ANIMAL = auto()
    FIGURINE = auto()
    BODY = auto()
    PORTRAIT = auto()
    OTHER = auto()  # a phrase that only sounds like a person


class Span(NamedTuple):
    """A phrase of the prompt: words from `start` to before `end`."""

    start: int
    end: int
    kind: Kind


class Reading:
    """A prompt's words, what each of them is there for, and the people whom it shows.

    `tails` holds what each word ends on: "-", "'" of an owner, or "". `rules` holds the name of the
    last rule that decided about a word for a person. An index outside the prompt reads as a full
    stop without a role.

    `people` holds every phrase for a person in their order, `shown` the picture's subjects, and
    `mentioned` their later mentions as well.
    """

    def __init__(self, prompt: str) -> None:
        self.words, self.tails = phrases.read(without_signs(prompt))
        self.roles = [Role.NONE] * len(self.words)
        self.people: list[Span] = []
        self.shown: list[Span] = []
        self.mentioned: list[Span] = []
        self.rules: dict[Span, str] = {}

    def word(self, index: int) -> str:
        """Return the word at an index."""
        return self.words[index] if 0 <= index < len(self.words) else "."

    def role(self, index: int) -> Role:
        """Return the role of the word at an index."""
        return self.roles[index] if 0 <= index < len(self.words) else Role.NONE

    def text(self, span: Span) -> str:
        """Return a span's words."""
        return " ".join(self.words[span.start : span.end])

    def noun(self, span: Span) -> str:
        """Return a span's last word."""
        return self.word(span.end - 1)

    def mark(self, span: Span, role: Role) -> None:
        """Give every word of a span a role."""
        self.roles[span.start : span.end] = [role] * (span.end - span.start)

    def before_the_phrase(self, start: int) -> tuple[str, int]:
        """Return the determiner of a noun phrase, or "", and the index before the phrase."""
        index = start - 1
        while index >= max(0, start - _PHRASE_WINDOW) and not self.limits_a_phrase(index):
            index -= 1
        determiner = self.word(index)
        return (determiner, index - 1) if determiner in english().determiners else ("", index)

    def lead(self, start: int) -> int:
        """Return the index of the word before a noun phrase and what it is an amount of: that of
        "beside" in "beside a crowd of the fans".
        """
        _, index = self.before_the_phrase(start)
        while self.word(index) == "of" and self._is_an_amount(index - 1):
            _, index = self.before_the_phrase(index - 1)
        return index

    def _is_an_amount(self, index: int) -> bool:
        return (
            self.role(index) in (Role.ABSENT, Role.CROWD) or self.word(index) in english().amounts
        )

    def sentence(self, index: int) -> int:
        """Return the index of the first word of an index's sentence."""
        while index > 0 and self.words[index - 1] not in _FULL_STOPS:
            index -= 1
        return index

    def limits_a_phrase(self, index: int) -> bool:
        """Return whether no noun phrase goes on over the word at an index."""
        word = self.word(index)
        goes_on = index < len(self.tails) and self.tails[index] == "-"
        return not goes_on and (word in english().grammar or is_break(word))


def has_a_verb(reading: Reading, span: Span) -> bool:
    """Return whether a verb in -s follows: "a baby sleeps", since no plural has an article."""
    following = reading.word(span.end)
    if not following.endswith("s") or following.endswith(("ss", "us", "is")):
        return False
    if reading.before_the_phrase(span.start)[0] in ("a", "an", "1", "one", "another"):
        return True
    has_an_object = reading.word(span.end + 1) in english().determiners
    is_a_noun = (following,) in kinds()
    return following[:-1] in english().verbs and (has_an_object or not is_a_noun)


def is_break(word: str) -> bool:
    """Return whether a word is punctuation."""
    return not word[0].isalnum()


def is_participle(word: str) -> bool:
    """Return whether a word has the form of a participle: "wearing", "dressed"."""
    return len(word) > 4 and word.endswith(("ing", "ed"))


def is_outside(word: str) -> bool:
    """Return whether a word cannot be the noun of the phrase before it."""
    return is_break(word) or word in english().grammar or is_participle(word)


def is_adjective(word: str) -> bool:
    """Return whether a word is an adjective, or has the form of one."""
    return word in english().adjectives or _ADJECTIVE.search(word) is not None
