"""Pictures in which a judge names no category count nowhere: not in FD, hit rates, drift, spread or
agreement; a judge that may abstain also does so where a second one differs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image

from fairgen.indicator import TargetDistribution
from fairgen.judging import (
    JudgeConfusion,
    Perception,
    PromptScore,
    cell_counts,
    drift,
    hit_counts,
    hit_rates,
    mean_counted,
    measure_confusion,
    prompt_fairness,
    score_pictures,
)
from tests.tiny import AGE, ATTRIBUTES, GENDER

BY_NAME = {attribute.name: attribute for attribute in ATTRIBUTES}
GENDERS = TargetDistribution.from_request({"gender": "uniform"}, ATTRIBUTES)
BOTH = TargetDistribution.from_request({"gender": "uniform", "age": "uniform"}, ATTRIBUTES)
# a letter a picture: w and m are seen with 0.9, ? is no face, and looks like a woman for sure
SHARES = {"w": 0.9, "m": 0.1, "?": 1.0}
ORDER = "wm?"


class LetterJudge:
    """Reads the letters of pictures; capital ones are old. It abstains at ? unless told not to."""

    heads: ClassVar = {
        "gender": ("man", "woman"),
        "age": ("young", "old"),
        "concept": ("doctor", "nurse"),
    }

    def __init__(self, abstains: bool = True, letters: str | None = None) -> None:
        """`letters` are read instead of those in the pictures."""
        self._abstains, self._letters = abstains, letters

    def read(self, images: Sequence[Image.Image]) -> Perception:
        letters = self._letters or "".join(letter_of(image) for image in images)
        women = torch.tensor([SHARES[letter.lower()] for letter in letters])
        old = torch.tensor([float(letter.isupper()) for letter in letters])
        away = torch.tensor([letter == "?" for letter in letters])
        angle = torch.arange(len(letters)) / 10
        return Perception(
            {
                "gender": torch.stack([1 - women, women], 1),
                "age": torch.stack([1 - old, old], 1),
                "concept": torch.tensor([[0.9, 0.1]]).expand(len(letters), 2),
            },
            torch.stack([angle.cos(), angle.sin()], 1),
            {"gender": away} if self._abstains else {},
        )

    def text_feature(self, text: str) -> torch.Tensor:
        return torch.tensor([1.0, 0.0])


def picture(letter: str) -> Image.Image:
    return Image.new("RGB", (16, 16), (ORDER.index(letter.lower()), 9 * letter.isupper(), 0))


def letter_of(image: Image.Image) -> str:
    index, old, _ = image.getpixel((0, 0))
    return ORDER[index].upper() if old else ORDER[index]


def score(
    letters: str, asked: str = "", second: str | None = None, second_abstains: bool = False,
    first_abstains: bool = True,
) -> PromptScore:  # fmt: skip
    """Score a picture a letter; `second` are the letters that a second judge reads in them."""
    names = {"w": "woman", "m": "man"}
    return score_pictures(
        [picture(letter) for letter in letters],
        [{"gender": names[letter]} for letter in asked] or [{}] * len(letters),
        system="fairgen", concept="doctor", prompt="a doctor", attributes=(GENDER, AGE),
        judge=LetterJudge(first_abstains),
        second_judge=LetterJudge(second_abstains, second) if second else None,
    )[0]  # fmt: skip


def test_fd_is_of_the_pictures_that_count() -> None:
    """Of five one shows no face: three women and a man are a quarter off on each side."""
    found = prompt_fairness(score("wwm?w"), GENDERS, BY_NAME)
    assert found is not None
    assert found.fd == pytest.approx(0.25 * 2**0.5)
    assert (found.n, found.abstained) == (4, 1)
    assert found.delivered == {"woman": 0.75, "man": 0.25}
    # the mean of 0.9, 0.9, 0.1 and 0.9; the sure woman without a face would make it 0.76
    assert score("wwm?w").soft["gender"] == pytest.approx([0.7, 0.3])
    assert found.soft_fd == pytest.approx(0.2 * 2**0.5)
    named = prompt_fairness(score("wwm?w", first_abstains=False), GENDERS, BY_NAME)
    assert named is not None and (named.n, named.abstained) == (5, 0)
    assert named.fd == pytest.approx(0.3 * 2**0.5)


def test_the_floor_is_that_of_as_many_pictures_as_count() -> None:
    few, many = (prompt_fairness(score(s), GENDERS, BY_NAME) for s in ("wm" + 8 * "?", 5 * "wm"))
    assert few is not None and many is not None and few.fd == many.fd == 0
    assert few.floor == pytest.approx(0.5 * 2**0.5 / 2, rel=0.05)  # of two, half are alike
    assert few.floor > 2 * many.floor


def test_a_joint_target_counts_pictures_that_count_in_all_of_its_attributes() -> None:
    found = prompt_fairness(score("wW?mM"), BOTH, BY_NAME)
    assert found is not None and found.fd == 0 and (found.n, found.abstained) == (4, 1)
    ages = TargetDistribution.from_request({"age": "uniform"}, ATTRIBUTES)
    of_ages = prompt_fairness(score("wW?mM"), ages, BY_NAME)
    assert of_ages is not None and (of_ages.n, of_ages.abstained) == (5, 0)
    assert of_ages.delivered["young"] == 0.6  # its age is seen, whatever its gender


def test_a_prompt_of_which_no_picture_counts_has_no_fd() -> None:
    assert prompt_fairness(score("???"), GENDERS, BY_NAME) is None
    assert score("???").soft["gender"] == [0, 0]
    counts = cell_counts([score("???"), score("wm?")], GENDERS, BY_NAME)
    assert counts.tolist() == [[[1, 1]]]
    with pytest.raises(ValueError, match="judge: it abstained from gender in all pictures of 'f"):
        cell_counts([score("???")], GENDERS, BY_NAME)
    assert mean_counted([None, 0.2, 0.4]) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="abstained on every picture of every prompt"):
        mean_counted([None, None])


def test_an_abstention_is_neither_hit_nor_miss() -> None:
    found = score("wm?w?m", asked="wwwmmm")
    assert hit_counts([found], GENDER).tolist() == [[1, 1], [1, 1]]
    assert hit_rates([found], GENDER)["woman"] == {"woman": 0.5, "man": 0.5}
    assert cell_counts([found], GENDERS, BY_NAME).tolist() == [[[1, 1], [1, 1]]]
    nobody = score("??m", asked="wwm")
    assert hit_counts([nobody], GENDER).tolist() == [[0, 0], [0, 1]]
    assert hit_counts([nobody], AGE).sum() == 0  # never asked


def test_drift_and_spread_leave_abstentions_out() -> None:
    base = score("wwm?")
    assert drift(score("?wmm"), base, "gender") == pytest.approx(2**0.5 / 3)
    assert drift(score("????"), base, "gender") is None
    assert drift(base, score("????"), "gender") is None
    assert drift(score("????"), base, "age") == 0
    assert set(score("www?").spread) == {"gender-woman", "age-young", "woman,young"}
    assert "gender-woman" not in score("ww??").spread  # with the two unseen it were four women
    assert set(score("ww??").spread) == {"age-young"}
    seen = [score(who).spread["gender-woman"] for who in ("www?", "www")]
    assert seen[0] == pytest.approx(seen[1])


def test_a_judge_that_may_abstain_does_so_where_a_second_one_differs() -> None:
    found = score("wwm?", second="wmmw")
    assert found.counted(["gender"]) == [True, False, True, False]
    assert found.abstained == {"gender": [False, False, False, True]}
    fairness = prompt_fairness(found, GENDERS, BY_NAME)
    assert fairness is not None and (fairness.fd, fairness.n) == (0, 2)
    assert found.soft["gender"] == pytest.approx([0.5, 0.5])
    # by the second judge's labels, which never abstains, all four count
    by_second = prompt_fairness(found.by_second(), GENDERS, BY_NAME)
    assert by_second is not None and (by_second.fd, by_second.n) == (0, 4)


def test_two_judges_agree_on_pictures_in_which_both_name_a_category() -> None:
    found = score("wwm?w", second="wmmw?", second_abstains=True)
    assert found.seen_by_both("gender") == [(0, 0), (0, 1), (1, 1)]
    assert found.counted(["gender"]) == [True, False, True, False, False]
    assert found.by_second().counted(["gender"]) == [True, True, True, True, False]


def test_a_judge_that_always_names_a_category_does_not_heed_a_second_one() -> None:
    found = score("wwmm", second="mmw?", second_abstains=True, first_abstains=False)
    assert found.abstained == {} and found.counted(["gender"]) == [True] * 4
    assert found.second is not None and found.second.soft["gender"] == pytest.approx(
        [11 / 30, 19 / 30]
    )
    assert found.seen_by_both("gender") == [(0, 1), (0, 1), (1, 0)]


def test_scores_of_before_are_read_and_those_that_abstain_keep_it() -> None:
    found = score("wm?", second="wmw")
    assert PromptScore.model_validate_json(found.model_dump_json()) == found
    content = json.loads(score("wm", first_abstains=False).model_dump_json())
    del content["abstained"]
    assert PromptScore.model_validate(content).counted(["gender"]) == [True, True]


def test_labelled_pictures_in_which_a_judge_names_nobody_are_counted_apart(tmp_path: Path) -> None:
    def label(category: str, letters: str) -> None:
        (folder := tmp_path / "gender" / category).mkdir(parents=True)
        for number, letter in enumerate(letters):
            picture(letter).save(folder / f"{number}.png")

    label("woman", "ww?m?")
    label("man", "mmm")
    found = measure_confusion(LetterJudge(), ATTRIBUTES, tmp_path)
    assert found.counts["gender"] == {"woman": {"woman": 2, "man": 1}, "man": {"man": 3}}
    assert found.abstained == {"gender": {"woman": 2, "man": 0}}
    assert found.source.startswith("8 labelled pictures")
    assert JudgeConfusion.model_validate_json(found.model_dump_json()) == found
    assert measure_confusion(LetterJudge(False), ATTRIBUTES, tmp_path).abstained == {}
    for path in (tmp_path / "gender" / "man").iterdir():
        picture("?").save(path)
    with pytest.raises(ValueError, match=r"names no category in all 3 pictures of 'man'"):
        measure_confusion(LetterJudge(), ATTRIBUTES, tmp_path)
