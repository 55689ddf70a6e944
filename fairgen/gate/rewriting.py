"""A prompt that a language model has rewritten, without what the user never said of the person.

Who asks for "an anthropologist" and gets "An anthropologist, a middle-aged man with grey hair, ..."
has named no age and no gender. What only the rewriting names is taken out; the rest stays English:
"her" becomes "their", "woman" "person".
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from fairgen.attributes import Attribute
from fairgen.gate.decision import Gate, GateDecision, decide
from fairgen.gate.grammar import they_for, tidy, with_article
from fairgen.gate.lexicon import Kind, english
from fairgen.gate.mentions import find_mentions
from fairgen.gate.phrases import locate
from fairgen.gate.presence import read_people
from fairgen.gate.reading import Reading, Role, is_outside

_MAX_PASSES = 4  # what is taken out may join words that say the same again
_NOUNS = {
    "actress": "actor", "boyfriend": "partner", "brother": "sibling", "daughter": "child",
    "father": "parent", "girlfriend": "partner", "hostess": "host", "husband": "spouse",
    "king": "monarch", "mother": "parent", "queen": "monarch", "seamstress": "tailor",
    "sister": "sibling", "son": "child", "stewardess": "steward", "waitress": "waiter",
    "wife": "spouse", "beard": "chin", "mustache": "lip", "moustache": "lip",
}  # fmt: skip
_PRONOUNS = frozenset(("she", "he", "her", "his", "him", "hers", "herself", "himself"))
_PEOPLE = (
    r"(?:wo)?m[ae]n|person|lady|gentleman|individual|girl|boy|male|female|figure|adult|child|guy"
)
_APPOSITION = re.compile(
    rf"\s*(?:(?:an?|the|one)\s)?(?:(?!\w+ing\b|an?\b|the\b|with\b|of\b)[\w'-]+,?\s){{0,6}}?(?:{_PEOPLE})\b(.*)",
    re.DOTALL,
)
_ABOUT = re.compile(
    r"(?:(?:,\s*)?\b(?:who|that)\s(?:is|looks|appears|seems)\s)?"
    r"(?:\b(?:very|quite|rather|fairly|around|about|roughly|approximately|perhaps|probably|in|deep|rich|warm|smooth)\s)*$"
)
_SEGMENT_START = re.compile(r",\s*(?:(?:very|quite|around|about|roughly|perhaps|probably)\s)?$")
_OF = re.compile(r"\bof\s(?:[\w-]+\s)?$")
_LOOKS = re.compile(
    r"[\s-](?:looking|skinned|born|descent|heritage|origins?|ancestry|appearance|ethnicity|background)\b"
)
_ADJECTIVES = re.compile(r"(\b(?:his|her|their|the|an?)\s)(?:[\w-]+,?\s){0,3}$", re.IGNORECASE)
_LAST_COMMA = re.compile(r"(\b(?:an?|the)\s(?:[\w-]+,?\s){0,3}[\w-]+),\s*$", re.IGNORECASE)
_COPULA = re.compile(r"\b(?:is|are|was|were|looks|appears|seems)\s$")
_BODY = re.compile(r"(?:beard|mustache|moustache|hair|skin|wrinkles|stubble|goatee|sideburns)$")
_CONJUNCT = re.compile(r"\b(with|and)\s(?:an?\s|the\s|his\s|her\s|their\s)?(?:[\w-]+,?\s){0,4}$")


class _Mention(NamedTuple):
    """Letters of a prompt, from start to before end, that name an attribute of its subject."""

    start: int
    end: int
    what: str  # "pronoun", "noun", "adjective" or "body"
    follows_the_person: bool  # in the same sentence


class Rewriting(BaseModel):
    """A rewritten prompt without what only it names, and the words that were taken out, in their
    order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    removed: tuple[str, ...]


