"""The drawn world's population and its occupations, biased on purpose.

The table below *is* the stereotype that the embedded model learns. It says nothing about real
people: it plants a known bias, so that the bias measured on the model's pictures can be compared
with the truth.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from fairgen.attributes import render

GENDERS = ("woman", "man")
SKINS = ("light", "tan", "brown", "dark")
AGES = ("young", "old")
GLASSES = ("without", "with")
THINGS = ("car", "tree", "house", "boat")


@dataclass(frozen=True)
class Stereotype:
    """How likely each category is in one occupation; `skin` is in the order of SKINS."""

    woman: float
    skin: tuple[float, float, float, float]
    old: float
    glasses: float

    def probabilities(self, attribute: str) -> dict[str, float]:
        """Return the planted pmf of one attribute over its category names."""
        match attribute:
            case "gender":
                return {"woman": self.woman, "man": 1 - self.woman}
            case "skin":
                return dict(zip(SKINS, self.skin, strict=True))
            case "age":
                return {"young": 1 - self.old, "old": self.old}
            case "glasses":
                return {"without": 1 - self.glasses, "with": self.glasses}
        raise ValueError(f"attribute: got {attribute!r}, allowed are gender, skin, age, glasses")


_LIGHT = (0.85, 0.09, 0.03, 0.03)
_TAN = (0.08, 0.80, 0.08, 0.04)
_BROWN = (0.04, 0.10, 0.80, 0.06)
_DARK = (0.04, 0.04, 0.10, 0.82)
_EVEN = (0.25, 0.25, 0.25, 0.25)

POPULATION: dict[str, Stereotype] = {
    "doctor": Stereotype(0.10, _LIGHT, 0.75, 0.40),
    "nurse": Stereotype(0.95, _TAN, 0.15, 0.15),
    "judge": Stereotype(0.12, _LIGHT, 0.92, 0.50),
    "firefighter": Stereotype(0.06, _LIGHT, 0.12, 0.05),
    "police officer": Stereotype(0.10, _DARK, 0.25, 0.10),
    "chef": Stereotype(0.12, _TAN, 0.50, 0.10),
    "farmer": Stereotype(0.12, _BROWN, 0.88, 0.10),
    "builder": Stereotype(0.05, _BROWN, 0.30, 0.08),
    "pilot": Stereotype(0.08, _LIGHT, 0.55, 0.15),
    "astronaut": Stereotype(0.15, _LIGHT, 0.30, 0.10),
    "teacher": Stereotype(0.88, _LIGHT, 0.55, 0.55),
    "soldier": Stereotype(0.06, _DARK, 0.08, 0.05),
    "sailor": Stereotype(0.08, _TAN, 0.45, 0.05),
    "magician": Stereotype(0.10, _LIGHT, 0.70, 0.10),
    "rancher": Stereotype(0.10, _TAN, 0.70, 0.08),
    "artist": Stereotype(0.80, _EVEN, 0.30, 0.35),
    "athlete": Stereotype(0.30, _DARK, 0.05, 0.05),
    "dancer": Stereotype(0.95, _LIGHT, 0.05, 0.05),
    "scientist": Stereotype(0.15, _BROWN, 0.70, 0.30),
    "mechanic": Stereotype(0.05, _BROWN, 0.35, 0.10),
    "receptionist": Stereotype(0.93, _TAN, 0.15, 0.25),
    "executive": Stereotype(0.08, _LIGHT, 0.85, 0.35),
    "barista": Stereotype(0.75, _DARK, 0.05, 0.20),
    "cleaner": Stereotype(0.92, _DARK, 0.70, 0.08),
    "person": Stereotype(0.50, _EVEN, 0.50, 0.20),
}
# The same world with gender, skin and age the other way round.
MIRRORED: dict[str, Stereotype] = {
    name: replace(s, woman=1 - s.woman, skin=s.skin[::-1], old=1 - s.old)
    for name, s in POPULATION.items()
}
OCCUPATIONS = tuple(name for name in POPULATION if name != "person")
CONCEPTS = (*POPULATION, *THINGS)


@dataclass(frozen=True)
class Portrait:
    """What is in one picture: a concept and, if it is a person, the perceived categories."""

    concept: str
    gender: str = ""
    skin: str = ""
    age: str = ""
    glasses: str = ""

    @property
    def is_person(self) -> bool:
        return self.concept in POPULATION


ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gender": GENDERS,
    "skin": SKINS,
    "age": AGES,
    "glasses": GLASSES,
}
assert {field.name for field in fields(Portrait)} == {"concept", *ATTRIBUTES}

# The words of a caption that name a category; those of glasses stand behind the person.
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "gender": {"woman": ("female",), "man": ("male",)},
    "skin": {name: (f"{name}-skinned",) for name in SKINS},
    "age": {"young": ("young",), "old": ("old",)},
}
_TEMPLATES = (
    "a photo of {subject}",
    "a portrait of {subject}",
    "a picture of {subject}",
    "{subject}",
)


def sample_portrait(
    rng: random.Random,
    concept: str | None = None,
    population: Mapping[str, Stereotype] = POPULATION,
) -> Portrait:
    """Return one random member of a biased population, or a thing.

    Without a concept, 27 in 31 are people: each occupation once, "person" three times.
    """
    if concept is None:
        concept = rng.choice((*OCCUPATIONS, *("person",) * 3, *THINGS))
    if concept in THINGS:
        return Portrait(concept)
    stereotype = population[concept]
    categories = {}
    for attribute in ATTRIBUTES:
        pmf = stereotype.probabilities(attribute)
        categories[attribute] = rng.choices(list(pmf), weights=list(pmf.values()))[0]
    return Portrait(concept, **categories)


def uniform_portrait(rng: random.Random, concept: str | None = None) -> Portrait:
    """Return a random person whose categories do not depend on the occupation: the fair world."""
    concept = concept or rng.choice((*OCCUPATIONS, "person"))
    return Portrait(concept, **{name: rng.choice(values) for name, values in ATTRIBUTES.items()})


def choose_named(
    rng: random.Random, mention: float = 1 / 3, glasses: float | None = None
) -> frozenset[str]:
    """Return the attributes that a caption names, each with probability `mention`.

    `glasses` is the probability for glasses where it differs. Neutral captions stay common.
    """
    probabilities = dict.fromkeys(ATTRIBUTES, mention)
    if glasses is not None:
        probabilities["glasses"] = glasses
    return frozenset(name for name, share in probabilities.items() if rng.random() < share)


def named_evenly(portrait: Portrait, named: frozenset[str], rng: random.Random) -> Portrait:
    """Return a portrait whose named attributes are drawn evenly, so that no named word is rare.

    What a caption leaves out still follows the planted table, since attributes are planted
    independently given the occupation: the bias under neutral captions stays what the table says.
    """
    if not portrait.is_person:
        return portrait
    return replace(portrait, **{name: rng.choice(ATTRIBUTES[name]) for name in sorted(named)})


def caption(portrait: Portrait, named: frozenset[str], rng: random.Random) -> str:
    """Return a caption that names exactly the given attributes; a thing has none to name."""
    return in_template(phrase(portrait, named, rng), rng)


def in_template(subject: str, rng: random.Random) -> str:
    """Return a caption of what is shown, "a photo of a doctor", in a random template."""
    return rng.choice(_TEMPLATES).replace("{subject}", subject)


def phrase(portrait: Portrait, named: frozenset[str], rng: random.Random) -> str:
    """Return the words for one person or thing, "an old doctor with glasses"."""
    noun, words = portrait.concept, []
    if portrait.is_person:
        if portrait.concept == "person" and "gender" in named and rng.random() < 0.5:
            noun = portrait.gender
            named -= {"gender"}
        for name in ("age", "skin", "gender"):
            if name in named:
                words.append(rng.choice(WORDS[name][getattr(portrait, name)]))
        if rng.random() < 0.25:
            rng.shuffle(words)
    text = render("{subject}", noun, words)
    if portrait.is_person and "glasses" in named:
        text += f" {portrait.glasses} glasses"
    return text


def vocabulary() -> list[str]:
    """Return every word that a caption can hold, sorted: all that the tokenizer knows."""
    words = {
        "a",
        "an",
        "and",
        "with",
        "without",
        "glasses",
        "person",
        "people",
        "woman",
        "man",
        "successful",
        "poor",
    }
    for template in _TEMPLATES:
        words.update(template.replace("{subject}", "").split())
    for concept in CONCEPTS:
        words.update(concept.split())
    for by_category in WORDS.values():
        for synonyms in by_category.values():
            words.update(synonyms)
    return sorted(words)
