"""Quotas are exact, prefixes stay within one image, joint tables hold."""

import random
import time
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fairgen.attributes import Attribute, Category
from fairgen.indicator import Indicator, Ledger, TargetDistribution, quota
from tests.tiny import AGE, ATTRIBUTES, GENDER, SKIN


def target_of(*weights: float) -> TargetDistribution:
    total = sum(weights)
    return TargetDistribution(
        attributes=("thing",),
        cells=tuple((f"c{index}",) for index in range(len(weights))),
        probabilities=tuple(weight / total for weight in weights),
    )


targets = st.lists(st.floats(0.01, 1), min_size=1, max_size=8).map(lambda ws: target_of(*ws))


@given(target=targets, num_images=st.integers(0, 200), seed=st.integers(0, 99))
def test_a_quota_is_exact_and_within_one_image(
    target: TargetDistribution, num_images: int, seed: int
) -> None:
    counts = quota(target, num_images, random.Random(seed))
    assert sum(counts) == num_images
    for count, probability in zip(counts, target.probabilities, strict=True):
        assert abs(count - num_images * probability) < 1


def test_half_and_half_is_half_and_half() -> None:
    target = TargetDistribution.from_request({"gender": "uniform"}, ATTRIBUTES)
    assert quota(target, 100, random.Random(0)) == [50, 50]


@pytest.mark.parametrize("num_images", [8, 12, 24, 40, 100])
@pytest.mark.parametrize("seed", range(20))
def test_joint_quotas_keep_the_marginals(seed: int, num_images: int) -> None:
    target = TargetDistribution.from_request(
        {"gender": "uniform", "skin": "uniform", "age": "uniform"}, ATTRIBUTES
    )
    counts = quota(target, num_images, random.Random(seed))
    half, quarter = num_images // 2, num_images // 4
    for place, each in ((0, half), (1, quarter), (2, half)):
        shares: Counter[str] = Counter()
        for cell, count in zip(target.cells, counts, strict=True):
            shares[cell[place]] += count
        assert set(shares.values()) == {each}


@pytest.mark.parametrize("num_images", [1, 8, 16, 24, 50])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3, 0.4, 0.9, 1.0])
def test_an_uneven_share_keeps_its_count_among_other_attributes(
    share: float, num_images: int
) -> None:
    """A fifth of 24 is 5 women, though each of the 8 cells of women is due 0.6."""
    pmf = {"woman": share, "man": 1 - share}
    asked = {"gender": pmf, "skin": "uniform", "age": "uniform"}
    target = TargetDistribution.from_request(asked, ATTRIBUTES)
    counts = quota(target, num_images, random.Random(num_images))
    for place, attribute in enumerate(target.attributes):
        for name, due in target.marginal(attribute).items():
            given = sum(
                count
                for cell, count in zip(target.cells, counts, strict=True)
                if cell[place] == name
            )
            assert abs(given - num_images * due) < 1
    for count, probability in zip(counts, target.probabilities, strict=True):
        assert abs(count - num_images * probability) < 1


def test_pairs_of_attributes_keep_their_counts_too() -> None:
    """24 images over 16 cells: each gender in each skin tone three times, as far as may be."""
    asked = {"gender": "uniform", "skin": "uniform", "age": "uniform"}
    target = TargetDistribution.from_request(asked, ATTRIBUTES)
    for seed in range(10):
        pairs: Counter[tuple[str, ...]] = Counter()
        for cell, count in zip(target.cells, quota(target, 24, random.Random(seed)), strict=True):
            pairs[cell[:2]] += count
            pairs[cell[1:]] += count
        assert set(pairs.values()) == {3}


def test_ties_are_broken_by_lot_and_the_lot_is_seeded() -> None:
    target = target_of(1, 1, 1)
    winners = [quota(target, 1, random.Random(seed)).index(1) for seed in range(60)]
    assert set(winners) == {0, 1, 2}
    assert winners == [quota(target, 1, random.Random(seed)).index(1) for seed in range(60)]


@given(target=targets, sizes=st.lists(st.integers(1, 9), max_size=30), seed=st.integers(0, 99))
def test_any_prefix_of_the_traffic_is_within_one_image(
    target: TargetDistribution, sizes: list[int], seed: int
) -> None:
    ledger, given_out = Ledger(seed), Counter[int]()
    total = 0
    for size in sizes:
        for cell in ledger.assign("a doctor", target, size):
            given_out[cell] += 1
            total += 1
            for index, probability in enumerate(target.probabilities):
                assert abs(given_out[index] - total * probability) < 1 + 1e-6


