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
        ("a child care worker", "child", "part of a longer word for a person"),
        ("a pawn and a bishop", "bishop", "chess piece"),
        ("among her pupils, a teacher", "pupils", "before the subject"),
        ("a doctor and a nurse", "nurse", "one of two"),
        ("a doctor with a patient", "patient", "bystander"),
        ("a doctor at a desk, a nurse in the background", "nurse", "in the background"),
        ("A chemist pours a liquid. The scientist smiles.", "scientist", "another name"),
        ("A cook stirs a soup. Behind the counter waits a clerk.", "clerk", "in a later sentence"),
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


@pytest.mark.parametrize(
    ("prompt", "person"),
    [
        (
            "An accountant at a desk. The accountant's gaze is calm. A clerk walks past.",
            "accountant",
        ),
        ("A dog groomer bends over a poodle. The groomer smiles at the owner.", "dog groomer"),
        ("In front of rows of students, a professor writes on a board", "professor"),
        ("a claims adjuster in a flooded house", "adjuster"),
        ("Patrons chat at tables while a barista steams milk", "barista"),
        ("A manager, hat under one arm, confers with an engineer", "manager"),
        (
            "A veterinarian: kneeling, the vet listens to a foal while the farmer waits",
            "veterinarian",
        ),
        ("A man in a hard hat and a vest, a civil engineer, inspects a bridge", "man"),
    ],
)
def test_a_person_among_others_is_the_only_one_shown(prompt: str, person: str) -> None:
    reading = read_people(prompt)
    assert [reading.text(span) for span in reading.shown] == [person]


@pytest.mark.parametrize(
    "word", ["toaster", "calculator", "container", "mirror", "motor", "brighter"]
)
def test_a_device_is_nobody(word: str) -> None:
    assert read_people(f"a big {word}").shown == []
    assert read_people(f"a {word} on a table").shown == []


@pytest.mark.parametrize(
    "occupation",
    ["log grader", "phonetician", "pipe welding inspector", "saddlesmith", "campanologist"],
)
def test_an_occupation_that_no_list_holds_is_a_person(occupation: str) -> None:
    assert len(read_people(f"a photo of a {occupation} at work").shown) == 1
