"""In which language a prompt is written.

Words that the gate knows decide where they can: a prompt that English knows half of is English, and
one that another language knows better is in that. A script of its own tells the rest of the world's
writing. What is left py3langid identifies, and it is believed only when it is sure: prompts are
short, full of names and of English terms, and English is what most of them are in.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING

from fairgen.gate import phrases
from fairgen.gate.languages import CHARACTERS, LATIN, language, plain, spelt_for_one, tokens
from fairgen.gate.lexicon import WORDS, Lexicon, english, read_words

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

ENGLISH = "en"
READ = (ENGLISH, *LATIN, *CHARACTERS)
_KNOWN = 0.5  # share of a prompt's words from which on a language is believed
_SURE = 0.4  # probability from which on the library is believed
_SURE_OF_A_SENTENCE = 0.2  # of a prompt of which English knows no word in four
_SURE_OF_ANOTHER = 0.8  # where a language that the gate reads knows the words, and finds nobody
_FEW_WORDS = 4
_LONGEST_ARTICLE = 3  # letters of words that say which language it is: "plaza de toros"
_LETTERS = 300  # letters of a prompt that the library reads
_SCRIPTS = {
    "HANGUL": "ko", "HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "zh", "GREEK": "el", "HEBREW": "he",
    "THAI": "th", "DEVANAGARI": "hi", "ARABIC": "ar", "CYRILLIC": "ru", "ARMENIAN": "hy",
    "GEORGIAN": "ka", "BENGALI": "bn", "TAMIL": "ta", "TELUGU": "te", "GUJARATI": "gu",
    "GURMUKHI": "pa", "KANNADA": "kn", "MALAYALAM": "ml", "SINHALA": "si", "KHMER": "km",
    "LAO": "lo", "MYANMAR": "my", "ETHIOPIC": "am", "TIBETAN": "bo", "ORIYA": "or",
}  # fmt: skip
_SEVERAL_LANGUAGES = ("ARABIC", "CYRILLIC", "DEVANAGARI", "HEBREW")  # the library tells them apart


def languages_of(prompt: str) -> tuple[str, ...]:
    """Return the codes of the languages that a prompt may be in, the likeliest first; more than one
    where they have the same words. A prompt without words is English.
    """
    script = _script(prompt)
    if script == "CJK":
        return (max(CHARACTERS, key=lambda code: _num_listed(prompt, code)),)
    if script in _SCRIPTS:
        likeliest = _library(prompt)[0] if script in _SEVERAL_LANGUAGES else ENGLISH
        return (_SCRIPTS[script] if likeliest in READ else likeliest,)
    words = _latin_words(prompt)
    in_english = share_known_to_english(words)
    if in_english == 1:
        return (ENGLISH,)
    shares = {code: _known(prompt, code) for code in LATIN}
    highest = max(shares.values())
    if highest <= in_english and in_english >= _KNOWN:
        return (ENGLISH,)
    likeliest, probability = _library(prompt)
    if highest > in_english and highest >= _KNOWN:
        best = [code for code in LATIN if shares[code] == highest]
        exact = {code: -len(language(code).spellings.intersection(words)) for code in best}
        return tuple(sorted(best, key=lambda code: (exact[code], code != likeliest)))
    enough = len(words) >= _FEW_WORDS and in_english < 1 / _FEW_WORDS
    return (likeliest if probability >= (_SURE_OF_A_SENTENCE if enough else _SURE) else ENGLISH,)


def is_unread(prompt: str) -> str:
    """Return the language, if the library is sure of one that the gate does not read; else ""."""
    likeliest, probability = _library(prompt)
    return likeliest if likeliest not in READ and probability >= _SURE_OF_ANOTHER else ""


def languages_within(prompt: str) -> tuple[str, ...]:
    """Return the languages that know words of an English prompt which English does not know."""
    unknown = [word for word in _latin_words(prompt) if plain(word) not in _english_words()]
    known = [code for code in LATIN if not language(code).vocabulary.isdisjoint(unknown)]
    scripts = {_SCRIPTS.get(script, "") for script in _scripts(prompt)}
    known += ["ja"] if "ja" in scripts else ["zh"] if "zh" in scripts else []
    return tuple(known)


def share_known_to_english(words: Sequence[str]) -> float:
    """Return the share of words that the English lists hold; 1 where there is no word."""
    return _share([plain(word) for word in words], _english_words())


def language_name(code: str) -> str:
    """Return a language's English name, or its code where nobody listed it."""
    return _names().get(code, code)


def _share(words: Sequence[str], vocabulary: frozenset[str]) -> float:
    known = sum(word in vocabulary or plain(word) in vocabulary for word in words)
    return known / len(words) if words else 1.0


def _known(prompt: str, code: str) -> float:
    """Return the share of a prompt's words that a language knows."""
    words = _latin_words(spelt_for_one(prompt, language(code)))
    return _share(words, language(code).vocabulary)


def _num_listed(prompt: str, code: str) -> int:
    """Return how many characters of a prompt stand in phrases of a language."""
    found = phrases.find(language(code).words(prompt), language(code).table)
    return sum(end - start for start, end, _ in found)


def _latin_words(prompt: str) -> list[str]:
    return [word for word in tokens(prompt) if word[0].isalpha() and word < "\u0370"]


def _scripts(prompt: str) -> Counter[str]:
    """Return how many letters a prompt has of each script; a Chinese one counts as three."""
    counts: Counter[str] = Counter()
    for letter in prompt[:_LETTERS]:
        if letter.isalpha():
            script = unicodedata.name(letter, "").split()[0:1]
            counts["".join(script)] += 3 if script == ["CJK"] else 1
    return counts


def _script(prompt: str) -> str:
    """Return the script of most of a prompt; Japanese is what holds a syllable of it."""
    counts = _scripts(prompt)
    japanese = counts["HIRAGANA"] + counts["KATAKANA"]
    if japanese:
        counts["HIRAGANA"] = japanese + counts.pop("CJK", 0)
    return max(counts, key=lambda script: counts[script], default="LATIN")


def _library(prompt: str) -> tuple[str, float]:
    """Return the language that the library tells, and how sure it is."""
    text = " ".join(prompt[:_LETTERS].casefold().split())
    code, probability = _identifier().classify(text)
    return (ENGLISH if code == "zxx" else code), float(probability)


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _english_words() -> frozenset[str]:
    """Return every word of every English phrase."""
    listed = [getattr(english(), field.name) for field in fields(Lexicon)]
    keys = (key for words in listed for phrase in words for key in phrases.forms(phrase))
    terms = tokens(" ".join(read_words(WORDS / "borrowed.txt")))
    borrowed = (plain(word) for word in terms if len(word) > _LONGEST_ARTICLE)
    return frozenset((*(word for key in keys for word in key), *borrowed))


@cache
def _names() -> dict[str, str]:
    pairs = (line.split(" = ") for line in read_words(WORDS / "languages.txt"))
    return {code: name.title() for code, name in pairs}
