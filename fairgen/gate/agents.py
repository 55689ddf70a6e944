"""Words for whoever does something that no list holds: "a log grader" is a person.

English makes such words as it needs them, so that no list of occupations is complete; what is made
in the same way and does something by itself is a device: "a toaster".
"""

import re

from fairgen.gate.lexicon import Kind, english, kinds
from fairgen.gate.reading import Reading, Role, Span, has_a_verb, is_adjective, is_break, is_outside

_AGENT = re.compile(
    r"[a-z]{2,}(?:er|or|eer|ist|ician|arian|man|woman|person|smith|wright|monger|mason)$"
)
_SHORTEST = 5  # letters of a word for whoever does something
_ARTICLES = frozenset(("a", "an", "the", "one", "another"))
_PHRASE_WINDOW = 7  # words from an article to the noun: "a radio and television repairer"


def find_agents(reading: Reading) -> list[Span]:
    """Return the words at the ends of phrases that only their endings tell to be a person's."""
    agents = []
    for index, word in enumerate(reading.words):
        if word in _ARTICLES:
            span = _agent_of_the_phrase(reading, index + 1)
            if span is not None and span not in agents:
                agents.append(span)
    return agents


def _agent_of_the_phrase(reading: Reading, start: int) -> Span | None:
    for index in range(start, start + _PHRASE_WINDOW):
        word = reading.word(index)
        if is_break(word) or reading.limits_a_phrase(index):
            return None
        span = Span(index, index + 1, Kind.PERSON)
        ends = is_outside(reading.word(index + 1)) or has_a_verb(reading, span)
        if ends and _is_agent(word) and reading.role(index) == Role.NONE:
            return span if reading.tails[index] != "-" else None
    return None


def _is_agent(word: str) -> bool:
    known = (word,) in kinds() or word in english().devices or is_adjective(word)
    return len(word) >= _SHORTEST and not known and _AGENT.match(word) is not None
