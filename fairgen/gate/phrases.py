"""How a prompt is read: its words and punctuation, and the phrases of a table that it holds."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

_GAP = 40  # letters between two words of a text
Key = tuple[str, ...]
T = TypeVar("T")

_TEENTHS = ("thir", "four", "fif", "six", "seven", "eigh", "nine")
_TENS = ("twent", "thirt", "fort", "fift", "sixt", "sevent", "eight", "ninet")
_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", *(f"{stem}teen" for stem in _TEENTHS))
_REWRITES = tuple((re.compile(pattern), replacement) for pattern, replacement in (
    ("[\u2018\u2019\u02bc`]", "'"),
    (r"n't\b", " not"),
    (r"\b(he|she|it|who|that|there)'s\b", r"\1 is"),
    (r"\b(dr|mr|mrs|ms|prof|jr|sr|lt|sgt|capt)\.", r"\1"),
    (r"(?<= [b-hj-z])\.(?= \w)", ""),  # initials
    (r"\b(?:anything but|instead of|rather than|other than|devoid of|free of)\b", "not"),
    *((rf"\b{stem}y\b", f"{tens}0") for tens, stem in enumerate(_TENS, 2)),
    *((rf"\b{stem}ies\b", f"{tens}0s") for tens, stem in enumerate(_TENS, 2)),
    (r"\b(?:appears?|seems?|looks?) to be\b", "is"),
    *((rf"(?<=[2-9])0[- ]{unit}\b", str(number)) for number, unit in enumerate(_UNITS, 1)),
    *(
        (rf"\b{unit}(?=[ -]years?[ -]old\b)", str(number))
        for number, unit in enumerate((*_UNITS, *_TEENS), 1)
    ),
    (r"\bof (?:about|around|roughly) ([1-9]\d)(?=\W*$|[,.;]| (?:with|in|at|who)\b)", r"aged \1"),
    (r"(?<!her )(?<!his )(?<!their )\b(?:early|mid|late)[ -](\d0)s\b", r"aged \1"),
    (r"\b(?:early|mid|late)[ -](?=\d0s)", ""),
    (r"\bage:? (?=\d)", "aged "),
    (r"(?<=\d)[ -]?(?:y/?o|yrs?[ -]old|years? of age)\b", " years old"),
    (r":\d+(?:\.\d+)?", ""),  # weights: "(doctor:1.2)"
    (
        r"\b(?:says?|saying|reads?|reading|words?|text|titled?|labell?ed|written|letters|logo)"
        r"\W{1,3}[\"'“][^\"'“”]{0,200}[\"'”]",
        ".",
    ),
    ("&", " and "),
))  # fmt: skip
_TOKEN = re.compile(r"([^\W\d_]+|\d+|#)(-(?=\w)|'s(?!\w)|(?<=s)'(?!\w))?|[^\w\s()\[\]{}\"'“”*]|\n")


def read(text: str) -> tuple[list[str], list[str]]:
    """Return a text's words and punctuation, and what each ends on: "-", "'" of an owner, or ""."""
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    tokens = list(_TOKEN.finditer(text))
    return [token[1] or token[0] for token in tokens], [(token[2] or "")[:1] for token in tokens]


def locate(words: Sequence[str], text: str) -> list[int]:
    """Return where each word of a reading begins in its text, -1 for one that is not written so."""
    plain = "".join(unicodedata.normalize("NFKD", letter.casefold())[:1] or " " for letter in text)
    offsets, start = [], 0
    for word in words:
        edges = (r"(?<![^\W\d_])", r"(?![^\W\d_])") if word[0].isalnum() else ("", "")
        written = re.compile(re.escape(word).join(edges))
        match = written.search(plain, start, start + len(word) + _GAP)
        offset = match.start() if match else -1
        offsets.append(offset)
        start = start if offset < 0 else offset + len(word)
    return offsets


class Table(dict[Key, T]):
    """Phrases and what they mean; complete before it is searched."""

    @cached_property
    def longest(self) -> int:
        """The words of the longest phrase."""
        return max(map(len, self))


def find(words: Sequence[str], table: Table[T]) -> list[tuple[int, int, T]]:
    """Return start, end and meaning of a table's phrases in a text, the longest at each index."""
    keys = ["#" if word.isdecimal() else word for word in words]
    matches = []
    start = 0
    while start < len(keys):
        sizes = range(min(table.longest, len(keys) - start), 0, -1)
        size = next((size for size in sizes if tuple(keys[start : start + size]) in table), 0)
        if size:
            matches.append((start, start + size, table[tuple(keys[start : start + size])]))
        start += size or 1
    return matches


def forms(phrase: str) -> list[Key]:
    """Return a phrase and its plurals, as keys of a table."""
    words = ["#" if word.isdecimal() else word for word in read(phrase)[0]]
    head = 0 if {"in", "by", "at", "of"}.intersection(words[1:]) else len(words) - 1
    noun = words[head]
    plurals = [noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh", "o")) else "s")]
    if noun.endswith("man") and noun not in ("human", "shaman", "german"):
        plurals.append(noun[:-3] + "men")
    if noun.endswith("y"):
        plurals.append(noun[:-1] + "ies")
    if noun.endswith(("f", "fe")):
        plurals.append(noun.rstrip("fe") + "ves")
    if noun.endswith("child"):
        plurals.append(noun + "ren")
    return [(*words[:head], form, *words[head + 1 :]) for form in (noun, *plurals)]
