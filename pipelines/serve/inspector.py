"""The inspector's service: a judge reads a share of the finished pictures, and says how far the
categories seen have drifted from those asked of the adapters.
"""

import io
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from fairgen.judging import fairness_discrepancy
from pipelines.recipe import Recipe, load_judge

_WINDOW = 500


@dataclass(frozen=True)
class Inspected:
    """The category asked and seen in one picture, and the state of the attribute's last pictures:
    `gap` is the FD between the asked and the seen shares, `hit_rate` the share of pictures that
    show the category asked.
    """

    asked: str
    seen: str
    gap: float
    hit_rate: float


class InspectorService:
    """Judges pictures one by one; keeps the labels of the last 500 of each attribute. It is called
    by one thread.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._judge = load_judge(recipe)
        self._names = {attribute.name: attribute.names for attribute in recipe.attributes}
        self._last: dict[str, deque[tuple[str, str]]] = {
            name: deque(maxlen=_WINDOW) for name in self._names
        }

    def inspect(self, content: bytes, categories: Mapping[str, str]) -> dict[str, Inspected]:
        """Return, by attribute that was asked, the category that a picture's file shows, and the
        state of the last pictures. An attribute of which the judge names no category is left out.
        """
        with Image.open(io.BytesIO(content)) as image:
            perception = self._judge.read([image.convert("RGB")])
        inspected = {}
        for attribute, asked in categories.items():
            if attribute in perception.abstained and perception.abstained[attribute][0]:
                continue
            seen = self._names[attribute][int(perception.probabilities[attribute][0].argmax())]
            self._last[attribute].append((asked, seen))
            inspected[attribute] = self._state(attribute, asked, seen)
        return inspected

    def _state(self, attribute: str, asked: str, seen: str) -> Inspected:
        last = self._last[attribute]
        num_asked, num_seen = (Counter(column) for column in zip(*last, strict=True))
        gap = fairness_discrepancy(
            [num_asked[name] / len(last) for name in self._names[attribute]],
            [num_seen[name] / len(last) for name in self._names[attribute]],
        )
        return Inspected(asked, seen, gap, sum(pair[0] == pair[1] for pair in last) / len(last))
