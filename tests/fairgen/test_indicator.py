"""Target distributions of requests, and the gates of their cells."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fairgen.attributes import Attribute, Category
from fairgen.indicator import TargetDistribution, gates
from tests.tiny import AGE, ATTRIBUTES, GENDER, SKIN


def test_gates_switch_on_the_cell_of_each_image() -> None:
    target = TargetDistribution.from_request({"gender": "uniform", "age": "uniform"}, ATTRIBUTES)
    names = ("age-old", "age-young", "gender-man", "gender-woman", "glasses-with")
    cell = target.cells.index(("man", "old"))
    gates_NK = gates(target, [cell, cell], names)
    assert torch.equal(gates_NK, torch.tensor([[1.0, 0, 1, 0, 0]] * 2))
    with pytest.raises(ValueError, match="'age-old', which has no adapter"):
        gates(target, [cell], names[1:])


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


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble])
def test_shares_may_be_numbers_of_numpy(kind: Any) -> None:
    plain = {"gender": {"woman": 0.25, "man": 0.75}}
    fairness = {"gender": {name: kind(share) for name, share in plain["gender"].items()}}
    assert TargetDistribution.from_request(fairness, ATTRIBUTES) == (
        TargetDistribution.from_request(plain, ATTRIBUTES)
    )


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


@pytest.mark.parametrize(
    ("attributes", "cells", "message"),
    [
        (("thing", "thing"), (("a", "b"),), "attributes: got .* allowed is each once"),
        (("thing",), (("a",), ("a",)), "cells: got .* allowed is each once"),
    ],
)
def test_attributes_and_cells_of_a_target_come_once(
    attributes: tuple[str, ...], cells: tuple[tuple[str, ...], ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        TargetDistribution(
            attributes=attributes, cells=cells, probabilities=(1 / len(cells),) * len(cells)
        )


@pytest.mark.parametrize(
    ("fairness", "message"),
    [
        ({}, "got nothing, allowed are"),
        (
            "uniform",
            r"fairness: got 'uniform', allowed are 'off' or a table over \['age', 'gender'",
        ),
        (["gender"], r"fairness: got \['gender'\], allowed are 'off' or a table over"),
        (True, "fairness: got True, allowed are 'off' or a table over"),
        (False, "fairness: got False, allowed are 'off' or a table over"),
        ({1: "uniform", "x": "uniform"}, r"fairness: got \[1, 'x'\], allowed are"),
        ({1: "uniform", "joint": {}}, r"fairness: got \[1, 'joint'\], 'joint' stands alone"),
        ({"gender": np.array([0.5, 0.5])}, "gender: got array.*, allowed are 'uniform' or a table"),
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
def test_a_wrong_request_names_the_field(fairness: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetDistribution.from_request(fairness, (GENDER, SKIN, AGE))
