"""The processes of this test run's own clusters and servers: another run on the machine has its own
of the same names.
"""

import time
from collections.abc import Callable

import psutil


def children(words: str) -> set[psutil.Process]:
    """Return the processes that this one has started, directly or not, whose command line holds
    words.
    """
    return {p for p in psutil.Process().children(recursive=True) if words in _command(p)}


def wait_for(reached: Callable[[], object], timeout_s: float = 120) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, f"not reached within {timeout_s} s"
        time.sleep(0.02)


def _command(process: psutil.Process) -> str:
    """Return how a process was started; nothing of one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
