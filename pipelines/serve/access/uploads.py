"""How many bytes of pictures that are sent may be in memory at once, and who may hold them: bodies
that come in, and what of them waits to be painted.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipelines.serve.access.errors import RequestError

_OVER_FREE = 3


class UploadMemory:
    """Bounds what is in memory. A sender may hold three times as much as is free besides: alone
    three quarters of all, so that there is room for somebody else. One event loop may call it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()
        self.most_of_one = most * _OVER_FREE // (_OVER_FREE + 1)

    @contextmanager
    def of(self, sender: str) -> Iterator["HeldBytes"]:
        """Yield what a request may add its bytes to; they are given back at the end."""
        held = HeldBytes(self, sender)
        try:
            yield held
        finally:
            held.release()

    def take(self, sender: str, size: int) -> None:
        """Let a sender hold more bytes. Raises RequestError 429 where it would be too many."""
        total = sum(self._held.values())
        if self._held[sender] + size > _OVER_FREE * (self._most - total - size):
            message = (
                f"{total} bytes of pictures are in memory, {self._held[sender]} of them yours; "
                f"allowed are {self._most}, of which one sender holds three times what is free"
            )
            raise RequestError(429, message, code="overloaded", retry_after_s=1)
        self._held[sender] += size

    def give_back(self, sender: str, size: int) -> None:
        """Take note that a sender holds less."""
        self._held[sender] -= size
        if self._held[sender] <= 0:
            del self._held[sender]


@dataclass
class HeldBytes:
    """The bytes of one request; releasing them twice is releasing them once."""

    memory: UploadMemory
    sender: str
    _size: int = field(default=0, init=False)

    def add(self, size: int) -> None:
        """Hold more. Raises RequestError 429 where it is too much for now, 413 for ever."""
        if (total := self._size + size) > self.memory.most_of_one:
            allowed = f"allowed are {self.memory.most_of_one}"
            message = f"body: its pictures take {total} bytes at once, {allowed}"
            raise RequestError(413, message, code="too_large")
        self.memory.take(self.sender, size)
        self._size += size

    def keep(self, size: int) -> None:
        """Hold so much from now on, which is less than before."""
        self.memory.give_back(self.sender, self._size - size)
        self._size = size

    def release(self) -> None:
        """Free what is held."""
        self.keep(0)
