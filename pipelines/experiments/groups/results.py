"""The results of the experiment with two people in one picture."""

from pydantic import BaseModel, ConfigDict

from fairgen.judging import Estimate

HIT_RATE, RECOGNISED, LEAK = 0.90, 0.95, 0.02  # what a "go" needs; of leaks at most
METHODS = {
    "base": "no adapters",
    "words": "categories named in the prompt",
    "whole": "one category for the whole picture",
    "word": "gates at each person's words",
    "region": "gates at each half of the picture",
    "region_strong": "gates of 1.5 at each half",
    "region_split": "the same, no self-attention between the halves (a probe)",
    "region_found": "gates of 1.5 at regions found from cross-attention",
    "region_soft": "gates of 1.5 at halves that fade over four columns",
}


class Person(BaseModel):
    """One half of a picture: what was asked there ("" for nothing) and what the judge names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concept: str
    asked: str
    seen: dict[str, str]


class PairImage(BaseModel):
    """A picture of two people, left and right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    people: tuple[Person, Person]


class Condition(BaseModel):
    """All pictures of one method, with adapters that were learnt on `adapters_of`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    attribute: str
    adapters_of: str
    pictures: list[PairImage]


class Figures(BaseModel):
    """What one condition comes to.

    `hits` are over pictures in which both were asked for a category, by side and by category;
    `combinations` has those of left and right. `recognised` is over all people. `leak` is how
    often a person's category changes when only the neighbour's gate does, from one category to
    another; `leak_any` how often anything that the judge names of it does; `leak_ungated` how often
    the gender or skin of a person without gates is another than in the base's picture of the same
    seed. `distribution` is over people, of pictures in which both were asked for a category where
    there are any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    attribute: str
    adapters_of: str
    num_pictures: int
    hits: dict[str, Estimate]
    combinations: dict[str, tuple[Estimate, Estimate]]
    recognised: Estimate
    leak: Estimate | None
    leak_any: Estimate | None
    leak_ungated: Estimate | None
    distribution: dict[str, float]

    @property
    def reached(self) -> bool:
        """Whether each of two people is what was asked, and nothing leaks: what a "go" needs."""
        if self.leak is None or not self.hits:
            return False
        hit_rate = min(self.hits["left"].value, self.hits["right"].value)
        return (
            hit_rate >= HIT_RATE and self.recognised.value >= RECOGNISED and self.leak.value <= LEAK
        )


class Groups(BaseModel):
    """The whole experiment: `costs` are times of a pass over that of a pass with one gate a row.

    `single` is how often occupations are recognised in pictures of one person, `women` their share
    in the base's pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    num_updates: int
    num_images: int
    prompts: list[str]
    single: dict[str, Estimate]
    women: dict[str, Estimate]
    figures: list[Figures]
    costs: dict[str, float]
