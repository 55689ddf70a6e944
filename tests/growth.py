"""How a function's time grows with its text.

Seconds say nothing on a busy machine, so no test asks for them.
"""

import gc
import time
from collections.abc import Callable

SHORT, LONG = 1_250, 40_000  # letters
_TIMES = LONG / SHORT
_NOISE, _TRIES = 8, 8


def grows_linearly(run: Callable[[str], object], unit: str) -> bool:
    """Whether 32 times as much text takes nearer to 32 times as long than to 32 times 32.

    By the fastest of some tries; a busy machine makes the longer text several times slower.
    """
    run(unit)  # makes the tables
    least = {SHORT: float("inf"), LONG: float("inf")}
    for _ in range(_TRIES):
        for length in least:
            least[length] = min(least[length], _took_s(run, (unit * length)[:length]))
        if least[LONG] <= _NOISE * _TIMES * least[SHORT]:
            return True
    return False


def _took_s(run: Callable[[str], object], text: str) -> float:
    """Of this thread alone: a worker of the tests holds threads and garbage of other tests."""
    gc.disable()
    try:
        start = time.thread_time()
        run(text)
        return time.thread_time() - start
    finally:
        gc.enable()
