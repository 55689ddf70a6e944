"""The distribution indicator: a target distribution over joint categories, and gates for images.

Which image shows which cell of the target is decided in `fairgen.ledger`.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from numbers import Real
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, model_validator

from fairgen.attributes import Attribute, adapter_name

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = 1e-6


class TargetDistribution(BaseModel):
    """A pmf over joint cells: one category name per attribute in every cell.

    Raises ValueError unless each attribute and each cell is there once, with one probability a cell
    that are shares which sum to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    probabilities: tuple[float, ...]

    @model_validator(mode="after")
    def _is_a_pmf(self) -> "TargetDistribution":
        for field, got in (("attributes", self.attributes), ("cells", self.cells)):
            if len(set(got)) != len(got):
                raise ValueError(f"{field}: got {got}, allowed is each once")
        if len(self.probabilities) != len(self.cells):
            raise ValueError(
                f"probabilities: got {len(self.probabilities)}, "
                f"allowed is one for each of {len(self.cells)} cells"
            )
        for cell in self.cells:
            if len(cell) != len(self.attributes):
                raise ValueError(f"cells: got {cell}, allowed is one category of {self.attributes}")
        total = sum(self.probabilities)
        if not all(share >= 0 for share in self.probabilities) or abs(total - 1) > _TOLERANCE:
            raise ValueError(
                f"probabilities: got {self.probabilities}, allowed are shares that sum to 1"
            )
        return self

    @classmethod
    def from_request(
        cls, fairness: Mapping[str, object], attributes: Sequence[Attribute]
    ) -> "TargetDistribution":
        """Return the target of a request: a product of pmfs or "uniform", or {"joint": table}.

        A joint table's keys name one category per attribute, as in {"woman,light": 0.5, ...}.
        Raises ValueError that names the field, what was got and what is allowed.
        """
        known = {attribute.name: attribute for attribute in attributes}
        if not isinstance(fairness, Mapping):
            raise ValueError(
                f"fairness: got {fairness!r}, allowed are 'off' or a table over {sorted(known)}, "
                "such as {'gender': 'uniform'}"
            )
        if not fairness:
            raise ValueError(f"fairness: got nothing, allowed are {sorted(known)} or 'joint'")
        if "joint" in fairness:
            if len(fairness) > 1:
                raise ValueError(f"fairness: got {sorted(fairness, key=str)}, 'joint' stands alone")
            return cls._from_table(fairness["joint"], known)
        if unknown := sorted(set(fairness) - known.keys(), key=str):
            raise ValueError(f"fairness: got {unknown}, allowed are {sorted(known)} or 'joint'")
        pmfs = [
            _pmf(f"fairness.{name}", value, known[name].names) for name, value in fairness.items()
        ]
        cells = tuple(product(*pmfs))
        probabilities = tuple(
            math.prod(pmf[category] for pmf, category in zip(pmfs, cell, strict=True))
            for cell in cells
        )
        return cls(attributes=tuple(fairness), cells=cells, probabilities=probabilities)

    @classmethod
    def _from_table(cls, table: object, known: Mapping[str, Attribute]) -> "TargetDistribution":
        if not isinstance(table, Mapping) or not table:
            raise ValueError(
                f"fairness.joint: got {table!r}, "
                "allowed is a table such as {'woman,light': 0.5, ...}"
            )
        cells = [tuple(part.strip() for part in str(key).split(",")) for key in table]
        owners: dict[str, list[str]] = defaultdict(list)
        for attribute in known.values():
            for category in attribute.names:
                owners[category].append(attribute.name)
        used = {part for cell in cells for part in cell}
        if unknown := sorted(used - owners.keys()):
            raise ValueError(f"fairness.joint: got {unknown}, allowed are {sorted(owners)}")
        if shared := sorted(part for part in used if len(owners[part]) > 1):
            raise ValueError(
                f"fairness.joint: got {shared[0]!r}, which {' and '.join(owners[shared[0]])} "
                "share; allowed are categories of one attribute only"
            )
        owner = {part: owners[part][0] for part in used}
        names = tuple(owner[part] for part in cells[0])
        for cell in cells:
            if tuple(owner[part] for part in cell) != names or len(set(names)) != len(names):
                raise ValueError(
                    f"fairness.joint: got cell {','.join(cell)!r}, "
                    f"allowed are cells of {list(names)} in this order"
                )
        if len(set(cells)) != len(cells):
            raise ValueError("fairness.joint: got a cell twice, allowed is each cell once")
        pmf = _pmf("fairness.joint", table, tuple(table))
        probability_of = dict(zip(cells, pmf.values(), strict=True))
        all_cells = tuple(product(*(known[name].names for name in names)))
        return cls(
            attributes=names,
            cells=all_cells,
            probabilities=tuple(probability_of.get(cell, 0.0) for cell in all_cells),
        )

    def check(self, known: Mapping[str, Sequence[str]]) -> None:
        """Raise ValueError for a category that the target can ask for and that is none of `known`,
        attribute -> categories.
        """
        for name in self.attributes:
            if name not in known:
                raise ValueError(f"fairness: got {name!r}, allowed are {sorted(known)}")
            for category, share in self.marginal(name).items():
                if share > 0 and category not in known[name]:
                    raise ValueError(
                        f"fairness.{name}: got {category!r}, allowed are {list(known[name])}"
                    )

    def marginalised(self, attributes: Sequence[str]) -> "TargetDistribution":
        """Return the distribution over some of the attributes, in the given order."""
        if unknown := sorted(set(attributes) - set(self.attributes)):
            raise ValueError(f"attributes: got {unknown}, allowed are {list(self.attributes)}")
        positions = [self.attributes.index(name) for name in attributes]
        sums: dict[tuple[str, ...], float] = {}
        for cell, probability in zip(self.cells, self.probabilities, strict=True):
            smaller_cell = tuple(cell[position] for position in positions)
            sums[smaller_cell] = sums.get(smaller_cell, 0.0) + probability
        return TargetDistribution(
            attributes=tuple(attributes), cells=tuple(sums), probabilities=tuple(sums.values())
        )

    def marginal(self, attribute: str) -> dict[str, float]:
        """Return one attribute's pmf by category name."""
        one = self.marginalised((attribute,))
        return {
            cell[0]: probability
            for cell, probability in zip(one.cells, one.probabilities, strict=True)
        }


