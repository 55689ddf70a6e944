"""The log of decisions: who asked for how many, what the gate said, what each picture was to show.

No picture is in it and no word of a prompt, which its SHA-256 tells from others.
"""

import hashlib
import json
import logging
import os
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pipelines.serve.image_plan import PlannedImage
from pipelines.serve.schemas import ImageRequest, Provenance

log = logging.getLogger(__name__)
_LAST_S = 5.0
_MAX_WAITING = 10_000  # lines, while the file's disk does not answer


class DecisionLog:
    """One JSON line a request, appended; the file may be moved away at any time, and only its owner
    may read it.

    A thread of its own writes: a disk that is full, or hangs, holds up no picture.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: queue.Queue[str | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end the thread; a disk that does not answer is left to itself."""
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_LAST_S)
            self._thread.join(_LAST_S)

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            try:
                with open(self._path, "a", opener=_owner_only) as stream:
                    stream.write(line)
            except OSError:
                log.exception("a decision is not logged")

    def write(
        self,
        caller: str,
        request: ImageRequest,
        orders: Sequence[PlannedImage],
        delivered: Sequence[Provenance],
    ) -> None:
        """Append what was decided for a request, and with which adapters it was delivered."""
        gate = orders[0].gate
        used = {f"{a.name} {a.version}" for provenance in delivered for a in provenance.adapters}
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "caller": caller,
            "prompt_sha256": hashlib.sha256(request.prompt.encode()).hexdigest(),
            "fairness": request.fairness,
            "gate": {name: found.reason for name, found in gate.attributes.items()}
            if gate
            else None,
            "pictures": [
                {"seed": o.seed, "categories": o.categories, "probability": o.probability}
                for o in orders
            ],
            "delivered": len(delivered),
            "flagged": sum(record.safety_checker == "flagged" for record in delivered),
            "adapters": sorted(used),
        }
        try:
            self._waiting.put_nowait(json.dumps(line) + "\n")
        except queue.Full:
            log.warning("a decision is not logged: %d wait for %s", _MAX_WAITING, self._path)


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
