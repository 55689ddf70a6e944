"""The inspector's service: a judge looks at a share of the finished pictures, and says how far what
is seen has drifted from what was asked of the adapters.
"""

import io
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from fairgen.judging import fairness_discrepancy
from pipelines.recipe.models import load_judge
from pipelines.recipe.recipe import Recipe

_WINDOW = 500


@dataclass(frozen=True)
class Inspected:
    """What the last pictures of an attribute have shown: `gap` is the FD between the asked and the
    seen shares, `hit_rate` the share of pictures that show what was asked.
    """

    asked: str
    seen: str
    gap: float
    hit_rate: float


class InspectorService:
    """Judges pictures one by one; keeps the last 500 of each attribute."""

    def __init__(self, recipe: Recipe) -> None:
        self._judge = load_judge(recipe)
        self._names = {attribute.name: attribute.names for attribute in recipe.attributes}
        self._last: dict[str, deque[tuple[str, str]]] = {
            name: deque(maxlen=_WINDOW) for name in self._names
        }

    def inspect(self, content: bytes, categories: Mapping[str, str]) -> dict[str, Inspected]:
        """Return, by attribute that was asked, what a picture's file shows and how the last ones
        stand.
        """
        with Image.open(io.BytesIO(content)) as image:
            probabilities = self._judge.read([image.convert("RGB")]).probabilities
        found = {}
        for attribute, asked in categories.items():
            seen = self._names[attribute][int(probabilities[attribute][0].argmax())]
            self._last[attribute].append((asked, seen))
            found[attribute] = self._standing(attribute, asked, seen)
        return found

    def _standing(self, attribute: str, asked: str, seen: str) -> Inspected:
        last = self._last[attribute]
        wanted, found = (Counter(column) for column in zip(*last, strict=True))
        gap = fairness_discrepancy(
            [wanted[name] / len(last) for name in self._names[attribute]],
            [found[name] / len(last) for name in self._names[attribute]],
        )
        return Inspected(asked, seen, gap, sum(pair[0] == pair[1] for pair in last) / len(last))
