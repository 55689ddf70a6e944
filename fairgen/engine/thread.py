"""One thread owns an engine; callers in other threads send it messages."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from fairgen.adapters import Adapter
from fairgen.engine.engine import Engine
from fairgen.engine.requests import Event, ImageError, ImageJob, RequestHandle, TooLate

log = logging.getLogger(__name__)
_IDLE_S = 0.5


@dataclass(frozen=True)
class EngineState:
    """How an engine stands: its pictures, those of them that wait for rows, the denoiser rows of
    the last step and its seconds, and how many batches have failed so far.
    """

    pending: int = 0
    waiting: int = 0
    batch_rows: int = 0
    step_s: float = 0.0
    failed_batches: int = 0


@dataclass(frozen=True)
class _Submit:
    jobs: Sequence[ImageJob]
    on_event: Callable[[Event], object]
    caller: str
    within_s: float | None
    accepted: "Future[RequestHandle]" = field(default_factory=Future)


@dataclass(frozen=True)
class _Cancel:
    handle: RequestHandle


@dataclass(frozen=True)
class _Load:
    adapters: Mapping[str, Adapter]
    done: "Future[None]" = field(default_factory=Future)


@dataclass(frozen=True)
class _Retire:
    names: Sequence[str]


@dataclass(frozen=True)
class _Stop:
    pass


class EngineThread:
    """Steps an engine in a thread of its own; any thread may call the methods.

    Between two steps the thread takes the messages that came meanwhile. Should it die, every
    picture that is pending fails with the reason, and so does whoever asks from then on.
    """

    def __init__(
        self,
        engine: Engine,
        num_threads: int = 1,
        on_death: Callable[[], object] = lambda: None,
    ) -> None:
        """`num_threads` are the cores of torch's operations. `on_death` is called once should the
        thread die, when all that was pending has failed. From now on the engine is the thread's:
        nobody else calls it.
        """
        self._engine, self._num_threads, self._on_death = engine, num_threads, on_death
        self._inbox: queue.SimpleQueue[_Submit | _Cancel | _Load | _Retire | _Stop] = (
            queue.SimpleQueue()
        )
        self._listeners: dict[RequestHandle, tuple[Callable[[Event], object], set[int]]] = {}
        self._ended = threading.Event()
        self.state = EngineState()
        self.death: str | None = None  # why the thread has ended, if it should not have
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(
        self,
        jobs: Sequence[ImageJob],
        on_event: Callable[[Event], object],
        caller: str = "",
        within_s: float | None = None,
    ) -> "Future[RequestHandle]":
        """Return the handle to come; its errors are those of `Engine.submit`, or RuntimeError where
        the thread has ended. The engine's thread calls `on_event` with what happens to the jobs.
        """
        message = _Submit(tuple(jobs), on_event, caller, within_s)
        self._send(message)
        return message.accepted

    def cancel(self, handle: RequestHandle) -> None:
        """Drop a request: its rows are free at the next step, and its events end."""
        self._send(_Cancel(handle))

    def load(self, adapters: Mapping[str, Adapter]) -> "Future[None]":
        """Load adapters by name, between two steps; the errors to come are `Engine.load`'s."""
        message = _Load(dict(adapters))
        self._send(message)
        return message.done

    def retire(self, names: Sequence[str]) -> None:
        """Unload adapters as soon as no picture uses them any more."""
        self._send(_Retire(tuple(names)))

    def check_alive(self) -> None:
        """Raise RuntimeError with the reason when the thread has ended."""
        if not self._thread.is_alive():
            raise RuntimeError(f"the engine's thread has ended: {self.death or 'it was closed'}")

    def close(self, timeout_s: float = 30.0) -> None:
        """End the thread after its present step; what is pending fails."""
        self._send(_Stop())
        self._thread.join(timeout_s)

    def _send(self, message: _Submit | _Cancel | _Load | _Retire | _Stop) -> None:
        self._inbox.put(message)
        if self._ended.is_set():  # the thread has taken its last message
            self._refuse_all()

    def _run(self) -> None:
        import torch

        torch.set_num_threads(self._num_threads)
        try:
            while self._take_messages():
                started = time.monotonic()
                events = self._engine.step()
                self._show_state(time.monotonic() - started)
                for event in events:
                    self._tell(event)
        except Exception as error:
            self.death = f"{type(error).__name__}: {error}"
            log.exception("the engine's thread has ended")
        finally:
            self._ended.set()
            self._fail_pending()
            self._refuse_all()
            if self.death is not None:
                self._on_death()

    def _take_messages(self) -> bool:
        """Do what the messages say, waiting for one while nothing is pending; False ends it."""
        while True:
            try:
                if self._engine.pending:
                    message = self._inbox.get_nowait()
                else:
                    message = self._inbox.get(timeout=_IDLE_S)
            except queue.Empty:
                if self._engine.pending or self._engine.is_retiring:
                    return True
                continue
            if isinstance(message, _Stop):
                return False
            self._do(message)
            self._show_state(self.state.step_s)

    def _show_state(self, step_s: float) -> None:
        engine = self._engine
        self.state = EngineState(
            engine.pending, engine.waiting, engine.last_rows, step_s, engine.num_failed_batches
        )

    def _do(self, message: "_Submit | _Cancel | _Load | _Retire") -> None:
        if isinstance(message, _Submit):
            if not message.accepted.set_running_or_notify_cancel():
                return
            try:
                handle = self._engine.submit(message.jobs, message.caller, message.within_s)
            except (ValueError, TooLate) as error:
                message.accepted.set_exception(error)
                return
            self._listeners[handle] = message.on_event, set(range(len(message.jobs)))
            message.accepted.set_result(handle)
        elif isinstance(message, _Cancel):
            self._engine.cancel(message.handle)
            self._listeners.pop(message.handle, None)
        elif isinstance(message, _Load):
            try:
                for name, adapter in message.adapters.items():
                    self._engine.load(name, adapter)
            except ValueError as error:
                message.done.set_exception(error)
                return
            message.done.set_result(None)
        else:
            self._engine.retire(message.names)

    def _tell(self, event: Event) -> None:
        if event.handle not in self._listeners:
            return
        on_event, left = self._listeners[event.handle]
        if isinstance(event, ImageError) or event.final:
            left.discard(event.index)
            if not left:
                del self._listeners[event.handle]
        try:
            on_event(event)
        except Exception:  # a caller's fault is no other caller's
            log.exception("a caller cannot be told of its pictures: they are dropped")
            self._listeners.pop(event.handle, None)
            self._engine.cancel(event.handle)

    def _fail_pending(self) -> None:
        reason = f"the engine has ended: {self.death or 'it was closed'}"
        for handle, (_, left) in list(self._listeners.items()):
            for index in sorted(left):
                self._tell(ImageError(handle, index, reason))

    def _refuse_all(self) -> None:
        """Answer the messages that nobody will take any more."""
        while True:
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return
            reason = RuntimeError(f"the engine's thread has ended: {self.death or 'it was closed'}")
            if isinstance(message, _Submit) and message.accepted.set_running_or_notify_cancel():
                message.accepted.set_exception(reason)
            elif isinstance(message, _Load):
                message.done.set_exception(reason)
