"""The rule that decides about a word for a person has a name."""

import pytest

from fairgen.gate.presence import read_people
from fairgen.gate.reading import Role


@pytest.mark.parametrize(
    ("prompt", "word", "rule"),
    [
        ("a doctor-led clinic", "doctor", "part of a compound"),
        ("a doctor's hat", "doctor", "owner of a thing"),
        ("a police car", "police", "description of a noun"),
        ("a panda mad scientist", "scientist", "animal or toy"),
        ("a place to nurse an idea", "nurse", "infinitive"),
        ("a group of dogs", "group", "group of others"),
        ("a dog and its friend", "friend", "an animal's person"),
        ("a landscape by Rembrandt", "rembrandt", "credited individual"),
        ("a landscape by a famous painter", "painter", "after a preposition"),
        ("a room without a doctor", "doctor", "denied"),
        ("a doctor", "doctor", "the first person"),
        ("a doctor in her garden, she smiles", "she", "pronoun"),
        ("a doctor dressed as a pirate", "pirate", "likeness"),
        ("the doctor is a mother", "mother", "said of somebody"),
        ("a doctor, the woman smiles", "woman", "in apposition"),
        ("a farmer feeds a cow while the farmer smiles", "farmer", "repeated"),
    ],
)
def test_the_rule_that_decided_is_known(prompt: str, word: str, rule: str) -> None:
    reading = read_people(prompt)
    rules = [name for span, name in reading.rules.items() if reading.text(span).endswith(word)]
    assert rules[-1:] == [rule]


def test_a_person_elsewhere_is_absent_and_an_animal_is_an_animal() -> None:
    reading = read_people("a doctor's cat")
    assert reading.shown == []
    assert reading.roles == [Role.NONE, Role.ABSENT, Role.ANIMAL]
