"""Which adapters are served: the champions, followed as they change."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from fairgen.adapters import Adapter
from pipelines.registry.champions import ChampionPoller
from pipelines.registry.versions import Champion, ChampionSet

log = logging.getLogger(__name__)


class ServedAdapters:
    """Follows the registry's champions in a thread of its own; any thread may read `served`.

    A new set is loaded before new pictures are painted with it, and the old one retires after them.
    While the registry is down, or offers a set that cannot be trusted, what is served stays.
    """

    def __init__(
        self,
        poller: ChampionPoller,
        load: Callable[[Mapping[str, Adapter]], None],
        retire: Callable[[Sequence[str]], None],
        poll_s: float | None,
    ) -> None:
        """Look once, then every `poll_s` seconds; None looks no more.

        `load` returns once adapters are loaded under their names; `retire` lets names go.
        """
        self._poller, self._load, self._retire, self._poll_s = poller, load, retire, poll_s
        self.served: Mapping[str, ChampionSet] = {}
        self.num_reloads = 0
        self._look, self._closed = threading.Event(), threading.Event()
        self._poll()
        self._thread = threading.Thread(target=self._follow, name="champions", daemon=True)
        self._thread.start()

    @property
    def num_failed(self) -> int:
        """How many looks ended without an answer, and how many sets could not be used."""
        return self._poller.num_failed

    @property
    def missing(self) -> frozenset[str] | None:
        """The attributes that have champions and are not served yet; None where nobody knows."""
        expected = self._poller.expected
        return None if expected is None else expected - self.served.keys()

    def poll_now(self) -> None:
        """Look the champions up at once, not at the next poll."""
        self._look.set()

    def close(self) -> None:
        """End the thread, and remove what was downloaded."""
        self._closed.set()
        self._look.set()
        self._thread.join(timeout=30)
        self._poller.close()

    def _follow(self) -> None:
        while not self._closed.is_set():
            self._look.wait(timeout=self._poll_s)
            self._look.clear()
            if not self._closed.is_set():
                try:
                    self._poll()
                except (RuntimeError, ValueError) as error:  # a dead engine: health tells of it
                    log.error("adapters cannot be loaded, what is served stays: %s", error)

    def _poll(self) -> None:
        for offer in self._poller.poll(self.served):
            before = self.served.get(offer.attribute)
            if before == offer.champions:
                continue
            old = {loaded_name(c) for c in before.members.values()} if before else set()
            members = offer.champions.members.items()
            new = {loaded_name(c): offer.adapters[category] for category, c in members}
            self._load({name: adapter for name, adapter in new.items() if name not in old})
            self.served = {**self.served, offer.attribute: offer.champions}
            self._retire(sorted(old - new.keys()))
            self.num_reloads += 1
            log.info("%s is served by adapter set %s", offer.attribute, offer.champions.adapter_set)


def loaded_name(champion: Champion) -> str:
    """Return the name under which a champion's adapter is loaded: other bytes have another."""
    return f"{champion.name}@{champion.version}#{champion.sha256}"
