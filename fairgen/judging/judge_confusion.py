"""How a judge errs: what it named in pictures whose category is known."""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.attributes import Attribute
from fairgen.indicator import TargetDistribution
from fairgen.judging.intervals import JudgeError
from fairgen.judging.judge import Judge

_BATCH_SIZE = 64


class JudgeConfusion(BaseModel):
    """A judge's confusion: attribute -> true category -> named category -> pictures. `source` says
    which pictures. `abstained` are those in which it named none, attribute -> true category ->
    pictures; an attribute of which it always names a category is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    counts: dict[str, dict[str, dict[str, int]]]
    abstained: dict[str, dict[str, int]] = {}

    def check(self, attributes: Sequence[Attribute]) -> None:
        """Raise ValueError for an attribute that is measured in part, or by other categories."""
        for attribute in attributes:
            table = self.counts.get(attribute.name)
            if table is None:
                continue
            names = set(attribute.names)
            if set(table) != names or any(set(row) - names for row in table.values()):
                raise ValueError(
                    f"confusion.{attribute.name}: got {sorted(table)}, allowed is a row for each "
                    f"of {sorted(names)}"
                )
            if empty := [true for true, row in table.items() if not sum(row.values())]:
                raise ValueError(
                    f"confusion.{attribute.name}: got no picture of {empty}, at least one of each "
                    "category is needed"
                )

    def errors(self, target: TargetDistribution) -> list[JudgeError]:
        """Return the judge's error in each attribute of a target, categories in the order of its
        cells. Nothing where one of them was not measured.
        """
        orders = [
            tuple(dict.fromkeys(cell[index] for cell in target.cells))
            for index in range(len(target.attributes))
        ]
        measured = set(target.attributes) <= set(self.counts)
        if not measured or tuple(product(*orders)) != target.cells:
            return []
        return [
            self.error(attribute, order)
            for attribute, order in zip(target.attributes, orders, strict=True)
        ]

    def error(self, attribute: str, categories: Sequence[str]) -> JudgeError:
        """Return the judge's error in a measured attribute, categories in the order given."""
        table = self.counts[attribute]
        return JudgeError(
            np.array([[table[true].get(name, 0) for name in categories] for true in categories])
        )


def measure_confusion(
    judge: Judge, attributes: Sequence[Attribute], folder: Path
) -> JudgeConfusion:
    """Let a judge name pictures whose category a person has said, and count.

    `folder` holds a folder for each attribute, and in it one for each of its categories, with
    pictures. Attributes may be missing. Raises ValueError for a folder of no known name, a category
    without a picture or in none of whose pictures the judge names one, and a file that is none.
    """
    known = {attribute.name: attribute for attribute in attributes}
    labelled = _folders("labelled", folder, list(known))
    if not labelled:
        raise ValueError(f"labelled: {folder} holds nothing, allowed are {sorted(known)}")
    counts: dict[str, dict[str, dict[str, int]]] = {}
    abstained: dict[str, dict[str, int]] = {}
    for name, inside in labelled.items():
        categories = known[name].names
        pictures = _folders(f"labelled/{name}", inside, categories)
        counts[name] = {}
        for category in categories:
            files = sorted(pictures[category].iterdir()) if category in pictures else []
            if not files:
                raise ValueError(f"labelled/{name}: got no picture of {category!r}")
            order, named = list(judge.heads[name]), Counter[str]()
            for start in range(0, len(files), _BATCH_SIZE):
                images = [_read(file) for file in files[start : start + _BATCH_SIZE]]
                perception = judge.read(images)
                seen = perception.probabilities[name].argmax(1)
                if name in perception.abstained:
                    seen = seen[~perception.abstained[name]]
                    left_out = abstained.setdefault(name, {})
                    left_out[category] = left_out.get(category, 0) + len(images) - len(seen)
                named.update(order[index] for index in seen.tolist())
            if not named:
                raise ValueError(
                    f"labelled/{name}: the judge names no category in all {len(files)} pictures of "
                    f"{category!r}, in one at least it must"
                )
            counts[name][category] = dict(named)
    total = sum(sum(row.values()) for table in counts.values() for row in table.values())
    total += sum(sum(row.values()) for row in abstained.values())
    source = f"{total} labelled pictures of {folder.name}"
    return JudgeConfusion(source=source, counts=counts, abstained=abstained)


def _folders(field: str, folder: Path, allowed: Sequence[str]) -> dict[str, Path]:
    """Return the folders inside a folder by their names, which are all allowed."""
    if not folder.is_dir():
        raise ValueError(f"{field}: got {str(folder)!r}, which is no folder")
    found = {path.name: path for path in folder.iterdir()}
    if unknown := sorted(set(found) - set(allowed)):
        raise ValueError(f"{field}: got {unknown}, allowed are folders named {sorted(allowed)}")
    return found


def _read(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"labelled: {file} is no picture: {error}") from error
