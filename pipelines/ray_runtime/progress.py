"""One live view of all jobs: an actor that training reports to, and a terminal that watches."""

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

import ray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_REFRESH_S = 0.5
_LINE_EVERY_S = 10.0


class ProgressActor:
    """Holds the latest metrics of every job; lives as a Ray actor for the length of a run."""

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, float]] = {}

    def post(self, job: str, metrics: dict[str, float]) -> None:
        self._latest[job] = metrics

    def latest(self) -> dict[str, dict[str, float]]:
        """Return job -> metrics; a job that has not reported is absent."""
        return self._latest


def open_progress_actor() -> ray.actor.ActorHandle:
    """Return a board that takes no CPU from the jobs, and comes back should it be lost."""
    return (
        ray.remote(ProgressActor).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    )


class ProgressView:
    """Bars with counts and ETA in a terminal; elsewhere a plain line when a job starts, every few
    seconds, and ends.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._printed: dict[str, tuple[float, int]] = {}

    def show(self, name: str, done: int, total: int, note: str = "") -> None:
        """Set how far a job or stage has come."""
        if self._console.is_terminal:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=total, note=note)
            self._bars.update(self._tasks[name], completed=done, total=total, note=note)
            return
        printed_s, printed_done = self._printed.get(name, (0.0, -1))
        due = time.monotonic() - printed_s >= _LINE_EVERY_S or done == total
        if done != printed_done and due:
            self._printed[name] = (time.monotonic(), done)
            self._console.print(f"{name}: {done}/{total} {note}".rstrip(), highlight=False)

    def say(self, text: str) -> None:
        """Print a line beside the bars; any thread may."""
        self._console.print(text, highlight=False, markup=False)

    @contextmanager
    def open(self) -> Iterator["ProgressView"]:
        """Draw until the end of the `with`."""
        with self._bars:
            yield self


def watch(
    board: ray.actor.ActorHandle,
    totals: Mapping[str, int],
    futures: Iterable[Future[Any]],
    view: ProgressView,
) -> None:
    """Show the board until every future is done; `totals` maps jobs to their numbers of updates."""
    pending = True
    while pending:
        pending = bool(wait(futures, timeout=_REFRESH_S).not_done)
        for name, metrics in ray.get(board.latest.remote()).items():
            view.show(name, int(metrics["step"]), totals[name], f"loss {metrics['loss']:.4f}")
