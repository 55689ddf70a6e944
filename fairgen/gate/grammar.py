"""The grammar of an edited sentence: articles, commas, and "they" with its verbs."""

import re

_AN = re.compile(r"(?:[aeio]|u(?!ni|se|ti)|hour|honest|honou?r|heir)", re.IGNORECASE)
_A = re.compile(r"(?:eu|one\b|uni|us[ae]|ut[io])", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(a|an)(\s+)$", re.IGNORECASE)
_THEY = {"is": "are", "was": "were", "has": "have", "does": "do", "'s": " are"}
_VERB = re.compile(r"(\s+(?:\w+ly\s+|also\s+|then\s+|now\s+)?)([a-z]+)\b|('s)\b")
_NEXT_VERB = re.compile(
    r"((?:,|\band|,\sand|\bor|\bbut)\s(?:\w+ly\s)?)([a-z]{2,}s)(?=\s(?:an?|the|his|her|their|its|at|with|into|over|on|up|out|"
    r"in|down|back|forward|away|through|toward|towards|from|to|for|across|off|along)\b)"
)
_OBJECT = re.compile(
    r"\s*(?:[,.;:!?]|$|(?:and|or|but|as|while|in|on|with|at|from|to|like|for|by|beside|behind)\b)"
)


def with_article(left: str, right: str) -> tuple[str, str]:
    """Return both sides of a cut with the article that the next word takes, and its capital."""
    article = _ARTICLE.search(left)
    word = right.lstrip()
    if article and word:
        right_form = "an" if _AN.match(word) and not _A.match(word) else "a"
        if article[1][0].isupper():
            right_form = right_form.capitalize()
        return left[: article.start()] + right_form + " ", word
    if word and (not left.strip() or re.search(r"[.!?]\s*$", left)):
        return left, right[: len(right) - len(word)] + word[0].upper() + word[1:]
    return left, right


def they_for(left: str, pronoun: str, right: str) -> tuple[str, str]:
    """Return both sides of a pronoun with "they" in its place, and its verbs in the plural."""
    word = pronoun.lower()
    if word in ("she", "he"):
        new, right = "they", _in_the_plural(right)
    elif word == "him" or (word == "her" and _OBJECT.match(right)):
        new = "them"
    elif word in ("herself", "himself"):
        new = "themself"
    elif word == "hers" or (word == "his" and re.match(r"\s*(?:[.,;:!?]|$)", right)):
        new = "theirs"
    else:
        new = "their"
    return left, (new.capitalize() if pronoun[0].isupper() else new) + right


def _in_the_plural(clause: str) -> str:
    """Return what follows "they", its verbs without their -s."""
    match = _VERB.match(clause)
    if match is None:
        return clause
    if match[3]:
        clause = " are" + clause[match.end() :]
    else:
        clause = match[1] + _plural_verb(match[2]) + clause[match.end() :]
    stop = re.search(r"[.!?;](?:\s|$)", clause)
    end = stop.start() if stop else len(clause)
    sentence = _NEXT_VERB.sub(lambda m: m[1] + _plural_verb(m[2]), clause[:end])
    return sentence + clause[end:]


def _plural_verb(verb: str) -> str:
    if verb in _THEY:
        return _THEY[verb]
    if verb.endswith("ies") and len(verb) > 4:
        return verb[:-3] + "y"
    if verb.endswith(("shes", "ches", "sses", "xes", "zes", "oes")):
        return verb[:-2]
    return verb[:-1] if verb.endswith("s") and not verb.endswith("ss") else verb


def tidy(text: str) -> str:
    """Return a text with single spaces, and commas where a sentence has words on both sides."""
    text = re.sub(r"(^|[.!?]\s+)They\s*[.!?](?=\s|$)", r"\1", text)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" +([,.;:!?])", r"\1", text)
    text = re.sub(r",? (?:who|that) (?:is|are|was) a person\b,?", "", text)
    text = re.sub(r",(?:\s*,)+", ",", text)
    text = re.sub(r",\s*([.;:!?])", r"\1", text)
    text = re.sub(r"(^|[.!?]\s)\s*,\s*", r"\1", text)
    return re.sub(r"([.!?]) (?:\s*[.!?])+", r"\1", text).strip()
