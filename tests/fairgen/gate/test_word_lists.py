"""The lists of words are many, sorted and without doubles."""

from fairgen.gate import decide
from fairgen.gate.lexicon import WORDS, english, read_words
from tests.tiny import ATTRIBUTES as PLAIN

WORD_LISTS = {str(f.relative_to(WORDS)): read_words(f) for f in sorted(WORDS.rglob("*.txt"))}


def test_occupations_are_many_and_every_one_is_a_person() -> None:
    assert len(english().occupations) >= 400
    for occupation in english().occupations:
        assert decide(f"a photo of a {occupation}", PLAIN).person == occupation.replace("-", " ")
        assert decide(f"a photo of a {occupation}'s hat", PLAIN).person is None, occupation


def test_every_list_of_words_is_sorted_and_holds_no_word_twice() -> None:
    assert len(WORD_LISTS) > 30
    for name, words in WORD_LISTS.items():
        assert all(word == word.strip().casefold() != "" for word in words), name
        assert list(words) == sorted(set(words)), name
