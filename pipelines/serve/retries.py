"""A request that is sent again: how its tries are known, and the answer that was there before."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b

from pipelines.serve.access.errors import RequestError

KEY_HEADER, COUNT_HEADER = "idempotency-key", "x-stainless-retry-count"
FAIRNESS_HEADER = "x-fairness"
_ASKED_AGAIN = {408, 409, 429}  # and all from 500: after others no client tries again
_MAX_KEY_CHARS = 255
_KEPT_S = 600.0
_REFUSED_S = 90.0  # clients take a minute's wait at most
_KEPT_CHARS = 64 * 2**20
_MAX_KEYS = 10_000
_MAX_TRIES = 1000


@dataclass(frozen=True)
class Retry:
    """What the tries of a request have in common, and whether this one may be a next try.

    `named` is a digest of the client's own key, "" where it has none.
    """

    key: str
    again: bool
    named: str = ""


def retry_of(headers: Mapping[str, str], caller: str, body: bytes) -> Retry | None:
    """Return what a client says of a request's tries; None for a client that says nothing.

    OpenAI's clients count their tries in `x-stainless-retry-count`: tries of one body, and one
    fairness in the headers, belong together. A client's own `Idempotency-Key` says it in any case.
    Raises 400 for a key that is too long.
    """
    name, count = headers.get(KEY_HEADER), headers.get(COUNT_HEADER)
    if name is not None and not 0 < len(name) <= _MAX_KEY_CHARS:
        allowed = f"allowed are 1 to {_MAX_KEY_CHARS}"
        message = f"Idempotency-Key: got {len(name)} characters, {allowed}"
        raise RequestError(400, message, code="invalid_value")
    asked = _digest(body.hex(), headers.get(FAIRNESS_HEADER, ""))
    if name is not None:
        named = _digest(caller, name)
        return Retry(_digest(named, asked), again=True, named=named)
    if count is not None:
        again = count.isdecimal() and int(count) > 0
        return Retry(_digest(caller, "", asked), again)
    return None


class Refusals:
    """Tries that were refused with nothing assigned: the next one of their body repeats what they
    would have repeated, not what another request got. One event loop may call it.
    """

    def __init__(self) -> None:
        self._refused: OrderedDict[str, list[tuple[float, bool]]] = OrderedDict()

    def note(self, retry: Retry | None, status: int) -> None:
        """Take note of a try and the status that it was refused with."""
        if retry is None or retry.named or (status not in _ASKED_AGAIN and status < 500):
            return
        tries = self._refused.setdefault(retry.key, [])
        tries.append((time.monotonic(), retry.again))
        self._refused.move_to_end(retry.key)
        if len(tries) > _MAX_TRIES:
            del tries[0]
        if len(self._refused) > _MAX_KEYS:
            self._refused.popitem(last=False)

    def followed_by(self, retry: Retry | None) -> Retry | None:
        """Return a try as it would be had none before it been refused."""
        if retry is None or not retry.again or retry.named:
            return retry
        tries = self._refused.get(retry.key, [])
        while tries:
            since, again = tries.pop(0)
            if not tries:
                del self._refused[retry.key]
            if time.monotonic() - since < _REFUSED_S:
                return replace(retry, again=again)
        return retry


class RunningKeys:
    """The clients' own keys: each is of one request, and of one try at a time. One event loop may
    call it.
    """

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._requests: OrderedDict[str, str] = OrderedDict()

    @contextmanager
    def alone(self, retry: Retry | None) -> Iterator[None]:
        """Raise 409 while another try with this key runs, 400 where the key was of another
        request. One that is refused within leaves its key free.
        """
        if retry is None or not retry.named:
            yield
            return
        is_new = retry.named not in self._requests
        if self._requests.setdefault(retry.named, retry.key) != retry.key:
            message = "Idempotency-Key: got one of another request, allowed is a new one"
            raise RequestError(400, message, code="idempotency_key_reused")
        if len(self._requests) > _MAX_KEYS:
            self._requests.popitem(last=False)
        if retry.named in self._running:
            message = "a request with this Idempotency-Key is running"
            raise RequestError(409, message, code="idempotency_key_in_use", retry_after_s=1)
        self._running.add(retry.named)
        try:
            yield
        except RequestError:
            if is_new:
                self._requests.pop(retry.named, None)
            raise
        finally:
            self._running.remove(retry.named)


class RecentAnswers:
    """Answers of the last ten minutes by their ledger reservation, or, where nothing is counted, by
    the client's own key, at most 64 million characters: a client that has not seen one may ask
    again. One event loop may call it.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._num_chars = 0

    def get(self, known_by: str) -> str | None:
        """Return the answer that was given before, if it is still there."""
        self._forget()
        found = self._answers.get(known_by)
        return found[1] if found else None

    def put(self, known_by: str, answer: str) -> None:
        """Keep an answer."""
        if known_by and known_by not in self._answers:
            self._answers[known_by] = time.monotonic(), answer
            self._num_chars += len(answer)
            self._forget()

    def _forget(self) -> None:
        while self._answers:
            known_by, (since, answer) = next(iter(self._answers.items()))
            if self._num_chars <= _KEPT_CHARS and time.monotonic() - since < _KEPT_S:
                return
            del self._answers[known_by]
            self._num_chars -= len(answer)


def _digest(*parts: str) -> str:
    """Return 64 hexadecimal digits that tell such parts from others."""
    whole = blake2b(digest_size=32)
    for part in parts:
        whole.update(len(part).to_bytes(8) + part.encode("utf-8", "surrogatepass"))
    return whole.hexdigest()
