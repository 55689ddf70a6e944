"""How long a pass takes by its rows: measured, a straight line for each shape of pictures."""

from collections.abc import Hashable
from dataclasses import dataclass

_FORGETTING = 0.95  # of what a pass weighs when the next one is measured
_UNKNOWN_S = 0.01  # a row, before anything is measured
_SPREAD = 0.005  # of rows squared: below it passes have been of one size, for a while at least


@dataclass
class _Line:
    """Weighted sums of a least squares fit, rows against seconds."""

    weight: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    rows_squared: float = 0.0
    product: float = 0.0

    def add(self, rows: float, seconds: float) -> None:
        self.weight = _FORGETTING * self.weight + 1
        self.rows = _FORGETTING * self.rows + rows
        self.seconds = _FORGETTING * self.seconds + seconds
        self.rows_squared = _FORGETTING * self.rows_squared + rows * rows
        self.product = _FORGETTING * self.product + rows * seconds

    @property
    def spread(self) -> float:
        return self.rows_squared / self.weight - (self.rows / self.weight) ** 2

    def at(self, rows: float) -> float:
        """Return the seconds of a pass; where all had one size they are taken to grow with it."""
        mean_rows, mean_s = self.rows / self.weight, self.seconds / self.weight
        if self.spread < _SPREAD:
            return mean_s * rows / mean_rows
        slope = (self.product / self.weight - mean_rows * mean_s) / self.spread
        slope = min(max(slope, 0.0), mean_s / mean_rows)  # a pass has a cost of its own, none below
        return mean_s + slope * (rows - mean_rows)


class PassTimes:
    """The measured seconds of passes. Rows are native ones, so that they hold for other shapes."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._warm: set[Hashable] = set()

    def add(self, shape: Hashable, rows: float, seconds: float) -> None:
        """Take note of a pass; the first of a shape warms up and says nothing of the others."""
        if shape not in self._warm:
            self._warm.add(shape)
            return
        self._lines.setdefault(shape, _Line()).add(rows, seconds)

    def seconds(self, shape: Hashable, rows: float) -> float:
        """Return what a pass of so many rows will take: by its shape, or else by any other."""
        line = self._lines.get(shape) or next(iter(self._lines.values()), None)
        return line.at(rows) if line is not None else _UNKNOWN_S * rows

    def longer(self, shape: Hashable, rows: float, more_rows: float) -> float:
        """Return how many times longer a pass gets with more rows. It is 1 where passes have long
        been shorter: a longer one has to be tried to know.
        """
        line = self._lines.get(shape)
        if line is None or (line.spread < _SPREAD and line.rows / line.weight < more_rows):
            return 1.0
        return line.at(more_rows) / line.at(rows)

    @property
    def is_known(self) -> bool:
        """Whether anything has been measured."""
        return bool(self._lines)
