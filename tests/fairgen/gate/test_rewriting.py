"""What only a rewriting names of the person is taken out, and the rest stays English."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairgen.gate import decide
from fairgen.gate.rewriting import decide_rewriting, without_additions
from fairgen.judging.gate_suite import Line, read_suite
from pipelines.recipe.recipe import load_recipe
from tests.growth import grows_linearly

RECIPE = Path(__file__).parents[3] / "pipelines" / "recipes" / "portraits.yaml"
ATTRIBUTES = load_recipe(RECIPE).attributes
PARAGRAPHS = tuple(
    line for line in read_suite("gate-paragraphs") if line.group == "paragraph" and line.expected
)


@pytest.mark.parametrize(
    ("original", "rewritten", "expected"),
    [
        (
            "an anthropologist",
            "An anthropologist, a middle-aged man with grey hair, sits at a desk full of masks. "
            "His gaze is fixed on a figurine and he holds a brush in his hand.",
            "An anthropologist sits at a desk full of masks. "
            "Their gaze is fixed on a figurine and they hold a brush in their hand.",
        ),
        (
            "an anthropologist",
            "A portrait of an anthropologist, a woman in her forties, kneeling beside a trench. "
            "She brushes sand from a shard and smiles at the camera.",
            "A portrait of an anthropologist kneeling beside a trench. "
            "They brush sand from a shard and smile at the camera.",
        ),
        (
            "a nurse",
            "A young female nurse with kind eyes and dark skin stands in a hall. She wears "
            "blue scrubs. Her hair is tied back, and a stethoscope hangs around her neck.",
            "A nurse stands in a hall. They wear blue scrubs. Their hair is tied back, and a "
            "stethoscope hangs around their neck.",
        ),
        (
            "a doctor",
            "An elderly doctor of African descent examines an x-ray. The man's coat is crisp.",
            "A doctor examines an x-ray. The person's coat is crisp.",
        ),
        (
            "a carpenter",
            "A bearded carpenter in his late fifties planes a board in an old barn. Shavings curl "
            "around him. He's humming.",
            "A carpenter planes a board in an old barn. Shavings curl around them. They are "
            "humming.",
        ),
        (
            "a judge",
            "A distinguished 60-year-old judge, with silver hair and a stern look, sits down.",
            "A distinguished judge, with a stern look, sits down.",
        ),
        (
            "a programmer",
            "A young, focused programmer types. A confident Asian woman, she sips her coffee.",
            "A focused programmer types. A confident person, they sip their coffee.",
        ),
        (
            "a dancer",
            "An elegant, dark-skinned ballerina leaps, her white tutu flaring.",
            "An elegant dancer leaps, their white tutu flaring.",
        ),
        (
            "a nurse",
            "Close-up of a nurse, male, middle-aged, in scrubs, photorealistic",
            "Close-up of a nurse, in scrubs, photorealistic",
        ),
        (
            "an engineer",
            "The engineer, who is a woman in her early thirties, checks a turbine.",
            "The engineer checks a turbine.",
        ),
        (
            "a barista",
            "A barista, a woman with a warm smile, pours milk. The coffee is hers.",
            "A barista, with a warm smile, pours milk. The coffee is theirs.",
        ),
        (
            "a teacher",
            "A middle-aged teacher stands at a board. She is in her forties. Students hear her.",
            "A teacher stands at a board. Students hear them.",
        ),
        (
            "a pharmacist",
            "A pharmacist is talking to an elderly customer. Old men play cards outside.",
            "A pharmacist is talking to a customer. Old men play cards outside.",
        ),
    ],
)
def test_what_only_the_rewriting_names_is_taken_out(
    original: str, rewritten: str, expected: str
) -> None:
    found = without_additions(original, rewritten, ATTRIBUTES)
    assert found.prompt == expected
    assert found.removed
    assert set(decide(original, ATTRIBUTES).free) <= set(decide(found.prompt, ATTRIBUTES).free)


def test_what_was_taken_out_is_told() -> None:
    found = without_additions(
        "a cook", "An old cook, a man in a hat, stirs. He smiles.", ATTRIBUTES
    )
    assert found.removed == ("old", "man", "He")


def test_what_the_user_names_stays() -> None:
    rewritten = "A young female doctor with brown skin smiles. She holds a chart."
    found = without_additions("a female doctor", rewritten, ATTRIBUTES)
    assert found.prompt == "A female doctor smiles. She holds a chart."
    found = without_additions("a young black woman, a doctor", rewritten, ATTRIBUTES)
    assert (found.prompt, found.removed) == (rewritten, ())


@pytest.mark.parametrize(
    ("original", "rewritten"),
    [
        ("a forest", "A young woman walks in a forest."),
        ("a happy couple", "A young man and an old woman laugh on a beach."),
        ("a doctor", "A young man and an old woman laugh on a beach."),
        ("a doctor", "A doctor in an old coat. A black van. Women in the background."),
    ],
)
def test_a_rewriting_without_additions_to_one_person_stays(original: str, rewritten: str) -> None:
    found = without_additions(original, rewritten, ATTRIBUTES)
    assert (found.prompt, found.removed) == (rewritten, ())


@pytest.mark.parametrize("line", PARAGRAPHS, ids=lambda line: line.prompt[:40])
def test_every_attribute_of_a_paragraph_becomes_free(line: Line) -> None:
    found = without_additions("a photo of a person", line.prompt, ATTRIBUTES)
    assert decide(found.prompt, ATTRIBUTES).free == ("gender", "skin", "age")
    if len(line.expected) == len(ATTRIBUTES):
        assert found.prompt == line.prompt


WORDS = ["a", "an old", "doctor", "woman", "she", "his", ",", ".", "with", "grey hair", "and", "is"]
texts = st.lists(st.sampled_from(WORDS)).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(prompt=st.one_of(st.text(), texts))
def test_any_text_can_be_read(prompt: str) -> None:
    found = without_additions("a doctor", prompt, ATTRIBUTES)
    assert found.removed or len(found.prompt) <= len(prompt)


@pytest.mark.slow
def test_a_long_rewriting_takes_no_time() -> None:
    unit = "An old doctor, a man in his fifties, smiles. He holds a chart and she sits. "
    assert grows_linearly(
        lambda rewritten: without_additions("a doctor", rewritten, ATTRIBUTES), unit
    )


@pytest.mark.parametrize(
    ("original", "rewritten", "left_alone"),
    [
        ("eine Person", "eine junge Ärztin im Krankenhaus", {"gender", "age"}),
        ("una persona", "una enfermera joven en un hospital", {"gender", "age"}),
        ("a doctor", "a photo of two doctors, a man and a woman", {"gender", "skin", "age"}),
        ("a doctor", "a photo of a car", {"gender", "skin", "age"}),
        ("a doctor", "A doctor, a middle-aged man with grey hair, smiles in his office.", set()),
        ("an old doctor", "An old doctor, a man, smiles.", {"age"}),
    ],
)
def test_what_a_rewriting_does_not_leave_open_is_left_alone(
    original: str, rewritten: str, left_alone: set[str]
) -> None:
    """Or a record would say what the painted words contradict."""
    said = decide(original, ATTRIBUTES)
    prompt = without_additions(original, rewritten, ATTRIBUTES).prompt
    found = decide_rewriting(said, prompt, ATTRIBUTES)
    assert set(found.attributes) - set(found.free) == left_alone
    assert found.person == said.person
