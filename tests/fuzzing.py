"""What the fuzz tests share: how many cases they try, and what no case may do."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import psutil
import pytest

CASES = int(os.environ.get("FAIRGEN_FUZZ_CASES", "300"))  # the full form is 2,000 and more
Case = TypeVar("Case")
LONGEST_S = 20.0
_MOST_GROWTH_MIB = 10.0


def spread(cases: Sequence[Case]) -> Sequence[Case]:
    """Return every so many-th case, so that a third of CASES are left: for what takes a while."""
    return cases[:: max(1, round(len(cases) / (CASES / 3)))]


@contextmanager
def watched(case: str) -> Iterator[None]:
    """Name the case when something goes wrong with it, and fail the test when it hangs."""

    def give_up(*_: object) -> None:
        pytest.fail(f"{case}: not done after {LONGEST_S:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    except Exception as error:
        error.add_note(f"case: {case}")
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Memory:
    """This process's resident memory, looked at after every case.

    The first half of the cases warms up: what counts is what the second half adds.
    """

    def __init__(self) -> None:
        self.seen_mib: list[float] = []

    def look(self) -> None:
        self.seen_mib.append(psutil.Process().memory_info().rss / 2**20)

    @property
    def growth_mib(self) -> float:
        return self.seen_mib[-1] - max(self.seen_mib[: len(self.seen_mib) // 2])

    def check(self) -> None:
        assert self.growth_mib < _MOST_GROWTH_MIB, f"{self.growth_mib:.0f} MiB more at the end"
