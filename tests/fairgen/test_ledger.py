"""Counts of one request and of a stream of requests follow the target."""

import random
import time
import tracemalloc
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairgen.attributes import Attribute, Category
from fairgen.indicator import TargetDistribution
from fairgen.ledger import Ledger, assign
from tests.tiny import AGE, ATTRIBUTES, GENDER, SKIN

UNIFORM = {"gender": "uniform", "skin": "uniform", "age": "uniform"}


def target_of(*weights: float) -> TargetDistribution:
    total = sum(weights)
    return TargetDistribution(
        attributes=("thing",),
        cells=tuple((f"c{index}",) for index in range(len(weights))),
        probabilities=tuple(weight / total for weight in weights),
    )


def quota(target: TargetDistribution, num_images: int, seed: int) -> list[int]:
    """Return how many images of one request each cell gets."""
    counts = Counter(assign(target, num_images, seed))
    return [counts[cell] for cell in range(len(target.cells))]


def category_counts(target: TargetDistribution, counts: list[int]) -> dict[str, Counter[str]]:
    """Return how many images each category gets, by attribute."""
    totals = {name: Counter[str]() for name in target.attributes}
    for cell, count in zip(target.cells, counts, strict=True):
        for name, category in zip(target.attributes, cell, strict=True):
            totals[name][category] += count
    return totals


def largest_deviation(target: TargetDistribution, cells: list[int]) -> float:
    """Return how far any cell's count is from its share, after any number of images."""
    shown_MX = np.eye(len(target.cells))[cells]
    due_MX = np.outer(np.arange(1, len(cells) + 1), target.probabilities)
    return float(np.abs(shown_MX.cumsum(axis=0) - due_MX).max())


targets = st.lists(st.floats(0.01, 1), min_size=1, max_size=8).map(lambda ws: target_of(*ws))


@given(target=targets, num_images=st.integers(0, 200), seed=st.integers(0, 99))
def test_a_requests_counts_are_within_one_image_of_the_target(
    target: TargetDistribution, num_images: int, seed: int
) -> None:
    counts = quota(target, num_images, seed)
    assert sum(counts) == num_images
    for count, probability in zip(counts, target.probabilities, strict=True):
        assert abs(count - num_images * probability) < 1


def test_a_hundred_images_of_two_equal_categories_are_fifty_of_each() -> None:
    target = TargetDistribution.from_request({"gender": "uniform"}, ATTRIBUTES)
    assert quota(target, 100, 0) == [50, 50]


@pytest.mark.parametrize("num_images", [8, 12, 24, 40, 100])
@pytest.mark.parametrize("seed", range(20))
def test_uniform_attributes_get_exact_counts_though_their_cells_are_rounded(
    seed: int, num_images: int
) -> None:
    target = TargetDistribution.from_request(UNIFORM, ATTRIBUTES)
    totals = category_counts(target, quota(target, num_images, seed))
    assert set(totals["gender"].values()) == set(totals["age"].values()) == {num_images // 2}
    assert set(totals["skin"].values()) == {num_images // 4}


@pytest.mark.parametrize("num_images", [1, 8, 16, 24, 50])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3, 0.4, 0.9, 1.0])
def test_an_uneven_share_keeps_its_count_beside_other_attributes(
    share: float, num_images: int
) -> None:
    """A fifth of 24 is 5 women, though each of the 8 cells of women is due 0.6."""
    pmf = {"woman": share, "man": 1 - share}
    target = TargetDistribution.from_request(UNIFORM | {"gender": pmf}, ATTRIBUTES)
    counts = quota(target, num_images, seed=num_images)
    for name, totals in category_counts(target, counts).items():
        for category, probability in target.marginal(name).items():
            assert abs(totals[category] - num_images * probability) < 1
    for count, probability in zip(counts, target.probabilities, strict=True):
        assert abs(count - num_images * probability) < 1