def _pmf(field: str, value: object, names: Sequence[str]) -> dict[str, float]:
    """Return a checked pmf over all names; "uniform" is equal shares, a name left out has none."""
    if isinstance(value, str) and value == "uniform":
        return dict.fromkeys(names, 1 / len(names))
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{field}: got {value!r}, allowed are 'uniform' or a table over {list(names)}"
        )
    if unknown := sorted(set(map(str, value)) - set(names)):
        raise ValueError(f"{field}: got {unknown}, allowed are {list(names)}")
    shares: dict[str, float] = {}
    for name in names:
        share: Any = value.get(name, 0.0)
        is_number = isinstance(share, Real) and not isinstance(share, bool)  # numpy's are, too
        if not is_number or not 0 <= share <= 1:
            raise ValueError(f"{field}.{name}: got {share!r}, allowed are shares from 0 to 1")
        shares[name] = float(share)
    total = sum(shares.values())
    if abs(total - 1) > _TOLERANCE:
        raise ValueError(f"{field}: got shares that sum to {total:g}, allowed is a sum of 1")
    return {name: share / total for name, share in shares.items()}


def gates(target: TargetDistribution, cells: Sequence[int], names: Sequence[str]) -> "Tensor":
    """Return gates, N images x K adapters, in the order of `names`; 1 switches a category on.

    `cells` holds the cell index of each image. Raises ValueError when a category that the target
    can ask for has no adapter.
    """
    import torch

    column = {name: index for index, name in enumerate(names)}
    gates_NK = torch.zeros(len(cells), len(names))
    for row, cell in enumerate(cells):
        for attribute, category in zip(target.attributes, target.cells[cell], strict=True):
            name = adapter_name(attribute, category)
            if name not in column:
                raise ValueError(
                    f"fairness: got {name!r}, which has no adapter; loaded are {sorted(column)}"
                )
            gates_NK[row, column[name]] = 1.0
    return gates_NK
