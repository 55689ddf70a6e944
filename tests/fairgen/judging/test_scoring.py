"""Scores of one prompt against counts made by hand, with a judge that reads colours."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from PIL import Image

from fairgen.attributes import Attribute, Category
from fairgen.indicator import TargetDistribution
from fairgen.judging.judge import Perception
from fairgen.judging.scoring import (
    EmbeddedImages,
    PromptScore,
    cell_counts,
    cells_of,
    diversity,
    drift,
    hit_rates,
    prompt_fairness,
    score_pictures,
)
from tests.tiny import AGE, ATTRIBUTES, GENDER

BY_NAME = {attribute.name: attribute for attribute in ATTRIBUTES}


class ColourJudge:
    """Sees a woman where red is on, an old person where green is, glasses where blue is."""

    heads: ClassVar = {
        "glasses": ("without", "with"),
        "gender": ("man", "woman"),  # another order than the attribute's
        "age": ("young", "old"),
        "concept": ("doctor", "nurse"),
    }

    def read(self, images: Sequence[Image.Image]) -> Perception:
        """Features are red, green and blue at unit length; a dark picture is as far from all."""
        colours = torch.tensor([[float(value) for value in i.getpixel((0, 0))] for i in images])
        lit = (colours > 0).float()
        probabilities = {
            head: torch.stack([1 - lit[:, channel], lit[:, channel]], 1)
            for head, channel in (("gender", 0), ("age", 1), ("glasses", 2))
        }
        probabilities["concept"] = torch.tensor([[0.9, 0.1]]).expand(len(images), 2)
        return Perception(probabilities, torch.nn.functional.normalize(colours + 1, dim=-1))

    def text_feature(self, text: str) -> torch.Tensor:
        """Return the direction of red."""
        return torch.tensor([1.0, 0.0, 0.0])


def score_images(
    images: Sequence[Image.Image],
    categories: Sequence[dict[str, str]],
    judge: ColourJudge | None = None,
    **options: object,
) -> tuple[PromptScore, EmbeddedImages]:
    return score_pictures(
        images, categories, system="fairgen", concept="doctor", prompt="a doctor",
        **{"attributes": (GENDER, AGE), "judge": judge or ColourJudge()} | options,
    )  # fmt: skip


def score(colours: str, asked: str = "") -> PromptScore:
    """Score one picture a word; "rg" is a picture with red and green on, "-" a dark one."""
    images = [
        Image.new("RGB", (16, 16), tuple(255 if c in word else 0 for c in "rgb"))
        for word in colours.split()
    ]
    names = {"w": "woman", "m": "man"}
    categories = [{"gender": names[letter]} for letter in asked] or [{}] * len(images)
    return score_images(images, categories)[0]


def test_what_is_seen_is_counted_in_the_attributes_own_order() -> None:
    found = score("r - rg g", asked="wmwm")
    assert found.seen["gender"] == [0, 1, 0, 1]
    assert found.seen["age"] == [0, 0, 1, 1]
    assert found.asked == {"gender": [0, 1, 0, 1], "age": [], "glasses": []}
    assert found.soft["gender"] == [0.5, 0.5]
    assert found.recognised == [True] * 4
    red, dark = 256 / (256**2 + 2) ** 0.5, 1 / 3**0.5
    mixed, green = 256 / (2 * 256**2 + 1) ** 0.5, 1 / (256**2 + 2) ** 0.5
    assert found.clip_t == pytest.approx([red, dark, mixed, green])
    assert found.ssim == pytest.approx([1] * 4, abs=1e-4)
    assert found.psnr == [100] * 4 and found.clip_i == pytest.approx([1] * 4)


def test_a_second_judge_sees_for_itself() -> None:
    class Contrary(ColourJudge):
        def read(self, images: Sequence[Image.Image]) -> Perception:
            perception = super().read(images)
            tables = perception.probabilities.items()
            return replace(perception, probabilities={h: table.flip(1) for h, table in tables})

    images = [Image.new("RGB", (16, 16), colour) for colour in ("red", "black", "red")]
    found, _ = score_images(images, [{}] * 3, attributes=(GENDER,), second_judge=Contrary())
    assert found.seen["gender"] == [0, 1, 0] and found.second is not None
    assert found.second.seen == {"gender": [1, 0, 1]}
    assert found.by_second().seen == {"gender": [1, 0, 1]} and found.by_second().second is None
    assert found.by_second().soft["gender"] == pytest.approx([1 / 3, 2 / 3])


def test_pictures_are_compared_with_those_of_the_same_seeds() -> None:
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    _, reference = score_images([red, blue], [{}, {}])
    found, _ = score_images([red, red], [{}, {}], reference=reference)
    assert found.psnr[0] == 100 and found.psnr[1] < 10
    assert found.clip_i == pytest.approx([1, (256 + 256 + 1) / (256**2 + 2)], abs=1e-3)


def test_joint_cells_and_their_discrepancy() -> None:
    target = TargetDistribution.from_request({"gender": "uniform", "age": "uniform"}, ATTRIBUTES)
    found = score("r r r g")
    seen = [target.cells[index] for index in cells_of(found.seen, target, BY_NAME)]
    assert seen == [("woman", "young")] * 3 + [("man", "old")]
    fairness = prompt_fairness(found, target, BY_NAME)
    assert fairness.fd == pytest.approx((0.5**2 + 2 * 0.25**2) ** 0.5)
    assert fairness.n == 4 and fairness.delivered["woman,young"] == 0.75
    assert fairness.parity_gap == 0.75 and fairness.soft_fd is None
    assert fairness.kl == pytest.approx(0.75 * math.log(3))
    even = prompt_fairness(score("r - rg g"), target, BY_NAME)
    assert even.fd == even.kl == even.parity_gap == 0 < even.floor


def test_one_attribute_has_a_soft_discrepancy_and_kl_may_be_infinite() -> None:
    target = TargetDistribution.from_request({"gender": {"man": 1.0}}, ATTRIBUTES)
    found = prompt_fairness(score("r r r g"), target, BY_NAME)
    assert found.soft_fd == pytest.approx(0.75 * 2**0.5)  # the judge is sure of every picture
    assert found.kl is None


def test_diversity_is_the_spread_within_a_group_against_the_base_models() -> None:
    """Women: red twice and violet by the base. Old women and men are fewer than three."""
    base = score("r r rb rg -")
    assert set(base.spread) == {"gender-woman", "age-young", "woman,young"}
    women, cell = ["gender-woman", "gender-man"], ["woman,young", "man,young"]
    assert diversity(score("r rb r g g"), base, cell) == pytest.approx(1)
    assert diversity(score("r r r - -"), base, cell) == pytest.approx(0, abs=1e-6)
    assert diversity(score("g - rg r gb"), base, cell) is None
    assert (diversity(score("r b rb rg r"), base, women) or 0) > 0.5


def test_hit_rates_are_rows_of_what_was_asked() -> None:
    pooled = hit_rates([score("r -", asked="ww"), score("- -", asked="mw"), score("r r")], GENDER)
    assert pooled["woman"] == pytest.approx({"woman": 1 / 3, "man": 2 / 3})
    assert pooled["man"] == {"woman": 0, "man": 1}


def test_a_category_that_was_never_asked_has_no_hit_rate() -> None:
    """Of it 0 would say that its adapter fails."""
    assert set(hit_rates([score("r -", asked="ww")], GENDER)) == {"woman"}
    assert hit_rates([score("r r")], GENDER) == {}


def test_attributes_whose_categories_have_the_same_names_are_apart() -> None:
    class Judge(ColourJudge):
        heads: ClassVar = {"hat": ("no", "yes"), "beard": ("no", "yes"), "concept": ("doctor",)}

        def read(self, images: Sequence[Image.Image]) -> Perception:
            seen = super().read(images)
            tables = {"hat": seen.probabilities["gender"], "beard": seen.probabilities["age"]}
            return replace(seen, probabilities=tables | {"concept": torch.ones(len(images), 1)})

    def yes_no(name: str) -> Attribute:
        categories = tuple(Category(name=n, word=f"{name} {n}") for n in ("yes", "no"))
        return Attribute(name=name, categories=categories)

    def spread(*attributes: Attribute) -> dict[str, float]:
        colours = ("blue", "black", "blue", "red", "magenta", "red")  # no beard in any
        images = [Image.new("RGB", (16, 16), colour) for colour in colours]
        return score_images(images, [{}] * 6, Judge(), attributes=attributes)[0].spread

    both = spread(yes_no("hat"), yes_no("beard"))
    assert both["hat-no"] == pytest.approx(spread(yes_no("hat"))["hat-no"])
    assert both["beard-no"] > both["hat-no"] + 0.1


def test_pictures_are_counted_by_prompt_asked_cell_and_seen_cell() -> None:
    target = TargetDistribution.from_request({"gender": "uniform"}, ATTRIBUTES)
    asked = [score("r - r r", asked="wwwm"), score("- - - -", asked="mmmm")]
    assert cell_counts(asked, target, BY_NAME).tolist() == [[[2, 1], [1, 0]], [[0, 0], [0, 4]]]
    assert cell_counts([score("r - r r")], target, BY_NAME).tolist() == [[[3, 1]]]
    both = TargetDistribution.from_request({"gender": "uniform", "age": "uniform"}, ATTRIBUTES)
    assert cell_counts(asked, both, BY_NAME).shape == (2, 1, 4)  # nobody was asked for an age


def test_drift_is_the_distance_from_the_base_model() -> None:
    base = score("r r r b")
    assert drift(score("b r r r"), base, "glasses") == 0
    assert drift(score("b b b b"), base, "glasses") == pytest.approx(0.75 * 2**0.5)