def without_additions(
    original_prompt: str, prompt: str, attributes: Sequence[Attribute]
) -> Rewriting:
    """Return a rewritten prompt without what it names of its subject and the user's words do not.

    It is returned as it is where the user's words leave no attribute free, and where it shows
    nobody or several people.
    """
    decision = decide(original_prompt, attributes)
    opened = [attribute for attribute in attributes if attribute.name in decision.free]
    removed: list[str] = []
    for _ in range(_MAX_PASSES):
        mentions = _find(prompt, opened)
        if not mentions:
            break
        removed += [prompt[mention.start : mention.end] for mention in mentions]
        prompt = tidy(_without(prompt, mentions, decision.person or "person"))
    return Rewriting(prompt=_without_sentences(prompt, opened), removed=tuple(removed))


def decide_rewriting(
    original: GateDecision, prompt: str, attributes: Sequence[Attribute], gate: Gate = decide
) -> GateDecision:
    """Return the word on a rewritten prompt as it is painted: what the gate said of the user's own,
    without what the rewriting does not leave open, too. It may name what nobody could take out, in
    another language than English, or show nobody, or several people.
    """
    painted = gate(prompt, attributes, None).attributes
    found = {
        name: painted[name] if said.act and not painted[name].act else said
        for name, said in original.attributes.items()
    }
    return original.model_copy(update={"attributes": found})


def _find(prompt: str, attributes: Sequence[Attribute]) -> list[_Mention]:
    """Return the words of a prompt that name an attribute of its one subject, in their order."""
    reading = read_people(prompt)
    offsets = [*locate(reading.words, prompt), len(prompt)]
    if len(reading.shown) != 1 or reading.shown[0].kind in (Kind.PEOPLE, Kind.GROUP):
        return []
    found = []
    for start, end in sorted({m for a in attributes for m in find_mentions(reading, a)}):
        first = max((i for i in range(start + 1) if offsets[i] >= 0), default=0)
        begin = offsets[first] + (0 if first == start else len(reading.words[first]))
        stop = next(offset for offset in offsets[end:] if offset >= 0)
        if offsets[end - 1] >= 0:
            stop = offsets[end - 1] + len(reading.words[end - 1])
        text = prompt[begin:stop]
        begin += len(text) - len(text.lstrip(" ,-("))
        stop = begin + len(text.strip(" ,-()"))
        sentence = offsets[reading.sentence(start)]
        subject = any(
            sentence <= offsets[i] and offsets[i] >= 0 and reading.roles[i] == Role.PERSON
            for i in range(start)
        )
        found.append(_Mention(begin, stop, _what(reading, start, end), subject))
    return [m for m in found if not any(_holds(other, m) for other in found)]


def _holds(one: _Mention, other: _Mention) -> bool:
    return one[:2] != other[:2] and one.start <= other.start and other.end <= one.end


def _what(reading: Reading, start: int, end: int) -> str:
    word = reading.word(end - 1)
    if word in _PRONOUNS and end == start + 1:
        return "pronoun"
    if _BODY.search(word):
        return "body"
    people = (Role.PERSON, Role.BYSTANDER)
    ends = any(span.end == end for span in reading.people) and reading.role(end - 1) in people
    return "noun" if ends else "adjective"


def _without(prompt: str, mentions: Sequence[_Mention], person: str) -> str:
    """Return a prompt without its mentions, the last one taken out first."""
    limit = len(prompt) + 1
    for mention in reversed(mentions):
        if mention.end > limit:
            continue
        words, what = prompt[mention.start : mention.end], mention.what
        left, right = prompt[: mention.start], prompt[mention.end :]
        cut = None
        if what != "pronoun":
            cut = _segment(left, right) or _apposition(prompt, mention, mentions)
        if cut is not None:
            left, right = cut
        elif what == "pronoun":
            left, right = they_for(left, words, right)
        elif what == "body":
            left, right = _without_body(left, words, right)
        elif what == "noun":
            left, right = with_article(left, _for_anybody(words, person) + right)
        else:
            left, right = _without_adjective(left, right)
        limit = len(left)
        prompt = left + right
    return prompt


def _for_anybody(noun: str, person: str) -> str:
    """Return a word that says the same of anybody: "actor" for "actress"; the user's own word where
    the rewriting has another occupation, and "person" for "woman".
    """
    *_, last_word = noun.lower().split()
    word = _NOUNS.get(last_word, "person" if last_word in english().generic else person)
    return word.capitalize() if noun[0].isupper() else word


