"""The gate leaves alone what a prompt names and what is no person, and acts on the rest."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fairgen.gate import GateDecision, decide, decide_together
from fairgen.gate.lexicon import WORDS, read_words
from pipelines.recipe.recipe import load_recipe
from tests.growth import grows_linearly
from tests.tiny import ATTRIBUTES as PLAIN

RECIPE = Path(__file__).parents[3] / "pipelines" / "recipes" / "portraits.yaml"
GENDER, SKIN, AGE = ATTRIBUTES = load_recipe(RECIPE).attributes
ALL = ("gender", "skin", "age")
WORD_LISTS = {str(f.relative_to(WORDS)): read_words(f) for f in sorted(WORDS.rglob("*.txt"))}


def reasons(prompt: str) -> set[str]:
    return {decision.reason for decision in decide(prompt, ATTRIBUTES).attributes.values()}


def named(prompt: str, attribute: str) -> tuple[str, ...]:
    return decide(prompt, ATTRIBUTES).attributes[attribute].named


def test_a_decision_holds_the_person_the_named_categories_and_the_reason() -> None:
    decision = decide("An old police officer in a white van", ATTRIBUTES)
    assert decision.person == "police officer"
    assert decision.free == ("gender", "skin")
    assert decision.attributes["age"].model_dump() == {
        "act": False,
        "reason": "named",
        "named": ("old",),
    }
    assert decision.attributes["skin"].model_dump() == {"act": True, "reason": "free", "named": ()}


def test_a_decision_says_what_is_named() -> None:
    assert decide("a nonbinary cook", ATTRIBUTES).why("gender") == "the prompt names it (gender)"
    assert decide("a female cook", ATTRIBUTES).why("gender") == "the prompt names it (woman)"
    assert decide("Marie Curie", ATTRIBUTES).why("age") == "the prompt names it (marie curie)"


def test_a_person_is_called_by_a_noun_alone() -> None:
    for prompt in ("a female farmer", "an elderly farmer", "A farmer ... The farmer's hat"):
        assert decide(prompt, ATTRIBUTES).person == "farmer"


def test_a_decision_cannot_be_changed_nor_extended() -> None:
    decision = decide("a doctor", ATTRIBUTES)
    with pytest.raises(ValidationError, match="frozen"):
        decision.person = "nurse"
    with pytest.raises(ValidationError, match="extra"):
        GateDecision(person=None, attributes={}, certainty=1)


def test_attributes_without_mentions_are_recognised_by_their_words() -> None:
    assert decide("a female doctor", PLAIN).free == ("skin", "age")
    assert decide("a dark-skinned doctor", PLAIN).free == ("gender", "age")
    assert decide("a doctor", ()).free == ()


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("a doctor", "free"),
        ("", "no people"),
        ("a nurse shark", "no people"),
        ("a beach without people", "no people"),
        ("two doctors", "several people"),
        ("a doctor and a nurse", "several people"),
        ("A nurse and a doctor stand in a corridor. The nurse nods.", "several people"),
        ("a doctor and two nurses", "several people"),
        ("a couple of carpenters", "several people"),
        ("A doctor stands beside a nurse. Both smile.", "several people"),
        ("a photographer taking pictures of a model", "several people"),
        ("A doctor sits. A nurse stands.", "several people"),
        ("Marie Curie", "named"),
        ("King Harald in the snow", "named"),
        ("Lise Meitner, physicist", "named"),
    ],
)
def test_a_reason_about_the_people_holds_for_every_attribute(prompt: str, reason: str) -> None:
    assert reasons(prompt) == {reason}


@pytest.mark.parametrize(
    ("prompt", "attribute", "reason", "categories"),
    [
        ("a doctor, not a woman", "gender", "negated", ("woman",)),
        ("a doctor with no beard", "gender", "negated", ("man",)),
        ("a doctor without a man", "gender", "negated", ("man",)),
        ("a non-male doctor", "gender", "negated", ("man",)),
        ("the doctor isn't old", "age", "negated", ("old",)),
        ("a doctor, neither young nor old", "age", "negated", ("young", "old")),
        ("a doctor, anything but a man", "gender", "negated", ("man",)),
        ("not a man but a woman", "gender", "named", ("woman", "man")),
        ("a 7-year-old violinist", "age", "named", ("young",)),
        ("a 65 year old violinist", "age", "named", ("old",)),
        ("a violinist in her late sixties", "age", "named", ("old",)),
        ("a violinist aged 24", "age", "named", ("young",)),
        ("the women's champion, a woman", "gender", "named", ("woman",)),
    ],
)
def test_an_attribute_that_the_prompt_names_is_left_alone(
    prompt: str, attribute: str, reason: str, categories: tuple[str, ...]
) -> None:
    decision = decide(prompt, ATTRIBUTES).attributes[attribute]
    assert (decision.act, decision.reason, decision.named) == (False, reason, categories)


@pytest.mark.parametrize("word", ["womanly", "Manchester", "manual", "pagan", "cauldron"])
def test_a_word_inside_another_names_nobody(word: str) -> None:
    assert decide(f"a {word} scene with a doctor", ATTRIBUTES).free == ALL


@pytest.mark.parametrize(
    "prompt",
    [
        "an old house, a doctor in front of it",
        "a doctor in a black coat",
        "white coat doctor",
        "a doctor in a dark room",
        "a doctor in a light blue shirt",
        "a doctor, black and gold coat",
        "a doctor, dark, moody",
        "doctor under a young tree",
        "a black-haired doctor",
        "a black haired doctor",
        "an old-school doctor",
        "old photo of a doctor",
        "black and white portrait of a doctor",
        "a doctor in an African village",
        "a doctor with an old horse",
        "a doctor with a female cat",
        "Professor Brown at a desk",
        "The walls are white. A doctor waits.",
    ],
)
def test_an_adjective_of_something_else_names_nothing(prompt: str) -> None:
    assert decide(prompt, ATTRIBUTES).free == ALL


@pytest.mark.parametrize(
    ("prompt", "attribute"),
    [
        ("old doctor", "age"),
        ("doctor, old", "age"),
        ("a doctor (old)", "age"),
        ("(old:1.3) doctor", "age"),
        ("the doctor is old", "age"),
        ("the doctor in the picture looks tired and old", "age"),
        ("a doctor who is very old", "age"),
        ("an old, weathered doctor", "age"),
        ("an old and wise doctor", "age"),
        ("a young-looking doctor", "age"),
        ("make the doctor old", "age"),
        ("a doctor in a hospital, rain, old", "age"),
        ("a black doctor", "skin"),
        ("a doctor who is black", "skin"),
        ("a doctor, black, in an office", "skin"),
        ("a doctor, whose skin is dark", "skin"),
        ("a doctor with brown skin", "skin"),
        ("a young court reporter", "age"),
        ("a hispanic animal trainer", "skin"),
        ("a white insurance agent in a black coat", "skin"),
        ("a white fish and game warden", "skin"),
        ("a white stay-at-home parent", "skin"),
        ("a Vietnamese-born nail salon owner", "skin"),
        ("a person of color", "skin"),
        ("a cook, mid-thirties, at a stove", "age"),
        ("a chemist with olive skin", "skin"),
        ("a plumber is talking to an old friend", "age"),
        ("a plumber is holding a baby", "age"),
        ("a nonbinary teacher", "gender"),
        ("a transgender welder", "gender"),
        ("an androgynous poet", "gender"),
        ("a doctor of African descent", "skin"),
    ],
)
def test_an_adjective_of_the_person_names_the_attribute(prompt: str, attribute: str) -> None:
    assert decide(prompt, ATTRIBUTES).free == tuple(name for name in ALL if name != attribute)


def test_several_attributes_may_be_named() -> None:
    assert named("a young black woman", "skin") == ("dark",)
    assert named("a young black woman", "age") == ("young",)
    assert decide("a young black woman", ATTRIBUTES).free == ()


@pytest.mark.parametrize(
    "prompt",
    [
        "a man-made lake",
        "a woman-owned shop",
        "queen-size bed",
        "baby clothes on a line",
        "a doctor's office",
        "how to cook pasta",
        "a portrait of a dog",
        "portrait, fluffy cat",
        "a pet portrait",
        "portrait orientation",
        "a statue of a soldier",
        "a wooden soldier",
        "panda mad scientist",
        "a cat dressed as a king",
        "a cloud bigger than a man",
        "an ornate chair for a king",
        "a sign that says 'doctor'",
        "a beaver in a hat. He smiles.",
        "a kitten with its mother",
        "the alpha male of a wolf pack",
        "a racoon detective",
        "a white pawn attacking a black bishop",
        "an owl professor with round glasses",
        "a shark surgeon",
        "an action figure of a firefighter",
        "a fire-breathing dragon attacks a knight in armor",
        "A lake at dawn draws the viewer into the scene.",
        "a Ford Explorer",
    ],
)
def test_a_phrase_that_only_sounds_like_a_person_is_none(prompt: str) -> None:
    assert reasons(prompt) == {"no people"}


@pytest.mark.parametrize(
    "prompt",
    [
        "a portrait, oil on canvas",
        "someone in the rain",
        "selfie of a hiker",
        "a farmer's weathered hands",
        "a doctor with a patient's chart",
        "a doctor without patients",
        "a teacher in front of a chair",
        "a teacher posing for a photographer",
        "a farmer and a horse",
        "a dog with its owner",
        "a scientist in a lab. The scientist smiles.",
        "a person, a doctor, in a hallway",
        "Dr. House in a hospital",
        "a barista laughs at a joke",
        "a doctor leaves the hospital",
        "a soldier guards the gate",
        "a doctor, art by Greg Rutkowski and Thomas Kinkade",
        "a doctor in the style of Rembrandt",
        "a person in a doctor costume",
        "a doctor dressed as a pirate",
        "a guard gazing at a painting of a queen",
        "an EMT in an ambulance",
        "an animal control officer",
        "a dog show judge",
        "a wheelchair user",
        "a plumber is talking to a reporter",
        "the accountant met the taxpayer",
        "a person with the job of meteorologist",
        "concept art of an inventor, brass gears, Craig Mullins",
        "a teacher with young children",
        "a clergy",
        "an actor on a stage",
        "a waiter with a tray",
        "a manager leading a meeting of old directors",
        "a teacher in a classroom full of children",
        "A chef tastes a sauce. The chef's hands shake. In the background, a man washes up.",
        "a red hat seller under an old tree",
    ],
)
def test_a_prompt_that_shows_one_person_leaves_every_attribute_free(prompt: str) -> None:
    assert decide(prompt, ATTRIBUTES).free == ALL


@pytest.mark.parametrize(
    ("prompt", "attribute", "categories"),
    [
        ("a horsewoman at a fence", "gender", ("woman",)),
        ("a stepson in a hammock", "gender", ("man",)),
        ("a countess at the opera", "gender", ("woman",)),
        ("a shaman in a hut", "gender", ()),
        ("a stonemason on a scaffold", "gender", ()),
        ("a salesperson in a shop", "gender", ()),
        ("an octogenarian on a bike", "age", ("old",)),
        ("a newborn in a cradle", "age", ("young",)),
        ("a doctor, age 71", "age", ("old",)),
        ("a 24yo doctor", "age", ("young",)),
    ],
)
def test_a_word_names_the_categories_of_its_synonyms(
    prompt: str, attribute: str, categories: tuple[str, ...]
) -> None:
    assert named(prompt, attribute) == categories


@pytest.mark.parametrize(
    "prompt",
    ["a Bolivian chef", "a Sri Lankan chef", "a caramel-skinned chef", "an ebony-skinned chef"],
)
def test_an_origin_or_a_skin_that_no_recipe_lists_is_left_alone(prompt: str) -> None:
    assert decide(prompt, ATTRIBUTES).free == ("gender", "age")
    assert decide("a chef in a Bolivian restaurant", ATTRIBUTES).free == ALL


@pytest.mark.parametrize("recipe", ["portraits", "sd21"])
@pytest.mark.parametrize("job", ["judge", "sales manager"])
@pytest.mark.parametrize(
    ("words", "attribute"),
    [
        ("Latinx", 1), ("multiracial", 1), ("Pacific Islander", 1), ("brown", 1),
        ("Native American", 1), ("Korean-American", 1), ("First Nations", 1), ("Polish", 1),
        ("woman", 0), ("male", 0), ("non-binary", 0), ("lady", 0), ("cisgender", 0),
        ("mature", 2), ("senior citizen", 2), ("sixty-five-year-old", 2), ("aging", 2),
    ],
)  # fmt: skip
def test_every_recipe_knows_more_words_than_it_lists(
    recipe: str, job: str, words: str, attribute: int
) -> None:
    attributes = load_recipe(RECIPE.with_name(f"{recipe}.yaml")).attributes
    names = [one.name for one in attributes]
    free = decide(f"photo of a {words} {job} at work", attributes).free
    assert free == tuple(name for name in names if name != names[attribute])


def test_a_word_for_an_occupation_has_the_gender_that_the_recipe_gives_it() -> None:
    man = next(category for category in GENDER.categories if category.name == "man")
    told = man.model_copy(update={"mentions": (*man.mentions, "waiter")})
    gender = GENDER.model_copy(update={"categories": (GENDER.categories[0], told)})
    assert decide("a waiter", [GENDER]).free == ("gender",)
    assert decide("a waiter", [gender]).attributes["gender"].named == ("man",)


VOCABULARY = sorted(
    {
        *(word for words in WORD_LISTS.values() for word in words[::9]),
        *("old", "woman", "black", "doctor's", "nurses'", "non-", "70", "year", ",", ".", "“", "#"),
    },
)
phrases = st.lists(st.sampled_from(VOCABULARY)).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(prompt=st.one_of(st.text(), phrases))
def test_any_text_has_a_decision(prompt: str) -> None:
    decision = decide(prompt, ATTRIBUTES)
    assert tuple(decision.attributes) == ALL
    for one in decision.attributes.values():
        assert one.act == (one.reason in ("free", "masculine form"))
        assert not (one.act and (one.named or decision.person is None))


@settings(max_examples=100, deadline=None)
@given(prompt=st.one_of(st.text(st.characters(max_codepoint=127)), phrases))
@example(prompt="AS/B")
@example(prompt="retrato de um médico/a")
@example(prompt="un enfermerx")
def test_upper_case_is_read_like_lower_case(prompt: str) -> None:
    assert decide(prompt.upper(), ATTRIBUTES) == decide(prompt.lower(), ATTRIBUTES)


@pytest.mark.parametrize(
    "unit", ["a", "1", "'", "-", ", ", "old ", "old, ", "doctor ", "portrait of ", "he ", 'says "']
)
def test_a_long_prompt_takes_no_time(unit: str) -> None:
    assert grows_linearly(lambda prompt: decide(prompt, ATTRIBUTES), unit)


@pytest.mark.parametrize(
    ("prompt", "attribute", "category"),
    [
        ("a woman doctor", "gender", "woman"),
        ("a policewoman in the rain", "gender", "woman"),
        ("a countess", "gender", "woman"),
        ("a doctor, a tall man, at a desk", "gender", "man"),
        ("a doctor and his desk", "gender", "man"),
        ("a teenage pilot", "age", "young"),
        ("a pilot aged 71", "age", "old"),
        ("a retired pilot", "age", "old"),
    ],
)
def test_an_attribute_of_bare_words_knows_what_says_the_same(
    prompt: str, attribute: str, category: str
) -> None:
    """As attributes are that come from adapters alone."""
    bare = [
        a.model_copy(
            update={
                "mentions": (),
                "categories": tuple(c.model_copy(update={"mentions": ()}) for c in a.categories),
            }
        )
        for a in (GENDER, AGE)
    ]
    decision = decide(prompt, bare).attributes[attribute]
    assert (decision.reason, decision.named) == ("named", (category,))


@pytest.mark.parametrize(
    ("texts", "person", "free"),
    [
        (("a photo of a doctor", "oil on canvas"), "doctor", ALL),
        (("oil on canvas", "a photo of a doctor"), "doctor", ALL),
        (("a photo of a doctor", "a portrait of a doctor"), "doctor", ALL),
        (("a photo of a doctor", "a photo of a doctor"), "doctor", ALL),
        (("a photo of a doctor", "female"), "doctor", ("skin", "age")),
        (("a photo of a doctor", "dark skin"), "doctor", ("gender", "age")),
        (("dark skin, old", "a photo of a doctor"), "doctor", ("gender",)),
        (("a young doctor", "a female doctor"), "doctor", ("skin",)),
        (("a photo of a doctor", "two doctors"), "doctor", ()),
        (("a photo of a doctor", "ένας γιατρός"), "doctor", ()),
        (("oil on canvas", "a red car"), None, ()),
    ],
)
def test_texts_that_are_read_together_have_one_decision(
    texts: tuple[str, ...], person: str | None, free: tuple[str, ...]
) -> None:
    decision = decide_together(decide, texts, ATTRIBUTES, None)
    assert (decision.person, set(decision.free)) == (person, set(free))
    assert tuple(decision.attributes) == ALL
