"""What is asked of adapters that miss is turned so that what is seen is the target."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairgen.calibration import calibrated
from fairgen.indicator import TargetDistribution
from fairgen.ledger import Ledger, assign
from tests.tiny import ATTRIBUTES

GENDER = {"woman": {"woman": 0.8, "man": 0.2}, "man": {"woman": 0.0, "man": 1.0}}
SKIN = {
    "light": {"light": 0.9, "tan": 0.1, "brown": 0.0, "dark": 0.0},
    "tan": {"light": 0.2, "tan": 0.7, "brown": 0.1, "dark": 0.0},
    "brown": {"light": 0.0, "tan": 0.0, "brown": 0.75, "dark": 0.25},
    "dark": {"light": 0.0, "tan": 0.0, "brown": 0.0, "dark": 1.0},
}


def seen(assignment: TargetDistribution, confusions: dict) -> dict[tuple[str, ...], float]:
    """Return what adapters that miss as the confusions say show under an assignment."""
    shown: dict[tuple[str, ...], float] = {}
    for cell, share in zip(assignment.cells, assignment.probabilities, strict=True):
        outcomes = [((), share)]
        for attribute, category in zip(assignment.attributes, cell, strict=True):
            row = confusions.get(attribute, {}).get(category, {category: 1.0})
            outcomes = [((*o, name), p * hit) for o, p in outcomes for name, hit in row.items()]
        for outcome, p in outcomes:
            shown[outcome] = shown.get(outcome, 0.0) + p
    return shown


def distance(target: TargetDistribution, assignment: TargetDistribution, confusions: dict) -> float:
    """Return how far what is seen under an assignment is from a target."""
    shown = seen(assignment, confusions)
    wanted = zip(target.cells, target.probabilities, strict=True)
    return float(np.linalg.norm([shown.get(cell, 0.0) - p for cell, p in wanted]))


def test_a_category_that_is_missed_is_asked_more_often() -> None:
    target = TargetDistribution.from_request({"gender": {"woman": 0.4, "man": 0.6}}, ATTRIBUTES)
    assigned = calibrated(target, {"gender": GENDER})
    assert assigned.marginal("gender") == pytest.approx({"woman": 0.5, "man": 0.5}, abs=1e-6)


@given(shares=st.lists(st.floats(0.15, 1), min_size=4, max_size=4), women=st.floats(0.2, 0.7))
def test_what_is_seen_is_the_target_on_several_attributes(
    shares: list[float], women: float
) -> None:
    names = ("light", "tan", "brown", "dark")
    skin = {name: share / sum(shares) for name, share in zip(names, shares, strict=True)}
    wanted = {"gender": {"woman": women, "man": 1 - women}, "skin": skin, "age": "uniform"}
    target = TargetDistribution.from_request(wanted, ATTRIBUTES)
    confusions = {"gender": GENDER, "skin": SKIN}
    before = distance(target, target, confusions)
    after = distance(target, calibrated(target, confusions), confusions)
    table = np.array([[SKIN[asked][shown] for shown in names] for asked in names])
    reachable = (np.array([skin[name] for name in names]) @ np.linalg.inv(table)).min() >= 0
    assert after < (1e-4 if reachable else before)


def test_a_target_out_of_reach_is_approached_and_stays_a_distribution() -> None:
    target = TargetDistribution.from_request({"gender": {"woman": 1.0}}, ATTRIBUTES)
    assigned = calibrated(target, {"gender": GENDER})
    assert assigned.marginal("gender") == pytest.approx({"woman": 1.0, "man": 0.0}, abs=1e-6)


def test_of_all_assignments_of_a_joint_table_it_is_the_nearest() -> None:
    table = {"woman,young": 0.4, "man,old": 0.6}
    target = TargetDistribution.from_request({"joint": table}, ATTRIBUTES)
    confusions = {"gender": GENDER}
    assigned = calibrated(target, confusions)
    nearest = distance(target, assigned, confusions)
    assert nearest < distance(target, target, confusions)
    rng = np.random.default_rng(0)
    for spread in (0.01, 0.1, 1.0):
        for other in rng.dirichlet(np.ones(4), 200):
            mixed = (1 - spread) * np.array(assigned.probabilities) + spread * other
            near = assigned.model_copy(update={"probabilities": tuple(mixed.tolist())})
            assert distance(target, near, confusions) >= nearest - 1e-6


def test_without_a_confusion_nothing_is_turned() -> None:
    target = TargetDistribution.from_request({"age": "uniform"}, ATTRIBUTES)
    assert calibrated(target, {"gender": GENDER}) is target


def test_counts_of_requests_and_streams_follow_a_calibrated_target() -> None:
    target = TargetDistribution.from_request({"gender": "uniform", "skin": "uniform"}, ATTRIBUTES)
    assigned = calibrated(target, {"gender": GENDER, "skin": SKIN})
    for cells in (assign(assigned, 40, 0), Ledger().assign("prompt", assigned, 40)):
        for cell, share in enumerate(assigned.probabilities):
            assert abs(cells.count(cell) - 40 * share) < 1


@pytest.mark.parametrize(
    ("row", "got"),
    [
        ({"woman": 1.0}, r"got \{'woman': 1.0\}"),
        ({"woman": 0.5, "man": 0.2}, "sum to 1"),
        ({"woman": 1.5, "man": -0.5}, "sum to 1"),
    ],
)
def test_a_row_that_is_no_distribution_is_refused(row: dict, got: str) -> None:
    target = TargetDistribution.from_request({"gender": "uniform"}, ATTRIBUTES)
    with pytest.raises(ValueError, match=got) as error:
        calibrated(target, {"gender": GENDER | {"woman": row}})
    assert "confusion of gender.woman" in str(error.value)