def test_pairs_of_attributes_get_their_counts_too() -> None:
    """24 images over 16 cells: each gender three times in each skin tone."""
    target = TargetDistribution.from_request(UNIFORM, ATTRIBUTES)
    for seed in range(10):
        pairs: Counter[tuple[str, ...]] = Counter()
        for cell, count in zip(target.cells, quota(target, 24, seed), strict=True):
            pairs[cell[:2]] += count
            pairs[cell[1:]] += count
        assert set(pairs.values()) == {3}


def test_ties_are_broken_by_the_seed() -> None:
    target = target_of(1, 1, 1)
    first_cells = [assign(target, 1, seed)[0] for seed in range(60)]
    assert set(first_cells) == {0, 1, 2}
    assert first_cells == [assign(target, 1, seed)[0] for seed in range(60)]


def test_a_requests_images_are_shuffled_by_the_seed() -> None:
    target = target_of(1, 1)
    orders = {tuple(assign(target, 10, seed)) for seed in range(10)}
    assert len(orders) > 5 and all(sum(order) == 5 for order in orders)


def test_independent_draws_are_reproducible_and_not_exact() -> None:
    target = target_of(1, 1)
    draws = [assign(target, 100, seed, "iid") for seed in range(20)]
    assert draws == [assign(target, 100, seed, "iid") for seed in range(20)]
    assert len({sum(cells) for cells in draws}) > 5


def test_a_joint_table_may_leave_cells_out() -> None:
    target = TargetDistribution.from_request(
        {"joint": {"woman,old": 0.5, "man, young": 0.5}}, ATTRIBUTES
    )
    assert target.attributes == ("gender", "age")
    counts = dict(zip(target.cells, quota(target, 10, 0), strict=True))
    assert counts == {
        ("woman", "old"): 5, ("man", "young"): 5, ("woman", "young"): 0, ("man", "old"): 0,
    }  # fmt: skip


def test_a_thousand_cells_are_assigned_in_a_moment() -> None:
    categories = tuple(Category(name=f"c{index}", word="some") for index in range(4))
    attributes = [Attribute(name=f"a{index}", categories=categories) for index in range(5)]
    target = TargetDistribution.from_request({a.name: "uniform" for a in attributes}, attributes)
    start = time.thread_time()
    counts = quota(target, 100, 0)
    Ledger().assign("a doctor", target, 20)
    assert time.thread_time() - start < 20  # all combinations would take days
    for totals in category_counts(target, counts).values():
        assert set(totals.values()) == {25}


@given(target=targets, sizes=st.lists(st.integers(1, 9), max_size=30), seed=st.integers(0, 99))
def test_any_prefix_of_the_traffic_is_within_one_image_in_every_cell(
    target: TargetDistribution, sizes: list[int], seed: int
) -> None:
    ledger = Ledger(seed)
    cells = [cell for size in sizes for cell in ledger.assign("a doctor", target, size)]
    assert not cells or largest_deviation(target, cells) < 1


@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_a_hundred_single_requests_get_the_counts_of_one_request_of_a_hundred(
    weights: list[int], seed: int
) -> None:
    percents = [100 * weight // sum(weights) for weight in weights]
    percents[0] += 100 - sum(percents)
    target, ledger = target_of(*percents), Ledger(seed)
    singles = Counter(cell for _ in range(100) for cell in ledger.assign("x", target, 1))
    assert [singles[cell] for cell in range(len(percents))] == percents
    assert quota(target, 100, seed) == percents


def test_each_stream_has_its_own_counts() -> None:
    target, ledger = target_of(1, 1), Ledger()
    first = ledger.assign("a doctor", target, 1)
    ledger.assign("a nurse", target, 3)
    assert sorted(first + ledger.assign("a doctor", target, 1)) == [0, 1]


def test_one_prompt_has_a_stream_for_each_target() -> None:
    ledger, half, third = Ledger(), target_of(1, 1), target_of(1, 1, 1)
    halves = [ledger.assign("a doctor", half, 1)[0]]
    thirds = ledger.assign("a doctor", third, 3)
    halves += ledger.assign("a doctor", target_of(1, 1), 1)
    assert sorted(halves) == [0, 1] and sorted(thirds) == [0, 1, 2]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4, 0.5, 0.7, 0.95])
