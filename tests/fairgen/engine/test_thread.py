"""Callers in other threads ask an engine that one thread owns."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

from fairgen.backbones import load_backbone
from fairgen.engine import (
    AdapterNotLoaded,
    Engine,
    EngineThread,
    Event,
    ImageError,
    ImageJob,
    ImageResult,
)
from tests.fairgen.test_adapters import make_adapter
from tests.tiny import tiny_pipeline

JOB = ImageJob("a doctor", 1, num_steps=3, guidance_scale=1.0)
WOMAN = replace(JOB, gates={"gender-woman": 1.0})
SOON_S = 60


class Events:
    """What a caller is told, and a way to wait for the end of its request."""

    def __init__(self, num_jobs: int) -> None:
        self.seen: list[Event] = []
        self._left, self._ended = num_jobs, threading.Event()

    def __call__(self, event: Event) -> None:
        self.seen.append(event)
        self._left -= isinstance(event, ImageError) or event.final
        if not self._left:
            self._ended.set()

    def wait(self) -> list[Event]:
        assert self._ended.wait(SOON_S)
        return self.seen


@pytest.fixture
def engine() -> Engine:
    return Engine(load_backbone(tiny_pipeline()))


@pytest.fixture
def thread(engine: Engine) -> Iterator[EngineThread]:
    started = EngineThread(engine)
    yield started
    started.close()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_threads_get_their_own_pictures(thread: EngineThread) -> None:
    pictures: dict[int, bytes] = {}

    def ask(seed: int) -> None:
        events = Events(2)
        thread.submit([replace(JOB, seed=seed), replace(JOB, seed=seed + 1)], events).result()
        (first,) = (e for e in events.wait() if e.index == 0)
        assert isinstance(first, ImageResult)
        pictures[seed] = first.image.tobytes()

    callers = [threading.Thread(target=ask, args=(10 * i,)) for i in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(SOON_S)
    (alone,) = Engine(load_backbone(tiny_pipeline())).paint([replace(JOB, seed=20)])
    assert len(set(pictures.values())) == 6 and thread.state.pending == 0
    gaps = [abs(a - b) for a, b in zip(pictures[20], alone.tobytes(), strict=True)]
    assert max(gaps) <= 1  # one grey level: a batch rounds otherwise than a row


def test_a_refused_request_says_why_and_holds_up_nobody(thread: EngineThread) -> None:
    with pytest.raises(AdapterNotLoaded, match=r"got \['gender-woman'\], loaded are \[\]"):
        thread.submit([WOMAN], Events(1)).result(SOON_S)
    with pytest.raises(ValueError, match="jobs: got none"):
        thread.submit([], Events(0)).result(SOON_S)
    events = Events(1)
    thread.submit([JOB], events).result(SOON_S)
    assert isinstance(events.wait()[-1], ImageResult)


def test_adapters_are_loaded_and_retired_between_steps(thread: EngineThread) -> None:
    adapter = make_adapter(tiny_pipeline())
    thread.load({"gender-woman": adapter}).result(SOON_S)
    on, off = Events(1), Events(1)
    thread.submit([replace(WOMAN, num_steps=20)], on).result(SOON_S)
    thread.submit([replace(JOB, num_steps=20)], off).result(SOON_S)
    thread.retire(["gender-woman"])
    with pytest.raises(AdapterNotLoaded):
        thread.submit([WOMAN], Events(1)).result(SOON_S)
    (painted,), (bare,) = on.wait(), off.wait()
    assert isinstance(painted, ImageResult) and isinstance(bare, ImageResult)
    assert painted.image.tobytes() != bare.image.tobytes()
    thread.load({"gender-woman": adapter}).result(SOON_S)  # gone by now, or kept: loaded again
    thread.submit([WOMAN], Events(1)).result(SOON_S)


def test_an_adapter_that_does_not_fit_is_refused(thread: EngineThread) -> None:
    adapter = make_adapter(tiny_pipeline())
    wrong = replace(adapter, directions={"nowhere": next(iter(adapter.directions.values()))})
    with pytest.raises(ValueError, match="other projections than the bank's"):
        thread.load({"gender-woman": wrong}).result(SOON_S)


def test_a_cancelled_request_ends_without_further_events(thread: EngineThread) -> None:
    events = Events(4)
    handle = thread.submit([replace(JOB, num_steps=900)] * 4, events).result(SOON_S)
    thread.cancel(handle)
    wait_until(lambda: thread.state.pending == 0)
    assert events.seen == []


def test_a_caller_that_cannot_be_told_loses_its_request_only(thread: EngineThread) -> None:
    def gone(event: Event) -> None:
        raise RuntimeError("the event loop is closed")

    thread.submit([JOB, replace(JOB, num_steps=900)], gone).result(SOON_S)
    events = Events(1)
    thread.submit([JOB], events).result(SOON_S)
    assert isinstance(events.wait()[-1], ImageResult)
    wait_until(lambda: thread.state.pending == 0)
    thread.check_alive()


def test_a_dead_thread_fails_what_is_pending_and_what_comes_later(
    engine: Engine, thread: EngineThread
) -> None:
    events = Events(2)
    thread.submit([replace(JOB, num_steps=900)] * 2, events).result(SOON_S)
    engine.step = broken  # what no isolation catches
    failed = events.wait()
    assert [event.index for event in failed] == [0, 1]
    assert all(isinstance(e, ImageError) and "no more memory" in e.error for e in failed)
    wait_until(lambda: thread.death is not None)
    with pytest.raises(RuntimeError, match="thread has ended: RuntimeError: no more memory"):
        thread.submit([JOB], Events(1)).result(SOON_S)
    with pytest.raises(RuntimeError, match="thread has ended"):
        thread.check_alive()


def broken() -> list[Event]:
    raise RuntimeError("no more memory")


def test_a_closed_thread_fails_what_is_pending(thread: EngineThread) -> None:
    events = Events(1)
    thread.submit([replace(JOB, num_steps=900)], events).result(SOON_S)
    thread.close()
    (failed,) = events.wait()
    assert isinstance(failed, ImageError) and "it was closed" in failed.error


def test_whoever_leaves_before_being_accepted_leaves_nothing_behind(thread: EngineThread) -> None:
    busy = Events(8)
    thread.submit([replace(JOB, num_steps=200)] * 8, busy).result(SOON_S)
    accepted = thread.submit([JOB], Events(1))
    if accepted.cancel():
        with pytest.raises(CancelledError):
            accepted.result()
    busy.wait()
    wait_until(lambda: thread.state.pending == 0)
    thread.check_alive()
