"""Where a generator's adapters come from: the registry's champions, or what was served last."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fairgen.adapters import Adapter, load_adapter
from fairgen.attributes import adapter_name
from pipelines.recipe import Recipe
from pipelines.registry.last_served import LastServedSets
from pipelines.registry.server import fail_fast
from pipelines.registry.versions import Champion, ChampionSet, Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfferedSet:
    """A set of an attribute that can be served, with its weights by category."""

    attribute: str
    champions: ChampionSet
    adapters: dict[str, Adapter]


class ChampionPoller:
    """Looks up champions, and checks what it finds before it offers it.

    `expected` are the attributes that have champions, None as long as nobody knows; `num_failed`
    counts the looks that ended without an answer, and the sets that could not be used. One thread
    at a time may call it.
    """

    def __init__(
        self,
        recipe: Recipe,
        tracking_uri: str | None,
        home: Path | None,
        base_fingerprint: str,
        check: Callable[[Champion, Adapter], None],
    ) -> None:
        """`check` raises ValueError for an adapter that does not fit.

        Without a `tracking_uri` there are no champions; without a `home` nothing is kept on disk.
        """
        self._tracking_uri, self._recipe = tracking_uri, recipe
        self._base_fingerprint, self._check = base_fingerprint, check
        self._last_served = LastServedSets(home, recipe) if home else None
        self._refused: set[tuple[Champion, ...]] = set()
        self._bytes: dict[tuple[str, str], str] = {}  # (name, version) -> sha256 when first seen
        self._folder = tempfile.TemporaryDirectory(prefix="fairgen-champions-")
        self.expected = frozenset[str]() if tracking_uri is None else None
        self.num_failed = 0

    def poll(self, served: Mapping[str, ChampionSet]) -> list[OfferedSet]:
        """Return the sets that replace what is `served`; never raise.

        An attribute of which nothing is served falls back on what was served last.
        """
        if self._tracking_uri is None:
            return []
        with fail_fast():
            try:
                registry = Registry(self._tracking_uri, self._recipe)
                champions = registry.champions()
            except Exception as error:  # the registry may be down: what is served stays
                log.warning("the registry cannot be read, what is served stays: %s", error)
                self.num_failed += 1
                if self.expected is None and self._last_served:
                    self.expected = frozenset(self._last_served.attributes) or None
                missing = [name for name in self.expected or () if name not in served]
                offers = [self._recalled(name) for name in missing]
            else:
                self.expected = frozenset(champions)
                offers = [
                    self._downloaded(registry, attribute, champion_set)
                    or (None if attribute in served else self._recalled(attribute))
                    for attribute, champion_set in champions.items()
                    if served.get(attribute) != champion_set
                ]
        return [offer for offer in offers if offer is not None]

    def close(self) -> None:
        """Remove what was downloaded."""
        self._folder.cleanup()

    def _downloaded(
        self, registry: Registry, attribute: str, champions: ChampionSet
    ) -> OfferedSet | None:
        """Return a set of the registry's, and keep it on disk; None where it cannot be used."""
        members = tuple(champions.members.values())
        if members in self._refused:
            return None
        try:
            into = Path(self._folder.name)
            folders = {c: registry.download(m, into) for c, m in champions.members.items()}
            offered = self._checked(attribute, champions, folders)
        except ValueError as error:
            log.error("adapter set %s is refused: %s", champions.adapter_set, error)
            self._refused.add(members)
            self.num_failed += 1
            return None
        except Exception as error:
            log.warning("adapter set %s cannot be had: %s", champions.adapter_set, error)
            self.num_failed += 1
            return None
        if self._last_served:
            try:
                self._last_served.keep(attribute, champions, offered.adapters)
            except OSError as error:  # a full disk: the endpoint itself needs nothing of it
                log.warning("adapter set %s is not kept: %s", champions.adapter_set, error)
        return offered

    def _recalled(self, attribute: str) -> OfferedSet | None:
        """Return the set of an attribute that was served last, if it is known and whole."""
        if self._last_served is None or attribute not in self._last_served.attributes:
            return None
        try:
            return self._checked(attribute, *self._last_served.recall(attribute))
        except (ValueError, OSError) as error:
            log.error("the set of %s that was served last is refused: %s", attribute, error)
            return None

    def _checked(
        self, attribute: str, champions: ChampionSet, folders: Mapping[str, Path]
    ) -> OfferedSet:
        """Return a set whose weights are what it says. Raises ValueError for any other."""
        adapters = {}
        for category, champion in champions.members.items():
            adapter = load_adapter(
                folders[category], self._base_fingerprint, self._recipe.loading.siblings
            )
            where = f"{champion.name} version {champion.version}"
            if adapter.sha256 != champion.sha256:
                raise ValueError(
                    f"{where}: got sha256 {adapter.sha256}, the registry says {champion.sha256}"
                )
            known = self._bytes.setdefault((champion.name, champion.version), adapter.sha256)
            if adapter.sha256 != known:
                raise ValueError(
                    f"{where}: got sha256 {adapter.sha256}, it was {known}; allowed is a new "
                    "version for new weights"
                )
            wanted = adapter_name(attribute, category)
            if adapter.name != wanted:
                raise ValueError(f"{where}: got weights of {adapter.name}, allowed are {wanted}'s")
            self._check(champion, adapter)
            adapters[category] = adapter
        return OfferedSet(attribute, champions, adapters)
