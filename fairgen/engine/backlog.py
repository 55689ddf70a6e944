"""The pictures that are pending in an engine, by who asks for them and by their shape."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from fairgen.engine.requests import ImageJob, RequestHandle

Shape = tuple[int, ...]
_MAX_IDLE = 256  # callers with nothing pending whose clocks are kept


@dataclass(eq=False)
class ScheduledImage:
    """One picture of a request. A denoiser row of it costs `row_cost` native ones; at the steps of
    `guided` it takes a second row, at those of `forecast` none: they follow on a pass at once.
    `step` counts those that it has taken.
    """

    handle: RequestHandle
    index: int
    row_cost: int
    shape: Shape
    num_steps: int
    guided: range = range(0)
    forecast: frozenset[int] = frozenset()
    step: int = 0
    _work: list[int] = field(init=False, repr=False)  # what is left before each step, and after all

    def __post_init__(self) -> None:
        costs = (self._cost_of(step) for step in reversed(range(self.num_steps)))
        self._work = [*accumulate(costs, initial=0)][::-1]

    @property
    def job(self) -> ImageJob:
        return self.handle.jobs[self.index]

    @property
    def cost(self) -> int:
        """How many native denoiser rows its next step takes."""
        return self._cost_of(self.step)

    @property
    def work(self) -> int:
        """Native rows times steps that are left."""
        return self._work[self.step]

    def advance(self) -> None:
        """Take a step, and those after it that are forecast."""
        self.step += 1
        while self.step in self.forecast:
            self.step += 1

    def _cost_of(self, step: int) -> int:
        return 0 if step in self.forecast else self.row_cost * (1 + (step in self.guided))


@dataclass(eq=False)
class Line:
    """A caller's pictures of one shape: begun ones in order, then a queue a request, in turn."""

    clock_s: float
    running: list[ScheduledImage] = field(default_factory=list)
    queues: deque[deque[ScheduledImage]] = field(default_factory=deque)

    def ready(self, may_begin: bool) -> Iterator[ScheduledImage]:
        """Yield the pictures that have begun, and then those that may."""
        yield from self.running
        if may_begin:
            yield from in_turn(self.queues)

    def begin(self, image: ScheduledImage) -> None:
        """Move a picture from its queue, which takes its next turn last, to those that run."""
        queue = next(queue for queue in self.queues if queue[0] is image)
        self.queues.remove(queue)
        queue.popleft()
        if queue:
            self.queues.append(queue)
        self.running.append(image)

    def drop(self, is_gone: Callable[[ScheduledImage], bool]) -> None:
        """Take pictures off."""
        kept = (deque(image for image in queue if not is_gone(image)) for queue in self.queues)
        self.queues = deque(queue for queue in kept if queue)
        self.running = [image for image in self.running if not is_gone(image)]


@dataclass(eq=False)
class Caller:
    """Who asks: a clock that runs by the seconds of its pictures, and a line a shape. `work` is
    what is pending, native rows times steps.
    """

    clock_s: float
    lines: dict[Shape, Line] = field(default_factory=dict)
    work: int = 0


class Backlog:
    """Every pending picture, and the callers of late."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}

    @property
    def callers(self) -> list[Caller]:
        """Those with pending pictures, and the last ones without."""
        return list(self._callers.values())

    def caller(self, name: str, clock_s: float) -> Caller:
        """Return a caller, who is now the latest; a new one's clock starts at the given time."""
        found = self._callers.pop(name, None) or Caller(clock_s)
        self._callers[name] = found
        return found

    def caller_of(self, image: ScheduledImage) -> Caller:
        """Return who asks for a pending picture."""
        return self._callers[image.handle.caller]

    def line_of(self, image: ScheduledImage) -> Line:
        """Return the line that a pending picture stands in."""
        return self.caller_of(image).lines[image.shape]

    @property
    def images(self) -> Iterator[ScheduledImage]:
        """All pending pictures."""
        return (image for line in self._lines for image in line.ready(may_begin=True))

    @property
    def running(self) -> list[ScheduledImage]:
        """The pictures that have begun."""
        return [image for line in self._lines for image in line.running]

    @property
    def num_waiting(self) -> int:
        """How many pictures have not begun."""
        return sum(len(queue) for line in self._lines for queue in line.queues)

    def add(self, caller: Caller, images: Sequence[ScheduledImage]) -> None:
        """Queue a request's pictures."""
        for shape in dict.fromkeys(image.shape for image in images):
            earliest = min((line.clock_s for line in caller.lines.values()), default=0.0)
            line = caller.lines.setdefault(shape, Line(earliest))
            line.queues.append(deque(image for image in images if image.shape == shape))
        caller.work += sum(image.work for image in images)

    def drop(self, is_gone: Callable[[ScheduledImage], bool]) -> None:
        """Take pictures off, and forget callers who have asked for nothing for long."""
        for caller in self._callers.values():
            for shape, line in list(caller.lines.items()):
                gone = (image for image in line.ready(may_begin=True) if is_gone(image))
                caller.work -= sum(image.work for image in gone)
                line.drop(is_gone)
                if not (line.running or line.queues):
                    del caller.lines[shape]
        idle = [name for name, caller in self._callers.items() if not caller.lines]
        for name in idle[:-_MAX_IDLE]:
            del self._callers[name]

    @property
    def _lines(self) -> Iterator[Line]:
        return (line for caller in self._callers.values() for line in caller.lines.values())


def in_turn(queues: Sequence[Sequence[ScheduledImage]]) -> Iterator[ScheduledImage]:
    """Return the first of each queue, then the second, and so on."""
    depth = max(map(len, queues), default=0)
    return (queue[at] for at in range(depth) for queue in queues if at < len(queue))
