"""Any fairness of a request becomes a distribution, or is refused with a reason."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairgen.attributes import Attribute
from fairgen.indicator import TargetDistribution
from fairgen.ledger import Ledger, assign
from tests.fuzzing import CASES
from tests.tiny import ATTRIBUTES

fuzzed = settings(derandomize=True, deadline=None, database=None, max_examples=CASES)
fuzzed_slowly = settings(fuzzed, max_examples=CASES // 4)

texts = st.text(st.characters(exclude_categories=()), max_size=20)  # halves of characters, too
numbers = st.integers() | st.floats() | st.sampled_from([0, 1, 0.5, -0.0, 5e-324, 1e-7, 10**400])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["gender", "age", "skin", "joint", "woman", "man", "young", "old", "light", "woman,old",
     "woman, old", "old,woman", "woman,woman", "man,light", ",", "uniform", "off", ""]
)  # fmt: skip
tables = st.dictionaries(names | texts, numbers | values, max_size=6)
anything = values | st.dictionaries(
    names | texts, st.just("uniform") | names | tables | values, max_size=4
)


@st.composite
def shares(draw: st.DrawFn, cells: list[str]) -> dict[str, float]:
    """Return shares of some cells that sum to 1, among them some too small to see."""
    weights = draw(
        st.dictionaries(
            st.sampled_from(cells), st.integers(1, 100) | st.floats(1e-320, 1), min_size=1
        )
    )
    total = sum(weights.values())
    return {cell: weight / total for cell, weight in weights.items()}


@st.composite
def targets(draw: st.DrawFn, attributes: tuple[Attribute, ...]) -> dict[str, Any]:
    """Return a fairness that can be met: a table for each of some attributes, or a joint one."""
    chosen = draw(st.lists(st.sampled_from(attributes), min_size=1, unique=True))
    if draw(st.booleans()):
        return {a.name: draw(st.just("uniform") | shares(list(a.names))) for a in chosen}
    cells = [""]
    for attribute in chosen:
        cells = [f"{cell},{name}".lstrip(",") for cell in cells for name in attribute.names]
    return {"joint": draw(shares(cells))}


@fuzzed
@given(fairness=st.dictionaries(names | texts, st.just("uniform") | tables | values, max_size=4))
def test_any_table_is_a_distribution_or_a_valueerror(fairness: dict[str, Any]) -> None:
    try:
        target = TargetDistribution.from_request(fairness, ATTRIBUTES)
    except ValueError as error:
        assert ": got " in str(error)
    else:
        assert sum(target.probabilities) == pytest.approx(1)


@fuzzed_slowly
@given(fairness=targets(ATTRIBUTES), num_images=st.integers(1, 24))
def test_any_shares_that_sum_to_one_are_met_within_one_picture(
    fairness: dict[str, Any], num_images: int
) -> None:
    target = TargetDistribution.from_request(fairness, ATTRIBUTES)
    for cells in (Ledger().assign("a chef", target, num_images), assign(target, num_images, 0)):
        counts = Counter(cells)
        for cell, share in enumerate(target.probabilities):
            assert abs(counts[cell] - num_images * share) < 1 + 1e-4
            assert share > 0 or not counts[cell]
