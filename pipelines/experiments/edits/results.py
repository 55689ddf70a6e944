"""The results of the experiment with edits."""

from pydantic import BaseModel, ConfigDict

from fairgen.judging import Estimate, PromptScore

GENDER, SKIN = "gender", "skin"  # what is asked, and what goes from light to dark
STRENGTHS = (0.4, 0.6, 0.8, 1.0)
PAINTED, DRAWN = "painted", "drawn"
CODEC, AFRESH = "codec", "afresh"  # the least and the most that may change; without a strength
OFF, GLASSES, SKIN_KEPT = "off", "glasses", "skin kept"
BY_ADAPTERS, BY_WORDS = "adapters", "words"
METHODS = {
    CODEC: "through the codec alone",
    AFRESH: "no picture to begin from",
    OFF: "nothing asked",
    BY_ADAPTERS: "gender, by adapters",
    BY_WORDS: "gender, by a word",
    GLASSES: "glasses, by words",
    SKIN_KEPT: "skin as before, by a word",
}


class Condition(BaseModel):
    """What is done to pictures: `start` says where they come from, painted by the base model or
    drawn in equal shares; `masked` that the head alone is painted anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str
    method: str
    strength: float
    masked: bool


class ScoredEdit(BaseModel):
    """One concept's pictures under a condition, compared with those that they begin from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    condition: Condition
    score: PromptScore


class ConceptEdits(BaseModel):
    """All edits of one concept's pictures, and what the judge sees in the pictures themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: PromptScore
    edits: list[ScoredEdit]


class EditFigures(BaseModel):
    """What a condition comes to; shares are of pictures, with 95 % intervals.

    `hit` is how often the judge sees what was asked, `turned` the same of pictures that showed
    something else before. `fd` is the distance from an equal share of both genders, the mean over
    concepts, beside the `floor` of a fair coin. `lighter` and `darker` are how often the skin is
    named a lighter or a darker one than before, `net_lightening` their difference. `changed` holds
    how often the judge names another category, by attribute, without the one that was asked.
    `recognised` is how often it names the occupation. `ssim` is to the picture before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    condition: Condition
    num_pictures: int
    hit: Estimate | None
    turned: Estimate | None
    fd: Estimate | None
    floor: float | None
    lighter: Estimate
    darker: Estimate
    net_lightening: Estimate
    changed: dict[str, Estimate]
    recognised: Estimate
    ssim: float


class Edits(BaseModel):
    """The whole experiment. `before` holds the shares of each attribute's categories in the
    pictures that edits begin from, by start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    num_images: int
    num_steps: int
    concepts: list[str]
    before: dict[str, dict[str, dict[str, float]]]
    figures: list[EditFigures]

    def of(self, start: str, method: str, strength: float, masked: bool = False) -> EditFigures:
        """Return the figures of a condition."""
        wanted = Condition(start=start, method=method, strength=strength, masked=masked)
        return next(figures for figures in self.figures if figures.condition == wanted)
