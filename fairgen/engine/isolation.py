"""Work on many pictures at once, of which one may fail: it fails alone, and is logged."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: its result, or the error's text."""

    item: Item
    result: Result | None
    error: str | None = None


class Isolation:
    """Runs a function over a batch; where it raises, over the halves, down to the item at fault.

    Each cause is logged once with its traceback; `num_failed` counts batches that raised. Memory
    that ran out halves `max_items`, the most that later batches hold; 0 is no bound.
    """

    def __init__(self, what: str) -> None:
        """`what` completes the log line "... could not be ..."."""
        self._what = what
        self._logged: set[str] = set()
        self.num_failed = self.max_items = 0

    def run(
        self, act: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
    ) -> list[Outcome[Item, Result]]:
        """Return one outcome an item, in their order; `act` returns one result an item."""
        size = self.max_items or max(1, len(items))
        outcomes: list[Outcome[Item, Result]] = []
        for start in range(0, len(items), size):
            outcomes += self._run(act, items[start : start + size])
        return outcomes

    def _run(
        self, act: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
    ) -> list[Outcome[Item, Result]]:
        try:
            results = act(items)
            return [Outcome(item, result) for item, result in zip(items, results, strict=True)]
        except Exception as error:
            text = self._note(error, len(items))
        # left before trying again: the traceback keeps what the failed batch held in memory
        if len(items) == 1:
            return [Outcome(items[0], None, text)]
        half = len(items) // 2
        return self._run(act, items[:half]) + self._run(act, items[half:])

    def _note(self, error: Exception, num_items: int) -> str:
        self.num_failed += 1
        text = str(error) or type(error).__name__
        if num_items > 1 and isinstance(error, MemoryError | torch.OutOfMemoryError):
            self.max_items = num_items // 2
            log.warning("%d pictures at once ran out of memory: at most %d from now on",
                        num_items, self.max_items)  # fmt: skip
        cause = f"{type(error).__name__} {text}"
        if cause not in self._logged:
            self._logged.add(cause)
            log.exception("%d pictures could not be %s", num_items, self._what)
        return text
