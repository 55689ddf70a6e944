"""What every judge offers. Judges measure pictures; no adapter is ever trained on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

CLIP_TYPES = ("clip", "siglip")  # of models that name by zero-shot, as their configs say it
# attribute -> category -> the labels of a classifier that stand for it
Classes = dict[str, dict[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Classified:
    """What a classifier names in N pictures, in main memory.

    `probabilities` holds, by attribute, N x categories. `abstained` says, N values an attribute, in
    which pictures it names no category: their probabilities mean nothing, and they count nowhere.
    An attribute of which it always names one is left out.
    """

    probabilities: Mapping[str, "Tensor"]
    abstained: Mapping[str, "Tensor"] = field(default_factory=dict)


@dataclass(frozen=True)
class Perception:
    """What a judge reads from N pictures, in main memory.

    `probabilities` holds, by head, N x classes: every attribute, and "concept". `features` are the
    image features at unit length, N x D. `abstained` is that of `Classified`.
    """

    probabilities: Mapping[str, "Tensor"]
    features: "Tensor"
    abstained: Mapping[str, "Tensor"] = field(default_factory=dict)


class Judge(Protocol):
    """A model, or several, that name who is in a picture. One thread calls it."""

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """The classes of each head, in the order of its probabilities."""

    def read(self, images: Sequence[Image.Image]) -> Perception:
        """Return probabilities and features; every network runs once a picture."""

    def text_feature(self, text: str) -> "Tensor":
        """Return the unit vector of a text, D values: its product with a picture's features is
        CLIP-T. Each text is encoded once.
        """


class Classifier(Protocol):
    """A model that names the categories of attributes, and gives no features."""

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """The categories of each attribute, in the order of its probabilities."""

    def classify(self, images: Sequence[Image.Image]) -> Classified:
        """Return probabilities by attribute, and where it abstains."""
