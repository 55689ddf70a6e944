"""Which pictures are on their way, and which come next: queue, turns, the budget of rows.

Nothing here touches a tensor.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fairgen.engine.requests import ImageJob, RequestHandle


@dataclass(eq=False)
class ScheduledImage:
    """One picture of a request. `cost` is how many native denoiser rows it takes."""

    handle: RequestHandle
    index: int
    cost: int

    @property
    def job(self) -> ImageJob:
        return self.handle.jobs[self.index]


class Scheduler:
    """Admits pictures up to `max_rows` native rows, in turn, one a request.

    A picture that is over the bound by itself is admitted alone. The engine's thread calls it.
    """

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._queues: deque[deque[ScheduledImage]] = deque()
        self.running: list[ScheduledImage] = []

    def add(self, handle: RequestHandle, costs: Sequence[int]) -> None:
        """Queue a request's pictures, with the native rows that each takes."""
        images = (ScheduledImage(handle, index, cost) for index, cost in enumerate(costs))
        self._queues.append(deque(images))

    def cancel(self, handle: RequestHandle) -> None:
        """Drop a request: its rows are free."""
        self._queues = deque(queue for queue in self._queues if queue[0].handle is not handle)
        self.running = [image for image in self.running if image.handle is not handle]

    def admit(self) -> list[ScheduledImage]:
        """Return the pictures that begin now."""
        taken, admitted = sum(image.cost for image in self.running), []
        while self._queues:
            queue = self._queues[0]
            if taken and taken + queue[0].cost > self.max_rows:
                break
            image = queue.popleft()
            taken += image.cost
            admitted.append(image)
            self._queues.rotate(-1)
            if not queue:
                self._queues.pop()
        self.running += admitted
        return admitted

    def finish(self, images: Sequence[ScheduledImage]) -> None:
        """Take pictures off that have ended."""
        self.running = [image for image in self.running if image not in images]

    @property
    def num_waiting(self) -> int:
        """How many pictures wait for rows."""
        return sum(len(queue) for queue in self._queues)

    @property
    def num_pending(self) -> int:
        """How many pictures wait or are on their way."""
        return len(self.running) + self.num_waiting

    def adapters(self) -> set[str]:
        """Return the names of all adapters that pending pictures use."""
        pending = [*self.running, *(image for queue in self._queues for image in queue)]
        return {name for image in pending for name in image.job.gates}