def test_any_prefix_keeps_each_attributes_own_count(share: float) -> None:
    """A fifth women among eight pictures is one or two, though a cell of women is due 0.2."""
    pmf = {"woman": share, "man": 1 - share}
    target = TargetDistribution.from_request(UNIFORM | {"gender": pmf}, ATTRIBUTES)
    for seed in range(3):
        cells = Ledger(seed).assign("a doctor", target, 120)
        for position, attribute in enumerate(target.attributes):
            for category, probability in target.marginal(attribute).items():
                shown = np.cumsum([target.cells[cell][position] == category for cell in cells])
                assert np.abs(shown - probability * np.arange(1, 121)).max() < 1.5


@pytest.mark.parametrize("seed", range(8))
def test_categories_that_are_behind_never_push_a_cell_out_of_its_bound(seed: int) -> None:
    """On uneven joint tables, a choice by the furthest behind alone leaves cells three behind."""
    rng = random.Random(seed)
    cells = [",".join(cell) for cell in product(GENDER.names, SKIN.names, AGE.names)]
    weights = [rng.random() ** 3 + 0.002 for _ in cells]
    table = {cell: weight / sum(weights) for cell, weight in zip(cells, weights, strict=True)}
    target = TargetDistribution.from_request({"joint": table}, ATTRIBUTES)
    assert largest_deviation(target, Ledger(seed).assign("a doctor", target, 150)) < 1


def test_a_category_that_is_almost_never_due_costs_nothing() -> None:
    target = target_of(1e-12, 1.0, 1e-7)
    assert Counter(Ledger().assign("a doctor", target, 200))[1] >= 199
    assert quota(target, 200, 0)[1] >= 199


def test_a_stream_does_not_depend_on_request_sizes_nor_on_other_streams() -> None:
    target = TargetDistribution.from_request({"gender": "uniform", "skin": "uniform"}, ATTRIBUTES)
    whole = Ledger().assign("a doctor", target, 100)
    ledger, single = Ledger(), []
    for _ in range(100):
        single += ledger.assign("a doctor", target, 1)
        ledger.assign("a nurse", target, 3)
    assert single == whole


def test_the_ledger_forgets_the_stream_that_was_quiet_longest() -> None:
    target = TargetDistribution.from_request({"gender": {"woman": 0.5, "man": 0.5}}, ATTRIBUTES)
    ledger = Ledger(max_streams=2)
    cells = [ledger.assign(prompt, target, 1) for prompt in ("a", "b", "a", "c", "a")]
    assert cells[0] != cells[2], "a was remembered"
    again = ledger.assign("b", target, 1)  # forgotten when c came: it begins anew
    assert again == cells[1]


def test_a_stream_takes_less_than_a_kilobyte() -> None:
    """100,000 streams of 16 cells fit into 100 MB, however often their targets are built anew."""
    ledger = Ledger()
    ledger.assign("the first", TargetDistribution.from_request(UNIFORM, ATTRIBUTES), 1)
    tracemalloc.start()
    for index in range(300):
        ledger.assign(index, TargetDistribution.from_request(UNIFORM, ATTRIBUTES), 1)
    num_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_bytes / 300 < 1000


@pytest.mark.parametrize("every", [1, 3, 7])
def test_a_stream_goes_on_where_what_is_assigned_by_changes(every: int) -> None:
    """As with calibration, whose shares change with each promotion: a tenth stays a tenth."""
    asked, ledger, women = target_of(1, 9), Ledger(), 0
    for index in range(0, 210, every):
        off = (index // every % 5 - 2) / 1000  # what another set of adapters misses
        by = target_of(1 + off, 9 - off)
        cells = ledger.assign("a doctor", asked, every, by=by)
        women += cells.count(0)
    assert abs(women - 21) <= 2


def test_a_stream_under_its_own_target_is_as_ever() -> None:
    asked = target_of(1, 9)
    assert Ledger().assign("a", asked, 50, by=asked) == Ledger().assign("a", asked, 50)