@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_a_hundred_single_requests_give_what_one_of_a_hundred_gives(
    weights: list[int], seed: int
) -> None:
    parts = [100 * weight // sum(weights) for weight in weights]
    parts[0] += 100 - sum(parts)
    target = target_of(*parts)
    ledger = Ledger(seed)
    singles = Counter(cell for _ in range(100) for cell in ledger.assign("x", target, 1))
    together = Counter(Indicator().assign(target, 100, seed))
    assert singles == together == Counter({i: part for i, part in enumerate(parts) if part})


def test_streams_are_kept_apart() -> None:
    target, ledger = target_of(1, 1), Ledger()
    first = ledger.assign("a doctor", target, 1)
    ledger.assign("a nurse", target, 3)
    assert sorted(first + ledger.assign("a doctor", target, 1)) == [0, 1]


def test_the_coin_is_reproducible_and_not_exact() -> None:
    target, indicator = target_of(1, 1), Indicator()
    draws = [indicator.assign(target, 100, seed, "iid") for seed in range(20)]
    assert draws == [indicator.assign(target, 100, seed, "iid") for seed in range(20)]
    assert len({sum(cells) for cells in draws}) > 5


def test_assignments_are_shuffled_and_seeded() -> None:
    target, indicator = target_of(1, 1), Indicator()
    orders = {tuple(indicator.assign(target, 10, seed)) for seed in range(10)}
    assert len(orders) > 5 and all(sum(order) == 5 for order in orders)


def test_gates_switch_on_the_cell_of_each_image() -> None:
    target = TargetDistribution.from_request({"gender": "uniform", "age": "uniform"}, ATTRIBUTES)
    names = ("age-old", "age-young", "gender-man", "gender-woman", "glasses-with")
    cell = target.cells.index(("man", "old"))
    gates = Indicator().gates(target, [cell, cell], names)
    assert torch.equal(gates, torch.tensor([[1.0, 0, 1, 0, 0]] * 2))
    with pytest.raises(ValueError, match="'age-old', which has no adapter"):
        Indicator().gates(target, [cell], names[1:])


def test_products_and_marginals() -> None:
    target = TargetDistribution.from_request(
        {"gender": {"woman": 0.25, "man": 0.75}, "skin": "uniform"}, ATTRIBUTES
    )
    assert len(target.cells) == 8 and sum(target.probabilities) == pytest.approx(1)
    assert target.marginal("gender") == pytest.approx({"woman": 0.25, "man": 0.75})
    swapped = target.marginalised(("skin", "gender"))
    assert swapped.cells[0] == ("light", "woman")
    with pytest.raises(ValueError, match=r"got \['age'\], allowed are"):
        target.marginal("age")


def test_a_category_that_two_attributes_share_is_ambiguous_in_a_joint_table() -> None:
    yes_no = (Category(name="yes", word="with"), Category(name="no", word="without"))
    attributes = [Attribute(name=name, categories=yes_no) for name in ("glasses", "beard")]
    with pytest.raises(ValueError, match="joint: got 'yes', which glasses and beard share"):
        TargetDistribution.from_request({"joint": {"yes": 1.0}}, attributes)
    product_of = {"glasses": "uniform", "beard": "uniform"}
    assert len(TargetDistribution.from_request(product_of, attributes).cells) == 4


@pytest.mark.parametrize(
    ("cells", "probabilities", "message"),
    [
        ((("a",), ("b",)), (1.0,), "probabilities: got 1, allowed is one for each of 2 cells"),
        ((("a",), ("b",)), (0.5, 0.4), "allowed are shares that sum to 1"),
        ((("a",), ("b",)), (1.5, -0.5), "allowed are shares that sum to 1"),
        ((("a",), ("b",)), (float("nan"), 0.5), "allowed are shares that sum to 1"),
        ((("a", "c"),), (1.0,), "cells: got"),
    ],
)
def test_a_target_is_a_pmf_or_refused(
    cells: tuple[tuple[str, ...], ...], probabilities: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        TargetDistribution(attributes=("thing",), cells=cells, probabilities=probabilities)


def test_a_thousand_cells_are_assigned_in_a_moment() -> None:
    categories = tuple(Category(name=f"c{index}", word="some") for index in range(4))
    attributes = [Attribute(name=f"a{index}", categories=categories) for index in range(5)]
    target = TargetDistribution.from_request({a.name: "uniform" for a in attributes}, attributes)
    start = time.process_time()
    counts = quota(target, 100, random.Random(0))
    Ledger().assign("a doctor", target, 20)
    assert time.process_time() - start < 2
    for place in range(5):
        shares = [
            sum(count for cell, count in zip(target.cells, counts, strict=True) if cell[place] == c)
            for c in attributes[place].names
        ]
        assert max(shares) - min(shares) <= 1


def test_a_joint_table_may_leave_cells_out() -> None:
    target = TargetDistribution.from_request(
        {"joint": {"woman,old": 0.5, "man, young": 0.5}}, ATTRIBUTES
    )
    assert target.attributes == ("gender", "age")
    counts = dict(zip(target.cells, quota(target, 10, random.Random(0)), strict=True))
    assert counts == {
        ("woman", "old"): 5, ("man", "young"): 5, ("woman", "young"): 0, ("man", "old"): 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fairness", "message"),
    [
        ({}, "got nothing, allowed are"),
        ({"height": "uniform"}, r"got \['height'\], allowed are \['age', 'gender', 'skin'\]"),
        ({"gender": {"woman": 0.5, "child": 0.5}}, r"gender: got \['child'\], allowed are"),
        ({"gender": {"woman": 0.7, "man": 0.7}}, r"gender: got shares that sum to 1\.4"),
        ({"gender": {"woman": -0.5, "man": 1.5}}, r"gender\.woman: got -0\.5, allowed are shares"),
        ({"gender": {"woman": float("nan"), "man": 1}}, r"gender\.woman: got nan"),
        ({"gender": {"woman": True, "man": 0}}, r"gender\.woman: got True"),
        ({"gender": "equal"}, "gender: got 'equal', allowed are 'uniform' or a table"),
        ({"joint": {"woman,light": 1.0}, "age": "uniform"}, "'joint' stands alone"),
        ({"joint": {}}, "joint: got {}, allowed is a table"),
        ({"joint": {"woman,light": 0.5, "light,woman": 0.5}}, "allowed are cells of"),
        ({"joint": {"woman,man": 1.0}}, "allowed are cells of"),
        ({"joint": {"woman,green": 1.0}}, r"joint: got \['green'\]"),
        ({"joint": {"woman,light": 0.5, "woman, light": 0.5}}, "got a cell twice"),
    ],
)
def test_a_wrong_request_names_the_field(fairness: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetDistribution.from_request(fairness, (GENDER, SKIN, AGE))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4, 0.5, 0.7, 0.95])
def test_any_prefix_keeps_each_attributes_own_count(share: float) -> None:
    """A fifth women among eight pictures is one or two, though a cell of women is due 0.2."""
    pmf = {"woman": share, "man": 1 - share}
    asked = {"gender": pmf, "skin": "uniform", "age": "uniform"}
    target = TargetDistribution.from_request(asked, ATTRIBUTES)
    for seed in range(3):
        cells = Ledger(seed).assign("a doctor", target, 120)
        for place, attribute in enumerate(target.attributes):
            for name, due in target.marginal(attribute).items():
                given = np.cumsum([target.cells[cell][place] == name for cell in cells])
                assert np.abs(given - due * np.arange(1, 121)).max() < 1.5


@given(target=targets, num_images=st.integers(1, 150), seed=st.integers(0, 9))
def test_every_prefix_is_within_one_image_in_every_cell(
    target: TargetDistribution, num_images: int, seed: int
) -> None:
    cells = Ledger(seed).assign("a doctor", target, num_images)
    places = np.arange(1, num_images + 1)
    for index, probability in enumerate(target.probabilities):
        given = np.cumsum([cell == index for cell in cells])
        assert np.abs(given - probability * places).max() < 1


@pytest.mark.parametrize("seed", range(8))
def test_categories_that_are_behind_never_push_a_cell_out_of_its_bound(seed: int) -> None:
    """On uneven joint tables, whoever is furthest behind alone would leave cells three behind."""
    rng = random.Random(seed)
    cells = [",".join(cell) for cell in product(GENDER.names, SKIN.names, AGE.names)]
    weights = [rng.random() ** 3 + 0.002 for _ in cells]
    table = {cell: weight / sum(weights) for cell, weight in zip(cells, weights, strict=True)}
    target = TargetDistribution.from_request({"joint": table}, ATTRIBUTES)
    given = Ledger(seed).assign("a doctor", target, 150)
    places = np.arange(1, 151)
    for index, probability in enumerate(target.probabilities):
        counts = np.cumsum([cell == index for cell in given])
        assert np.abs(counts - probability * places).max() < 1


def test_a_category_that_is_almost_never_due_costs_nothing() -> None:
    ledger = Ledger()
    cells = ledger.assign("a doctor", target_of(1e-12, 1.0, 1e-7), 200)
    assert Counter(cells)[1] >= 199
    assert quota(target_of(1e-12, 1.0, 1e-7), 200, random.Random(0)) == [0, 200, 0]


def test_a_stream_does_not_depend_on_how_it_is_cut_nor_on_others() -> None:
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
    first = [ledger.assign(name, target, 1) for name in ("a", "b", "a", "c", "a")]
    assert first[0] != first[2], "a was remembered"
    again = ledger.assign("b", target, 1)  # forgotten when c came: it begins anew
    assert again == first[1]
