"""Metrics against values worked out by hand."""

import numpy as np
import pytest
import torch

from fairgen.judging.metrics import (
    class_shares,
    confusion_counts,
    cosines,
    deviation_ratio,
    drift_floor,
    fairness_discrepancy,
    frechet_distance,
    kernel_distance,
    kl_divergence,
    mean_pairwise_distance,
    parity_gap,
    psnr,
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


def test_confusion_rows_are_pictures_of_what_was_asked() -> None:
    table = confusion_counts(asked=[0, 0, 0, 0, 1], seen=[0, 0, 0, 1, 1], num_classes=3)
    np.testing.assert_array_equal(table, [[3, 1, 0], [0, 1, 0], [0, 0, 0]])
    assert not confusion_counts([], [], 2).any()


def test_similarity_is_one_for_the_same_picture_only() -> None:
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(similarity(pictures, pictures), torch.ones(2), atol=1e-5)
    assert (similarity(pictures, pictures.flip(0)) < 0.3).all()


def test_two_samples_of_one_distribution_differ_by_their_floor() -> None:
    assert drift_floor([0.5, 0.5], 1) == pytest.approx(2**0.5 / 2, abs=0.02)  # alike half the time
    assert drift_floor([1.0, 0.0], 10) == 0
    apart = sampling_floor([0.8, 0.2], 400)  # from the truth, not from each other
    assert drift_floor([0.8, 0.2], 400) == pytest.approx(2**0.5 * apart, rel=0.05)


def test_parity_gap_is_between_the_most_and_the_least_delivered() -> None:
    assert parity_gap([0.7, 0.1, 0.2]) == pytest.approx(0.6)
    assert parity_gap([0.25] * 4) == 0 and parity_gap([1, 0]) == 1


def test_kl_is_of_the_delivered_from_the_prescribed() -> None:
    assert kl_divergence([0.5, 0.5], [0.5, 0.5]) == 0
    assert kl_divergence([0.5, 0.5], [1, 0]) == pytest.approx(np.log(2))
    assert kl_divergence([0.25, 0.75], [0.5, 0.5]) == pytest.approx(0.5 * np.log(4 / 3))
    assert kl_divergence([1, 0], [0.9, 0.1]) == np.inf


def test_psnr_of_a_tenth_is_20_db_and_of_nothing_the_cap() -> None:
    pictures = torch.full((3, 3, 8, 8), 0.5)
    others = pictures + torch.tensor([0.1, 0.01, 0.0])[:, None, None, None]
    torch.testing.assert_close(
        psnr(pictures, others), torch.tensor([20.0, 40.0, 100.0]), atol=1e-3, rtol=0
    )


def test_cosines_pair_the_rows_whatever_their_length() -> None:
    rows = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
    others = torch.tensor([[5.0, 0.0], [4.0, 0.0], [0.0, -1.0]])
    torch.testing.assert_close(cosines(rows, others), torch.tensor([1.0, 0.5**0.5, -1.0]))


def test_diversity_is_the_mean_over_pairs() -> None:
    corners = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])  # 1 - cosine: 1, 2, 1
    assert mean_pairwise_distance(corners) == pytest.approx(4 / 3)
    assert mean_pairwise_distance(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="features_ND: got 1 rows, at least 2 are needed"):
        mean_pairwise_distance(corners[:1])


def test_frechet_distance_adds_the_shift_and_the_change_of_spread() -> None:
    real = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])  # variances 2/3, 8/3
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    shifted = real + torch.tensor([3.0, 4.0])
    assert frechet_distance(shifted, real) == pytest.approx(25, abs=1e-6)
    assert frechet_distance(3 * real, real) == pytest.approx(4 * (2 / 3 + 8 / 3), abs=1e-6)
    with pytest.raises(ValueError, match="real_features: got 1 rows, at least 2 are needed"):
        frechet_distance(real, real[:1])


def test_frechet_distance_holds_with_fewer_rows_than_features() -> None:
    real = torch.randn(20, 128, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(real + 0.5, real) == pytest.approx(128 / 4, abs=1e-4)


def test_kernel_distance_of_two_pairs_of_numbers() -> None:
    # (xy + 1)^3 within: 1 and 27; across: 1, 1, 8 and 27, whose mean is 37/4
    pair, real = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    assert kernel_distance(pair, real, subset_size=2) == pytest.approx((1 + 27 - 2 * 37 / 4, 0))


def test_kernel_distance_is_unbiased_and_drawn_by_its_seed() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 400, 8, generator=generator)
    mean, deviation = kernel_distance(one, two, subset_size=50)
    assert abs(mean) < deviation
    assert kernel_distance(one, two, subset_size=50) == (mean, deviation)
    assert kernel_distance(one, two, subset_size=50, seed=1) != (mean, deviation)
    assert kernel_distance(one + 1, two, subset_size=50)[0] > 5 * deviation


@pytest.mark.parametrize("size", [1, 5])
def test_subsets_larger_than_the_sets_are_an_error(size: int) -> None:
    with pytest.raises(ValueError, match=f"subset_size: got {size}, allowed are 2 to 4"):
        kernel_distance(torch.ones(4, 2), torch.ones(6, 2), subset_size=size)
