"""Scores of one prompt against counts made by hand, with a judge that reads colours."""

import math
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from PIL import Image

from fairgen.indicator import TargetDistribution
from fairgen.judging.scoring import (
    PromptScore,
    cells_seen,
    diversity,
    drift,
    fairness_of,
    hit_rates,
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

    def perceive(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        lit = torch.tensor([[float(value > 0) for value in i.getpixel((0, 0))] for i in images])
        sure = {
            head: torch.stack([1 - lit[:, place], lit[:, place]], 1)
            for head, place in (("gender", 0), ("age", 1), ("glasses", 2))
        }
        return sure | {"concept": torch.tensor([[0.9, 0.1]]).expand(len(images), 2)}

    def features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Red, green and blue, at unit length; a dark picture is as far from all."""
        lit = torch.tensor([[float(value) for value in i.getpixel((0, 0))] for i in images])
        return torch.nn.functional.normalize(lit + 1, dim=-1)

    def alignment(self, images: Sequence[Image.Image], prompt: str) -> torch.Tensor:
        return torch.full((len(images),), 0.25)


def score(colours: str, asked: str = "") -> PromptScore:
    """Score one picture a word; "rg" is a picture with red and green on, "-" a dark one."""
    images = [
        Image.new("RGB", (16, 16), tuple(255 if c in word else 0 for c in "rgb"))
        for word in colours.split()
    ]
    names = {"w": "woman", "m": "man"}
    categories = [{"gender": names[letter]} for letter in asked] or [{}] * len(images)
    return score_pictures(
        "fairgen", "doctor", "a doctor", images, categories, images, (GENDER, AGE), ColourJudge()
    )


def test_what_is_seen_is_counted_in_the_attributes_own_order() -> None:
    found = score("r - rg g", asked="wmwm")
    assert found.seen["gender"] == [0, 1, 0, 1]
    assert found.seen["age"] == [0, 0, 1, 1]
    assert found.asked == {"gender": [0, 1, 0, 1], "age": [], "glasses": []}
    assert found.soft["gender"] == [0.5, 0.5]
    assert found.recognised == [True] * 4 and found.clip_t == [0.25] * 4
    assert found.ssim == pytest.approx([1] * 4, abs=1e-4)
    assert found.psnr == [100] * 4 and found.clip_i == pytest.approx([1] * 4)


def test_a_second_judge_sees_for_itself() -> None:
    class Contrary(ColourJudge):
        def perceive(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
            return {head: found.flip(1) for head, found in super().perceive(images).items()}

    images = [Image.new("RGB", (16, 16), colour) for colour in ("red", "black", "red")]
    found = score_pictures(
        "base", "doctor", "a doctor", images, [{}] * 3, images, (GENDER,), ColourJudge(), Contrary()
    )
    assert found.seen["gender"] == [0, 1, 0] and found.second is not None
    assert found.second.seen == {"gender": [1, 0, 1]}
    assert found.by_second().seen == {"gender": [1, 0, 1]} and found.by_second().second is None
    assert found.by_second().soft["gender"] == pytest.approx([1 / 3, 2 / 3])


def test_pictures_are_compared_with_those_of_the_same_seeds() -> None:
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    found = score_pictures(
        "fairgen", "doctor", "a doctor", [red, red], [{}, {}], [red, blue], (GENDER,), ColourJudge()
    )
    assert found.psnr[0] == 100 and found.psnr[1] < 10
    assert found.clip_i == pytest.approx([1, (256 + 256 + 1) / (256**2 + 2)], abs=1e-3)


def test_joint_cells_and_their_discrepancy() -> None:
    target = TargetDistribution.from_request({"gender": "uniform", "age": "uniform"}, ATTRIBUTES)
    found = score("r r r g")
    seen = [target.cells[index] for index in cells_seen(found, target, BY_NAME)]
    assert seen == [("woman", "young")] * 3 + [("man", "old")]
    fairness = fairness_of(found, target, BY_NAME)
    assert fairness.fd == pytest.approx((0.5**2 + 2 * 0.25**2) ** 0.5)
    assert fairness.n == 4 and fairness.delivered["woman,young"] == 0.75
    assert fairness.parity_gap == 0.75 and fairness.soft_fd is None
    assert fairness.kl == pytest.approx(0.75 * math.log(3))
    even = fairness_of(score("r - rg g"), target, BY_NAME)
    assert even.fd == even.kl == even.parity_gap == 0 < even.floor


def test_one_attribute_has_a_soft_discrepancy_and_kl_may_be_infinite() -> None:
    target = TargetDistribution.from_request({"gender": {"man": 1.0}}, ATTRIBUTES)
    found = fairness_of(score("r r r g"), target, BY_NAME)
    assert found.soft_fd == pytest.approx(0.75 * 2**0.5)  # the judge is sure of every picture
    assert found.kl is None


def test_diversity_is_the_spread_within_a_group_against_the_base_models() -> None:
    """Women: red twice and violet by the base. Old women and men are fewer than three."""
    base = score("r r rb rg -")
    assert set(base.spread) == {"woman", "young", "woman,young"}
    women, cell = ["woman", "man"], ["woman,young", "man,young"]
    assert diversity(score("r rb r g g"), base, cell) == pytest.approx(1)
    assert diversity(score("r r r - -"), base, cell) == pytest.approx(0, abs=1e-6)
    assert diversity(score("g - rg r gb"), base, cell) is None
    assert (diversity(score("r b rb rg r"), base, women) or 0) > 0.5


def test_hit_rates_are_rows_of_what_was_asked() -> None:
    pooled = hit_rates([score("r -", asked="ww"), score("- -", asked="mw"), score("r r")], GENDER)
    assert pooled["woman"] == pytest.approx({"woman": 1 / 3, "man": 2 / 3})
    assert pooled["man"] == {"woman": 0, "man": 1}


def test_drift_is_the_distance_from_the_base_model() -> None:
    base = score("r r r b")
    assert drift(score("b r r r"), base, "glasses") == 0
    assert drift(score("b b b b"), base, "glasses") == pytest.approx(0.75 * 2**0.5)
