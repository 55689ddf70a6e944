"""Many callers at once, while something happens to what they ask."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.pipelines.processes import wait_for

T = TypeVar("T")
_CALLERS = 8


def under_load(ask: Callable[[int], T], count: int, change: Callable[[], None]) -> list[T]:
    """Return the answers to `ask(0)`, `ask(1)`, ... of eight callers; `change` happens after a
    tenth of them. A request that fails raises here.
    """
    with ThreadPoolExecutor(_CALLERS) as pool:
        running = [pool.submit(ask, index) for index in range(count)]
        wait_for(lambda: sum(future.done() for future in running) >= count // 10)
        change()
        return [future.result() for future in running]
