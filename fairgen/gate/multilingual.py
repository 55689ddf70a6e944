"""What a prompt of another language than English means for a recipe's attributes."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain

from fairgen.attributes import Attribute
from fairgen.gate.identification import (
    ENGLISH,
    READ,
    is_unread,
    languages_of,
    languages_within,
    share_known_to_english,
)
from fairgen.gate.languages import LATIN, MASCULINE_FORM, language
from fairgen.gate.lexicon import Kind, english, synonyms
from fairgen.gate.presence import read_people
from fairgen.gate.scenes import Person, Scene, people, read_scene
from fairgen.gate.sentences import Sentence


def scene_beside_english(prompt: str) -> Scene | None:
    """Return whom a prompt shows that is not for English to read; None where English reads it.

    An English prompt may hold a person of another language: "a photo of una enfermera, 8k".
    """
    codes = languages_of(prompt)
    code = codes[0]
    if code == ENGLISH:
        return _scene_within(prompt)
    if code not in READ:
        return Scene(None, "language", code)
    scenes = [read_scene(prompt, code) for code in codes]
    scene = next((scene for scene in scenes if scene.reason != "no people"), scenes[0])
    unread = is_unread(prompt) if scene.reason == "no people" and code in LATIN else ""
    return Scene(None, "language", unread) if unread else scene


def categories_said(scene: Scene, attribute: Attribute) -> dict[str, bool]:
    """Return the attribute's categories that a scene names, and whether each is denied; "" is a
    word that names no single category.
    """
    denied: dict[str, bool] = {}
    for saying in scene.sayings:
        for category in _categories(saying.english, saying.number, attribute):
            denied[category] = denied.get(category, True) and saying.denied
    return denied


def is_masculine_form(scene: Scene, attribute: Attribute) -> bool:
    """Return whether a scene's noun would be a man's, if its language did not say it of anybody."""
    said = any(saying.english == MASCULINE_FORM for saying in scene.sayings)
    return said and any(True for _ in _categories("man", 0.0, attribute))


def named_in(text: str, code: str, attributes: Sequence[Attribute]) -> dict[str, tuple[str, ...]]:
    """Return attribute -> the categories that any word of a text names, whether or not it shows a
    person; for negative prompts.
    """
    sentence = Sentence(text, language(code))
    words = [
        (word, phrase.number)
        for phrase in sentence.phrases
        for entry in phrase.entries
        for word in entry.english
        if word != MASCULINE_FORM
    ]
    named = {}
    for attribute in attributes:
        found = {category for word in words for category in _categories(*word, attribute)}
        named[attribute.name] = tuple(name for name in attribute.names if name in found)
    return {name: categories for name, categories in named.items() if categories}


def _scene_within(prompt: str) -> Scene | None:
    """Return the scene of another language in an English prompt that shows nobody in English."""
    codes = languages_within(prompt)
    if not codes or any(s.kind != Kind.PORTRAIT for s in read_people(prompt).shown):
        return None
    for code in codes:
        sentence = Sentence(prompt, language(code))
        if any(_is_certain(sentence, person) for person in people(sentence)):
            return read_scene(prompt, code)
    return None


def _is_certain(sentence: Sentence, person: Person) -> bool:
    """Return whether a person stands in an English prompt as one of this language: behind its
    own article, or in its own script, and in words that English does not have.
    """
    words = sentence.phrases[person.nouns[0]].words
    article = sentence.article(person.nouns[0])
    indefinite = article is not None and article.words[0].startswith(("un", "um", "ein"))
    return (sentence.by_character or indefinite) and not share_known_to_english(words)


def _categories(word: str, number: float, attribute: Attribute) -> Iterator[str]:
    """Yield the categories that an English word names, "" where it names no single one."""
    meanings = _meanings(attribute)
    if word.startswith("#") or word[:1].isdecimal():
        years = number or float(next(iter(re.findall(r"\d+", word)), 0.0))
        aged = [
            (abs(float(digits[0]) - years), name)
            for phrase, names in meanings.items()
            if (digits := re.findall(r"\d+", phrase))
            for name in names
        ]
        if aged:
            yield min(aged)[1]
        return
    if word in meanings:
        yield from meanings[word]
        return
    own = {*attribute.mentions, *(category.word for category in attribute.categories)}
    knows_origins = not english().origins.isdisjoint(word.casefold() for word in own)
    knows_skin = any("skin" in phrase for phrase in meanings)
    is_skin = "skin" in word or word in ("tan", "tanned", "pale")
    if (word in english().origins and knows_origins) or (is_skin and knows_skin):
        yield ""


@cache
def _meanings(attribute: Attribute) -> dict[str, tuple[str, ...]]:
    """Return English word -> the categories that it names, with the words that say the same."""
    table: dict[str, dict[str, None]] = {}
    words_of = [(c.name, (c.word, *c.mentions)) for c in attribute.categories]
    for category, words in [*words_of, ("", attribute.mentions)]:
        for word in chain.from_iterable((w, *synonyms().get(w, ())) for w in words):
            table.setdefault(word.casefold(), {})[category] = None
    return {word: tuple(names) for word, names in table.items()}
