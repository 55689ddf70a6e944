"""Agreement of two judges: kappa against a table worked by hand, and where there is none."""

import pytest

from fairgen.judging.agreement import Agreement, agreement_between
from fairgen.judging.intervals import proportion_interval


def test_kappa_is_that_of_a_table_worked_by_hand() -> None:
    """50 pictures: 20 both 0, 5 only the first 1, 10 only the second 1, 15 both 1.

    p_o = 35 / 50 = 0.7; the first says 0 in 30, the second in 25, so that
    p_e = (30 * 25 + 20 * 25) / 50^2 = 0.5 and kappa = (0.7 - 0.5) / (1 - 0.5) = 0.4.
    """
    seen = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    other = [0] * 20 + [0] * 5 + [1] * 10 + [1] * 15
    found = agreement_between(seen, other, num_classes=2)
    assert found.share == 0.7 and found.n == 50
    assert found.kappa == pytest.approx(0.4, abs=1e-6)
    assert found.interval == proportion_interval(35, 50)
    assert found.interval == pytest.approx((0.5625, 0.8090), abs=1e-4)


def test_kappa_of_three_classes_counts_each_disagreement_alike() -> None:
    """p_o = 3 / 5; p_e = (2 * 2 + 2 * 1 + 1 * 2) / 25 = 0.32; kappa = 0.28 / 0.68."""
    found = agreement_between([0, 0, 1, 1, 2], [0, 2, 1, 0, 2], num_classes=3)
    assert found.kappa == pytest.approx(0.28 / 0.68, abs=1e-6)


def test_kappa_is_one_for_equals_and_below_zero_for_opposites() -> None:
    assert agreement_between([0, 1, 2], [0, 1, 2], 3) == Agreement(
        share=1.0, interval=proportion_interval(3, 3), kappa=1.0, n=3
    )
    assert agreement_between([0, 1], [1, 0], 2).kappa == pytest.approx(-1.0)


def test_kappa_is_none_only_where_both_judges_name_one_and_the_same_category() -> None:
    assert agreement_between([1] * 7, [1] * 7, 3).kappa is None
    assert agreement_between([1] * 7, [1] * 7, 3).share == 1.0
    assert agreement_between([1] * 7, [2] * 7, 3).kappa == 0.0
    assert agreement_between([1] * 7, [1] * 6 + [2], 3).kappa == 0.0


def test_labels_that_cannot_be_compared_are_named() -> None:
    with pytest.raises(ValueError, match="seen: got no pictures, at least one is needed"):
        agreement_between([], [], 2)
    with pytest.raises(
        ValueError, match="other: got 1 pictures, allowed are as many as seen has: 2"
    ):
        agreement_between([0, 1], [0], 2)
    with pytest.raises(ValueError, match=r"seen: got \[-1, 2\], allowed are 0 to 1"):
        agreement_between([2, 0, -1], [0, 0, 0], 2)
    with pytest.raises(ValueError, match=r"other: got \[3\], allowed are 0 to 1"):
        agreement_between([0, 0], [0, 3], 2)
