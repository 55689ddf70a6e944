"""Intervals against what they promise: how often they hold the truth, and what no miss may hide."""

from collections.abc import Callable

import numpy as np
import pytest

from fairgen.judging.intervals import (
    JudgeError,
    ShareSample,
    corrected_rate,
    proportion_interval,
)

EVEN = np.array([0.5, 0.5])
Draw = Callable[[np.random.Generator], np.ndarray]


def quota(num_prompts: int, num_images: int, miss: float) -> Draw:
    """Return what draws the counts of a quota whose pictures miss at a rate."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        counts = np.zeros((num_prompts, 2, 2))
        for prompt in range(num_prompts):
            for category in range(2):
                misses = rng.binomial(num_images // 2, miss)
                counts[prompt, category, 1 - category] = misses
                counts[prompt, category, category] = num_images // 2 - misses
        return counts

    return draw


def coin(num_prompts: int, num_images: int) -> Draw:
    """Return what draws the counts of a fair coin that never misses."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        return np.stack([np.diag(rng.multinomial(num_images, EVEN)) for _ in range(num_prompts)])

    return draw


def base(num_prompts: int, num_images: int, women: float) -> Draw:
    """Return what draws the counts of a model that is asked for nothing."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        return rng.multinomial(num_images, [women, 1 - women], num_prompts)[:, None, :]

    return draw


def test_wilson_interval_of_a_perfect_score_is_not_a_point() -> None:
    low, high = proportion_interval(100, 100)
    assert 0.96 < low < 0.97 and high == pytest.approx(1)


@pytest.mark.parametrize(
    "draw",
    [quota(12, 100, 0.0), quota(12, 100, 0.02), quota(4, 24, 0.03), coin(12, 100),
     base(12, 100, 0.05), base(12, 100, 0.5)],
    ids=["no miss", "few misses", "small", "coin", "biased base", "fair base"],
)  # fmt: skip
def test_most_intervals_hold_the_mean_of_many_evaluations(draw: Draw) -> None:
    """Twelve prompts are few: a coin that never misses is held in nine of ten, the rest more."""
    rng = np.random.default_rng(0)

    def distance(counts: np.ndarray) -> float:
        shares = counts.sum(1) / counts.sum((1, 2))[:, None]
        return float(np.linalg.norm(shares - EVEN, axis=1).mean())

    truth = np.mean([distance(draw(rng)) for _ in range(400)])
    found = [ShareSample(draw(rng), trials=200).fd(EVEN) for _ in range(60)]
    assert sum(f.interval[0] <= truth <= f.interval[1] for f in found) >= 51
    assert all(f.interval[0] < f.interval[1] and 0 <= f.interval[0] <= f.value for f in found)


def test_no_miss_says_what_it_may_hide() -> None:
    """In n pictures without a miss the upper end of its rate is about 3.7 / n, as Wilson's is."""
    few, many = (
        ShareSample(quota(p, n, 0)(np.random.default_rng(0))) for p, n in [(4, 24), (12, 100)]
    )
    assert few.fd(EVEN).value == many.fd(EVEN).value == 0
    assert 0.02 < few.fd(EVEN).interval[1] < 2**0.5 / 2 * (1 - proportion_interval(48, 48)[0])
    assert 0.001 < many.fd(EVEN).interval[1] < 0.01


def test_the_same_pictures_give_the_same_interval() -> None:
    counts = quota(4, 24, 0.1)(np.random.default_rng(3))
    assert ShareSample(counts).fd(EVEN) == ShareSample(counts).fd(EVEN)
    assert ShareSample(counts, seed=1).fd(EVEN) != ShareSample(counts).fd(EVEN)


def test_a_judge_who_takes_women_for_men_is_corrected() -> None:
    """Half are women. The judge takes a fifth of them for men: it sees 40 of 100."""
    error = JudgeError(np.array([[800, 200], [0, 1000]]))
    sample = ShareSample(np.array([[[40, 60]]] * 6))
    assert sample.fd(EVEN).value == pytest.approx(0.1 * 2**0.5)
    corrected = sample.fd(EVEN, [error])
    assert corrected.value == pytest.approx(0, abs=1e-9) and corrected.interval[1] > 0.02
    rate = corrected_rate([76, 24], 0, error)  # of 95 true hits in 100 it sees 76
    assert rate.value == pytest.approx(0.95)
    assert rate.interval[0] < 0.95 < rate.interval[1] <= 1
    sure = corrected_rate([76, 24], 0, JudgeError(error.counts * 1000))
    unsure = corrected_rate([76, 24], 0, JudgeError(error.counts // 100))
    assert np.ptp(unsure.interval) > np.ptp(sure.interval)


def test_a_correction_stays_a_distribution() -> None:
    error = JudgeError(np.array([[70, 30], [30, 70]]))
    assert corrected_rate([95, 5], 0, error).value == 1  # even 70 would be all of them
    assert ShareSample(np.array([[[95, 5]]])).fd([1.0, 0.0], [error]).value == 0


def test_errors_in_two_attributes_are_taken_off_their_joint_cells() -> None:
    gender = JudgeError(np.array([[80, 20], [0, 100]]))
    age = JudgeError(np.array([[100, 0], [10, 90]]))
    true = np.array([0.4, 0.3, 0.2, 0.1])  # woman young, woman old, man young, man old
    seen = true @ np.kron(gender.shares, age.shares)
    sample = ShareSample((seen * 10_000)[None, None])
    assert sample.fd(true).value > 0.05
    assert sample.fd(true, [gender, age]).value == pytest.approx(0, abs=1e-6)