def _segment(left: str, right: str) -> tuple[str, str] | None:
    """Return what is left and right of ", middle-aged,"; None if more stands between the commas."""
    before, after = _SEGMENT_START.search(left), re.match(r"\s*(?:,|(?=[.;!?\n])|$)", right)
    if before is None or after is None or not left[: before.start()].strip():
        return None
    rest = right[after.end() :]
    goes_on = after[0].strip() != "," or re.match(r"\s+(?:\w+ly\s)?(?:[a-z]{2,}s|is|has)\b", rest)
    return left[: before.start()], rest if goes_on else "," + rest


def _apposition(
    prompt: str, mention: _Mention, mentions: Sequence[_Mention]
) -> tuple[str, str] | None:
    """Return what is left and right of ", a middle-aged man with grey hair,"; None if there is no
    such thing around a mention.
    """
    comma = prompt.rfind(",", 0, mention.start)
    stop = re.compile(r"[,.!?;:\n]|$").search(prompt, mention.start)
    if comma < 0 or stop is None or not mention.follows_the_person:
        return None
    end = stop.start()
    match = _APPOSITION.fullmatch(prompt[comma + 1 : end])
    if match is None or mention.start >= comma + 1 + match.start(1):
        return None
    rest = comma + 1 + match.start(1)
    if match[1].strip() and not any(rest <= other.start < end for other in mentions):
        return prompt[: comma + 1], prompt[rest:]
    return prompt[:comma], prompt[end + 1 if stop[0] == "," else end :]


def _without_body(left: str, words: str, right: str) -> tuple[str, str]:
    """Return both sides without "with a grey beard", or with the noun alone: "hair"."""
    conjunct = _CONJUNCT.search(left)
    if conjunct is not None:
        follows = re.match(r"\s+and\s+", right)
        if conjunct[1] == "and":
            return left[: conjunct.start()].rstrip(), right
        if follows:
            return left[: conjunct.end(1)] + " ", right[follows.end() :]
        return left[: conjunct.start()].rstrip(), right
    *adjectives, noun = words.split()
    if noun in _NOUNS:
        left = _ADJECTIVES.sub(r"\1", left)
    return with_article(left, _NOUNS.get(noun, noun if adjectives else "face") + right)


def _without_adjective(left: str, right: str) -> tuple[str, str]:
    """Return both sides without an adjective and the words that only say how much of it."""
    if looks := _LOOKS.match(right):
        right = right[looks.end() :]
    if (of := _OF.search(left)) and (looks or is_outside((right.split() or ["."])[0])):
        return left[: of.start()].rstrip(), right
    if about := _ABOUT.search(left):
        left = left[: about.start()]
    if re.search(r"(?:^|\b(?:an?|the|his|her|their)|[.!?])\s*$", left, re.IGNORECASE):
        right = re.sub(r"^\s*(?:,|and\b|-)\s*(?=\w)", " ", right)
    elif re.match(r"\s+\w", right):
        left = _LAST_COMMA.sub(r"\1 ", left)
    if re.match(r"\s*(?:[,.;:!?]|and\b|$)", right):
        left = re.sub(r"(?:,\s*(?:and\s)?|\s+and\s+)$", "", left)
        if re.match(r"\s*(?:[.;!?]|$)", right):
            left = _COPULA.sub("", left)
    return with_article(left, right.lstrip() if left.endswith((" ", "\n")) or not left else right)


def _without_sentences(prompt: str, attributes: Sequence[Attribute]) -> str:
    """Return a prompt without the later sentences that still name an attribute."""
    while mentions := _find(prompt, attributes):
        start = (
            max(prompt.rfind(stop, 0, mentions[-1].start) for stop in (". ", "! ", "? ", "\n")) + 1
        )
        if start <= 0:
            return prompt
        end = re.compile(r"[.!?](?=\s|$)|$").search(prompt, mentions[-1].start)
        prompt = (prompt[:start] + prompt[end.end() if end else len(prompt) :]).strip()
    return prompt
