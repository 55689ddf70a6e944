"""Where prompts differ, what is delivered follows the target for each person, caller and in all."""

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairgen.indicator import TargetDistribution
from fairgen.ledger import Ledger, stream_keys
from tests.fairgen.test_ledger import target_of
from tests.tiny import ATTRIBUTES

TARGETS = [target_of(1, 1), target_of(1, 3), target_of(1, 9), target_of(1, 1, 1, 1)]
targets = pytest.mark.parametrize("target", TARGETS, ids=lambda t: str(t.probabilities))


def distance(cells: Sequence[int], target: TargetDistribution) -> float:
    """Return the fairness discrepancy of delivered cells."""
    counts = Counter(cells)
    shares = [counts[i] / len(cells) - p for i, p in enumerate(target.probabilities)]
    return math.hypot(*shares)


def largest_gap(cells: Sequence[int], target: TargetDistribution) -> float:
    """Return by how many images any prefix is off in any cell."""
    counts: Counter[int] = Counter()
    gap = 0.0
    for m, cell in enumerate(cells, 1):
        counts[cell] += 1
        gap = max(gap, *(abs(counts[i] - m * p) for i, p in enumerate(target.probabilities)))
    return gap


@targets
def test_a_hundred_prompts_of_one_person_are_as_one_prompt(target: TargetDistribution) -> None:
    ledger = Ledger()
    cells = [ledger.assign(i, target, 1, above=("doctor", "all"))[0] for i in range(100)]
    assert distance(cells, target) <= 0.01 and largest_gap(cells, target) < 1


@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=6),
    prompts=st.lists(st.integers(0, 3), min_size=1, max_size=120),
    callers=st.lists(st.integers(0, 2), min_size=120, max_size=120),
)
def test_a_prompt_keeps_its_bound_whatever_stands_above_it(
    weights: list[int], prompts: list[int], callers: list[int]
) -> None:
    target, ledger = target_of(*weights), Ledger()
    cells: dict[int, list[int]] = {}
    for prompt, caller in zip(prompts, callers, strict=False):
        above = (("person", prompt % 2), ("caller", caller), "all")
        cells.setdefault(prompt, []).extend(ledger.assign(prompt, target, 1, above=above))
    for given_cells in cells.values():
        assert largest_gap(given_cells, target) < 1


@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=6),
    persons=st.lists(st.integers(0, 3), min_size=1, max_size=120),
)
def test_a_person_keeps_the_bound_where_every_prompt_comes_once(
    weights: list[int], persons: list[int]
) -> None:
    target, ledger = target_of(*weights), Ledger()
    cells: dict[int, list[int]] = {}
    for prompt, person in enumerate(persons):
        cells.setdefault(person, []).extend(
            ledger.assign(prompt, target, 1, above=(("person", person), "all"))
        )
    for given_cells in cells.values():
        assert largest_gap(given_cells, target) < 1


@targets
def test_persons_callers_and_all_traffic_are_balanced_together(target: TargetDistribution) -> None:
    rng, ledger = random.Random(0), Ledger()
    order = [person for person in range(50) for _ in range(20)]
    rng.shuffle(order)
    by: dict[object, list[int]] = {}
    for prompt, person in enumerate(order):
        caller = f"caller {rng.randrange(20)}"
        (cell,) = ledger.assign(prompt, target, 1, above=(("person", person), caller, "all"))
        for name in (person, caller, "all"):
            by.setdefault(name, []).append(cell)
    coins = [
        distance(rng.choices(range(len(target.cells)), target.probabilities, k=50), target)
        for _ in range(400)
    ]
    persons = [distance(cells, target) for name, cells in by.items() if isinstance(name, int)]
    callers = [distance(cells, target) for name, cells in by.items() if "caller" in str(name)]
    assert sum(persons) / 50 <= 0.025
    assert distance(by["all"], target) <= 0.005
    assert sum(callers) / len(callers) <= 0.5 * sum(coins) / len(coins)


@pytest.mark.parametrize("lost", ["every third", "some of the rare cell"])
@pytest.mark.parametrize("seed", range(5))
def test_what_nobody_got_is_due_again(lost: str, seed: int) -> None:
    target, ledger, rng = target_of(1, 3), Ledger(seed=seed), random.Random(seed)
    delivered: list[int] = []
    for index in range(90):
        above = ("doctor", "all")
        (cell,) = ledger.assign("a doctor", target, 1, above=above)
        if index % 3 == 2 if lost == "every third" else cell == 0 and rng.random() < 0.5:
            ledger.give_back(stream_keys("a doctor", target, above), target.cells[cell])
        else:
            delivered.append(cell)
    assert largest_gap(delivered, target) <= 1


def test_what_was_never_assigned_gives_nothing_back() -> None:
    target, ledger = target_of(1, 1), Ledger()
    ledger.give_back(stream_keys("a doctor", target), ("c0",))
    (cell,) = ledger.assign("a doctor", target, 1)
    ledger.give_back(stream_keys("a doctor", target), ("another",))
    assert ledger.assign("a doctor", target, 1) == [1 - cell]


def test_targets_do_not_mix_and_a_prompt_is_no_person_of_its_name() -> None:
    half, quarter, ledger = target_of(1, 1), target_of(1, 3), Ledger()
    alone = Ledger().assign("x", half, 20, above=("doctor",))
    mixed = []
    for _ in range(20):
        mixed += ledger.assign("x", half, 1, above=("doctor",))
        ledger.assign("x", quarter, 1, above=("doctor",))
        ledger.assign("doctor", half, 0)
    assert mixed == alone


def test_every_attribute_of_many_is_balanced_over_prompts_that_differ() -> None:
    target = TargetDistribution.from_request({"gender": "uniform", "skin": "uniform"}, ATTRIBUTES)
    ledger = Ledger()
    cells = [ledger.assign(i, target, 1, above=("doctor", "all"))[0] for i in range(100)]
    for place in range(2):
        counts = Counter(target.cells[cell][place] for cell in cells)
        assert max(counts.values()) - min(counts.values()) <= 1
