"""The sets that were served last, kept on disk: a replica that starts while the registry is away
begins with them.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter

from fairgen.adapters import Adapter, save_adapter
from pipelines.files import write
from pipelines.recipe import Recipe
from pipelines.registry import Champion, ChampionSet

_SETS = TypeAdapter(ChampionSet)


class LastServedSets:
    """One folder a registry's prefix; a set of an attribute replaces the one before."""

    def __init__(self, home: Path, recipe: Recipe) -> None:
        self._folder = home / "served" / recipe.registry.prefix
        self._attributes = [attribute.name for attribute in recipe.attributes]

    @property
    def attributes(self) -> list[str]:
        """The attributes of which a set is kept."""
        return [name for name in self._attributes if self._set_of(name).exists()]

    def keep(self, attribute: str, champions: ChampionSet, adapters: Mapping[str, Adapter]) -> None:
        """Write a set down, its weights before its name, in place of the one before. Raises OSError
        where nothing can be written.
        """
        before: set[Path] = set()
        with suppress(OSError, ValueError):
            before = set(self.recall(attribute)[1].values())
        for category, champion in champions.members.items():
            save_adapter(adapters[category], self._weights_of(champion))
        write(self._set_of(attribute), _SETS.dump_json(champions).decode())
        for folder in before - set(map(self._weights_of, champions.members.values())):
            shutil.rmtree(folder, ignore_errors=True)

    def recall(self, attribute: str) -> tuple[ChampionSet, dict[str, Path]]:
        """Return the set of an attribute, and category -> the folder of its weights.

        Raises OSError or ValueError where it cannot be read.
        """
        champions = _SETS.validate_json(self._set_of(attribute).read_bytes())
        return champions, {c: self._weights_of(m) for c, m in champions.members.items()}

    def _set_of(self, attribute: str) -> Path:
        return self._folder / f"{attribute}.json"

    def _weights_of(self, champion: Champion) -> Path:
        return self._folder / "adapters" / champion.name / champion.version
