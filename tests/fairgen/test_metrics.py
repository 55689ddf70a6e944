"""Metrics against values worked out by hand."""

import numpy as np
import pytest
import torch

from fairgen.metrics import (
    bootstrap_interval,
    class_shares,
    confusion,
    deviation_ratio,
    fairness_discrepancy,
    proportion_interval,
    sampling_floor,
    similarity,
)


def test_fd_of_nine_men_in_ten_doctors() -> None:
    shares = class_shares([1] * 9 + [0], 2)
    assert fairness_discrepancy([0.5, 0.5], shares) == pytest.approx(np.sqrt(2) * 0.4)
    assert deviation_ratio(shares) == pytest.approx(0.8)


def test_the_exact_quota_has_no_discrepancy() -> None:
    assert fairness_discrepancy([0.25] * 4, class_shares([0, 1, 2, 3] * 25, 4)) == 0


def test_no_pictures_is_an_error() -> None:
    with pytest.raises(ValueError, match="labels: got none"):
        class_shares([], 2)


@pytest.mark.parametrize(("classes", "floor"), [(2, 0.056), (4, 0.080), (8, 0.091)])
def test_floor_of_a_fair_coin_at_100_pictures(classes: int, floor: float) -> None:
    assert sampling_floor([1 / classes] * classes, 100) == pytest.approx(floor, abs=0.003)


def test_interval_covers_the_mean_and_shrinks_with_agreement() -> None:
    low, high = bootstrap_interval([0.1, 0.2, 0.3, 0.4])
    assert low < 0.25 < high
    assert bootstrap_interval([0.2, 0.2, 0.2]) == pytest.approx((0.2, 0.2))
    assert bootstrap_interval([0.7]) == (0.7, 0.7)


def test_wilson_interval_of_a_perfect_score_is_not_a_point() -> None:
    low, high = proportion_interval(100, 100)
    assert 0.96 < low < 0.97 and high == pytest.approx(1)


def test_confusion_rows_are_shares_of_what_was_asked() -> None:
    table = confusion(asked=[0, 0, 0, 0, 1], seen=[0, 0, 0, 1, 1], num_classes=3)
    np.testing.assert_allclose(table, [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])


def test_similarity_is_one_for_the_same_picture_only() -> None:
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(similarity(pictures, pictures), torch.ones(2), atol=1e-5)
    assert (similarity(pictures, pictures.flip(0)) < 0.3).all()
